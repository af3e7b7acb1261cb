"""Which `convert` line fits files that `inspect` has looked at.

A group is what `command` says of files of one name pattern: at least ``pattern``, ``folder``,
``kind`` and ``key`` (of an h5), of labels ``values``, ``unlabelled`` and ``background``.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from scribble_tools.convert.formats import Advice, Seen, quote, recognise, target
from scribble_tools.convert.scribblebench import DENSE_DATASET, find_dataset
from scribble_tools.dataset.ids import free_id
from scribble_tools.images.image_files import files_below
from scribble_tools.images.itksnap_labels import read_label_description
from scribble_tools.images.label_appearance import (
    DENSE,
    IMAGE,
    NO_SEGMENT,
    SCRIBBLES,
    SEGMENTS,
    SLICES,
)
from scribble_tools.images.name_patterns import PLACEHOLDER
from scribble_tools.images.slicer_segmentation import stem_of
from scribble_tools.survey.channels import ct_in_words, images_in_words
from scribble_tools.survey.mask_advice import is_labels, mask_words
from scribble_tools.survey.own_outputs import own_output
from scribble_tools.survey.pairs import Pairing, find_pairing, is_of
from scribble_tools.survey.patient_names import patient_regex
from scribble_tools.survey.rehearsal import CHANNEL_NAMES, rehearse
from scribble_tools.survey.spelling import spelt_alike
from scribble_tools.wording import counted, some_of

DATASET_ID = re.compile(r"--dataset-id (\d+)")
PUBLIC_UNLABELLED = (4, 255)  # in ACDC, MSCMRseg and WSL4MIS, where 0 is the background scribble


def advise(path: Path, files: Sequence[Path], groups: Sequence[Mapping]) -> dict:
    """Recognise the layout by its names and give the command that fits.

    Returns:
        ``layout``, ``advice`` and ``command``; words in capitals are for the user to fill in.
        ``more``: the same three of every further public data set among the files.
    """
    seen = Seen(path.parent if path.is_file() else path, files, groups)
    if own := own_output(seen):  # whose number is that of a data set there is
        return {"layout": own.layout, "advice": own.advice, "command": own.command, "more": []}
    dataset = _dataset(seen)
    known = [dataset] if dataset else recognise(seen, drawn_anew=_drawn_anew(groups))
    found = [(own.layout, own.advice, own.command) for own in known]
    first, *more = (
        dict(zip(("layout", "advice", "command"), own, strict=True))
        for own in _with_own_ids(found) or [_any_files(seen)]
    )
    return {**first, "more": more}


def _with_own_ids(found: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """The lines with a free id each; as they come, all propose the same one."""
    raw, lines, last = os.environ.get("nnUNet_raw"), [], 0
    for layout, advice, command in found:
        if match := DATASET_ID.search(command):
            first = max(int(match[1]), last + 1)
            last = (free_id(Path(raw), first) if raw else first) or first
            command = DATASET_ID.sub(f"--dataset-id {last}", command)
        lines.append((layout, advice, command))
    return lines


def _command(*words: object) -> str:
    """A command line; words in capitals and guesses in brackets stay unquoted, to be edited."""
    return " ".join(map(str, ("scribble_tools", *words)))


def _dataset(seen: Seen) -> Advice | None:
    """What to do with a data set of nnU-Net's that needs no conversion, or has no scribbles."""
    if (found := find_dataset(seen.folder)) is None:
        return None
    dataset, has_ignore = quote(found[0]), found[1]
    if has_ignore:
        layout = "an nnU-Net data set with an ignore label"
        return Advice(layout, "it needs no conversion", ("check", dataset))
    if any(group["kind"] in (SCRIBBLES, SLICES) for group in seen.groups):
        return None
    return Advice(
        DENSE_DATASET,
        "there are no scribbles: draw some from the dense labels, or see convert folder -h and "
        "convert scribblebench -h if they lie elsewhere",
        ("generate", dataset, target()),
    )


def _described_names(folder: Path, values: Iterable) -> dict[int, str]:
    """Value to name after a label description of ITK-SNAP below ``folder``; {} without one."""
    for file in files_below(folder, "*.txt"):
        try:
            names = {value: name for name, value in read_label_description(file).items()}
        except (ValueError, OSError):
            continue
        if set(values) <= set(names):
            return names
    return {}


def _class(name: str, value: object) -> str:
    return shlex.quote(f"{name.replace(' ', '_')}={value}")


def _classes(group: Mapping, folder: Path) -> list[str]:
    """``NAME=VALUE`` for every class of a group of label files, background first."""
    rows = [row["value"] for row in group["values"]]
    if group["kind"] == SEGMENTS:
        background = [v for v in rows if "background" in v.lower()]
        names = [v for v in rows if v not in background and v != NO_SEGMENT]
        first = _class("background", background[0] if background else "SEGMENT")
        return [first, *(_class(v, v) for v in names)]
    background = group["background"]
    classes = [v for v in rows if v not in (background, group["unlabelled"], "NaN")]
    described = _described_names(folder, rows)
    return [
        _class("background", "VALUE" if background is None else background),
        *(_class(described.get(v, f"NAME{k}"), v) for k, v in enumerate(classes, 1)),
    ]


def _guessed_labels(scribbles: Mapping, dense: Mapping | None, folder: Path) -> str:
    """``--labels`` and what goes with it, to be checked by the user."""
    classes = _classes(scribbles, folder)
    words = ["--labels", *classes]
    if scribbles["kind"] != SEGMENTS:
        if "NaN" in [row["value"] for row in scribbles["values"]]:
            words += ["--nan unlabelled"]
        if scribbles["unlabelled"] != "NaN":
            words += ["--unlabelled", shlex.quote(str(scribbles["unlabelled"]))]
    if dense and (dense_classes := _classes(dense, folder)) != classes:
        words += ["--dense-labels", *dense_classes]
    return " ".join(words)


def _name(folder: Path) -> str:
    """``--name Hearts`` for a folder ``hearts``, where its name gives one."""
    own = folder.resolve().name
    words = re.findall(r"[A-Za-z0-9]+", own)
    name = "".join(word[0].upper() + word[1:] for word in words) if own.isascii() else ""
    return f"--name {name or 'NAME'}"


def _stems(groups: Sequence[Mapping], files: Sequence[Path]) -> list[str]:
    """Names of the files of some groups, without endings."""
    return sorted({stem_of(path) for path in files for group in groups if is_of(path, group)})


def _drawn_anew(groups: Sequence[Mapping]) -> bool:
    """Whether labels are not a public scribble set's, whatever the files are called."""
    labels = [g for g in groups if g["kind"] in (SCRIBBLES, SLICES, SEGMENTS)]
    return any(
        g["kind"] == SEGMENTS or g["unlabelled"] not in PUBLIC_UNLABELLED or g["background"]
        for g in labels
    )


def _drawn_from(images: Sequence[Mapping], dense: Sequence[Mapping], mend: str) -> tuple[str, str]:
    """Advice and command where there are dense labels and no scribbles."""
    pairing, _ = find_pairing(images, dense)
    folder = pairing.labels if pairing else Path(dense[0]["folder"])
    pattern = pairing.label_pattern if pairing else None
    if pattern is None and {*dense[0]["folders"]} != {str(folder)}:
        name = Path(dense[0]["pattern"]).name
        pattern = PLACEHOLDER + name[len(stem_of(Path(name))) :]
    words = [f"--pattern {shlex.quote(pattern)}"] if pattern else []
    advice = "there are no scribbles: draw some from the dense labels, then convert folder"
    if pairing:
        advice += f", with --images {quote(pairing.images)}"
        if pairing.image_pattern:
            advice += f" --image-pattern {shlex.quote(pairing.image_pattern)}"
    return advice + mend, _command("generate", quote(folder), *words, "--out SCRIBBLES")


def _any_files(seen: Seen) -> tuple:
    folder, groups = seen.folder, seen.groups
    images = [g for g in groups if g["kind"] == IMAGE and not g["key"]]
    images.sort(key=lambda g: (bool(g["remarks"]), -g["files"]))  # with few colours: masks?
    scribbles = [g for g in groups if g["kind"] in (SCRIBBLES, SLICES, SEGMENTS)]
    dense = [g for g in groups if g["kind"] == DENSE]
    problems = any(g["problems"] for g in groups)
    mend = "; mend the problems above, then inspect again: convert refuses them" * problems
    masks = mask_words(images[0], [g for g in groups if is_labels(g)]) if images else []
    if masks:
        return _joined_masks(seen, images, masks, mend)
    if not scribbles and dense:
        return (
            "images and dense labels" if images else "dense labels",
            *_drawn_from(images, dense, mend),
        )
    if not scribbles:
        if problems and not images:
            return "files that cannot be read", "mend the problems above, then inspect again", ""
        advice = "there are no labels among these files: look at those too"
        if len({Path(group["pattern"]).name for group in images}) < len(images):
            advice += (
                ". If strokes were drawn onto copies of the images, nothing tells them from what "
                "is below: draw on an empty layer, and save that alone"
            )
        return "images", advice + mend, ""
    pairing, others = find_pairing(images, scribbles, dense)
    advice = ["what values mean is guessed here from shapes: correct it. convert never guesses"]
    chosen, options, refused, notes = scribbles[0], [], [], ()
    if pairing is None:
        words = ["--images", _folder_above(images) if images else "IMAGES"]
        words += ["--scribbles", _folder_above(scribbles)]
        if images:
            words.append("--image-pattern IMAGE_PATTERN --scribble-pattern SCRIBBLE_PATTERN")
            advice.append("the names do not pair images with scribbles: say how both are called")
    else:
        chosen = next((g for g in scribbles if _is_taken(g, pairing, seen.files)), chosen)
        lost = _lost_strokes(seen.files, scribbles, pairing, others)
        words = [word for word in pairing.words if word != "--mixed" or not lost]
        options, refused = rehearse(pairing, "colour" if _in_colours(chosen) else "grey")
        if others:
            folders = ", or ".join(quote(other.labels) for other in others)
            advice.append(f"other scribbles pair with images too: --scribbles {folders}")
        # whose strokes are called otherwise is no case without strokes
        notes = images_in_words(replace(pairing, without=()) if lost else pairing)
        notes += [_lost_in_words(lost, folder)] * bool(lost)
    if len(images) > 1 and pairing is None:
        advice.append("of several channels, give one --image-pattern each")
    paired = None
    if pairing and pairing.dense:
        paired = next((g for g in dense if _is_taken(g, pairing, seen.files)), None)
    elif pairing and dense:
        where = quote(Path(dense[0]["folder"]))
        advice.append(
            "the dense labels do not pair with these images, and are left out: the command with "
            f"--dense {where} says why"
        )
    if pairing:
        taken = [g for g in images if _is_taken(g, pairing, seen.files)]
        left = [g for g in images if g not in taken]
        notes = [
            *notes,
            *(f"the line takes no image of {_in_words(g, pairing.images)}" for g in left),
        ]
        images = taken
    notes = [*notes, *_notes_on_channels(options, images), *spelt_alike(chosen)]
    labels = _guessed_labels(chosen, paired, folder)
    names = pairing.names if pairing else _stems(images, seen.files)
    words = ["convert folder", *words, *patient_regex(names), labels, *options, _name(folder)]
    return (
        "no known data set",
        "\n".join(["; ".join(advice) + mend, *notes]) + _why_no_line(refused),
        "" if refused or problems else _command(*words, target()),
    )


def _in_words(group: Mapping, images: Path) -> str:
    """A group of images that the line leaves out; ``images``: the folder that it names."""
    folder = Path(group["folder"])
    where = group["pattern"] if folder == images else quote(folder)
    return f"{where} ({counted(group['files'], 'file')})"


def _folder_above(groups: Sequence[Mapping]) -> str:
    """The folder that all files of some groups lie in, as a word of the line."""
    return quote(Path(os.path.commonpath([group["folder"] for group in groups])))


def _in_colours(group: Mapping) -> bool:
    values = [str(row["value"]) for row in group["values"]]
    return group["kind"] != SEGMENTS and any(value.startswith("#") for value in values)


def _notes_on_channels(options: Sequence[str], images: Sequence[Mapping]) -> list[str]:
    """What the user is to say of the images' channels; ``options``: those that the line has."""
    for option in options:
        if option.startswith(f"{CHANNEL_NAMES} "):
            number = len(option.split()) - 1
            return [
                f"each case has {number} channels: put their names after {CHANNEL_NAMES} in their "
                "order, such as T1 T2 or CT. They are no channels if they are the frames of a "
                "film, or a picture's transparency"
            ]
    return ct_in_words(images)


def _why_no_line(refused: Sequence[str]) -> str:
    """Why no line is printed: it would be refused."""
    return "".join(f"\nmend this, then inspect again: {text}" for text in refused[:1])


def _joined_masks(seen: Seen, images: Sequence[Mapping], masks: Sequence[str], mend: str) -> tuple:
    folders = [Path(group["folder"]) for group in seen.groups if is_labels(group)]
    pairing = Pairing(Path(images[0]["folder"]), Path(os.path.commonpath(folders)))
    said = [shlex.split(word)[0].partition("=") for word in masks if "=PATTERN" not in word]
    patterns = {name: text.split(",") for name, _, text in said}
    options, refused = rehearse(pairing, masks=patterns)
    words = [
        "convert folder",
        *pairing.words,
        *patient_regex(_stems(images, seen.files)),
        "--labels",
        *masks,
        *options,
    ]
    return (
        "masks of single classes",
        "several masks make up a case, one or more for each class; what lies in none is unlabelled"
        + "; what the classes are is guessed from names: correct it"
        + mend
        + "".join(f"\n{note}" for note in _notes_on_channels(options, images))
        + _why_no_line(refused),
        "" if refused or mend else _command(*words, _name(seen.folder), target()),
    )


def _is_taken(group: Mapping, pairing: Pairing, files: Sequence[Path]) -> bool:
    """Whether a pairing takes any file of a group."""
    return any(path in pairing.taken for path in files if is_of(path, group))


def _lost_strokes(
    files: Sequence[Path],
    scribbles: Sequence[Mapping],
    pairing: Pairing,
    others: Sequence[Pairing],
) -> list[Path]:
    """Files of strokes that neither a pairing takes nor another one that is named beside it."""
    taken = pairing.taken.union(*(other.taken for other in others))
    return [p for p in files if p not in taken and any(is_of(p, group) for group in scribbles)]


def _lost_in_words(lost: Sequence[Path], folder: Path) -> str:
    names = some_of([quote(path.relative_to(folder)) for path in lost])
    them = "it" if len(lost) == 1 else "them"
    return (
        f"the line does not take {counted(len(lost), 'file')} with strokes: {names}. Call {them}, "
        f"and the folders, as the others are called, or move {them} away"
    )
