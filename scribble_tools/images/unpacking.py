"""The content of files that may be packed with gzip, whatever their names say."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

MAGIC = b"\x1f\x8b"
CHUNK = 1 << 20


def chunks_of(path: Path) -> Iterator[bytes]:
    """The bytes of a file as they are on the disk."""
    with path.open("rb") as file:
        yield from iter(lambda: file.read(CHUNK), b"")


class Content:
    """The bytes of a file, unpacked where it is packed; iterate over it for chunks, once.

    Attributes:
        packed: whether the file is packed.
        trailing: after the iteration, whether bytes follow that are no part of the packed content.
            Some programs leave them; ITK passes over them, other readers stop.

    Raises:
        OSError, EOFError, zlib.error: while it is read: the file is cut off or damaged.
    """

    def __init__(self, path: Path):
        self.path = path
        with path.open("rb") as file:
            self.packed = file.read(2) == MAGIC
        self.trailing = False

    def __iter__(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            if not self.packed:
                yield from iter(lambda: file.read(CHUNK), b"")
                return
            data = file.read(CHUNK)
            while data.startswith(MAGIC):  # one member after the other
                member = zlib.decompressobj(31)
                while not member.eof:
                    if not data:
                        raise EOFError("the packed data end too early")
                    # no more at once than a chunk, however well it is packed
                    yield member.decompress(data, CHUNK)
                    data = member.unconsumed_tail or (b"" if member.eof else file.read(CHUNK))
                data = member.unused_data
                if len(data) < 2:
                    data += file.read(CHUNK)
            # zeros are padding, which every reader passes over
            self.trailing = bool(data.strip(b"\0")) or any(
                chunk.strip(b"\0") for chunk in iter(lambda: file.read(CHUNK), b"")
            )

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from ``start`` to ``stop``, or as far as there are any."""
        parts, position = [], 0
        for chunk in self:
            parts.append(chunk[max(start - position, 0) : max(stop - position, 0)])
            position += len(chunk)
            if position >= stop:
                break
        return b"".join(parts)
