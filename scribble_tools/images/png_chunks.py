"""What ITK passes over in a PNG without a word: missing rows, and bits that it shifts away."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

MOST_BYTES = 1 << 20  # of a chunk's content at a time
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the kind of colours
# the first column and row, and the steps, of the seven passes of an interlaced picture
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))
PASSES += ((0, 1, 1, 2),)


def _chunks(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """Name and size in bytes of each chunk; its content is what is read next."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        end = file.tell() + length + 4
        yield name, length
        file.seek(end)


def has_significant_bits(path: Path) -> bool:
    """Whether a PNG says how many bits of its values count: ITK shifts them, others do not."""
    with path.open("rb") as file:
        return any(name == b"sBIT" for name, _ in _chunks(file))


def refuse_missing_rows(path: Path) -> None:
    """Refuse a PNG whose packed pixels end too early: ITK makes the rest 0.

    Raises:
        ValueError: it is cut off or damaged.
    """
    expected = found = 0
    unpacker = zlib.decompressobj()
    try:
        with path.open("rb") as file:
            for name, length in _chunks(file):
                if name == b"IHDR":
                    expected = _bytes_of(file.read(13))
                while name == b"IDAT" and length > 0 and found < expected:
                    piece = file.read(min(length, MOST_BYTES))
                    if not piece:
                        break
                    length -= len(piece)
                    while piece and found < expected:
                        found += len(unpacker.decompress(piece, MOST_BYTES))
                        piece = unpacker.unconsumed_tail
    except (struct.error, zlib.error) as error:
        raise ValueError(f"{path} is cut off or damaged ({error})") from None
    if found < expected:
        raise ValueError(
            f"{path} is cut off or damaged: it has {found} bytes of pixels, and its size says "
            f"{expected}. Copy or export it again"
        )


def _bytes_of(header: bytes) -> int:
    """Of all rows, unpacked: each begins with a byte that says how it is to be read."""
    width, height, depth, colours, _, _, interlaced = struct.unpack(">2I5B", header)
    bits = depth * CHANNELS.get(colours, 1)
    passes = PASSES if interlaced else ((0, 0, 1, 1),)
    total = 0
    for column, row, across, down in passes:
        columns, rows = -(-(width - column) // across), -(-(height - row) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * bits + 7) // 8)
    return total
