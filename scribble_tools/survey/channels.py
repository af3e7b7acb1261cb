"""Images beside those that the printed line takes: further channels, which it leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from scribble_tools.convert.pairing import IMAGE, SCRIBBLE, CaseFiles, Place, pair_files
from scribble_tools.images.file_kind import READABLE, file_ending_of
from scribble_tools.images.image_files import files_below
from scribble_tools.images.label_appearance import IMAGE as LOOKS_LIKE_IMAGE
from scribble_tools.images.name_patterns import PLACEHOLDER
from scribble_tools.images.slicer_segmentation import is_segmentation, stem_of
from scribble_tools.survey.file_facts import examine
from scribble_tools.survey.pairs import Pairing


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


def channels_in_words(pairing: Pairing) -> str:
    """What the line leaves out, and how to take it; empty where there is nothing."""
    patterns = channels_beside(pairing)
    if not patterns:
        return ""
    said = " ".join(map(quote, patterns))
    stems = [stem_of(Path(pattern)).replace(PLACEHOLDER, "").strip("_-. ") for pattern in patterns]
    names = " ".join(quote(stem or "image") for stem in stems)
    return (
        f"beside each image lies {' and '.join(patterns[1:])}, which the line leaves out. For "
        f"images of several channels say --image-pattern {said} --channel-names {names} instead"
    )
