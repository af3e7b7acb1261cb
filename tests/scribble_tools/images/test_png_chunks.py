"""PNG as its pixels are stored: nothing shifted, and no rows made up."""

import struct
import zlib

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from scribble_tools.images.image_io import read_image
from scribble_tools.images.png_chunks import PASSES
from scribble_tools.images.segmentation_files import read_labels

LABELS = (np.arange(20 * 23) % 4).astype(np.uint8).reshape(20, 23)


def chunk(name, content):
    body = name + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def write(path, array=LABELS, more=b"", rows=None, interlaced=False):
    """``rows``: of all, so many are stored."""
    depth = 8 * array.dtype.itemsize
    header = struct.pack(">2I5B", *array.shape[::-1], depth, 0, 0, 0, interlaced)
    parts = [array[y::down, x::across] for x, y, across, down in PASSES] if interlaced else [array]
    big = array.dtype.newbyteorder(">")
    lines = [b"\0" + row.astype(big).tobytes() for part in parts for row in part if row.size]
    data = chunk(b"IDAT", zlib.compress(b"".join(lines[:rows])))
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    path.write_bytes(start + more + data + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("bits", [1, 7, 8])
def test_labels_are_not_shifted_to_the_bits_that_count(tmp_path, dtype, bits):
    """ITK made 0, 1, 1 of 1, 2, 3 where seven of eight bits count."""
    path = write(tmp_path / "a.png", LABELS.astype(dtype), chunk(b"sBIT", bytes([bits])))
    np.testing.assert_array_equal(read_labels(path)[0], LABELS)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), LABELS)  # as nnU-Net reads it


def test_what_nobody_reads_unshifted_is_refused(tmp_path):
    path = tmp_path / "a.png"
    header = chunk(b"IHDR", struct.pack(">2I5B", 2, 1, 16, 2, 0, 0, 0))
    data = chunk(b"sBIT", b"\7\7\7") + chunk(b"IDAT", zlib.compress(bytes(13)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b""))
    try:
        assert not sitk.GetArrayFromImage(read_image(path)).any()  # where Pillow has such colours
    except ValueError as error:
        assert "a.png says how many bits" in str(error) and "save it without" in str(error)


@pytest.mark.parametrize("interlaced", [False, True])
def test_missing_rows_are_not_background(tmp_path, interlaced):
    path = write(tmp_path / "a.png", interlaced=interlaced)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(path)), LABELS)
    for rows in (0, 10, -1):
        write(path, rows=rows, interlaced=interlaced)
        with pytest.raises(ValueError, match="a.png is cut off or damaged: it has .* bytes of pix"):
            read_image(path)


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (5, 2), (9, 3)])
def test_small_interlaced_pictures(tmp_path, size):
    path = write(tmp_path / "a.png", LABELS[: size[0], : size[1]], interlaced=True)
    assert (sitk.GetArrayFromImage(read_image(path)) == LABELS[: size[0], : size[1]]).all()
