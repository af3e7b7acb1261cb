"""Files that belong together by their names: they differ in numbers, or in people's names."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from scribble_tools.images.file_kind import file_ending_of
from scribble_tools.images.label_appearance import IMAGE
from scribble_tools.images.slicer_segmentation import stem_of
from scribble_tools.survey.file_facts import examine

MANY_PATTERNS = 12  # more name patterns than these say nothing: group by folder and ending
MANY_ALONE = 6  # so do files without others of their pattern
FEWEST_CASES = 3  # folders of the same file names that may be cases: two are images and labels
MOST_COMPARED = 8  # folders: of more, none holds images and another one labels


def _numbers_hidden(text: str) -> str:
    return re.sub(r"\d+", "#", text)


def _pattern(path: Path, cases: Collection[str] = ()) -> str:
    """The path with every number in folders and stem, and folders of a case, replaced by ``#``."""
    folders = _folders_of(path)
    stem, ending = stem_of(path), path.name[len(stem_of(path)) :]
    for folder in (own for own in folders if own in cases):
        stem = _case_hidden(stem, folder)
    folders = ["#" if own in cases else own for own in folders]
    return "/".join([*folders, _numbers_hidden(stem) + ending])


def _case_hidden(name: str, case: str) -> str:
    """``*_t1`` of ``anna_t1``."""
    return name.replace(case, "*")


def _case_folders(files: Sequence[Path], root: Path) -> set[str]:
    """Names of folders that hold the same files as several others, and so are cases.

    Folders of images, of labels and of masks of one class hold files of the same names, too. But
    they hold more files than there are such folders, or another kind, or what is called as images
    elsewhere.
    """
    held: dict[str, dict[tuple[str, ...], Path]] = defaultdict(dict)
    for file in files:
        folders, name = _folders_of(file.relative_to(root)), file.name
        for k, folder in enumerate(folders):
            masked = (*folders[:k], "#", *folders[k + 1 :], _case_hidden(name, folder))
            held[folder].setdefault(masked, file)
    alike: dict[frozenset, list[str]] = defaultdict(list)
    for folder, own in held.items():
        alike[frozenset(own)].append(folder)
    cases: set[str] = set()
    for names, folders in alike.items():
        if len(folders) >= FEWEST_CASES and len(folders) > len(names):
            first = min(names)
            elsewhere = [
                stem_of(file)
                for file in files
                if set(folders).isdisjoint(_folders_of(file.relative_to(root)))
            ]
            stems = tuple(stem_of(Path(name[-1])) for name in names)
            if not any(stem.startswith(stems) for stem in elsewhere) and _of_one_kind(
                [held[folder][first] for folder in folders]
            ):
                cases |= set(folders)
    return cases


def _folders_of(path: Path) -> list[str]:
    return [_numbers_hidden(part) for part in path.parts[:-1]]


def _of_one_kind(files: Sequence[Path]) -> bool:
    """Whether files are images, or none is."""
    if len(files) > MOST_COMPARED:
        return True
    kinds = [{key: facts["kind"] == IMAGE for key, facts in examine(f).items()} for f in files]
    return all(kind == kinds[0] for kind in kinds)


def group_by_pattern(files: Sequence[Path], root: Path) -> dict[str, list[Path]]:
    """Files by name pattern below ``root``: those that differ in their numbers only.

    Folders that hold the same files are cases, and count as numbers. Where there are too many
    patterns all the same, such as with names of people, files of one folder, ending and last word
    of the name, or first word, are a group.
    """
    cases = _case_folders(files, root)
    patterns = {file: _pattern(file.relative_to(root), cases) for file in files}
    number = Counter(patterns.values())
    alone = sum(files == 1 for files in number.values())
    if len(number) > MANY_PATTERNS or MANY_ALONE <= alone > len(files) / 2:
        word_of = _words(files)
        for file, pattern in patterns.items():
            below = file.relative_to(root)
            if cases.isdisjoint(_folders_of(below)):
                pattern = _pattern(below.parent / word_of[file])
            patterns[file] = pattern
    groups: dict[str, list[Path]] = defaultdict(list)
    for file, pattern in patterns.items():
        groups[pattern].append(file)
    return dict(groups)


def _words(files: Sequence[Path]) -> Mapping[Path, str]:
    """``*_label.nii.gz``, or ``label_*.nii.gz`` where the first word says what files are."""
    last = {file: _last_word(file) for file in files}
    first = {file: _first_word(file) for file in files}
    kinds, names = len(set(first.values())), len(set(last.values()))
    if kinds < names and len(files) <= kinds * names:  # each name stands once after each word
        return {file: f"{word}*{file_ending_of(file)}" for file, word in first.items()}
    number = Counter(last.values())
    return {
        file: "*" + (word if number[word] > 1 else file_ending_of(file))
        for file, word in last.items()
    }


def _last_word(file: Path) -> str:
    """``_label.nii.gz`` of ``anna_label.nii.gz``; the ending alone where there is no such word."""
    match = re.search(r"_[A-Za-z]+(\.\w+)+$", file.name)
    return match.group() if match else file_ending_of(file)


def _first_word(file: Path) -> str:
    """``label_`` of ``label_anna.nii.gz``; nothing where there is no such word."""
    match = re.match(r"[A-Za-z]+_", file.name)
    return match.group() if match else ""
