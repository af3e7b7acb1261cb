"""Arrays out of HDF5 files of any origin: bounded, and only what lies in the file itself.

A file of 2 kB can describe an array of terabytes that was never written, and an entry can be a link
to any other file: HDF5 would read it without a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

SMALL_BYTES = 64 << 20
LARGEST_GROWTH = 1100  # of what is packed: zlib's own limit is 1032
LARGEST_BYTES = 8 << 30
MOST_ENTRIES = 10_000
DEEPEST = 32


@contextmanager
def opened_h5(path: Path) -> Iterator[h5py.File]:
    """Yield an HDF5 file; whatever goes wrong with it within the block is one error.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is none, is damaged, or the block raised a ValueError.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if not path.is_file():
        raise ValueError(f"{path} is no file (a folder, a pipe or a device)")
    try:
        with h5py.File(path) as file:
            yield file
    except ValueError as error:
        raise ValueError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None
    # what h5py raises for a damaged file depends on where it is damaged
    except (OSError, RuntimeError, KeyError, TypeError, AttributeError, MemoryError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} is no HDF5 file, or damaged ({reason})") from None


def dataset_names(file: h5py.File) -> list[str]:
    """Names of all arrays that lie in the file itself, in groups too; links are not followed.

    Raises:
        ValueError: there are more than any file of ours has.
    """
    names: list[str] = []
    seen = {h5py.h5o.get_info(file.id).addr}
    to_do = [("", 0)]
    while to_do:
        group, depth = to_do.pop()
        for key in sorted(file[group or "/"], reverse=True):
            name = f"{group}/{key}".lstrip("/")
            if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                continue
            entry = file[name]
            if isinstance(entry, h5py.Dataset):
                names.append(name)
            elif isinstance(entry, h5py.Group):
                address = h5py.h5o.get_info(entry.id).addr
                if address not in seen:  # a group can contain itself
                    seen.add(address)
                    to_do.append((name, depth + 1))
        if len(names) + len(to_do) > MOST_ENTRIES or depth > DEEPEST:
            raise ValueError("it has more entries, or deeper ones, than any file of labels")
    return sorted(names)


def read_dataset(file: h5py.File, name: str) -> np.ndarray:
    """An array of numbers.

    Raises:
        ValueError: there is none of this name in the file itself, it holds something else than
            numbers, or more than the file can hold.
    """
    parts = name.split("/")
    places = ["/".join(parts[: k + 1]) for k in range(len(parts))]
    if any(file.get(place, getlink=True) is None for place in places):
        raise ValueError(f"there is no {name!r} in it")
    if not all(isinstance(file.get(place, getlink=True), h5py.HardLink) for place in places):
        raise ValueError(f"{name!r} is a link, which is not followed")
    entry = file[name]
    if not isinstance(entry, h5py.Dataset):
        raise ValueError(f"{name!r} is no array")
    if entry.is_virtual or entry.external:
        raise ValueError(f"the numbers of {name!r} lie in another file, which is not read")
    if entry.dtype.kind not in "biuf" or entry.shape is None:
        raise ValueError(f"{name!r} holds {entry.dtype}, no numbers")
    size, stored = entry.size * entry.dtype.itemsize, entry.id.get_storage_size()
    if size > max(SMALL_BYTES, LARGEST_GROWTH * stored) or size > LARGEST_BYTES:
        raise ValueError(
            f"{name!r} says that it has {size} bytes, of which {stored} are there: it was never "
            "written, or is no image"
        )
    return entry[()]
