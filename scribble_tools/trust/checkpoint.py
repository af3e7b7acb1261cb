"""torch's checkpoint files: what they hold, known before torch opens them."""

from __future__ import annotations

import codecs
import io
import re
import stat
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from scribble_tools.trust.plain_pickle import MOST_BYTES, NotPlain, Storage, read_plain_pickle

# what torch.save writes below the one folder of its archive
MEMBER = re.compile(
    r"[^/\\]+/(data\.pkl|data/\d+|version|byteorder|\.format_version|\.storage_alignment"
    r"|\.data/serialization_id)"
)
MOST_MEMBERS = 100_000
END, END_64, LOCATOR_64 = "<4s4H2LH", "<4sQ2H2L4Q", "<4sLQL"  # records of zip's directory
PIECE = 1 << 20


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that holds plain data.

    Attributes:
        content: as it was saved, numpy's numbers as Python's, with `plain_pickle.StoredTensor` in
            place of tensors.
        tensor_bytes: size of all tensors together.
    """

    content: Any
    tensor_bytes: int


def read_checkpoint(path: Path, checksums: bool = True) -> Checkpoint:
    """Read what a file of ``torch.save`` holds besides its tensors; nothing in it is executed.

    Time and memory are bounded: by the file's length with ``checksums``, else by much less.

    Args:
        checksums: read all tensors too, to compare them with their checksums.

    Raises:
        FileNotFoundError: there is no such file.
        NotPlain: a ValueError; it holds more than plain data.
        ValueError: it is no such file, or is damaged.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist") from None
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path} is no file (a folder, a pipe or a device)")
    with path.open("rb") as file:
        return check_checkpoint(file, str(path), checksums)


def load_checkpoint(path: Path, device: str = "cpu", mmap: bool = False) -> Any:
    """``torch.load`` of a checkpoint that `read_checkpoint` has found to hold plain data.

    Args:
        mmap: leave tensors in the file until they are used.

    Raises:
        FileNotFoundError, NotPlain, ValueError: see `read_checkpoint`; or torch refuses it all the
            same.
    """
    import torch  # slow to import

    read_checkpoint(path)
    try:
        with torch.serialization.safe_globals(_numbers_of_numpy()):
            return torch.load(path, map_location=device, weights_only=True, mmap=mmap)
    except Exception as error:  # torch and pickle raise whatever comes
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} is no checkpoint that torch reads as data: {reason}") from None


def _numbers_of_numpy() -> list:
    """What torch is to know for numpy's numbers, which nnU-Net's own trainers log."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(kind + size)) for kind in "iuf" for size in "248"]
    names = [f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")]
    return [np.dtype, codecs.encode, *kinds, *((scalar, name) for name in names)]


def check_checkpoint(file: IO[bytes], name: str, checksums: bool = True) -> Checkpoint:
    """`read_checkpoint` of an open file that can be searched; ``name`` is for messages."""
    try:
        _refuse_ambiguous(file)
        with zipfile.ZipFile(file) as archive:
            members = _members(archive, file.seek(0, io.SEEK_END))
            if checksums and (damaged := archive.testzip()):
                raise ValueError(f"it is damaged: the checksum of {damaged} is another")
            if (size := members["data.pkl"].file_size) > MOST_BYTES:
                raise ValueError(f"its description has {size >> 20} MB, more than any model's")
            storages: dict[str, Storage] = {}
            content = read_plain_pickle(archive.read(members["data.pkl"]), storages=storages)
    except NotPlain as error:
        raise NotPlain(f"{name} holds more than plain data, or is damaged: {error}") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(f"{name} is no readable checkpoint: {error}") from None
    total = 0
    for key, storage in storages.items():
        stored = members.get(f"data/{key}")
        if stored is None or stored.file_size != storage.items * storage.item_bytes:
            raise ValueError(f"{name} is damaged: tensor data {key} is missing or of another size")
        total += stored.file_size
    return Checkpoint(content, total)


def _refuse_ambiguous(file: IO[bytes]) -> None:
    """Refuse archives that two readers could see differently: torch's reader is not Python's.

    The directory has to lie where its record says and to fill the file's end; the records that
    large archives add have to lie right before the last one.

    Raises:
        ValueError: it is another kind of file, or such an archive.
    """
    length = file.seek(0, io.SEEK_END)
    file.seek(0)
    if file.read(4) != b"PK\x03\x04":
        raise ValueError("it is not in the format of torch.save (torch 1.6 or newer), or is empty")
    record = _record(file, END, length, b"PK\x05\x06")
    if record is None:
        raise ValueError("it is cut off, or something stands after its end")
    members, size, offset = record[4:7]
    place = length - struct.calcsize(END)
    large = _record(file, LOCATOR_64, place, b"PK\x06\x07")
    if large is not None:
        place -= struct.calcsize(LOCATOR_64)
        record = _record(file, END_64, place, b"PK\x06\x06")
        place -= struct.calcsize(END_64)
        if record is None or large[2] != place:
            raise ValueError("its directory is not where it should be")
        members, size, offset = record[7:10]
    if offset + size != place:
        raise ValueError("its directory is not where it should be")
    if members > MOST_MEMBERS or size > MOST_MEMBERS * 1000:
        raise ValueError(f"it has {members} parts, more than any model's")
    file.seek(0)


def _record(file: IO[bytes], layout: str, end: int, mark: bytes) -> tuple | None:
    """The record that ends at ``end``, if it begins with ``mark``."""
    start = end - struct.calcsize(layout)
    if start < 0:
        return None
    file.seek(start)
    record = struct.unpack(layout, file.read(struct.calcsize(layout)))
    return record if record[0] == mark else None


def _members(archive: zipfile.ZipFile, length: int) -> dict[str, zipfile.ZipInfo]:
    """The parts by name below the archive's one folder.

    Raises:
        ValueError: there are others than torch.save writes, or they are packed or overlap.
    """
    infos = archive.infolist()
    if strange := [info.filename for info in infos if not MEMBER.fullmatch(info.filename)]:
        raise ValueError(f"it holds {strange[0][:100]!r}, which no checkpoint has")
    if any(info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 for info in infos):
        raise ValueError("it is packed or encrypted, which torch.save never does")
    # torch takes upper and lower case for the same
    names = {info.filename.lower().partition("/")[2] for info in infos}
    folders = {info.filename.partition("/")[0] for info in infos}
    if len(names) != len(infos) or len(folders) != 1 or not infos[0].filename.isascii():
        raise ValueError("it has two parts of one name")
    if min(info.header_offset for info in infos) or sum(i.file_size for i in infos) > length:
        raise ValueError("its parts overlap")
    members = {info.filename.partition("/")[2]: info for info in infos}
    if "data.pkl" not in members:
        raise ValueError("it has no data.pkl")
    return members
