"""Pictures small enough to lie inside an HTML file by the hundred, as WebP or SVG data URIs."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

QUALITY = 60  # WebP's: more shows nothing more of label maps over images
SMALLEST_SCALE = 0.75  # the letters of a contact sheet cannot be read below that
MOST_PIXELS = 16383  # of a side, of WebP
EFFORT = 2  # of 6: files a few per cent larger, in half the time


def encode(picture: Image.Image, max_bytes: int | None = None) -> bytes:
    """A picture as WebP of at most ``max_bytes``, scaled down as far as it needs.

    One that cannot be made that small without becoming unreadable stays larger; no side is longer
    than `MOST_PIXELS`.
    """
    picture = picture.convert("RGB")
    largest = min(1.0, MOST_PIXELS / max(picture.size))
    smallest, scale = min(SMALLEST_SCALE, largest), largest
    while True:
        buffer = io.BytesIO()
        smaller = picture.resize([max(1, round(scale * side)) for side in picture.size])
        smaller.save(buffer, "WEBP", quality=QUALITY, method=EFFORT)
        if max_bytes is None or buffer.tell() <= max_bytes or scale == smallest:
            return buffer.getvalue()
        # the size grows about as the number of pixels does
        scale = max(smallest, 0.95 * scale * math.sqrt(max_bytes / buffer.tell()))


def encode_figure(figure: Figure, dots_per_inch: float, max_bytes: int | None = None) -> bytes:
    """A figure as WebP, see `encode`."""
    figure.set_dpi(dots_per_inch)
    figure.canvas.draw()
    return encode(Image.fromarray(np.asarray(figure.canvas.buffer_rgba())), max_bytes)


def encode_file(path: Path, max_width: int, max_bytes: int | None = None) -> bytes:
    """A picture file as WebP of at most ``max_width`` pixels, see `encode`.

    Raises:
        ValueError: the file is no picture, or of a size that no picture of a training has.
    """
    try:
        with Image.open(path) as picture:
            picture.load()
            height = round(picture.height * min(1, max_width / picture.width))
            picture = picture.convert("RGB").resize((min(picture.width, max_width), height))
            return encode(picture, max_bytes)
    # PIL's own errors are OSErrors, but for those of damaged files and of decompression bombs
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as a picture ({error})") from None


def blend(grey: np.ndarray, overlay: np.ndarray, spacing_mm: Sequence[float], height: int) -> bytes:
    """A slice under its labels as WebP of ``height`` pixels, at most twice as wide.

    Args:
        grey: (rows, columns) between 0 and 1.
        overlay: RGBA (rows, columns, 4).
        spacing_mm: of rows and of columns.
    """
    alpha = overlay[..., 3:]
    picture = (1 - alpha) * grey[..., None] + alpha * overlay[..., :3]
    rows, columns = (n * s for n, s in zip(grey.shape, spacing_mm, strict=True))
    width = min(2 * height, max(1, round(height * columns / rows)))
    image = Image.fromarray((255 * picture).round().astype(np.uint8))
    return encode(image.resize((width, height), Image.Resampling.LANCZOS))


def webp_uri(content: bytes) -> str:
    """The data URI of a WebP picture."""
    return f"data:image/webp;base64,{base64.b64encode(content).decode()}"


def svg_uri(figure: Figure) -> str:
    """The data URI of a figure as SVG; the same figure gives the same."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "report"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"
