"""3D Slicer's segmentations, written by pynrrd with the header fields that Slicer writes."""

import nrrd
import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools.images.file_kind import DETACHED_NRRD, kind_of
from scribble_tools.images.label_files import GridRules
from scribble_tools.images.mismatches import GridMismatch
from scribble_tools.images.slicer_segmentation import (
    aligned_offset,
    count_segment_voxels,
    is_segmentation,
    read_segmentation,
    read_segments_on_grid,
)

SHAPE = (5, 7, 8)  # z, y, x
SPACING = (0.7, 0.9, 3.0)  # x, y, z
LABEL_OF = {"Background": 0, "RV": 1, "LV": 2}
UNLABELLED = 3


def make_image(shape=SHAPE, angle=0.1):
    image = sitk.GetImageFromArray(np.zeros(shape, np.int16))
    image.SetSpacing(SPACING)
    image.SetOrigin((-30.25, 12.5, 100.0))
    c, s = np.cos(angle), np.sin(angle)
    image.SetDirection((c, -s, 0, s, c, 0, 0, 0, 1))
    return image


def write_seg(path, image, array, segments, start=(0, 0, 0), modern=True):
    """``array``: ([layer,] z, y, x) of the box that begins at ``start`` (x, y, z) of the image.

    ``segments``: (name, value, layer).
    """
    array = np.asarray(array)
    directions = (np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()).T.tolist()
    header = {
        "space": "left-posterior-superior",
        "kinds": ["list"] * (array.ndim - 3) + ["domain"] * 3,
        "space directions": [[np.nan] * 3] * (array.ndim - 3) + directions,
        "space origin": list(image.TransformContinuousIndexToPhysicalPoint(start)),
        "encoding": "gzip",
        "Segmentation_ReferenceImageExtentOffset": " ".join(map(str, start)),
    }
    for k, (name, value, layer) in enumerate(segments):
        header[f"Segment{k}_ID"] = f"Segment_{k + 1}"
        header[f"Segment{k}_Name"] = name
        if modern:
            header[f"Segment{k}_LabelValue"] = str(value)
            header[f"Segment{k}_Layer"] = str(layer)
    axes = (0, 3, 2, 1) if array.ndim == 4 else (2, 1, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    nrrd.write(str(path), array.transpose(axes), header)
    return path


def scribble(shape=SHAPE, **voxels):
    array = np.zeros(shape, np.uint8)
    for value, index in voxels.items():
        array[index] = int(value.lstrip("v"))
    return array


def test_segments_are_found_by_name_whatever_their_values(tmp_path):
    image = make_image()
    first = write_seg(
        tmp_path / "a.seg.nrrd",
        image,
        scribble(v1=(1, 2, 3), v2=(2, 2, 2), v3=(4, 6, 7)),
        [("RV", 1, 0), ("Background", 2, 0), ("LV", 3, 0)],
    )
    second = write_seg(
        tmp_path / "b.seg.nrrd",
        image,
        scribble(v9=(1, 2, 3), v1=(2, 2, 2), v2=(4, 6, 7)),
        [("Background", 1, 0), ("LV", 2, 0), ("RV", 9, 0)],
    )
    expected = np.full(SHAPE, UNLABELLED)
    expected[1, 2, 3], expected[2, 2, 2], expected[4, 6, 7] = 1, 0, 2
    for path in (first, second):
        labels = read_segments_on_grid(path, image, LABEL_OF, UNLABELLED)
        assert np.array_equal(labels, expected)
        counts, size = count_segment_voxels(path)
        assert (counts, size) == ({"RV": 1, "Background": 1, "LV": 1}, np.prod(SHAPE))


@pytest.mark.parametrize("single_slice", [False, True])
def test_a_cropped_extent_is_put_where_it_belongs(tmp_path, single_slice):
    image = make_image()
    start, box = (2, 1, 3), (1 if single_slice else 2, 3, 4)
    array = np.random.default_rng(0).integers(0, 4, box).astype(np.uint8)
    segments = [("Background", 1, 0), ("RV", 2, 0), ("LV", 3, 0)]
    path = write_seg(tmp_path / "a.seg.nrrd", image, array, segments, start)
    expected = np.full(SHAPE, UNLABELLED)
    expected[3 : 3 + box[0], 1:4, 2:6] = np.array([UNLABELLED, 0, 1, 2])[array]
    labels = read_segments_on_grid(path, image, LABEL_OF, UNLABELLED)
    assert np.array_equal(labels, expected)
    assert aligned_offset(read_segmentation(path)[0], image) == start


def test_a_box_may_leave_the_image_but_not_its_labels(tmp_path):
    image = make_image()
    segments = [("Background", 1, 0)]
    array = np.zeros((2, 3, 4), np.uint8)
    array[1, 1, 1] = 1
    path = write_seg(tmp_path / "a.seg.nrrd", image, array, segments, (-1, 0, -1))
    labels = read_segments_on_grid(path, image, LABEL_OF, UNLABELLED)
    assert np.argwhere(labels == 0).tolist() == [[0, 1, 0]]
    array[0, 1, 1] = 1
    write_seg(path, image, array, segments, (-1, 0, -1))
    with pytest.raises(ValueError, match="1 labelled voxels outside its image"):
        read_segments_on_grid(path, image, LABEL_OF, UNLABELLED)
    write_seg(path, image, array, segments, (-100, 0, 0))
    with pytest.raises(ValueError, match="2 labelled voxels outside its image"):
        read_segments_on_grid(path, image, LABEL_OF, UNLABELLED)


def test_overlapping_segments_are_reported_and_settled_as_asked(tmp_path):
    image = make_image()
    layers = np.zeros((2, *SHAPE), np.uint8)
    layers[0, 1, 2, 2:5] = 1  # Background
    layers[0, 3] = 2  # RV
    layers[1, 1, 2, 4:6] = 1  # LV, one voxel of which is background too
    segments = [("Background", 1, 0), ("RV", 2, 0), ("LV", 1, 1)]
    path = write_seg(tmp_path / "a.seg.nrrd", image, layers, segments)
    with pytest.raises(ValueError, match="two segments: 1 in Background and LV.*--overlaps ignore"):
        read_segments_on_grid(path, image, LABEL_OF, UNLABELLED)
    ignored, first = (
        read_segments_on_grid(path, image, LABEL_OF, UNLABELLED, overlaps)
        for overlaps in ("ignore", "first")
    )
    assert ignored[1, 2, 2:6].tolist() == [0, 0, UNLABELLED, 2]
    assert first[1, 2, 2:6].tolist() == [0, 0, 0, 2]
    reversed_order = dict(reversed(LABEL_OF.items()))
    labels = read_segments_on_grid(path, image, reversed_order, UNLABELLED, "first")
    assert labels[1, 2, 2:6].tolist() == [0, 0, 2, 2]
    assert (labels[3] == 1).all()


def test_segments_of_one_class_may_overlap(tmp_path):
    image = make_image()
    layers = np.zeros((2, *SHAPE), np.uint8)
    layers[:, 1, 2, 2] = 1
    layers[1, 1, 2, 3] = 1
    path = write_seg(tmp_path / "a.seg.nrrd", image, layers, [("free", 1, 0), ("septal", 1, 1)])
    labels = read_segments_on_grid(path, image, {"free": 1, "septal": 1}, UNLABELLED)
    assert labels[1, 2, 1:5].tolist() == [UNLABELLED, 1, 1, UNLABELLED]


def test_files_older_than_layers_have_one_channel_per_segment(tmp_path):
    image = make_image()
    layers = np.zeros((2, *SHAPE), np.uint8)
    layers[0, 0, 0, 0], layers[1, 0, 0, 1] = 1, 1
    segments = [("Background", 1, 0), ("RV", 1, 1)]
    path = write_seg(tmp_path / "a.seg.nrrd", image, layers, segments, modern=False)
    labels = read_segments_on_grid(path, image, LABEL_OF, UNLABELLED)
    assert labels[0, 0, :3].tolist() == [0, 1, UNLABELLED]


def test_a_segmentation_without_voxels_is_a_single_voxel_of_no_meaning(tmp_path):
    image = make_image()
    other = make_image(angle=1.0)
    path = write_seg(tmp_path / "a.seg.nrrd", other, np.zeros((1, 1, 1), np.uint8), [("RV", 1, 0)])
    assert count_segment_voxels(path) == ({"RV": 0}, 0)
    assert (read_segments_on_grid(path, image, LABEL_OF, UNLABELLED) == UNLABELLED).all()


def test_a_single_painted_voxel_is_a_stroke(tmp_path):
    image = make_image()
    box = np.ones((1, 1, 1), np.uint8)
    path = write_seg(tmp_path / "a.seg.nrrd", image, box, [("RV", 1, 0)], start=(2, 3, 1))
    assert count_segment_voxels(path) == ({"RV": 1}, 1)
    labels = read_segments_on_grid(path, image, LABEL_OF, UNLABELLED)
    assert (labels != UNLABELLED).sum() == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda i: i.SetSpacing((0.7, 0.9, 3.2)),
        lambda i: i.SetOrigin((-30.25 + 0.2, 12.5, 100.0)),
        lambda i: i.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, 1)),
    ],
    ids=["spacing", "shift", "rotation"],
)
def test_another_grid_is_refused_or_resampled(tmp_path, change):
    image, other = make_image(), make_image()
    change(other)
    array = np.zeros(SHAPE, np.uint8)
    array[2, 3, 4] = 1
    path = write_seg(tmp_path / "a.seg.nrrd", other, array, [("RV", 1, 0)])
    with pytest.raises(GridMismatch) as error:
        read_segments_on_grid(path, image, LABEL_OF, UNLABELLED)
    message = str(error.value)
    assert "does not lie on its image's voxel grid: size " in message
    for name in ("Spacing", "Origin", "Direction"):
        own, its = (getattr(i, f"Get{name}")() for i in (other, image))
        assert (f"{name.lower()} [" in message) == (own != its)
    rules = GridRules(resample=True)
    labels = read_segments_on_grid(path, image, LABEL_OF, UNLABELLED, rules=rules)
    assert [kept.voxels for kept in rules.kept] == [{1: (1, 1)}]
    assert (labels == 1).sum() == 1
    assert set(np.unique(labels)) == {1, UNLABELLED}


def test_a_part_of_a_flipped_grid_is_no_part(tmp_path):
    image = make_image(angle=0.0)
    flipped = make_image((1, 7, 1), angle=0.0)
    flipped.SetDirection((-1, 0, 0, 0, 1, 0, 0, 0, 1))
    assert aligned_offset(flipped, image) is None


def test_bad_segmentations_are_named(tmp_path):
    image, path = make_image(), tmp_path / "a.seg.nrrd"
    array = scribble(v1=(1, 2, 3), v2=(2, 2, 2))

    def message_of(segments, function=read_segments_on_grid, **options):
        write_seg(path, image, array, segments)
        arguments = (image, LABEL_OF, UNLABELLED) if function is read_segments_on_grid else ()
        with pytest.raises(ValueError) as error:
            function(path, *arguments, **options)
        return str(error.value)

    assert "names no segments" in message_of([])
    assert "RV should lie in layers that the file lacks" in message_of([("RV", 1, 4)])
    assert "segments Sketch, which are not mapped" in message_of([("RV", 1, 0), ("Sketch", 2, 0)])
    value = message_of([("RV", 1, 0)], count_segment_voxels)
    assert "value 2, which belongs to no segment" in value
    write_seg(path, image, array, [("RV", 1, 0), ("LV", 2, 0)])
    with pytest.raises(ValueError, match="3 dimensions and 5 slices, its image 2 and 1"):
        read_segments_on_grid(path, sitk.Image((8, 7), sitk.sitkUInt8), LABEL_OF, UNLABELLED)


def test_a_header_alone_that_names_segments_is_a_segmentation(tmp_path):
    image = make_image()
    array = np.zeros(SHAPE, np.uint8)
    array[1:3, 2:5, 3:6] = 1
    path = write_seg(tmp_path / "a.seg.nrrd", image, array, [("RV", 1, 0)])
    assert is_segmentation(path)
    data = nrrd.read(str(path))
    for name in ("b.nhdr", "b.nrrd"):
        nrrd.write(str(tmp_path / "b.nhdr"), *data, detached_header=True)
        if name != "b.nhdr":
            (tmp_path / "b.nhdr").rename(tmp_path / name)
        assert kind_of(tmp_path / name) == DETACHED_NRRD and is_segmentation(tmp_path / name)
        assert count_segment_voxels(tmp_path / name)[0] == {"RV": 18}


def test_a_segment_of_the_value_0_is_all_that_nobody_drew(tmp_path):
    array = np.zeros(SHAPE, np.uint8)
    array[1, 2, 3] = 1
    path = write_seg(tmp_path / "a.seg.nrrd", make_image(), array, [("RV", 1, 0), ("Rest", 0, 0)])
    with pytest.raises(ValueError, match="a.seg.nrrd: Rest has the value 0, which is what lies in"):
        count_segment_voxels(path)
