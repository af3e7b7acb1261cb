"""What is known of a prediction without a reference, counted by hand."""

import math

import numpy as np

from scribble_tools.dataset.label_set import LabelSet
from scribble_tools.report.cases import without_reference

LABELS = LabelSet({"a": (1,), "b": (2,)}, ignore=3)


def test_disagreement_counts_annotated_voxels_only():
    scribble = np.array([[3, 3, 1, 1, 1, 1], [3, 0, 0, 3, 2, 3]])
    prediction = np.array([[2, 2, 1, 1, 1, 0], [1, 0, 2, 1, 0, 1]])
    found = without_reference(prediction, scribble, 0.5, LABELS)
    assert found.disagreement_percent == {"a": 25.0, "b": 100.0, "background": 50.0}
    assert found.overall["disagreement_percent"] == 100 * 3 / 7


def test_a_class_without_scribble_has_no_disagreement():
    found = without_reference(np.array([[0, 1]]), np.array([[0, 1]]), 1.0, LABELS)
    assert math.isnan(found.disagreement_percent["b"]) and found.disagreement_percent["a"] == 0


def test_without_scribble_volumes_and_islands_are_known():
    prediction = np.array([[1, 0, 1, 0, 2, 2], [0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 2]])
    found = without_reference(prediction, None, 0.5, LABELS)
    assert found.disagreement_percent == {}
    assert found.volume_ml == {"a": 2.0, "b": 1.5}
    assert found.islands == {"a": 2, "b": 1}
    assert found.overall == {"volume_ml": 3.5, "islands": 3}


def test_an_empty_class_has_no_islands():
    found = without_reference(np.zeros((2, 2), int), None, 1.0, LABELS)
    assert found.islands["a"] == 0 and found.overall["volume_ml"] == 0


def test_regions_agree_with_any_of_their_labels():
    labels = LabelSet({"whole": (1, 2), "core": (2,)}, ignore=3)
    scribble, prediction = np.array([[2, 2, 1, 0]]), np.array([[1, 2, 2, 0]])
    found = without_reference(prediction, scribble, 1.0, labels)
    assert found.disagreement_percent["whole"] == 0
    assert found.disagreement_percent["core"] == 50
    assert "volume_ml" not in found.overall
