"""From maps of evidence to places: where in which slice, why, and which classes are in question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import distance_transform_edt, find_objects, label

from scribble_tools.images.units import MILLIMETRES
from scribble_tools.suggest.evidence import UNLIKE, WEIGHTS

LEAST_GAIN = 0.2  # below it nothing speaks for a stroke
SHARE_OF_PEAK = 0.5  # of the slice's highest gain: what is higher belongs to a place
LEAST_PIXELS = 6
PER_SLICE = 3
NEAR = 0.5  # what a place loses that lies where another one was chosen
SAME_SLICE = 0.9  # and what it loses that lies in a slice which a stroke is to be drawn in
SAME_PATIENT = 0.2  # and in another case of its patient, which shows the same anatomy


@dataclass(frozen=True)
class Place:
    """One place where a stroke would teach.

    Attributes:
        case: its name.
        slice: number in the file, from 0, along the axis that slices are cut across.
        index: (slice, row, column) as stored, in the order in which slices are cut.
        reason: the strongest of `evidence`.
        evidence: reason to its mean over the place, 0 to 1.
        predicted, alternative: the most and the second most probable class over the place.
        probability, alternative_probability: of them.
        area_mm2: of the place.
        stroke_mm: to the nearest stroke of the predicted class, infinite without one.
        value: what orders the places of a data set; an area in mm2: of the place, times the gain.
        unit: of lengths, see `images.units`: mm are pixels of pictures that state no size.
        flat: the case is a 2D image, which has no slices.
    """

    case: str
    slice: int
    index: tuple[int, int, int]
    reason: str
    evidence: Mapping[str, float]
    predicted: str
    alternative: str
    probability: float
    alternative_probability: float
    area_mm2: float
    stroke_mm: float
    value: float
    unit: str = MILLIMETRES
    flat: bool = False

    @property
    def radius_mm(self) -> float:
        """Of the disc of the place's area."""
        return float(np.sqrt(self.area_mm2 / np.pi))

    def at_distance(self, stroke_mm: float) -> Place:
        """The same place, with its distance to a stroke."""
        return replace(self, stroke_mm=stroke_mm)


def class_probabilities(
    probabilities: np.ndarray, names: Sequence[str], regions: bool
) -> dict[str, np.ndarray]:
    """Probability of every class, background among them, at one voxel or at many.

    Args:
        probabilities: (classes or regions, ...), see `Doubt`.
        names: ``background`` first, then the classes in the order of dataset.json.
    """
    if not regions:
        return dict(zip(names, probabilities, strict=True))
    outside = 1 - probabilities.max(axis=0)
    return dict(zip(names, (outside, *probabilities), strict=True))


def _pieces(high: np.ndarray, predicted: np.ndarray) -> Iterator[tuple[tuple, np.ndarray]]:
    """Connected pieces of one predicted label: bounding box, and bool mask in it."""
    for value in np.unique(predicted[high]).tolist():
        pieces, _ = label(high & (predicted == value), np.ones((3, 3)))
        for k, box in enumerate(find_objects(pieces), 1):
            inside = pieces[box] == k
            if inside.sum() >= LEAST_PIXELS:
                yield box, inside


def find_places(
    case: str,
    gain: np.ndarray,
    predicted: np.ndarray,
    maps: Mapping[str, np.ndarray],
    probabilities: np.ndarray,
    names: Sequence[str],
    spacing_mm: Sequence[float],
    regions: bool = False,
) -> list[Place]:
    """The places of one case, up to `PER_SLICE` in a slice, in the order of slices.

    Args:
        gain: (slices, rows, columns), see `evidence.gain`.
        predicted: labels of the same shape; a place lies in one of them.
        maps: see `evidence.evidence_maps`.
        probabilities: (classes or regions, slices, rows, columns).
        names: ``background`` first.
        spacing_mm: of slices, rows and columns.
    """
    pixel_mm2 = spacing_mm[1] * spacing_mm[2]
    found = []
    for number, plane in enumerate(gain):
        high = plane >= max(LEAST_GAIN, SHARE_OF_PEAK * plane.max())
        own = []
        for box, inside in _pieces(high, predicted[number]):
            # where it is thick and much speaks for it: a mark at its edge would mislead
            depth = distance_transform_edt(np.pad(inside, 1), sampling=spacing_mm[1:])[1:-1, 1:-1]
            row, column = np.unravel_index((depth * plane[box]).argmax(), inside.shape)
            index = (number, int(row + box[0].start), int(column + box[1].start))
            evidence = {r: float(maps[r][number][box][inside].mean()) for r in WEIGHTS}
            # a contradiction is as thin as its stroke: what counts is that there is one
            evidence["contradiction"] = float(maps["contradiction"][number][box][inside].max())
            # as the evidence, over the place: at its middle the network may be sure
            over_place = probabilities[:, number][(slice(None), *box)][:, inside].mean(axis=1)
            at = class_probabilities(over_place, names, regions)
            first, second = sorted(at, key=at.get, reverse=True)[:2]
            area = float(inside.sum() * pixel_mm2)
            value = float(plane[box][inside].sum() * pixel_mm2)
            own.append(
                Place(
                    case,
                    number,
                    index,
                    max(WEIGHTS, key=lambda r, e=evidence: WEIGHTS[r] * e[r]),
                    evidence,
                    first,
                    second,
                    float(at[first]),
                    float(at[second]),
                    area,
                    np.inf,
                    value,
                )
            )
        found += sorted(own, key=lambda place: -place.value)[:PER_SLICE]
    return found


def with_novelty(
    case: str, places: Sequence[Place], novelty: np.ndarray, middles: Sequence[tuple[int, int]]
) -> list[Place]:
    """Note of places how unlike all annotated ones their slice is; it does not raise their value.

    What is unlike the rest is often what people settle by convention, such as an organ's first and
    last slices, see docs/results.md. A slice unlike all annotated ones in which nothing else speaks
    for a stroke gets a place of its own.

    Args:
        novelty: (slices,), 0 to 1.
        middles: row and column to look at in every slice.
    """
    noted = [
        replace(place, evidence={**place.evidence, UNLIKE: float(novelty[place.slice])})
        for place in places
    ]
    typical = float(np.median([place.value for place in places])) if places else 1.0
    having = {place.slice for place in places}
    for number in np.flatnonzero(novelty > 0.5).tolist():
        if number not in having:
            evidence = {**dict.fromkeys(WEIGHTS, 0.0), UNLIKE: float(novelty[number])}
            index = (number, *middles[number])
            value = typical * float(novelty[number]) / 2
            noted.append(
                Place(case, number, index, UNLIKE, evidence, "", "", 0, 0, 0, np.inf, value)
            )
    return noted


def rank(
    places: Sequence[Place],
    spacing_mm: Mapping[str, Sequence[float]],
    number: int | None = None,
    per_case: int | None = None,
    patients: Mapping[str, str] | None = None,
) -> list[Place]:
    """Places in the order in which to draw, best first.

    One after the other is chosen. From then on what lies near it in the same case counts less,
    since it would be settled in part, and so does what lies in the same slice. Of a case that has
    been chosen k times all that is left counts 1 / (k + 1): so strokes are spread over the cases,
    and cases of much doubt have more of them.

    Args:
        spacing_mm: of every case's slices, rows and columns.
        number: at most so many.
        per_case: at most so many of one case.
        patients: patient of every case; default: every case has its own.
    """
    left = list(places)
    values = np.array([place.value for place in left])
    cases = np.array([place.case for place in left])
    owners = np.array([(patients or {}).get(place.case, place.case) for place in left])
    chosen: list[Place] = []
    counts: dict[str, int] = {}
    while left and len(chosen) < (len(left) if number is None else number):
        best = int(values.argmax())
        if values[best] <= 0:
            break
        place = left[best]
        chosen.append(replace(place, value=float(values[best])))
        values[best] = 0
        counts[place.case] = counts.get(place.case, 0) + 1
        values[(owners == owners[best]) & (cases != place.case)] *= 1 - SAME_PATIENT
        same = np.flatnonzero((cases == place.case) & (values > 0))
        if per_case is not None and counts[place.case] >= per_case:
            values[same] = 0
            continue
        values[same] *= counts[place.case] / (counts[place.case] + 1)
        sides = np.array(spacing_mm[place.case])
        for other in same:
            away = np.linalg.norm((np.array(left[other].index) - place.index) * sides)
            reach = max(place.radius_mm, 2 * sides[0], 1e-6)
            values[other] *= 1 - NEAR * np.exp(-away / reach)
            if left[other].slice == place.slice:
                values[other] *= 1 - SAME_SLICE
    return chosen
