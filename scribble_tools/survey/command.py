"""`scribble_tools inspect`: what a file or folder is, what its labels look like, how to convert it.

Files that differ only in their numbers belong together (`patient#_frame#.nii.gz`), see
`name_groups`; of each such group some files are read. Everything about the meaning of labels is a
guess from their shapes, and shown as one: `convert` itself never guesses.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from scribble_tools.arguments import positive_int
from scribble_tools.convert.label_survey import only_in_few
from scribble_tools.convert.pairing import what_lies_in
from scribble_tools.images.file_kind import READABLE, file_ending_of
from scribble_tools.images.image_files import files_below
from scribble_tools.images.label_appearance import DENSE, EMPTY, SCRIBBLES, SLICES
from scribble_tools.survey.advice import advise
from scribble_tools.survey.file_facts import H5, examine
from scribble_tools.survey.name_groups import group_by_pattern
from scribble_tools.survey.text import format_report


def find_readable(path: Path) -> list[Path]:
    """The file itself, or all image, label and h5 files below a folder, hidden ones excepted.

    Raises:
        FileNotFoundError: there is no such file, or no readable one in the folder.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such file or folder")
    files = [file for file in files_below(path) if file_ending_of(file) in READABLE | H5]
    if not files:
        if others := what_lies_in(path):
            raise FileNotFoundError(f"no file below {path} can be read: {others}")
        endings = " ".join(sorted(READABLE | H5))
        raise FileNotFoundError(f"{path} holds none of {endings}: is it the right folder?")
    return files


def _most_common(items: Iterable) -> object:
    return Counter(items).most_common(1)[0][0]


def _value_rows(facts: Sequence[Mapping]) -> list[dict]:
    """Per value: share of all voxels, lowest and highest share in a file, files that hold it."""
    totals = [sum(f["values"].values()) for f in facts]
    rows = []
    for value in sorted(
        {v for f in facts for v in f["values"]}, key=lambda v: (isinstance(v, str), v)
    ):
        numbers = [f["values"].get(value, 0) for f in facts]
        shares = [n / max(total, 1) for n, total in zip(numbers, totals, strict=True)]
        rows.append(
            {
                "value": value,
                "share": sum(numbers) / max(sum(totals), 1),
                "lowest": min(shares),
                "highest": max(shares),
                "files": sum(n > 0 for n in numbers),
            }
        )
    return rows


def _summary(
    pattern: str, key: str, files: Sequence[Path], picked: int, read: Mapping[Path, Mapping]
) -> dict:
    """What files of one group have in common.

    Args:
        picked: how many of them were read, of any kind.
        read: the facts of those of this kind.
    """
    facts = list(read.values())
    kinds = [f["kind"] for f in facts]
    kind = _most_common([k for k in kinds if k != EMPTY] or kinds)
    summary = {
        "pattern": pattern,
        "key": key,
        "folder": os.path.commonpath([file.parent for file in files]),
        "folders": sorted({str(file.parent) for file in files}),
        "files": len(files),
        "names": round(len({file.name for file in files}) * len(facts) / picked),
        "read": len(facts),
        "kind": kind,
        "dtypes": sorted({f["dtype"] for f in facts if "dtype" in f}),
        "others": {str(path): f["kind"] for path, f in read.items() if f["kind"] != kind},
        "remarks": sorted({f["remark"] for f in facts if "remark" in f}),
        "problems": [f["problem"] for f in facts if "problem" in f],
    }
    for name in ("shape", "spacing_mm"):
        known = [f[name] for f in facts if name in f]
        if known and len({len(k) for k in known}) == 1:
            summary[name] = {
                "lowest": np.min(known, axis=0).tolist(),
                "highest": np.max(known, axis=0).tolist(),
            }
    if ranges := [f["range"] for f in facts if "range" in f]:
        summary["range"] = [min(low for low, _ in ranges), max(high for _, high in ranges)]
    if "channels" in facts[0]:
        summary["channels"] = sorted({f["channels"] for f in facts if "channels" in f})
    labels = [f for f in facts if "values" in f]
    if labels:
        summary["values"] = rows = _value_rows(labels)
        places = {
            row["value"]: [
                path for path, f in read.items() if f.get("values", {}).get(row["value"])
            ]
            for row in rows
        }
        summary["only_in"] = only_in_few(places, len(labels))
        typical = [f for f in labels if f["kind"] == kind]
        summary["reason"] = next((f["reason"] for f in typical if "reason" in f), "")
        for role in ("unlabelled", "background"):
            summary[role] = _most_common(f.get(role) for f in typical)
    return summary


def _is_labels(kind: str) -> bool:
    return kind in (SCRIBBLES, SLICES, DENSE, EMPTY)


def inspect_path(path: Path, max_files: int = 20, num_threads: int = 2) -> dict:
    """Look at a file or folder.

    Args:
        max_files: read so many files of each name pattern, evenly spaced.

    Returns:
        ``{"path", "groups": [...], "unread", "layout", "advice", "command"}``, ready for JSON; a
        group is a name pattern, split into images and labels, with what its files hold.

    Raises:
        FileNotFoundError: see `find_readable`.
        ValueError: ``max_files`` is below 1.
    """
    if max_files < 1:
        raise ValueError(f"--max-files {max_files}: at least 1 file must be read")
    files = find_readable(path)
    by_pattern = group_by_pattern(files, path.parent if path.is_file() else path)
    picked = {
        pattern: [own[i] for i in np.unique(np.linspace(0, len(own) - 1, max_files).astype(int))]
        for pattern, own in by_pattern.items()
    }
    to_read = [file for own in picked.values() for file in own]
    with ThreadPoolExecutor(num_threads) as pool:
        examined = dict(
            zip(
                to_read,
                tqdm(pool.map(examine, to_read), "reading", len(to_read), unit="file"),
                strict=True,
            )
        )
    groups = []
    for pattern, own in by_pattern.items():
        parts: dict[tuple[str, str], dict[Path, dict]] = defaultdict(dict)
        for file in picked[pattern]:
            for key, facts in examined[file].items():
                kind = "labels" if _is_labels(facts["kind"]) else facts["kind"]
                parts[key, kind][file] = facts
        groups += [
            _summary(pattern, key, own, len(picked[pattern]), read)
            for (key, _), read in parts.items()
        ]
    unread = "" if path.is_file() else what_lies_in(path, known=files)
    return {"path": str(path), "groups": groups, "unread": unread, **advise(path, files, groups)}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says, see ``-h``."""

    path: Path
    max_files: int
    json: bool
    num_processes: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments and help."""
    parser.description = (
        "Say what a file or folder holds: formats, shapes, spacing, label values with their share "
        "of voxels, whether labels look like scribbles or dense, and the convert line that fits."
    )
    parser.epilog = (
        "example:\n  scribble_tools inspect downloads/scribbles\n\n"
        "Files whose names differ only in numbers (#) are shown together, and so are\n"
        "those of the same names in folders of cases. What values mean is guessed from\n"
        "shapes: 'unlabelled' is the value that fills most of the image around thin or\n"
        "long strokes, 'background' a stroke value 0 or the strokes that reach farthest."
    )
    parser.add_argument("path", metavar="PATH", type=Path, help="file or folder")
    parser.add_argument(
        "--max-files", type=int, default=20, help="read so many of each kind (default: 20)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")
    parser.add_argument(
        "-np", type=positive_int, default=2, dest="num_processes", help="parallel readers"
    )


def run(options: Options) -> int:
    """Run the sub-command; return its exit code."""
    report = inspect_path(options.path, options.max_files, options.num_processes)
    print(json.dumps(report, indent=2) if options.json else format_report(report))
    return 0
