"""Label mappings: there and back, for any values, and what is refused."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scribble_tools.dataset.label_mapping import LabelMapping

NAMES = st.text("abcdefgh_", min_size=1, max_size=6).filter(lambda name: name != "background")


@st.composite
def mappings(draw, single=False):
    """A mapping of distinct values; ``single``: one value per class."""
    names = ["background", *draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))]
    values = draw(st.lists(st.integers(-1000, 70000), min_size=24, max_size=24, unique=True))
    own = st.just(1) if single else st.integers(1, 3)
    classes = {name: tuple(values.pop() for _ in range(draw(own))) for name in names}
    order = draw(st.permutations(names))
    unlabelled = tuple(values.pop() for _ in range(1 if single else draw(st.integers(0, 3))))
    return LabelMapping({name: classes[name] for name in order}, unlabelled)


def all_values(mapping):
    return [v for own in mapping.classes.values() for v in own] + [*mapping.unlabelled]


@given(mappings(single=True), st.randoms())
def test_one_value_per_class_comes_back_unchanged(mapping, random):
    source = np.array(random.choices(all_values(mapping), k=60)).reshape(3, 4, 5)
    assert np.array_equal(mapping.restore(mapping.apply(source)), source)


@given(mappings(), st.randoms())
def test_every_value_becomes_its_class(mapping, random):
    source = np.array(random.choices(all_values(mapping), k=30)).reshape(5, 6)
    labels = mapping.apply(source)
    name_of = {label: name for name, label in mapping.labels.items()}
    for value, label in zip(source.flat, labels.flat, strict=True):
        name = name_of[int(label)]
        own = mapping.unlabelled if name == "ignore" else mapping.classes[name]
        assert value in own
    # back and there again changes nothing more
    assert np.array_equal(mapping.apply(mapping.restore(labels)), labels)


@given(mappings())
def test_labels_are_what_nnunet_wants(mapping):
    labels = mapping.labels
    assert list(labels.values()) == list(range(len(labels)))
    assert labels["background"] == 0
    assert ("ignore" in labels) == bool(mapping.unlabelled)
    assert not mapping.unlabelled or list(labels)[-1] == "ignore"


@given(mappings())
def test_a_mapping_survives_json(mapping):
    assert LabelMapping.from_json(json.loads(json.dumps(mapping.as_json()))) == mapping


@given(mappings(), st.integers(-2000, 80000))
def test_an_unmapped_value_is_never_let_through(mapping, value):
    if value in all_values(mapping):
        return
    with pytest.raises(ValueError, match=rf"holds the values \[{value}\], which are not mapped"):
        mapping.apply(np.array([all_values(mapping)[0], value]))


def test_more_than_255_classes_fit():
    mapping = LabelMapping({"background": (0,)} | {f"c{k}": (k,) for k in range(1, 400)})
    source = np.arange(400).reshape(20, 20)
    assert mapping.apply(source).dtype == np.uint16
    assert np.array_equal(mapping.apply(source), source)


@pytest.mark.parametrize(
    ("classes", "unlabelled", "message"),
    [
        ({"RV": (1,)}, (0,), "no background: say which value"),
        ({"RV": (1,), "backgroud": (2,)}, (0,), r"no background \(is backgroud meant\?\): say"),
        ({"background": (1,)}, (0,), "no class besides the background"),
        ({"background": (0,), "ignore": (4,)}, (), "'ignore' is no class"),
        ({"background": (5,), "RV": (1, 5)}, (0,), r"the values \[5\] stand more than once"),
        ({"background": (5,), "RV": (1,)}, (1,), r"the values \[1\] stand more than once"),
    ],
)
def test_bad_mappings_are_refused(classes, unlabelled, message):
    with pytest.raises(ValueError, match=message):
        LabelMapping(classes, unlabelled)


def test_a_value_that_is_no_label_cannot_be_restored():
    mapping = LabelMapping({"background": (5,), "RV": (1,)}, (0,))
    assert mapping.restore(np.array([0, 1, 2])).tolist() == [5, 1, 0]
    with pytest.raises(ValueError, match=r"holds the values \[-1, 3\]; labels are 0 to 2"):
        mapping.restore(np.array([0, 3, -1]))
