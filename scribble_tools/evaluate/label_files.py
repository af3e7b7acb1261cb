"""Which label files of two folders belong together: by name, or by a pattern that is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from scribble_tools.images.file_kind import NATURAL, READABLE, file_ending_of, normal_form
from scribble_tools.images.image_files import files_in
from scribble_tools.images.name_patterns import PLACEHOLDER, case_of, compile_pattern
from scribble_tools.images.slicer_segmentation import ENDING, stem_of


def find_label_files(
    folder: Path,
    file_ending: str | None = None,
    pattern: str | None = None,
    other: Path | None = None,
) -> dict[str, Path]:
    """Case to label file, of the files in a folder (not below it), sorted.

    Args:
        file_ending: the files with this ending, and no others; default: those of every format.
        pattern: takes the place of the ending, see `compile_pattern`.
        other: folder of label files of the same cases. Pictures beside volumes show them, as a
            contact sheet does, unless ``other`` has a picture of that name and no volume.

    Raises:
        FileNotFoundError: it is no folder, or nothing fits.
        ValueError: the pattern has no place for the case, or two files are of one case.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder")
    files = files_in(folder)  # what is no file of this name is refused when it is read, not lost
    if pattern is not None:
        regex = compile_pattern(normal_form(pattern))
        matches = {path: regex.fullmatch(normal_form(path.name)) for path in files}
        pairs = [(case_of(match), path) for path, match in matches.items() if match]
        if not pairs:
            raise FileNotFoundError(f"nothing in {folder} fits the pattern {pattern!r}")
    elif file_ending is not None:
        pairs = [(p.name.removesuffix(file_ending), p) for p in files_in(folder, file_ending)]
        if file_ending != ENDING:  # case.seg.nrrd is no NRRD of a case called case.seg
            pairs = [(name, p) for name, p in pairs if not p.name.lower().endswith(ENDING)]
        if not pairs:
            raise FileNotFoundError(f"no *{file_ending} in {folder}: another --file-ending?")
    else:
        pictures, volumes = _pictures_and_volumes(files)
        if volumes:
            others, shown = _pictures_and_volumes(files_in(other)) if other else ([], [])
            cases = {*map(_name, others)} - {*map(_name, [*volumes, *shown])}
            pictures = [path for path in pictures if _name(path) in cases]
        pairs = [(stem_of(path), path) for path in sorted([*volumes, *pictures])]
        if not pairs:
            raise FileNotFoundError(f"no label files ({' '.join(sorted(READABLE))}) in {folder}")
    return _one_of_each(pairs)


def label_files_like(folder: Path, ending: str) -> dict[str, Path]:
    """Case to label file of a folder, in any format that labels of a data set's images may have.

    Pictures lie beside volumes to be looked at, and are no labels of theirs.

    Args:
        ending: of the data set.

    Raises:
        ValueError: two files are of one case.
    """
    natural = ending in NATURAL
    paths = [path for path in files_in(folder) if file_ending_of(path) in READABLE]
    return _one_of_each(
        (stem_of(path), path) for path in paths if (file_ending_of(path) in NATURAL) == natural
    )


def _pictures_and_volumes(files: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Those that can be read."""
    readable = [path for path in files if file_ending_of(path) in READABLE]
    pictures = [path for path in readable if file_ending_of(path) in NATURAL]
    return pictures, [path for path in readable if file_ending_of(path) not in NATURAL]


def _name(path: Path) -> str:
    return normal_form(stem_of(path))


def _one_of_each(pairs: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    found: dict[str, list[Path]] = {}
    for name, path in pairs:
        found.setdefault(normal_form(name), []).append(path)
    if twice := [
        f"{' and '.join(map(str, paths))} are both of {case}"
        for case, paths in found.items()
        if len(paths) > 1
    ]:
        options = "--file-ending, --pred-pattern, --ref-pattern"
        remedy = f"take one of each case away, or tell evaluate which to score ({options})"
        raise ValueError("\n".join([*twice, remedy]))
    return {case: path for case, (path,) in found.items()}


def addition_hint(lost: Mapping[str, Path], extra: Mapping[str, Path]) -> str | None:
    """What to say where one side has the other's names with something added; else None.

    Args:
        lost: references without prediction, by name.
        extra: predictions without reference, by name.
    """
    fewer = min(len(lost), len(extra))
    # of predictions with longer names some are enough: of the others there may be no reference
    for option, longer, names, enough in (
        ("--ref-pattern", lost, extra, fewer),
        ("--pred-pattern", extra, lost, min(2, fewer)),
    ):
        additions = Counter(
            (name[: name.index(case)], name[name.index(case) + len(case) :])
            for name in longer
            for case in names
            if case in name and case != name
        )
        if option == "--pred-pattern":  # 10 is no 1 with something added
            additions = Counter({(a, b): n for (a, b), n in additions.items() if _apart(a, b)})
        if not additions:
            continue
        (before, after), number = additions.most_common(1)[0]
        if number < enough:
            continue
        ending = file_ending_of(next(iter(longer.values())))
        what = " and ".join(repr(word) for word in (before, after) if word)
        pattern = f"{before}{PLACEHOLDER}{after}{ending}"
        return f"names differ by {what} only: say {option} '{pattern}'"
    return None


def _apart(before: str, after: str) -> bool:
    """Whether additions to a name are set apart from it."""
    return (not before or before[-1] in "_-. ") and (not after or after[0] in "_-. ")
