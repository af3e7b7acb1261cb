"""Pictures are read as nnU-Net reads them, and refused where viewers would turn them."""

import struct
import zlib

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image, PngImagePlugin
from skimage import io

from scribble_tools.images.image_files import read_channels, write_image
from scribble_tools.images.image_io import image_grid, read_image

GREY = np.zeros((48, 64), np.uint8)
GREY[5:9, 5:40], GREY[20:22, 3:50] = 1, 2
RGB = np.stack([GREY * 100, GREY * 50, 255 - GREY], axis=-1)
PALETTE = np.random.default_rng(0).integers(0, 65535, (3, 256)).astype(np.uint16)
TILES = {"tile": (16, 16)}
TIFFS = {
    "plain": (GREY, {}),
    "strips": (GREY, {"rowsperstrip": 5, "compression": "zlib"}),
    "tiles": (GREY, TILES),
    "tiles of 16 bits": (GREY.astype(np.uint16) + 1000, TILES),
    "tiles of fractions": (GREY / np.float32(3), TILES),
    "tiles in colours": (RGB, {"photometric": "rgb", **TILES}),
    "planes of colours": (
        np.moveaxis(RGB, -1, 0),
        {"photometric": "rgb", "planarconfig": "separate"},
    ),
    "transparency": (np.dstack([RGB, GREY]), {"photometric": "rgb", "extrasamples": [2]}),
    "big": (GREY, {"bigtiff": True, "byteorder": ">"}),
    "64 bits": (GREY.astype(np.int64), {}),
    "white is zero": (GREY, {"photometric": "miniswhite"}),
    "one bit": (GREY > 0, {"photometric": "minisblack"}),
}


@pytest.mark.parametrize("name", TIFFS)
def test_tif_is_read_as_nnunet_reads_it(tmp_path, name):
    array, options = TIFFS[name]
    tifffile.imwrite(tmp_path / "a.tif", array, **options)
    image = read_image(tmp_path / "a.tif")
    found, expected = sitk.GetArrayFromImage(image), io.imread(tmp_path / "a.tif")
    assert np.array_equal(found, expected) and image.GetSize() == (64, 48)
    # and what nnU-Net is given is the same
    images, whole = read_channels(tmp_path / "a.tif")
    write_image(tmp_path / "a.tif", images[0], whole, tmp_path / "b.tif")
    assert np.array_equal(io.imread(tmp_path / "b.tif"), expected)


@pytest.mark.parametrize("planes", ["separate", "contig"])
def test_a_tif_of_two_channels_keeps_both(tmp_path, planes):
    array = np.stack([GREY, GREY + 1], axis=0 if planes == "separate" else -1)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", planarconfig=planes)
    found = sitk.GetArrayFromImage(read_image(tmp_path / "a.tif"))
    assert np.array_equal(found, np.stack([GREY, GREY + 1], axis=-1))


def test_a_picture_with_a_number_of_channels_that_nnunet_does_not_read_is_refused(tmp_path):
    grey_and_alpha = np.stack([GREY, GREY + 1], axis=-1)
    how = {"photometric": "minisblack", "planarconfig": "contig"}
    tifffile.imwrite(tmp_path / "a.tif", grey_and_alpha, **how)
    with pytest.raises(ValueError, match=r"a.tif has 2 channels; of a picture .* 1, 3 or 4"):
        read_channels(tmp_path / "a.tif")


def test_a_palette_is_shown_in_its_colours(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="palette", colormap=PALETTE)
    found = sitk.GetArrayFromImage(read_image(tmp_path / "a.tif"))
    assert np.array_equal(found, np.moveaxis(PALETTE[:, GREY], 0, -1))


def test_smaller_copies_in_a_tif_are_passed_over(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(GREY, subifds=1, **TILES)
        file.write(GREY[::2, ::2], subfiletype=1, **TILES)
    with tifffile.TiffWriter(tmp_path / "b.tif") as file:
        file.write(GREY)
        file.write(GREY[::2, ::2], subfiletype=1)
    for name in ("a.tif", "b.tif"):
        assert np.array_equal(sitk.GetArrayFromImage(read_image(tmp_path / name)), GREY)


def test_several_pages_are_refused_by_their_number(tmp_path):
    for name, options in (("a.tif", {}), ("b.tif", {"imagej": True}), ("c.tif", TILES)):
        tifffile.imwrite(tmp_path / name, np.stack([GREY] * 5), photometric="minisblack", **options)
        with pytest.raises(ValueError, match=f"{name} has 5 pages"):
            read_channels(tmp_path / name)
    with tifffile.TiffWriter(tmp_path / "d.tif") as file:
        file.write(GREY)
        file.write(GREY[:10])
    with pytest.raises(ValueError, match="d.tif holds 2 pictures of different sizes"):
        read_channels(tmp_path / "d.tif")


@pytest.mark.parametrize("dpi", [72, 300])
def test_a_resolution_in_the_tif_is_the_size_of_a_pixel(tmp_path, dpi):
    for options in ({}, TILES):
        tifffile.imwrite(
            tmp_path / "a.tif", GREY, resolution=(dpi, dpi), resolutionunit=2, **options
        )
        assert read_image(tmp_path / "a.tif").GetSpacing() == pytest.approx((25.4 / dpi,) * 2)


def save_turned(path, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    if path.suffix == ".tif":
        tifffile.imwrite(path, GREY, extratags=[(274, "H", 1, orientation, True)])
    elif "raw" in path.name:  # as older ImageMagick writes it
        info = PngImagePlugin.PngInfo()
        block = exif.tobytes()
        text = f"\nexif\n{len(block):8}\n{block.hex()}\n"
        info.add_text("Raw profile type exif", text, zip="zip" in path.name)
        Image.fromarray(GREY).save(path, pnginfo=info)
    else:
        Image.fromarray(RGB).save(path, exif=exif)
    return path


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "raw.png", "raw_zip.png"])
def test_a_picture_that_viewers_turn_is_refused(tmp_path, name):
    for orientation, words in (
        (2, "mirrored left to right"),
        (3, "turned by 180"),
        (4, "mirrored top to bottom"),
        (5, "mirrored, and turned"),
        (6, "90 degrees to the right"),
        (7, "mirrored, and turned"),
        (8, "90 degrees to the left"),
    ):
        path = save_turned(tmp_path / name, orientation)
        with pytest.raises(
            ValueError, match=f"{name} has the EXIF orientation {orientation}: .*{words}"
        ):
            read_image(path)
    for orientation in (0, 1, 9):  # upright, or nothing that means anything
        assert read_image(save_turned(path, orientation)).GetSize() == (64, 48)


def test_exif_of_either_byte_order(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(RGB).save(path)
    for order, name in (("<", b"II"), (">", b"MM")):
        block = name + struct.pack(f"{order}HIH", 42, 8, 2)
        block += struct.pack(f"{order}HHIHH", 256, 3, 1, 64, 0)
        block += struct.pack(f"{order}HHIHHI", 274, 3, 1, 6, 0, 0)
        content = path.read_bytes()
        marker = b"\xff\xe1" + struct.pack(">H", len(block) + 8) + b"Exif\0\0" + block
        (tmp_path / "b.jpg").write_bytes(content[:2] + marker + content[2:])
        with pytest.raises(ValueError, match="orientation 6"):
            read_image(tmp_path / "b.jpg")
        for length in range(len(content) // 3):  # cut anywhere: an error, or the picture
            (tmp_path / "c.jpg").write_bytes((content[:2] + marker)[:length] + content[2:20])
            with pytest.raises(ValueError, match="c.jpg"):
                read_image(tmp_path / "c.jpg")


def test_pictures_that_itk_does_not_read(tmp_path):
    Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(255 - GREY)]).save(tmp_path / "a.png")
    found = sitk.GetArrayFromImage(read_image(tmp_path / "a.png"))
    assert np.array_equal(found, np.stack([GREY, 255 - GREY], axis=-1))
    Image.fromarray(GREY > 0).save(tmp_path / "a.bmp")
    found = sitk.GetArrayFromImage(read_image(tmp_path / "a.bmp"))
    assert np.array_equal(found, 255 * (GREY > 0))


@pytest.mark.parametrize("ending", [".tif", ".png", ".jpg", ".bmp"])
def test_damaged_pictures_are_refused(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 64)).astype(np.uint8)).save(path)
    content = path.read_bytes()
    for length in (1, 5, 9, 20, 60, len(content) // 2):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=path.name):
            read_image(path)


def test_png_chunks_of_any_length(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(GREY).save(path)
    content = path.read_bytes()
    text = b"tEXt" + b"Comment\0" + bytes(3 << 20)
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    path.write_bytes(content[:33] + chunk + content[33:])
    assert read_image(path).GetSize() == (64, 48)


@pytest.mark.parametrize("ending", [".bmp", ".png", ".jpg"])
def test_a_picture_without_its_last_bytes_is_refused(tmp_path, ending):
    """ITK makes zeros of a BMP whose last row lacks filling; Pillow reads a PNG without its end."""
    path = tmp_path / f"a{ending}"
    array = np.zeros((6, 5), np.uint8)  # rows of 5 bytes are filled up to 8
    array[2:4, 2:4] = 200
    Image.fromarray(array).save(path)
    whole = path.read_bytes()
    assert sitk.GetArrayFromImage(read_image(path)).max() > 150
    for length in (len(whole) - 1, len(whole) - 2, len(whole) - 5):
        path.write_bytes(whole[:length])
        if ending == ".jpg" and length > len(whole) - 3:
            continue  # the mark of its end alone: every pixel is there
        with pytest.raises(ValueError, match=f"a{ending} is cut off or damaged"):
            read_image(path)


def test_a_tif_whose_pages_go_in_a_circle_has_an_end(tmp_path):
    path = tmp_path / "a.tif"
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    tifffile.imwrite(path, picture, resolution=(100, 200), resolutionunit="CENTIMETER")
    content = bytearray(path.read_bytes())
    (start,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, start)
    struct.pack_into("<I", content, start + 2 + 12 * count, start)
    path.write_bytes(content)
    image = read_image(path)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), picture)
    assert image.GetSpacing() == (0.1, 0.05)
    assert image_grid(path) == ((4, 3), (0.1, 0.05))


def test_a_tif_without_the_lengths_of_its_tiles(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.ones((40, 40), np.uint8), tile=(16, 16))
    content = bytearray(path.read_bytes())
    (start,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, start)
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        if struct.unpack_from("<H", content, entry) == (325,):
            struct.pack_into("<I", content, entry + 8, 0)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a.tif cannot be read .*how long its strips or tiles"):
        read_image(path)
