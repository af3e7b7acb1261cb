"""Pictures of the report: small enough, readable back, and nothing is read that is no picture."""

import base64
import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from scribble_tools.report.pictures import SMALLEST_SCALE, blend, encode, encode_file, svg_uri


def noise(width, height):
    array = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(array)


def decoded(content):
    return Image.open(io.BytesIO(content))


def test_a_picture_that_fits_keeps_its_size():
    assert decoded(encode(noise(60, 40), 100_000)).size == (60, 40)
    assert decoded(encode(noise(60, 40))).size == (60, 40)


def test_a_picture_that_does_not_fit_becomes_smaller():
    whole = len(encode(noise(300, 200)))
    content = encode(noise(300, 200), whole // 2)
    width, height = decoded(content).size
    assert len(content) <= whole // 2
    assert SMALLEST_SCALE * 300 <= width < 300 and abs(width / height - 1.5) < 0.02


def test_no_side_is_longer_than_webp_takes():
    wide = Image.new("RGB", (40_000, 4))
    for most in (None, 10):
        with Image.open(io.BytesIO(encode(wide, most))) as picture:
            assert 12_000 < picture.width <= 16_383


def test_a_picture_does_not_become_unreadable():
    assert decoded(encode(noise(300, 200), 10)).size == (225, 150)


def test_files_are_no_wider_than_asked_for(tmp_path):
    noise(300, 200).save(tmp_path / "a.png")
    assert decoded(encode_file(tmp_path / "a.png", 150)).size == (150, 100)
    assert decoded(encode_file(tmp_path / "a.png", 900)).size == (300, 200)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(20)])
def test_what_is_no_picture_is_named(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match="a.png cannot be read as a picture"):
        encode_file(tmp_path / "a.png", 150)


def test_a_picture_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    noise(300, 200).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match="cannot be read as a picture"):
        encode_file(tmp_path / "a.png", 150)


def test_a_thumbnail_has_the_shape_of_the_body():
    overlay = np.zeros((10, 20, 4), np.float32)
    overlay[2:8, 4:10] = (1, 0, 0, 1)
    picture = decoded(blend(np.zeros((10, 20)), overlay, (2.0, 1.0), 64))
    assert picture.size == (64, 64)  # 20 mm by 20 mm
    assert decoded(blend(np.zeros((10, 20)), overlay, (1.0, 1.0), 64)).size == (128, 64)
    red, green, _ = picture.convert("RGB").getpixel((20, 32))
    assert red > 200 and green < 60


def test_a_figure_always_gives_the_same_svg():
    def uri():
        figure = Figure()
        figure.subplots().plot([1, 2, 3], label="<b>&")
        figure.legend()
        return svg_uri(figure)

    head, content = uri().split(",")
    assert head == "data:image/svg+xml;base64" and uri() == f"{head},{content}"
    assert b"<b>" not in base64.b64decode(content)
