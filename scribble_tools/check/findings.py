"""What `check` reports: findings, a table in which similar ones share a row, and a verdict."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from scribble_tools.text_tables import text_table
from scribble_tools.wording import counted

SEVERITIES = ("error", "warning", "note")
NAMED = 3  # of the cases that share a row, so many are named
COLUMNS = ("level", "where", "what", "remedy")


@dataclass(frozen=True)
class Finding:
    """One thing to know about a data set.

    Attributes:
        severity: ``error``: nnU-Net would stop, or learn something wrong without a word;
            ``warning``: something is probably not as it was meant; ``note``: good to know.
        code: the same for findings of one kind, for scripts.
        where: a case, a file, or ``data set``.
        message: what is wrong, with the value.
        remedy: what to do about it.
        line: a command that does it, to be pasted: in the table it would be broken into pieces.
            Findings of one kind with other lines are rows of their own.
    """

    severity: Literal["error", "warning", "note"]
    code: str
    where: str
    message: str
    remedy: str
    line: str = ""

    @property
    def row(self) -> tuple[str, str, str]:
        """Findings with the same share a row of the table."""
        return self.severity, self.code, self.line


@dataclass(frozen=True)
class ClassCoverage:
    """How much of one class is annotated.

    Attributes:
        percent: of all voxels of all cases.
        cases: number of cases that hold it.
        median, lowest, highest: voxels per case, over the cases that hold it.
    """

    name: str
    percent: float
    cases: int
    median: float
    lowest: int
    highest: int


@dataclass(frozen=True)
class ResamplingLoss:
    """What nnU-Net's resampling keeps of one class's annotation, over the cases looked at.

    Attributes:
        cases: number of cases looked at.
        volume_percent: annotated volume afterwards, in per cent of the volume before. More than
            100 means that strokes became wider.
        place_percent: annotated voxels that lie under their own label afterwards.
    """

    configuration: str
    name: str
    cases: int
    volume_percent: float
    place_percent: float


@dataclass(frozen=True)
class Report:
    """The result of `check_dataset`; ``findings`` are sorted by severity."""

    dataset: str
    num_cases: int
    findings: tuple[Finding, ...]
    coverage: tuple[ClassCoverage, ...] = ()
    resampling: tuple[ResamplingLoss, ...] = ()

    def count(self, severity: str) -> int:
        """Number of findings of this severity."""
        return sum(f.severity == severity for f in self.findings)

    def _counted(self, severity: str) -> str:
        """As many as the table has rows; in how many places, where a row tells of several."""
        number = self.count(severity)
        rows = len({f.row for f in self.findings if f.severity == severity})
        return counted(rows, severity) + f" in {number} places" * (number > rows)

    @property
    def verdict(self) -> str:
        """One line for the user."""
        counts = ", ".join(self._counted(s) for s in SEVERITIES if self.count(s))
        advice = "ready for nnU-Net"
        if self.count("error"):
            advice = "mend the errors before you train"
        elif self.count("warning"):
            advice = "can be trained on; look at the warnings first"
        cases = counted(self.num_cases, "case")
        return f"{self.dataset}, {cases}: {counts or 'nothing found'}; {advice}"

    @property
    def exit_code(self) -> int:
        """1 when there are errors."""
        return int(self.count("error") > 0)

    def as_json(self) -> dict:
        """Everything, every single finding included."""
        return {**asdict(self), "verdict": self.verdict}


def sort_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors first; of one severity, findings of one kind together in their own order."""
    findings = [*findings]
    first = {}
    for position, finding in enumerate(findings):
        first.setdefault((finding.severity, finding.code), position)
    return tuple(
        sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), first[f.severity, f.code]))
    )


def group_findings(findings: Sequence[Finding]) -> list[tuple[str, str, str, str]]:
    """Rows of the table (see ``COLUMNS``): one per kind and remedy, the first cases named."""
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.row, []).append(finding)
    rows = []
    for (severity, *_), group in groups.items():
        places = [*dict.fromkeys(finding.where for finding in group)]
        where = ", ".join(places[:NAMED])
        if len(places) > NAMED:
            where += f" and {len(places) - NAMED} more"
        message = group[0].message
        if any(finding.message != message for finding in group):
            message = f"{len(group)} findings, the first: {message}"
        rows.append((severity, where, message, group[0].remedy))
    return rows


def format_findings(findings: Sequence[Finding], width: int = 120) -> str:
    """The findings as a table of ``width`` characters, long cells wrapped."""
    rows = group_findings(findings)
    severity, rest = 7, max(width, 80) - 7 - 3 * 2
    longest = max((len(word) for row in rows for word in row[1].split()), default=0)
    where = min(max(longest, 12), rest // 3)  # names of cases and files stay in one piece
    what = (rest - where) // 2
    widths = (severity, where, what, rest - where - what)
    lines = ["  ".join(t.ljust(w) for t, w in zip(COLUMNS, widths, strict=True)).rstrip()]
    for row in rows:
        cells = [textwrap.wrap(text, w) for text, w in zip(row, widths, strict=True)]
        lines.append("-" * width)
        for k in range(max(map(len, cells))):
            parts = [c[k] if k < len(c) else "" for c in cells]
            lines.append("  ".join(p.ljust(w) for p, w in zip(parts, widths, strict=True)).rstrip())
    return "\n".join(lines)


def format_lines(findings: Sequence[Finding]) -> str:
    """The commands that mend findings, one a line."""
    return "\n".join(f"  {line}" for line in dict.fromkeys(f.line for f in findings) if line)


def format_coverage(coverage: Sequence[ClassCoverage]) -> str:
    """The coverage per class as a table."""
    header = ("class", "% of voxels", "cases", "voxels per case: median", "lowest", "highest")
    rows = [
        (c.name, f"{c.percent:.3f}", c.cases, f"{c.median:.0f}", c.lowest, c.highest)
        for c in coverage
    ]
    return text_table(header, rows)


def format_resampling(losses: Sequence[ResamplingLoss]) -> str:
    """What resampling keeps, as a table."""
    header = ("class", "configuration", "% of volume kept", "% in its place")
    rows = [
        (s.name, s.configuration, f"{s.volume_percent:.1f}", f"{s.place_percent:.1f}")
        for s in losses
    ]
    return text_table(header, rows)
