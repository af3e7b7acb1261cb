"""What can be wrong with a file, and what a command has to make of it.

Every damage returns what is allowed: ``refuse`` (exit status 0 is wrong), ``right`` (refused, or
the same result as from the whole file) or ``any`` (no traceback, no hang, nothing lost).
"""

import gzip
import io
import json
import os
import pickle
import random
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import SimpleITK as sitk
import torch

from tests.hostile import world

SECRET = "hunter2-of-the-environment"
Damage = Callable[[Path, random.Random], str]


class Evil:
    """Leaves a file behind when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch PWNED",)


# ---- any file


def cut(path: Path, rng: random.Random) -> str:
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content) - 1)])
    return "refuse"


def empty(path: Path, rng: random.Random) -> str:
    path.write_bytes(b"")
    return "refuse"


def noise(path: Path, rng: random.Random) -> str:
    path.write_bytes(rng.randbytes(rng.choice([1, 100, 5000])))
    return "refuse"


def pipe(path: Path, rng: random.Random) -> str:
    path.unlink()
    os.mkfifo(path)
    return "refuse"


def device(path: Path, rng: random.Random) -> str:
    path.unlink()
    path.symlink_to("/dev/zero")
    return "refuse"


def folder(path: Path, rng: random.Random) -> str:
    path.unlink()
    path.mkdir()
    return "refuse"


def loop(path: Path, rng: random.Random) -> str:
    path.unlink()
    path.symlink_to(path.name)
    return "refuse"


def other_content(path: Path, rng: random.Random) -> str:
    contents = (
        b"PK\3\4" + bytes(40),
        b"<!doctype html><p>404",
        b"%PDF-1.4",
        b"version https://git-lfs",
    )
    path.write_bytes(rng.choice(contents))
    return "refuse"


def strange_name(path: Path, rng: random.Random) -> str:
    """A second file whose name a terminal would obey, or that is no text."""
    stem, dot, ending = path.name.partition(".")
    names = [
        "\x1b[2J\x1b[31m",
        "\u202egnp",
        "\r",
        "\nerror: fake",
        "$(touch PWNED)",
        "';touch PWNED;'",
    ]
    name = f"{stem}{rng.choice(names)}{dot}{ending}".encode()
    if rng.random() < 0.2:
        name = f"{stem}".encode() + b"\xff" + f"{dot}{ending}".encode()
    os.link(path, os.path.join(os.fsencode(path.parent), name))
    return "any"


# ---- images and labels


def flip(path: Path, rng: random.Random) -> str:
    """Bits of packed voxels, which a checksum covers."""
    content = bytearray(path.read_bytes())
    for _ in range(rng.randint(1, 3)):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return "right" if path.name.endswith(".gz") else "any"


def larger(path: Path, rng: random.Random) -> str:
    array = world.read(path)
    axis = rng.randrange(array.ndim)
    world.write(path, np.concatenate([array, array.take([0], axis)], axis))
    return "refuse"


def not_finite(path: Path, rng: random.Random) -> str:
    array = world.read(path).astype(np.float32)
    array.ravel()[rng.randrange(array.size)] = rng.choice([np.nan, np.inf, -np.inf])
    world.write(path, array)
    return "refuse"


def fractions(path: Path, rng: random.Random) -> str:
    array = world.read(path).astype(np.float32)
    array.ravel()[rng.randrange(array.size)] = 0.5
    world.write(path, array)
    return "refuse"


def unknown_value(path: Path, rng: random.Random) -> str:
    array = world.read(path).astype(np.int32)
    array.ravel()[rng.randrange(array.size)] = rng.choice([-1, 77, 2**31 - 1])
    world.write(path, array)
    return "any"


def header(path: Path, rng: random.Random) -> str:
    """Numbers of the header that readers of images have died of."""
    image = sitk.ReadImage(str(path))
    name = str(path.with_name(f"_{rng.random()}.{rng.choice(['nii', 'mha', 'nrrd', 'gipl'])}"))
    sitk.WriteImage(image, name, useCompression=False)
    content = bytearray(Path(name).read_bytes())
    Path(name).unlink()
    if name.endswith((".nii", ".gipl")):
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(min(len(content), 300))
            content[place : place + 2] = struct.pack("<H", rng.choice([0, 1, 255, 32767, 65535]))
    else:
        words = [m.span() for m in re.finditer(rb"[-\w.]+", bytes(content[:300]))]
        start, end = rng.choice(words[1:])
        choices = (b"99", b"-1", b"99999999999", b"nan", b"/etc/passwd", b" " * 3000, b"9" * 400)
        content[start:end] = rng.choice(choices)
    packed = path.name.endswith(".gz") and name.endswith(".nii")
    path.write_bytes(gzip.compress(bytes(content)) if packed else bytes(content))
    return "any"


def names_secret(path: Path, rng: random.Random) -> str:
    """A header that says that its voxels lie in a file of the user's."""
    array = world.read(path)
    place = path.parents[1] / "notes.txt" if rng.random() < 0.5 else Path("/etc/passwd")
    sizes = " ".join(map(str, array.shape[::-1]))
    if rng.random() < 0.5:
        text = f"NRRD0004\ntype: uchar\ndimension: {array.ndim}\nsizes: {sizes}\nencoding: raw\n"
        text += f"data file: {place}\n"
    else:
        text = f"ObjectType = Image\nNDims = {array.ndim}\nDimSize = {sizes}\n"
        text += f"ElementType = MET_UCHAR\nElementDataFile = {place}\n"
    path.write_text(text)
    return "refuse"


# ---- JSON


def wrong_json(path: Path, rng: random.Random) -> str:
    """Something that no such file holds."""
    texts = [
        "",
        "{",
        "[]",
        "null",
        "3",
        '"x"',
        "[" * 100_000,
        '{"labels": NaN}',
        "1e999",
        "\ufeff{}",
    ]
    texts += ['{"a": 1, "a": 2}', '{"labels": {"background": 1e400}}', "9" * 5000, '{"a": ' * 2000]
    if rng.random() < 0.1:
        path.write_bytes(b'{"labels": "\xff\xfe"}')
    else:
        path.write_text(rng.choice(texts), encoding="utf-8")
    return "refuse"


def _values(rng: random.Random) -> object:
    deep: object = 0
    for _ in range(200):
        deep = [deep]
    values = [
        None,
        True,
        -1,
        1.5,
        "",
        "x",
        [],
        {},
        [[]],
        {"": {}},
        10**30,
        [None],
        deep,
        ["\x1b[2J"],
    ]
    return rng.choice(values)


def wrong_entry(path: Path, rng: random.Random) -> str:
    """One value anywhere of another type."""
    content = json.loads(path.read_text())
    places = []

    def walk(value: object) -> None:
        keys = (
            value
            if isinstance(value, dict)
            else range(len(value))
            if isinstance(value, list)
            else ()
        )
        for key in [*keys]:
            places.append((value, key))
            walk(value[key])

    walk(content)
    parent, key = rng.choice(places)
    if isinstance(parent, dict) and rng.random() < 0.3:
        del parent[key]
    else:
        parent[key] = _values(rng)
    path.write_text(json.dumps(content))
    return "any"


def strange_labels(path: Path, rng: random.Random) -> str:
    """Labels by the thousand, and names that a terminal would obey; none of them in the files."""
    content = json.loads(path.read_text())
    if rng.random() < 0.5:
        number = rng.choice([300, 3000])
        more = {f"c{k}": k for k in range(3, number)}
        content["labels"] = {"background": 0, "organ": 1, "other": 2, **more, "ignore": number}
    else:
        content["labels"]["\x1b[31m\u202e<script>alert(1)</script>\n"] = 3
        content["labels"]["ignore"] = 4
    path.write_text(json.dumps(content))
    return "any"


def environment(path: Path, rng: random.Random) -> str:
    """A listing with a variable of the environment in it, as nnU-Net would expand it."""
    content = json.loads(path.read_text())
    entry = {"images": ["imagesTr/$SECRET_TOKEN.nii.gz"], "label": "~/${SECRET_TOKEN}"}
    content["dataset"] = {"a": entry}
    path.write_text(json.dumps(content))
    return "any"


# ---- checkpoints


def _with_pickle(path: Path, data: bytes) -> None:
    with zipfile.ZipFile(path) as archive:
        parts = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, data if name.endswith("/data.pkl") else content)


def evil_pickle(path: Path, rng: random.Random) -> str:
    content = world.checkpoint()
    place = rng.choice([content, content["init_args"], content["pclmix"], content["logging"]])
    place[rng.choice(["x", "fold", "config", "lrs"])] = Evil()
    if rng.random() < 0.3:
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path)
    return "refuse"


def endless_pickle(path: Path, rng: random.Random) -> str:
    content = world.checkpoint()
    laughs: object = "ha"
    for _ in range(40):
        laughs = [laughs] * 10
    itself: list = []
    itself.append(itself)
    number = {"lrs": [10**400]}
    values = [laughs, itself, number, torch.zeros(1).expand(1 << 42)]
    content[rng.choice(["logging", "pclmix", "init_args"])] = rng.choice(values)
    torch.save(content, path)
    return "refuse"


def changed_pickle(path: Path, rng: random.Random) -> str:
    with zipfile.ZipFile(path) as archive:
        name = next(n for n in archive.namelist() if n.endswith("data.pkl"))
        data = bytearray(archive.read(name))
    for _ in range(rng.randint(1, 3)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    _with_pickle(path, bytes(data))
    return "any"


def changed_archive(path: Path, rng: random.Random) -> str:
    """A byte of the archive: data with checksums, or its own bookkeeping."""
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return "right"


def wrong_types(path: Path, rng: random.Random) -> str:
    content = world.checkpoint()
    place = rng.choice([content, content["pclmix"], content["init_args"], content["logging"]])
    values = [
        None,
        3,
        "x",
        [],
        {},
        [[1, "x"]],
        {"a": torch.ones(1)},
        float("inf"),
        "../../x",
        "a__b",
    ]
    place[rng.choice([*place])] = rng.choice(values)
    torch.save(content, path)
    return "any"


def foreign_network(path: Path, rng: random.Random) -> str:
    content = json.loads(path.read_text())
    for own in content["configurations"].values():
        own["architecture"]["network_class_name"] = rng.choice(["os.system", "subprocess.Popen", 3])
    path.write_text(json.dumps(content))
    return "any"


# ---- h5


def strange_h5(path: Path, rng: random.Random) -> str:
    with h5py.File(path, "a") as file:
        key = rng.choice(["image", "scribble"])
        del file[key]
        kinds = (
            lambda: file.create_dataset(key, (1 << 22, 1 << 22), "f4", chunks=True),
            lambda: file.__setitem__(key, h5py.ExternalLink("/etc/passwd", "/")),
            lambda: file.__setitem__(key, h5py.SoftLink(f"/{key}")),
            lambda: file.__setitem__(key, "text"),
            lambda: file.create_group(key),
            lambda: file.__setitem__(key, np.zeros(world.SHAPE, np.complex64)),
            lambda: None,
        )
        rng.choice(kinds)()
    return "refuse"


def changed_h5(path: Path, rng: random.Random) -> str:
    content = bytearray(path.read_bytes())
    for _ in range(rng.randint(1, 3)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    path.write_bytes(content)
    return "right"


ANY_FILE: tuple[Damage, ...] = (cut, empty, noise, pipe, device, folder, loop)
VOLUME: tuple[Damage, ...] = (
    *ANY_FILE,
    other_content,
    strange_name,
    flip,
    flip,
    larger,
    header,
    header,
    names_secret,
)
JSON: tuple[Damage, ...] = (
    *ANY_FILE,
    wrong_json,
    wrong_json,
    wrong_entry,
    wrong_entry,
    wrong_entry,
)
BY_KIND: dict[str, tuple[Damage, ...]] = {
    "image": (*VOLUME, not_finite),
    "label": (*VOLUME, not_finite, fractions, unknown_value),
    "h5": (*ANY_FILE, strange_h5, changed_h5),
    "dataset.json": (*JSON, strange_labels, environment),
    "conversion.json": JSON,
    "plans.json": (*JSON, foreign_network),
    "fingerprint": JSON,
    "splits": JSON,
    "checkpoint": (
        *ANY_FILE,
        evil_pickle,
        evil_pickle,
        endless_pickle,
        changed_pickle,
        changed_pickle,
        changed_archive,
        wrong_types,
        wrong_types,
    ),
}


def is_shown_raw(text: str) -> bool:
    """Whether what was printed holds characters that a terminal would obey or that deceive."""
    return bool(re.search("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text))


def buffer_of(content: object) -> bytes:
    """A checkpoint as bytes."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()
