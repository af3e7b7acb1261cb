"""What speaks for a stroke, on drawings where it is known."""

from dataclasses import replace

import numpy as np
import pytest

from scribble_tools.dataset.label_set import LabelSet
from scribble_tools.suggest.evidence import Doubt, combine, entropy, evidence_maps, gain
from scribble_tools.suggest.listing import in_words
from scribble_tools.suggest.novelty import describe_slices, novelty_of_slices
from scribble_tools.suggest.places import Place, find_places, rank, with_novelty

IGNORE = 3
LABELS = LabelSet({"RV": (1,), "LV": (2,)}, IGNORE)
NAMES = ("background", "RV", "LV")
SHAPE = (3, 40, 40)
SPACING = (8.0, 1.0, 1.0)


def one_hot(labels, certainty=0.98):
    p = np.full((3, *labels.shape), (1 - certainty) / 2, np.float32)
    np.put_along_axis(p, labels[None], certainty, 0)
    return p


def drawing():
    """RV and LV in every slice, with a stroke each and in the background, in all but the last."""
    labels = np.zeros(SHAPE, int)
    labels[:, 5:15, 5:15], labels[:, 25:35, 25:35] = 1, 2
    strokes = np.full(SHAPE, IGNORE)
    strokes[:2, 10, 7:13], strokes[:2, 30, 27:33], strokes[:2, 20, 3:37] = 1, 2, 0
    return labels, strokes


def places_of(labels, strokes, members=None):
    doubt = combine(members or [one_hot(labels)])
    maps = evidence_maps(doubt, strokes, LABELS, SPACING)
    found = find_places(
        "case", gain(maps, SPACING), doubt.labels, maps, doubt.probabilities, NAMES, SPACING
    )
    return maps, found


def test_entropy_is_0_for_certainty_and_1_for_none():
    even = np.full((4, 1), 0.25)
    certain = np.array([[1.0], [0], [0], [0]])
    assert entropy(even, False) == pytest.approx(1) and entropy(certain, False) < 1e-4
    assert entropy(np.full((2, 1), 0.5), True) == pytest.approx(1)
    assert entropy(np.array([[1.0], [0.0]]), True) < 1e-4


def test_members_that_agree_are_unsure_together_and_do_not_disagree():
    labels, _ = drawing()
    unsure = np.full((3, *SHAPE), 1 / 3, np.float32)
    agreed = combine([unsure, unsure])
    assert agreed.uncertainty.min() > 0.99 and agreed.disagreement.max() < 1e-5
    other = labels.copy()
    other[0, 5:15, 5:15] = 2
    torn = combine([one_hot(labels, 0.999), one_hot(other, 0.999)])
    assert torn.disagreement[0, 10, 10] > 0.5 and torn.disagreement[1, 10, 10] < 0.01
    assert torn.members == 2
    with pytest.raises(ValueError, match="no prediction"):
        combine([])


def test_regions_write_their_label_in_order():
    whole, core = np.zeros((2, 1, 4, 4), np.float32)
    whole[0, :3], core[0, :1] = 0.9, 0.9
    doubt = combine([np.stack([whole, core])], [1, 2])
    assert [*np.unique(doubt.labels, return_counts=True)[1]] == [4, 8, 4]


def test_a_supported_and_certain_prediction_asks_for_nothing_where_strokes_are():
    labels, strokes = drawing()
    _, found = places_of(labels, strokes)
    assert {place.slice for place in found} <= {2}


def test_a_piece_that_no_stroke_touches_is_the_first_place():
    labels, strokes = drawing()
    labels[0, 25:32, 5:12] = 1
    maps, found = places_of(labels, strokes)
    best = max(found, key=lambda place: place.value)
    assert (best.reason, best.predicted, best.slice) == ("unsupported", "RV", 0)
    assert 25 <= best.index[1] < 32 and 5 <= best.index[2] < 12
    assert best.area_mm2 == pytest.approx(49, abs=25)
    # the same piece with a stroke in it asks for nothing
    strokes[0, 28, 6:11] = 1
    maps, found = places_of(labels, strokes)
    assert maps["unsupported"].max() == 0 and {place.slice for place in found} <= {2}


def test_a_stroke_against_the_prediction_is_a_contradiction():
    labels, strokes = drawing()
    labels[1, 25:35, 25:35] = 1
    maps, found = places_of(labels, strokes)
    np.testing.assert_array_equal(maps["contradiction"][1] > 0, strokes[1] == 2)
    assert any(p.reason == "contradiction" and p.slice == 1 for p in found)
    background = np.full(SHAPE, IGNORE)
    background[0, 10, 5:10] = 0
    maps, _ = places_of(labels, background)
    assert maps["contradiction"].sum() == 5


def test_folds_that_disagree_are_found_where_they_do():
    labels, strokes = drawing()
    other = labels.copy()
    other[2, 26:34, 4:12] = 2
    _, found = places_of(labels, strokes, [one_hot(labels), one_hot(other)])
    here = [p for p in found if p.reason == "disagreement"]
    assert here and all(p.slice == 2 and 24 <= p.index[1] <= 36 for p in here)
    assert {here[0].predicted, here[0].alternative} == {"background", "LV"}


def test_far_grows_with_the_distance_to_the_classs_strokes():
    labels, strokes = drawing()
    maps, _ = places_of(labels, strokes)
    assert maps["far"][2, 10, 10] > maps["far"][2, 11, 10] * 0.9 > 0.2
    strokes[1][strokes[1] == 1] = IGNORE
    further, _ = places_of(labels, strokes)
    assert further["far"][2, 10, 10] > maps["far"][2, 10, 10]


def test_in_an_image_without_strokes_the_smaller_pieces_of_a_class_come_first():
    labels, _ = drawing()
    labels[0, 25:32, 5:12] = 1
    maps, found = places_of(labels, None)
    np.testing.assert_array_equal(maps["unsupported"][0, 25:32, 5:12], 1)
    assert maps["unsupported"].sum() == 49
    best = max(found, key=lambda place: place.value)
    assert (best.reason, best.slice) == ("unsupported", 0) and 25 <= best.index[1] < 32
    assert in_words(best) == "a piece of RV, which has no stroke in this case"


def test_the_probability_of_a_place_is_that_of_all_of_it():
    labels, strokes = drawing()
    sure = one_hot(labels)
    unsure = sure.copy()
    unsure[:, 2, 10:20, 8:20] = 1 / 3
    _, found = places_of(labels, strokes, [unsure])
    place = max(found, key=lambda place: place.evidence["uncertain"])
    assert place.slice == 2 and place.probability < 0.7


def test_an_image_without_strokes_is_judged_too():
    labels, _ = drawing()
    maps, found = places_of(labels, None)
    assert maps["contradiction"].max() == 0 and {p.slice for p in found} == {0, 1, 2}
    assert places_of(labels, np.full(SHAPE, IGNORE))[1][0].value == found[0].value


def test_a_thin_uncertain_line_counts_less_than_a_band():
    labels, strokes = drawing()
    thin, band = one_hot(labels), one_hot(labels)
    thin[:, 0, :, 15], band[:, 0, :, 13:19] = 1 / 3, 1 / 3
    values = [
        max(p.value for p in places_of(labels, None, [m])[1] if p.slice == 0) for m in (thin, band)
    ]
    assert values[1] > values[0]


def test_neighbours_of_a_chosen_place_wait_and_so_do_cases_of_a_patient():
    labels, strokes = drawing()
    labels[0, 25:32, 5:12] = labels[1, 25:32, 5:12] = 1
    _, found = places_of(labels, strokes)
    lonely = [replace(p, case="other", value=p.value * 0.9) for p in found if p.slice == 0]
    spacing = {"case": SPACING, "other": SPACING}
    assert [p.case for p in rank([*found, *lonely], spacing)][:2] == ["case", "other"]
    together = rank([*found, *lonely], spacing, patients={"case": "p1", "other": "p1"})
    assert next(p for p in together if p.case == "other").value < lonely[0].value
    assert len(rank([*found, *lonely], spacing, number=2)) == 2
    assert all(p.case != "case" for p in rank([*found, *lonely], spacing, per_case=1)[2:])
    values = [p.value for p in rank(found, spacing)]
    assert values == sorted(values, reverse=True) and rank([], {}) == []


def test_cases_have_as_many_places_as_they_have_doubt_and_slices_one_before_two():
    def places(case, value, slices):
        return [
            Place(case, k, (k, 9, column), "far", {}, "a", "b", 1, 0, 4.0, 9.0, value)
            for k in range(0, 10 * slices, 10)
            for column in (0, 40)
        ]

    found = places("much", 3.1, 6) + places("little", 1.0, 6)
    chosen = rank(found, {"much": SPACING, "little": SPACING}, number=8)
    assert [p.case for p in chosen].count("much") == 6
    alone = rank(found[:12], {"much": SPACING})
    assert len({p.slice for p in alone[:6]}) == 6 and len(alone) == 12


def test_the_value_of_a_place_is_its_area_times_the_gain():
    labels, strokes = drawing()
    small, large = one_hot(labels), one_hot(labels)
    small[:, 0, 30:36, 30:36], large[:, 0, 30:42, 30:42] = 1 / 3, 1 / 3
    of_small, of_large = (
        next(p for p in places_of(labels, None, [m])[1] if p.slice == 0 and p.index[1] >= 30)
        for m in (small, large)
    )
    assert of_large.value > 3 * of_small.value > 0 and of_large.value <= of_large.area_mm2


def test_a_slice_unlike_all_annotated_ones_is_found():
    generator = np.random.default_rng(0)
    image = {c: generator.normal(0, 0.1, (4, 48, 48)) for c in "abc"}
    for own in image.values():
        own[:, 10:30, 10:30] += 5
    image["c"][3] = generator.normal(0, 0.1, (48, 48))
    image["c"][3, 40:, :] += 5
    descriptions = {c: describe_slices(v, np.zeros((4, 48, 48)), [(1,)]) for c, v in image.items()}
    annotated = {c: np.array([True, True, False, False]) for c in "abc"}
    novelty = novelty_of_slices(descriptions, annotated)
    assert novelty["c"][3] == 1 and novelty["c"][2] < 0.5 and novelty["a"][0] == 0
    (place,) = with_novelty("c", [], novelty["c"], [(24, 24)] * 4)
    assert (place.slice, place.reason, place.index) == (3, "unlike", (3, 24, 24))
    _, noted = with_novelty("c", [place, replace(place, value=7.0)], novelty["c"], [])
    assert (noted.value, noted.evidence["unlike"]) == (7.0, 1.0)
    # nothing annotated: nothing to be unlike of
    nothing = {c: np.zeros(4, bool) for c in "abc"}
    assert max(map(np.max, novelty_of_slices(descriptions, nothing).values())) == 0


def test_a_constant_or_broken_image_is_described():
    image = np.full((2, 5, 7), np.nan)
    assert np.isfinite(describe_slices(image, np.zeros(image.shape), [(1,)])).all()


def test_doubt_of_one_member_is_its_own():
    labels, _ = drawing()
    doubt = combine([one_hot(labels)])
    assert isinstance(doubt, Doubt) and doubt.disagreement.max() == 0
    np.testing.assert_array_equal(doubt.labels, labels)
