"""What is said of images beside the strokes' own: further channels, and those without strokes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote

from scribble_tools.convert.pairing import IMAGE, SCRIBBLE, CaseFiles, Place, pair_files
from scribble_tools.images.file_kind import READABLE, file_ending_of
from scribble_tools.images.image_files import files_below
from scribble_tools.images.label_appearance import IMAGE as LOOKS_LIKE_IMAGE
from scribble_tools.images.name_patterns import PLACEHOLDER, case_of, compile_pattern
from scribble_tools.images.slicer_segmentation import is_segmentation, stem_of
from scribble_tools.survey.file_facts import examine
from scribble_tools.survey.pairs import Pairing
from scribble_tools.wording import counted, some_of

AIR_HU = (-3100, -900)  # lowest value of a CT image: air, or what scanners fill corners with
LEAST_HIGHEST_HU = 100  # and the highest one is above soft tissue


def _paired(pairing: Pairing, patterns: Sequence[str | None]) -> dict[str, CaseFiles]:
    """Case to files; empty where these patterns of images do not pair."""
    images = [Place(IMAGE, pairing.images, pattern) for pattern in patterns]
    labels = Place(SCRIBBLE, pairing.labels, pairing.label_pattern)
    try:
        return pair_files(images, labels, mixed=pairing.mixed)
    except (FileNotFoundError, ValueError):
        return {}


def _pattern(case: str, path: Path) -> str:
    """Of a file of this case; empty where the name is another's."""
    if case in path.name:
        return path.name.replace(case, PLACEHOLDER)
    return f"{PLACEHOLDER}/{path.name}" if path.parent.name == case else ""


def _is_image(path: Path) -> bool:
    if file_ending_of(path) not in READABLE or is_segmentation(path):
        return False
    return any(facts["kind"] == LOOKS_LIKE_IMAGE for facts in examine(path).values())


def channels_beside(pairing: Pairing) -> list[str]:
    """Patterns of the images that are paired, and of those that lie beside each of them.

    Returns:
        Nothing where there is none for all cases, or where they would not pair.
    """
    paired = _paired(pairing, [pairing.image_pattern])
    cases = {case: files for case, files in paired.items() if files.scribble}
    images = {case: files.images[0] for case, files in cases.items() if len(files.images) == 1}
    own = {_pattern(case, path) for case, path in images.items()}
    if len(images) < len(cases) or len(own) != 1 or not all(own):
        return []
    case, image = next(iter(images.items()))
    used = {image, cases[case].scribble}
    there = {path for path in files_below(image.parent) if path.parent == image.parent} - used

    def everywhere(pattern: str) -> bool:
        name = Path(pattern).name
        return all((p.parent / name.replace(PLACEHOLDER, c)).is_file() for c, p in images.items())

    others = {pattern: path for path in sorted(there) if (pattern := _pattern(case, path))}
    beside = [p for p, path in others.items() if p not in own and everywhere(p) and _is_image(path)]
    patterns = [*own, *beside]
    return patterns if beside and _paired(pairing, patterns) else []


def _taken_for_cases(pairing: Pairing, beside: Sequence[str]) -> set[str]:
    """Cases of the line that are files beside the image of another."""
    paired = _paired(pairing, [pairing.image_pattern]) if beside else {}
    forms = [compile_pattern(pattern) for pattern in beside]
    return {
        case
        for case, files in paired.items()
        for path in files.images[: files.scribble is None]
        for form in forms
        if (found := form.fullmatch(path.relative_to(pairing.images).as_posix()))
        and case_of(found) in paired.keys() - {case}
    }


def images_in_words(pairing: Pairing) -> list[str]:
    """What the line does with channels beside its images, and with images without strokes."""
    patterns = channels_beside(pairing)
    taken = _taken_for_cases(pairing, patterns[1:])
    without = [case for case in pairing.without if case not in taken]
    said = [_channels_in_words(patterns, bool(taken))] if patterns else []
    return said + [_without_strokes(without)] * bool(without)


def _channels_in_words(patterns: Sequence[str], taken: bool) -> str:
    said = " ".join(map(quote, patterns))
    stems = [stem_of(Path(pattern)).replace(PLACEHOLDER, "").strip("_-. ") for pattern in patterns]
    names = " ".join(quote(stem or "image") for stem in stems)
    globs = " ".join(quote(pattern.replace(PLACEHOLDER, "*")) for pattern in patterns[1:])
    does = "takes for cases without strokes" if taken else "leaves out"
    return (
        f"beside each image lies {' and '.join(patterns[1:])}, which the line {does}. For "
        f"images of several channels say --image-pattern {said} --channel-names {names} instead"
        + f"; to pass over what is none, --exclude {globs}"
        * taken
    )


def ct_in_words(images: Sequence[Mapping]) -> list[str]:
    """That a line may lack CT as the name of the channel, where values look like it.

    Args:
        images: groups of images, see `command`.
    """
    ranges = [group["range"] for group in images if "range" in group]
    if not ranges:
        return []
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    if not AIR_HU[0] <= low <= AIR_HU[1] or high < LEAST_HIGHEST_HU:
        return []
    return [
        f"the images' values go from {low:g} to {high:g}, as those of CT do. If they are, say "
        "--channel-names CT: nnU-Net normalises CT in another way than all else"
    ]


def _without_strokes(cases: Sequence[str]) -> str:
    """What --mixed does to images that may have been kept aside."""
    one = len(cases) == 1
    them, they_are, their_names = (
        ("it", "it is", "its name") if one else ("them", "they are", "their names")
    )
    return (
        f"{counted(len(cases), 'image has', 'images have')} no strokes ({some_of(cases)}), and "
        f"--mixed trains on {them}, too, without annotation. If {they_are} kept aside for testing, "
        f"say --exclude 'GLOB' of {their_names} instead"
    )
