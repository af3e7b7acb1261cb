"""Segmentations for 3D Slicer, read back by pynrrd, by SimpleITK and by our own reader."""

import nrrd
import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools.images.slicer_segmentation import (
    count_segment_voxels,
    read_segmentation,
    read_segments_on_grid,
)
from scribble_tools.images.slicer_writer import NewSegment, write_segmentation
from tests.scribble_tools.images.test_slicer_segmentation import make_image

RED, GREEN = (1.0, 0.0, 0.25), (0.0, 0.5, 0.0)


def masks(shape=(5, 7, 8)):
    one, two = np.zeros(shape, bool), np.zeros(shape, bool)
    one[1, 2:4, 3:6] = True
    two[1:3, 3, 4:8] = True  # overlaps
    return one, two


def test_overlapping_segments_lie_in_layers_and_come_back(tmp_path):
    image, (one, two) = make_image(), masks()
    path = tmp_path / "case.seg.nrrd"
    write_segmentation([NewSegment("RV", RED, one), NewSegment("look", GREEN, two, 1)], image, path)
    data, header = nrrd.read(str(path))
    assert data.shape == (2, 8, 7, 5) and header["kinds"] == ["list", *["domain"] * 3]
    np.testing.assert_array_equal(data[0].transpose(2, 1, 0) == 1, one)
    np.testing.assert_array_equal(data[1].transpose(2, 1, 0) == 1, two)
    assert header["Segment0_Color"] == "1 0 0.25" and header["Segment1_Name"] == "look"
    assert header["Segment0_Extent"] == "3 5 2 3 1 1"
    _, segments = read_segmentation(path)
    assert [(s.name, s.value, s.layer) for s in segments] == [("RV", 1, 0), ("look", 1, 1)]
    counts, size = count_segment_voxels(path)
    assert counts == {"RV": one.sum(), "look": two.sum()} and size == one.size
    labels = read_segments_on_grid(path, image, {"RV": 1, "look": 2}, 0, "first")
    np.testing.assert_array_equal(labels == 1, one)


def test_the_grid_is_the_images_also_when_it_is_oblique(tmp_path):
    image, (one, two) = make_image(angle=0.4), masks()
    path = tmp_path / "case.seg.nrrd"
    layer = [NewSegment("a", RED, one & ~two), NewSegment("b", GREEN, two)]
    write_segmentation(layer, image, path)
    read = sitk.ReadImage(str(path))
    assert read.GetNumberOfComponentsPerPixel() == 1 and read.GetSize() == image.GetSize()
    for of in ("Spacing", "Origin", "Direction"):
        found, expected = (getattr(i, f"Get{of}")() for i in (read, image))
        np.testing.assert_allclose(found, expected, atol=1e-9)
    found = sitk.GetArrayFromImage(read)
    np.testing.assert_array_equal(found, np.where(two, 2, one))
    again = tmp_path / "again.seg.nrrd"
    write_segmentation(layer, image, again)
    assert again.read_bytes() == path.read_bytes()


def test_a_segment_without_voxels_keeps_its_name(tmp_path):
    path = tmp_path / "case.seg.nrrd"
    write_segmentation([NewSegment("empty", RED, np.zeros((5, 7, 8), bool))], make_image(), path)
    assert count_segment_voxels(path)[0] == {"empty": 0}
    assert nrrd.read_header(str(path))["Segment0_Extent"] == "0 -1 0 -1 0 -1"


@pytest.mark.parametrize(
    ("segments", "image", "words"),
    [
        ([NewSegment("a\nb", RED, masks()[0])], make_image(), "cannot be the name"),
        ([NewSegment("a:=b", RED, masks()[0])], make_image(), "cannot be the name"),
        ([NewSegment("a", RED, np.zeros((1, 2, 2), bool))], make_image(), r"shape \(1, 2, 2\)"),
        ([], sitk.Image(4, 4, sitk.sitkUInt8), "three-dimensional"),
        ([NewSegment("a", RED, masks()[0])] * 256, make_image(), "more than 255"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, segments, image, words):
    with pytest.raises(ValueError, match=words):
        write_segmentation(segments, image, tmp_path / "case.seg.nrrd")
    assert not list(tmp_path.iterdir())
