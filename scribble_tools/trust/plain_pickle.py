"""What a pickle would build, found out without building it: nothing named in it is called.

A pickle is a program. This reads it opcode by opcode on a machine of its own that knows numbers,
text, containers, numpy's numbers and torch's tensors, the latter as `StoredTensor`. Whatever else
the pickle asks for is refused, and so is what would take time or memory without bound: a pickle of
1 kB can describe a list of 10^12 entries, or one that contains itself.

torch's own ``weights_only`` reader had holes (CVE-2025-32434 before torch 2.6, CVE-2026-24747
before 2.10: a dictionary's opcode used on something else). What passes here uses none of them.
"""

from __future__ import annotations

import itertools
import math
import pickletools
import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np

MOST_BYTES = 64 << 20  # a checkpoint's pickle, without the tensors, has less than 1 MB
MOST_STEPS = 2_000_000
MOST_SPELLED_OUT = 20_000_000  # characters, roughly, if all were written out
DEEPEST = 64
LARGEST_NUMBER_BITS = 128
LARGEST_KEY = 1 << 31  # of a dictionary; integers without bound could be chosen to collide

# bytes of one element, by the name of torch's storage
STORAGES = {
    **dict.fromkeys(("torch DoubleStorage", "torch LongStorage"), 8),
    **dict.fromkeys(("torch FloatStorage", "torch IntStorage"), 4),
    **dict.fromkeys(("torch HalfStorage", "torch BFloat16Storage", "torch ShortStorage"), 2),
    **dict.fromkeys(("torch CharStorage", "torch ByteStorage", "torch BoolStorage"), 1),
    "torch.storage UntypedStorage": 1,
}
TORCH_TYPE = re.compile(r"torch b?(float|int|uint|complex)\d+|torch bool")
NUMPY_TYPE = re.compile(r"[biuf][1248]")


@dataclass(frozen=True)
class Named:
    """Something that a pickle refers to by module and name, and that may stand in the result."""

    name: str


@dataclass(frozen=True)
class Storage:
    """Numbers that lie outside the pickle, under ``key``."""

    key: str
    item_bytes: int
    items: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of ``shape`` whose numbers lie in ``storage``."""

    storage: Storage
    shape: tuple[int, ...]


@dataclass
class _NumpyType:
    code: str


@dataclass
class _NumpyArray:
    value: np.ndarray | None = None


class _Mark:
    """Where on the stack a sequence begins."""


class NotPlain(ValueError):
    """The pickle holds more than plain data, or is damaged."""


def read_plain_pickle(
    data: bytes, references: Collection[str] = (), storages: dict[str, Storage] | None = None
) -> object:
    """Read a pickle as plain data: what it describes, with tensors as `StoredTensor`.

    Args:
        references: ``"module name"`` of what may be referred to (never called), as `Named`.
        storages: gets what the tensors' numbers lie in, by key; None: a pickle without tensors.

    Raises:
        NotPlain: it holds something else, is damaged, or describes too much.
    """
    if len(data) > MOST_BYTES:
        raise NotPlain(f"it has {len(data) >> 20} MB besides the tensors, more than any model's")
    try:
        result = _Machine(references, storages).run(data)
    except NotPlain:
        raise
    # pickletools and the machine meet anything in a damaged file
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise NotPlain(f"it is damaged ({type(error).__name__}: {str(error)[:100]})") from None
    _refuse_boundless(result)
    return result


def _number(value: object) -> bool:
    return type(value) is int and value >= 0


class _Machine:
    """The stack and the memory that a pickle's opcodes work on."""

    def __init__(self, references: Collection[str], storages: dict[str, Storage] | None) -> None:
        self.references = frozenset(references)
        self.storages = storages
        self.stack: list = []
        self.memory: dict[int, object] = {}

    def run(self, data: bytes) -> object:
        for step, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if step > MOST_STEPS:
                raise NotPlain(f"it takes more than {MOST_STEPS} steps to read")
            if opcode.name == "STOP":
                (result,) = self.stack
                return result
            self._step(opcode.name, argument, step)
        raise NotPlain("it has no end")

    def _step(self, name: str, argument: object, step: int) -> None:
        stack = self.stack
        if name in ("PROTO", "FRAME"):
            return
        if name in VALUES:
            if isinstance(argument, int) and argument.bit_length() > LARGEST_NUMBER_BITS:
                raise NotPlain(f"a number has {argument.bit_length()} bits")
            stack.append(argument)
        elif name in MADE:
            stack.append(MADE[name]())
        elif name in ("BINPUT", "LONG_BINPUT"):
            if argument > step:  # Python would reserve memory up to this place
                raise NotPlain("it numbers its parts without need")
            self.memory[argument] = self._top()
        elif name == "MEMOIZE":
            self.memory[len(self.memory)] = self._top()
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memory[argument])
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            stack.append(tuple(self._pop(int(name[-1]))))
        elif name == "TUPLE":
            stack.append(tuple(self._to_mark()))
        elif name in ("APPEND", "APPENDS"):
            values = self._pop(1) if name == "APPEND" else self._to_mark()
            self._top(list).extend(values)
        elif name in ("SETITEM", "SETITEMS"):
            values = self._pop(2) if name == "SETITEM" else self._to_mark()
            self._top(dict, OrderedDict).update(
                (_key(key), value) for key, value in zip(values[::2], values[1::2], strict=True)
            )
        elif name == "ADDITEMS":
            values = self._to_mark()
            self._top(set).update(map(_key, values))
        elif name == "GLOBAL":
            stack.append(self._named(argument))
        elif name == "STACK_GLOBAL":
            module, own = self._pop(2)
            stack.append(self._named(f"{module} {own}"))
        elif name == "BINPERSID":
            stack.append(self._storage(*self._pop(1)))
        elif name == "REDUCE":
            function, arguments = self._pop(2)
            if type(function) is not Named or function.name not in CALLS:
                raise NotPlain(f"it calls {_shown(function)}")
            if type(arguments) is not tuple:
                raise NotPlain("it is damaged (a call without arguments)")
            stack.append(CALLS[function.name](*arguments))
        elif name == "BUILD":
            (state,) = self._pop(1)
            _fill(self._top(), state)
        else:
            raise NotPlain(f"it uses the opcode {name}")

    def _named(self, name: str) -> Named:
        known = name in STORAGES or name in CALLS or name in TYPES or name in self.references
        if not known and not TORCH_TYPE.fullmatch(name):
            raise NotPlain(f"it asks for {name.replace(' ', '.', 1)!r}")
        return Named(name)

    def _storage(self, identity: tuple) -> Storage:
        word, kind, key, _, items = identity
        known = type(kind) is Named and kind.name in STORAGES
        if word != "storage" or not known or not isinstance(key, str) or not _number(items):
            raise NotPlain("it names data outside of it that are no tensor's")
        storage = Storage(key, STORAGES[kind.name], items)
        if self.storages is None or self.storages.setdefault(key, storage) != storage:
            raise NotPlain(f"it describes data {key[:20]!r} that it cannot have")
        return storage

    def _pop(self, number: int) -> list:
        values = self.stack[-number:]
        if len(values) < number or any(value is _Mark for value in values):
            raise NotPlain("it is damaged (values are missing)")
        del self.stack[-number:]
        return values

    def _to_mark(self) -> list:
        """Take what was put on the stack since the last mark, in one go however much it is."""
        place = len(self.stack) - 1
        while self.stack[place] is not _Mark:
            place -= 1
            if place < 0:
                raise NotPlain("it is damaged (a sequence without beginning)")
        values = self.stack[place + 1 :]
        del self.stack[place:]
        return values

    def _top(self, *kinds: type) -> object:
        """The newest value, which has to be one of ``kinds``; without them, of any."""
        top = self.stack[-1]
        if top is _Mark or (kinds and type(top) not in kinds):
            raise NotPlain(f"it puts entries into {_shown(top)}")
        return top


VALUES = frozenset(
    "BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE SHORT_BINUNICODE BINBYTES SHORT_BINBYTES "
    "NONE".split()
)
MADE: Mapping[str, Callable[[], object]] = {
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
    "EMPTY_TUPLE": tuple,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "MARK": lambda: _Mark,
}


def _shown(value: object) -> str:
    return repr(value.name) if isinstance(value, Named) else f"a {type(value).__name__}"


def _key(value: object) -> object:
    """A key whose hash is quickly found and rarely another's, as far as a model has any other."""
    small = isinstance(value, int) and abs(value) < LARGEST_KEY
    if not (small or value is None or isinstance(value, str)):
        raise NotPlain(f"a key is {_shown(value)}")
    return value


def _tensor(storage, offset, size, stride, requires_grad, hooks, metadata=None) -> StoredTensor:
    """As torch._utils._rebuild_tensor_v2: a view of a storage, which must not be larger than it."""
    plain = type(requires_grad) is bool and not hooks and not metadata
    numbers = (offset, *size, *stride)
    if not plain or type(storage) is not Storage or not all(map(_number, numbers)):
        raise NotPlain("a tensor is described by other things than numbers")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    items = math.prod(size)
    if items and (last >= storage.items or items > storage.items):
        raise NotPlain(
            f"a tensor of shape {tuple(size)} shows more than the {storage.items} stored"
        )
    return StoredTensor(storage, tuple(size))


def _parameter(tensor, requires_grad, hooks) -> StoredTensor:
    if type(tensor) is not StoredTensor or type(requires_grad) is not bool or hooks:
        raise NotPlain("a parameter is no tensor")
    return tensor


def _size(numbers) -> tuple:
    if not all(map(_number, numbers)):
        raise NotPlain("a size is no tuple of numbers")
    return tuple(numbers)


def _device(name, index=None) -> str:
    if not isinstance(name, str) or not re.fullmatch(r"\w{1,20}(:\d{1,4})?", name):
        raise NotPlain("a device has no device's name")
    return name if index is None else f"{name}:{int(index)}"


def _encode(text, encoding) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise NotPlain("it encodes text, as no model does")
    return text.encode("latin1")


def _ordered(*items) -> OrderedDict:
    if items:
        raise NotPlain("a dictionary is made of something else")
    return OrderedDict()


def _set(items=()) -> set:
    if type(items) not in (list, tuple):
        raise NotPlain("a set is made of something else")
    return set(map(_key, items))


def _numpy_type(code, align, copy) -> _NumpyType:
    if (
        not isinstance(code, str)
        or not NUMPY_TYPE.fullmatch(code)
        or (align, copy) != (False, True)
    ):
        raise NotPlain(f"numpy's type {str(code)[:20]!r} is no number's")
    return _NumpyType(code)


def _numpy_number(kind, data) -> object:
    if type(kind) is not _NumpyType or type(data) is not bytes:
        raise NotPlain("a number of numpy is none")
    (value,) = np.frombuffer(data, kind.code)
    return value.item()


def _numpy_array(kind, shape, code) -> _NumpyArray:
    if kind != Named("numpy ndarray") or shape != (0,) or code != b"b":
        raise NotPlain("an array of numpy is none")
    return _NumpyArray()


def _fill(target: object, state: object) -> None:
    """The opcode BUILD: what an object holds besides what it was made of."""
    if type(target) is OrderedDict and type(state) is dict and set(state) <= {"_metadata"}:
        return  # versions of the network's layers
    if type(target) is _NumpyType and type(state) is tuple:
        version, order, *rest = state
        if version == 3 and order in ("<", ">", "|", "=") and rest == [None, None, None, -1, -1, 0]:
            target.code = order + target.code[-2:]
            return
    if type(target) is _NumpyArray and type(state) is tuple:
        version, shape, kind, fortran, data = state
        plain = type(kind) is _NumpyType and type(data) is bytes and type(shape) is tuple
        if version == 1 and plain and all(map(_number, shape)):
            array = np.frombuffer(data, kind.code)
            target.value = array.reshape(shape, order="F" if fortran else "C")
            return
    raise NotPlain(f"it changes the inside of {_shown(target)}")


CALLS: Mapping[str, Callable] = {
    "collections OrderedDict": _ordered,
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_parameter": _parameter,
    "torch Size": _size,
    "torch device": _device,
    "_codecs encode": _encode,
    **dict.fromkeys(("__builtin__ set", "builtins set"), _set),
    "numpy dtype": _numpy_type,
    **{
        f"numpy.{core}.multiarray {name}": call
        for core in ("core", "_core")
        for name, call in (("scalar", _numpy_number), ("_reconstruct", _numpy_array))
    },
}
TYPES = frozenset({"numpy ndarray"})


def _refuse_boundless(result: object) -> None:
    """Refuse what contains itself, is nested too deeply, or would fill too much if written out.

    Without recursion: every container is measured once, after all that it contains.
    """
    sizes: dict[int, tuple[int, int]] = {}  # id to characters written out, depth
    open_now: set[int] = set()
    to_do = [(result, False)]
    while to_do:
        value, seen = to_do.pop()
        if id(value) in sizes:
            continue
        if isinstance(value, (dict, list, tuple, set)):
            inside = [*itertools.chain(*value.items())] if isinstance(value, dict) else [*value]
            if not seen:
                if id(value) in open_now:
                    raise NotPlain("it contains itself")
                open_now.add(id(value))
                to_do.append((value, True))
                to_do += [(part, False) for part in inside if id(part) not in sizes]
                continue
            open_now.discard(id(value))
            total = 2 + sum(sizes[id(part)][0] + 2 for part in inside)
            depth = 1 + max((sizes[id(part)][1] for part in inside), default=0)
        else:
            total, depth = len(value) if isinstance(value, (str, bytes)) else 8, 0
        if total > MOST_SPELLED_OUT:
            raise NotPlain("written out, it would have no end: few values, repeated many times")
        if depth > DEEPEST:
            raise NotPlain(f"it is nested more than {DEEPEST} deep")
        sizes[id(value)] = total, depth
