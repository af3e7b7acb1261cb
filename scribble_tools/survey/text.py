"""The text that `inspect` prints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from scribble_tools.images.label_appearance import SCRIBBLES, SLICES
from scribble_tools.problems import list_problems

MOST_ROWS = 40  # of a table of values
TO_EDIT = re.compile(
    r"(?<![/\w])(NAME\d*|VALUE|SEGMENT|IMAGES|SCRIBBLES|REF|ID|DATASET|(IMAGE_|SCRIBBLE_)?PATTERN)"
    r"(?![/\w])"
)
"""What stands in the lines of `advice` for what only the user knows."""


def _range(low: float, high: float) -> str:
    return f"{low:.4g}" if f"{low:.4g}" == f"{high:.4g}" else f"{low:.4g}-{high:.4g}"


def _ranges(bounds: Mapping) -> str:
    return " x ".join(map(_range, bounds["lowest"], bounds["highest"]))


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %" if share else "0"


def _values_table(group: Mapping) -> list[str]:
    guesses = {group.get("unlabelled"): "unlabelled?", group.get("background"): "background?"}
    rows = [("value", "share", "per file", "in files", "")]
    for row in group["values"][:MOST_ROWS]:
        low, high = _percent(row["lowest"]), _percent(row["highest"])
        rows.append(
            (
                str(row["value"]),
                _percent(row["share"]),
                low if low == high else f"{low.removesuffix(' %')} to {high}",
                str(row["files"]),
                guesses.get(row["value"], ""),
            )
        )
    widths = [max(len(row[k]) for row in rows) for k in range(5)]
    lines = [
        "    " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    if len(group["values"]) > MOST_ROWS:
        lines.append(f"    and {len(group['values']) - MOST_ROWS} more values")
    return [line.rstrip() for line in lines]


def _shown(group: Mapping) -> str:
    """The pattern, with the real names of folders that all of the files lie in."""
    *hidden, name = Path(group["pattern"]).parts
    if not hidden:
        return name
    real = zip(*(Path(own).parts[-len(hidden) :] for own in group["folders"]), strict=True)
    pairs = zip(hidden, real, strict=True)
    return "/".join([*(own[0] if len({*own}) == 1 else part for part, own in pairs), name])


def _group_lines(group: Mapping) -> list[str]:
    count = f"{group['files']} file" + "s" * (group["files"] > 1)
    if group["read"] < group["files"]:
        count += f", {group['read']} of them read"
    key = f", key '{group['key']}'" if group["key"] else ""
    lines = [f"{_shown(group)}{key}: {count}"]
    facts = [", ".join(group["dtypes"])] if group["dtypes"] else []
    if "shape" in group:
        shape = group["shape"]
        order = f" ({', '.join('xyzt'[: len(shape['lowest'])])})" if not group["key"] else ""
        unit = "voxels" if group["key"] or "spacing_mm" in group else "pixels"
        facts.append(f"{_ranges(shape)} {unit}{order}")
    if "spacing_mm" in group:
        facts[-1] += f" of {_ranges(group['spacing_mm'])} mm"
    if group.get("channels", [1]) != [1]:
        facts.append(f"{_range(group['channels'][0], group['channels'][-1])} channels")
    if "range" in group:
        facts.append("values from {:.4g} to {:.4g}".format(*group["range"]))
    lines += ["  " + ", ".join(facts)] * bool(facts)
    reason = f" ({group['reason']})" if group.get("reason") else ""
    lines.append(f"  looks like: {group['kind']}{reason}")
    if "values" in group:
        lines += _values_table(group)
        lines += [f"    {places}" for places in group["only_in"]]
    if group["kind"] in (SCRIBBLES, SLICES) and group["background"] is None:
        lines.append("  no value looks like a background scribble: nothing tells what is no organ")
    for path, kind in list(group["others"].items())[:5]:
        lines.append(f"  but {path} looks like: {kind}")
    lines += [f"  note: {remark}" for remark in group["remarks"]]
    problems = list_problems(group["problems"]).replace("\n  ", "\n      ").splitlines()
    return lines + [f"  problem: {p}" if not p.startswith("  ") else p for p in problems]


def format_report(report: Mapping) -> str:
    """Turn what `command.inspect_path` returns into text."""
    lines = [report["path"]]
    for group in report["groups"]:
        lines += ["", *_group_lines(group)]
    if report.get("unread"):
        lines += ["", f"not read: {report['unread']}"]
    for own in (report, *report.get("more", ())):
        lines += ["", f"layout: {own['layout']}"]
        lines += [own["advice"]] * bool(own["advice"])
        if own["command"]:
            edit = " (edit what stands in capitals)" * bool(TO_EDIT.search(own["command"]))
            lines += [f"next{edit}:", f"  {own['command']}"]
    return "\n".join(lines)
