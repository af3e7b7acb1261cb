"""Cases judged from their files: any orientation, pictures too; where a place is in the file."""

import json
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools.dataset.label_set import LabelSet
from scribble_tools.draw.display_plane import display_plane
from scribble_tools.suggest.command import channel_shown, training_cases
from scribble_tools.suggest.listing import in_words, row_of, table_of
from scribble_tools.suggest.search import (
    CaseToDraw,
    as_stored,
    describe_annotated,
    judge,
    rank_cases,
    read_grey,
)

IGNORE = 2
LABELS = LabelSet({"organ": (1,)}, IGNORE)


def probabilities(labels, certainty=0.97):
    """(2, z, y, x) as nnU-Net gives them, of a picture with z = 1."""
    labels = labels if labels.ndim == 3 else labels[None]
    organ = np.where(labels == 1, certainty, 1 - certainty).astype(np.float32)
    return np.stack([1 - organ, organ])


def write_case(folder, shape, spacing, ending, blob):
    """An organ with a stroke, and elsewhere a blob that is predicted, too."""
    predicted, strokes = np.zeros(shape, np.uint8), np.full(shape, IGNORE, np.uint8)
    middle = tuple(slice(size // 2 - 2, size // 2 + 3) for size in shape)
    predicted[middle] = 1
    strokes[tuple(size // 2 for size in shape[:-1])] = IGNORE
    strokes[(*(size // 2 for size in shape[:-1]), slice(*middle[-1].indices(shape[-1])))] = 1
    predicted[blob] = 1
    image = sitk.GetImageFromArray((predicted * 100).astype(np.uint8))
    image.SetSpacing(spacing)
    if image.GetDimension() == 3:
        image.SetOrigin((10, -20, 30))
    label = sitk.GetImageFromArray(strokes)
    label.CopyInformation(image)
    paths = [folder / f"{name}{ending}" for name in ("image", "strokes")]
    for written, path in zip((image, label), paths, strict=True):
        sitk.WriteImage(written, str(path))
    return CaseToDraw("case", (paths[0],), paths[1]), predicted


@pytest.mark.parametrize("thick", [0, 1, 2])
def test_a_place_is_where_it_is_in_the_file_whichever_way_slices_are_cut(tmp_path, thick):
    spacing = [1.0, 1.0, 1.0]
    spacing[thick] = 4.0  # of x, y or z
    shape = (14, 26, 30)
    blob = (slice(1, 5), slice(2, 6), slice(22, 27))
    case, predicted = write_case(tmp_path, shape, spacing, ".nii.gz", blob)
    judged, labels = judge(case, [probabilities(predicted)], LABELS)
    np.testing.assert_array_equal(labels, predicted)
    best = rank_cases({"case": judged})[0]
    assert best.reason == "unsupported" and "organ" in in_words(best)
    image, _ = read_grey(case.images[0])
    row = row_of(1, best, image, display_plane(image, case.images[0]))
    voxel = row["z"], row["y"], row["x"]
    assert all(part.start <= k < part.stop for part, k in zip(blob, voxel, strict=True))
    assert row["slice_axis"] == "xyz"[thick] and row["slice"] == row["xyz"[thick]]
    x, y, z = image.TransformIndexToPhysicalPoint([int(k) for k in voxel[::-1]])
    assert (row["R"], row["A"], row["S"]) == pytest.approx((-x, -y, z), abs=0.06)
    # the nearest stroke of the organ is in its middle
    middle = np.array(shape) // 2
    away = np.linalg.norm((np.array(voxel) - middle) * spacing[::-1])
    assert best.stroke_mm == pytest.approx(away, abs=4 * max(spacing))
    assert judged.annotated.sum() >= 1 and judged.members == 1


def test_a_picture_is_one_slice(tmp_path):
    blob = (slice(2, 8), slice(40, 47))
    case, predicted = write_case(tmp_path, (60, 50), (1.0, 1.0), ".png", blob)
    judged, labels = judge(case, [probabilities(predicted)] * 2, LABELS)
    assert labels.shape == (60, 50) and judged.spacing_mm == (1.0, 1.0, 1.0)
    image, _ = read_grey(case.images[0])
    best = rank_cases({"case": judged})[0]
    row = row_of(1, best, image, display_plane(image, case.images[0]))
    assert 40 <= row["x"] < 47 and 2 <= row["y"] < 8
    assert row["slice"] == row["z"] == row["R"] == row["slice_axis"] == "" and row["unit"] == "px"
    assert table_of([best]).split()[:4] == ["case", "rank", "value", "why"]
    far = replace(best, reason="far", stroke_mm=12.0)
    assert in_words(far) == "organ, 12 px from the nearest stroke of organ"
    assert in_words(replace(best, reason="unlike")) == "an image unlike all that are annotated"
    volume = replace(far, flat=False, unit="mm", slice=7)
    assert "12 mm from" in in_words(volume)
    assert table_of([volume]).splitlines()[1].split()[:3] == ["case", "1", "7"]


def test_strokes_of_another_size_are_refused_by_name(tmp_path):
    case, predicted = write_case(tmp_path, (8, 20, 20), (1, 1, 4), ".nii.gz", (0, 0, 0))
    sitk.WriteImage(sitk.Image(5, 5, 5, sitk.sitkUInt8), str(case.strokes))
    for call in (
        lambda: judge(case, [probabilities(predicted)], LABELS),
        lambda: describe_annotated(case, LABELS),
    ):
        with pytest.raises(ValueError, match="strokes.nii.gz is of another size than"):
            call()


def test_regions_are_judged(tmp_path):
    labels = LabelSet({"whole": (1, 2), "core": (2,)}, 3)
    case, predicted = write_case(tmp_path, (8, 24, 24), (1, 1, 4), ".nii.gz", (1, 2, 3))
    whole = probabilities(predicted)[1]
    members = [np.stack([whole, whole * 0.6]), np.stack([whole, whole * 0.2])]
    judged, found = judge(case, members, labels, [1, 2])
    assert set(np.unique(found)) <= {0, 1, 2} and judged.members == 2
    assert all(place.predicted in ("background", "whole", "core") for place in judged.places)


def test_a_colour_picture_is_read_as_grey(tmp_path):
    array = np.zeros((6, 7, 3), np.uint8)
    array[..., 0] = 90
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=True), str(tmp_path / "rgb.png"))
    image, grey = read_grey(tmp_path / "rgb.png")
    assert grey.shape == (6, 7) and grey[0, 0] == 30
    assert as_stored(display_plane(image, tmp_path / "rgb.png"), grey).shape == (1, 6, 7)


def test_a_colour_picture_is_all_channels_in_one_file(tmp_path):
    for name in ("imagesTr/a_0000.png", "labelsTr/a.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    channels = {"0": "R", "1": "G", "2": "B"}
    labels = {"background": 0, "A": 1, "ignore": 2}
    content = {"channel_names": channels, "labels": labels, "file_ending": ".png"}
    (tmp_path / "dataset.json").write_text(json.dumps(content | {"numTraining": 1}))
    (case,) = training_cases(tmp_path)
    assert case.images == (tmp_path / "imagesTr" / "a_0000.png",)
    assert channel_shown(case, tmp_path) == ""
    each = CaseToDraw("a", tuple(tmp_path / f"a_{k:04d}.png" for k in range(3)))
    assert channel_shown(each, tmp_path) == "\nShown is R (channel 0 of 3)"
    for name in ("imagesTr/b_0000.png", "imagesTr/b_0001.png", "labelsTr/b.png"):
        (tmp_path / name).touch()
    with pytest.raises(FileNotFoundError, match="a_0001.png"):  # other cases have a second file
        training_cases(tmp_path)
