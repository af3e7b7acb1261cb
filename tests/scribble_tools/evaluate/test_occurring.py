"""Classes by the thousand: those that no file holds are left out, with a word."""

import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools.dataset.label_set import LabelSet
from scribble_tools.evaluate.command import evaluate_folders
from scribble_tools.evaluate.occurring import occurring


@pytest.fixture
def folders(tmp_path):
    array = np.zeros((2, 6, 6), np.uint16)
    array[:, 1:3, 1:3], array[:, 4, 4] = 7, 300
    for name in ("pred", "ref"):
        (tmp_path / name).mkdir()
        sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / name / "a.nii.gz"))
    return tmp_path / "pred", tmp_path / "ref"


def many(number):
    return LabelSet({f"c{k}": (k,) for k in range(1, number)}, number)


def test_few_classes_stay_as_they_are(folders):
    labels = many(20)
    assert occurring(labels, [folders[0] / "a.nii.gz"]) == (labels, "")


def test_of_many_those_that_occur_are_scored(folders):
    found = evaluate_folders(*folders, many(3000), num_processes=1)
    assert [(score.label, score.dice) for score in found.scores] == [("c7", 1), ("c300", 1)]
    words = "2997 classes of dataset.json that none of these files holds were left out"
    assert found.notes[words] == ["all cases"]


def test_more_than_can_be_scored(folders, monkeypatch):
    monkeypatch.setattr("scribble_tools.evaluate.occurring.MOST_CLASSES", 1)
    with pytest.raises(
        ValueError, match=r"hold 2 classes, and 1 can be scored at once. Is .*a\.nii\.gz an im"
    ):
        occurring(many(3000), [folders[0] / "a.nii.gz"])


def test_references_of_which_none_can_be_read(folders):
    (folders[1] / "a.nii.gz").write_bytes(b"no image")
    with pytest.raises(ValueError, match="1 problem, nothing scored:\n.*a.nii.gz"):
        evaluate_folders(*folders, num_processes=1)
