"""Whatever is written is compared with what it should be, in every format and by every way."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools.images import image_files, slicer_writer
from scribble_tools.images.image_files import read_channels, write_image
from scribble_tools.images.image_io import save_image, write_labels
from scribble_tools.images.slicer_writer import NewSegment, write_segmentation

FLAT = (".png", ".tif", ".tiff", ".bmp")
VOLUMES = (".nii", ".nii.gz", ".nrrd", ".mha", ".gipl")


def drawn(ending):
    """Labels that end in zeros, which a reader might take for what is missing."""
    labels = np.zeros((20, 30) if ending in FLAT else (4, 20, 30), np.uint8)
    labels[..., 3:9, 3:9] = 1
    return labels


@pytest.mark.parametrize("ending", [*FLAT, *VOLUMES])
def test_labels_that_are_cut_or_changed_on_the_disk_are_no_success(tmp_path, monkeypatch, ending):
    labels, path = drawn(ending), tmp_path / f"a{ending}"
    grid, write = sitk.GetImageFromArray(labels), sitk.WriteImage
    write_labels(labels, grid, path)
    whole = path.read_bytes()

    def cut_to(length):
        def write_and_cut(image, name, useCompression):
            write(image, name, useCompression=useCompression)
            with open(name, "r+b") as file:
                file.truncate(length)

        return write_and_cut

    def changed(image, name, useCompression):
        array = sitk.GetArrayFromImage(image)
        array.flat[-1] = 1
        write(sitk.GetImageFromArray(array), name, useCompression=useCompression)

    for length in sorted({*range(0, len(whole), max(1, len(whole) // 25)), len(whole) - 1}):
        monkeypatch.setattr(sitk, "WriteImage", cut_to(length))
        try:
            write_labels(labels, grid, path)
        except ValueError as error:
            assert str(path) in str(error)
            continue
        raise AssertionError(f"{length} of {len(whole)} bytes are taken for the whole file")
    monkeypatch.setattr(sitk, "WriteImage", changed)
    with pytest.raises(ValueError, match="read back with other values"):
        write_labels(labels, grid, path)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="cannot be written"):
        monkeypatch.setattr(sitk, "WriteImage", lambda *arguments, **options: None)
        path.unlink()
        save_image(grid, path)


@pytest.mark.parametrize(
    ("source", "target"), [(".nii", ".nii.gz"), (".nii.gz", ".nii.gz"), (".tif", ".tif")]
)
def test_images_that_are_copied_or_packed_are_read_back(tmp_path, monkeypatch, source, target):
    path, out = tmp_path / f"a{source}", tmp_path / f"out{target}"
    sitk.WriteImage(sitk.GetImageFromArray(drawn(source)), str(path))
    (image,), whole = read_channels(path)
    write_image(path, image, whole, out)
    expected = out.read_bytes()
    copy, gzip_file = shutil.copyfile, image_files.gzip.GzipFile

    def changed(content):
        return content[:-1] + bytes([content[-1] ^ 1])

    class Broken(gzip_file):
        def write(self, data):
            return super().write(changed(bytes(data)))

    def copy_wrong(one, other):
        copy(one, other)
        other.write_bytes(changed(other.read_bytes()))

    monkeypatch.setattr(shutil, "copyfile", copy_wrong)
    monkeypatch.setattr(image_files.gzip, "GzipFile", Broken)
    with pytest.raises(ValueError, match="out.* cannot be written .*read back with other bytes"):
        write_image(path, image, whole, out)
    monkeypatch.undo()
    write_image(path, image, whole, out)
    assert out.read_bytes() == expected


def test_segmentations_of_slicer_are_read_back(tmp_path, monkeypatch):
    mask = drawn(".nrrd").astype(bool)
    segments = [NewSegment("A", (1.0, 0.0, 0.0), mask)]
    path = tmp_path / "a.seg.nrrd"
    image = sitk.GetImageFromArray(drawn(".nrrd"))
    write_segmentation(segments, image, path)
    monkeypatch.setattr(slicer_writer, "chunks_of", lambda path: [path.read_bytes()[:-1]])
    with pytest.raises(ValueError, match="a.seg.nrrd cannot be written"):
        write_segmentation(segments, image, path)
