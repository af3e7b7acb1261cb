"""Patterns that are proposed fit every file; where none do, words say what a pattern is."""

from pathlib import Path

import pytest

from scribble_tools.predict.image_patterns import patterns_in_words
from scribble_tools.predict.new_images import find_new_images

TWO = ("p1", "p2")


def said(tmp_path, names, files):
    root = tmp_path / "scans"
    return patterns_in_words(names.split(), root, [root / name for name in files])


@pytest.mark.parametrize(
    ("name", "cases"),
    [
        ("{case}_{}w.nii.gz", ("p_1", "p_2")),
        ("{case} {}.nii.gz", TWO),
        ("{case}.{}.nii.gz", TWO),
        ("{}_{case}.nii.gz", TWO),
        ("{case}/{}.nii.gz", TWO),
        ("{case}/{}.nii.gz", TWO[:1]),
        ("{case}/anat/scan_{}.nrrd", TWO),
        ("study/{case}/{}_axial.nrrd", TWO),
        ("{}/{case}.nrrd", TWO),
    ],
)
def test_patterns_that_fit_every_file_are_proposed(tmp_path, name, cases):
    patterns = [name.replace("{}", channel) for channel in ("FLAIR", "T1")]
    for case in cases:
        for pattern in patterns:
            path = tmp_path / pattern.replace("{case}", case)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    words = patterns_in_words(["FLAIR", "T1"], tmp_path, files)
    typed = " ".join(f"'{pattern}'" for pattern in patterns)
    assert words.endswith(f"are called, FLAIR, T1 in this order: --image-pattern {typed}")
    found = find_new_images(tmp_path, 2, patterns)
    assert [case.name for case in found] == [*cases]


@pytest.mark.parametrize(
    "files",
    [
        ("T1.nii.gz", "T2.nii.gz"),
        ("p1_T1.nii.gz", "p1_T2.nii.gz", "p2_T1.nii.gz"),
        ("p1_T1.nii.gz", "p1_T2.nii.gz", "p2.nii.gz"),
        ("p1_FLAIR.nii.gz", "p1_other.nii.gz"),
    ],
)
def test_where_a_proposal_would_leave_files_out_words_say_what_a_pattern_is(tmp_path, files):
    words = said(tmp_path, "T1 T2", files)
    assert "'{case}" not in words
    assert words.endswith(
        "per channel, T1, T2 in this order; {case} stands for the case's name in each"
    )


def test_nothing_is_said_of_one_channel_or_pictures(tmp_path):
    assert not said(tmp_path, "T1", ["p1/T1.nii.gz"])
    assert not said(tmp_path, "R G B", ["a.png"])
    assert not patterns_in_words(["T1", "T2"], Path(), [])


def test_channels_in_folders_of_cases_are_not_to_be_excluded(tmp_path):
    for name in ("p1/T1.nrrd", "p1/T2.nrrd", "p2/T1.nrrd", "p2/T2.nrrd"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match="would both be T1\n") as refusal:
        find_new_images(tmp_path, 2, channel_names=["T1", "T2"])
    assert "--exclude" not in str(refusal.value)
    assert str(refusal.value).endswith("--image-pattern '{case}/T1.nrrd' '{case}/T2.nrrd'")
    with pytest.raises(ValueError) as refusal:
        find_new_images(tmp_path, 1, channel_names=["MRI"])
    assert str(refusal.value).endswith("--image-pattern '{case}/T1.*'")


def test_visits_of_patients_are_not_to_be_excluded(tmp_path):
    for name in ("A/v1/t1.nii", "A/v2/t1.nii", "B/v1/t1.nii.gz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(ValueError) as refusal:
        find_new_images(tmp_path, 1, channel_names=["MRI"])
    pattern = "{patient}/{case}/t1.*"
    assert str(refusal.value).endswith(f"say the case: --image-pattern '{pattern}'")
    assert "--exclude" not in str(refusal.value)
    found = find_new_images(tmp_path, 1, [pattern], channel_names=["MRI"])
    assert [image.name for image in found] == ["A_v1", "A_v2", "B_v1"]
