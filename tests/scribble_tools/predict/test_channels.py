"""Files of several channels: which is which is said, and an exchange is refused."""

from pathlib import Path

import pytest

from scribble_tools.predict.channels import channels_in_words, refuse_exchanged_channels
from scribble_tools.predict.new_images import NewImage


def test_the_file_of_each_channel_is_said():
    case = NewImage("anna", (Path("scans/anna_0000.nrrd"), Path("scans/anna_0001.nrrd")))
    by_number = "T1 = {case}_0000.nrrd, FLAIR = {case}_0001.nrrd"
    assert channels_in_words(["T1", "FLAIR"], (), [case]) == by_number
    patterns = ["{case}/t1.nrrd", "{case}/x.nrrd"]
    said = channels_in_words(["T1", "FLAIR"], patterns, [case])
    assert said == "T1 = {case}/t1.nrrd, FLAIR = {case}/x.nrrd"
    assert not channels_in_words([*"RGB"], (), [NewImage("b", (Path("b.png"),))])
    assert not channels_in_words(["T1"], (), [NewImage("b", (Path("b.nrrd"),))])


@pytest.mark.parametrize(
    ("names", "patterns", "ordered"),
    [
        ("T1 FLAIR", "{case}_FLAIR.nii.gz {case}_T1w.nii.gz", [1, 0]),
        ("T1 T1ce", "{case}-t1ce.nii {case}-t1.nii", [1, 0]),
        ("T1 T2 FLAIR", "{case}/t2.nii {case}/flair.nii {case}/t1.nii", [2, 0, 1]),
        ("T1 X FLAIR", "{case}_flair.nii {case}_other.nii {case}_t1.nii", [2, 1, 0]),
    ],
)
def test_patterns_that_name_the_channels_in_another_order_are_refused(names, patterns, ordered):
    given = patterns.split()
    with pytest.raises(ValueError, match="channels exchanged: T1 = ") as refusal:
        refuse_exchanged_channels(names.split(), given)
    words = " ".join(f"'{given[k]}'" for k in ordered)
    assert f"in this order: --image-pattern {words}. If it" in str(refusal.value)
    refuse_exchanged_channels(names.split(), [given[k] for k in ordered])


@pytest.mark.parametrize(
    ("names", "patterns"),
    [
        ("T1 FLAIR", "{case}_0000.nii.gz {case}_0001.nii.gz"),
        ("T1 FLAIR", "{case}_FLAIR_to_T1.nii.gz {case}_T1_to_FLAIR.nii.gz"),
        ("T1 FLAIR", "{case}_FLAIR.nii.gz {case}_b.nii.gz"),
        ("A B", "{case}_brain.nii.gz {case}_atlas.nii.gz"),
        ("T1 T1ce", "{case}_T1.nii.gz {case}_T1ce.nii.gz"),
        ("MRI", "{case}_MRI.nii.gz"),
    ],
)
def test_other_patterns_are_not(names, patterns):
    refuse_exchanged_channels(names.split(), patterns.split())
