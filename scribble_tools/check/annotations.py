"""Is enough annotated, of every class, and is it annotated in the same way in all cases?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from statistics import median

import numpy as np

from scribble_tools.check.case_facts import CaseFacts
from scribble_tools.check.findings import ClassCoverage, Finding
from scribble_tools.dataset.label_set import LabelSet
from scribble_tools.wording import counted

OUTLIER = 5  # times more or less than the median case
FEWEST_FOR_OUTLIERS = 5  # cases that hold a class
DENSE_SHARE = 0.5  # of a case's voxels; scribbles lie far below


def classes_of(labels: LabelSet) -> dict[str, tuple[int, ...]]:
    """Every class that has to be annotated, the background first."""
    return {"background": (0,), **labels.classes}


def _voxels(facts: CaseFacts, values: Collection[int]) -> int:
    return sum(facts.counts.get(value, 0) for value in values)


def coverage_table(facts: Sequence[CaseFacts], labels: LabelSet) -> tuple[ClassCoverage, ...]:
    """Coverage of every class and of the unlabelled rest, over the cases with readable labels."""
    facts = [f for f in facts if f.counts]
    total = sum(sum(f.counts.values()) for f in facts)
    rows = classes_of(labels)
    if labels.ignore is not None:
        rows["(unlabelled)"] = (labels.ignore,)
    table = []
    for name, values in rows.items():
        held = [n for f in facts if (n := _voxels(f, values))]
        table.append(
            ClassCoverage(
                name,
                100 * sum(held) / max(total, 1),
                len(held),
                float(median(held)) if held else 0.0,
                min(held, default=0),
                max(held, default=0),
            )
        )
    return tuple(table)


def missing_classes(
    counts: Mapping[str, Mapping[int, int]], cases: Collection[str], labels: LabelSet
) -> list[str]:
    """Names of the classes that no voxel of these cases is annotated with."""
    seen = {value for case in cases for value in counts.get(case, ())}
    return [name for name, values in classes_of(labels).items() if not seen.intersection(values)]


def annotation_findings(
    facts: Sequence[CaseFacts],
    labels: LabelSet,
    unscribbled: Collection[str] = (),
    declared: Collection[str] = (),
) -> list[Finding]:
    """Judge the cases against each other; see the module's first line.

    Args:
        unscribbled: cases that are unlabelled on purpose, to be validated on.
        declared: cases that were said to be unlabelled when the data set was made, to train on.
    """
    facts = [f for f in facts if f.counts]
    if not facts:
        return []
    share = {f.case: 1 - f.counts.get(labels.ignore, 0) / sum(f.counts.values()) for f in facts}
    empty = [f.case for f in facts if share[f.case] == 0]
    if len(empty) == len(facts):
        return [
            Finding(
                "error",
                "nothing-annotated",
                "data set",
                f"every voxel of every case is unlabelled (value {labels.ignore})",
                "Are these the scribble files? Convert again, with --unlabelled as it is in them",
            )
        ]
    findings = [
        Finding(
            "warning",
            "case-without-annotation",
            case,
            "nothing is annotated: nnU-Net draws random patches from it, warns 'No annotated "
            "pixels in image', and learns nothing from them; PCLMix sees the image only",
            "Scribble it, or take it out of imagesTr and labelsTr",
        )
        for case in empty
        if case not in unscribbled and case not in declared
    ]
    if said := set(empty) & set(declared) - set(unscribbled):
        findings.append(
            Finding(
                "note",
                "case-declared-unannotated",
                "data set",
                f"{counted(len(said), 'case has', 'cases have')} no strokes, as was said when "
                "converting (--mixed): nnU-Net warns 'No annotated pixels in image' and learns "
                "nothing from them; PCLMix sees the images only",
                "Nothing, if it is still meant; suggest says where strokes would teach most",
            )
        )
    if kept := set(empty) & set(unscribbled):
        findings.append(
            Finding(
                "note",
                "case-kept-unscribbled",
                "data set",
                f"{counted(len(kept), 'case was left', 'cases were left')}"
                " without scribbles by generate --keep-unscribbled, to "
                "be validated on",
                "Nothing as long as no fold trains on them; do not train fold 'all'",
            )
        )
    findings += [
        Finding(
            "error",
            "zero-is-unlabelled",
            f.case,
            f"{100 * f.counts[0] / sum(f.counts.values()):.1f} % of the voxels are background and "
            "all else is thin lines: 0 seems to mean unlabelled here, and nnU-Net would learn "
            "that organs are background",
            _remedy_of_zero(f.counts.get(labels.ignore, 0)),
        )
        for f in facts
        if f.thin_on_zero
    ]
    sparse = [f for f in facts if not f.thin_on_zero and share[f.case] > 0]
    dense, dense_findings = _dense_cases(sparse, share, labels)
    findings += dense_findings + _background_findings(facts, share)
    counts = {f.case: f.counts for f in facts}
    findings += [
        Finding(
            "error",
            "class-never-annotated",
            "data set",
            f"{name} is annotated in none of the {counted(len(facts), 'case')}",
            "Scribble it in several cases, or convert again without it",
        )
        for name in missing_classes(counts, counts, labels)
        if name != "background"
    ]
    return findings + _outliers([f for f in sparse if f.case not in dense], labels)


def _remedy_of_zero(ignored: int) -> str:
    """What to do where 0, the background, looks like unlabelled; ``ignored``: ignore voxels."""
    if ignored:
        return (
            "Are background and unlabelled swapped? Few voxels are ignored, and they may be the "
            "background's strokes. Then convert again with the two exchanged: the value that is "
            "now background= in --labels goes to --unlabelled, and the other way round"
        )
    return (
        "3D Slicer, ITK-SNAP and MITK save what nobody painted as 0. Draw a background scribble "
        "with a label of its own and convert: scribble_tools convert folder --labels "
        "background=THAT_VALUE ... --unlabelled 0"
    )


def _background_findings(facts: Sequence[CaseFacts], share: Mapping[str, float]) -> list[Finding]:
    remedy = (
        "Draw background scribbles too, near the organs and far from them: without them nothing "
        "tells the network what is not an organ"
    )
    without = [f.case for f in facts if not f.counts.get(0) and share[f.case] > 0]
    if not any(f.counts.get(0) for f in facts):
        message = "no voxel of any case is annotated as background (0)"
        return [Finding("error", "no-background", "data set", message, remedy)]
    message = "no background scribble in this case"
    return [Finding("warning", "case-without-background", c, message, remedy) for c in without]


def _dense_cases(
    facts: Sequence[CaseFacts], share: Mapping[str, float], labels: LabelSet
) -> tuple[set[str], list[Finding]]:
    """Cases that are annotated (almost) everywhere, and what to say about them."""
    if labels.ignore is None or not facts:
        return set(), []  # that ignore is missing has been said
    typical = median(share[f.case] for f in facts)
    dense = [
        f.case
        for f in facts
        if labels.ignore not in f.counts
        or share[f.case] > DENSE_SHARE
        and share[f.case] > OUTLIER * typical
    ]
    if typical > DENSE_SHARE:
        message = (
            f"half of the cases have {100 * typical:.0f} % or more of their voxels annotated: "
            "these are dense labels, not scribbles"
        )
        remedy = "Nothing, if this is meant; else take the scribble files (scribble_tools inspect)"
        return set(dense), [Finding("warning", "data-set-dense", "data set", message, remedy)]
    return set(dense), [
        Finding(
            "warning",
            "case-dense",
            case,
            f"{100 * share[case]:.1f} % of the voxels are annotated, {100 * typical:.2f} % in the "
            "median case: dense labels among scribbles? nnU-Net draws every case equally often, "
            "and a dense one then outweighs the others in the loss",
            "If it is a reference for scoring, move it to labelsTr_dense and put the scribble in "
            "its place; if it is meant, leave it",
        )
        for case in dense
    ]


def _outliers(facts: Sequence[CaseFacts], labels: LabelSet) -> list[Finding]:
    findings = []
    for name, values in classes_of(labels).items():
        share = {f.case: n / sum(f.counts.values()) for f in facts if (n := _voxels(f, values))}
        if len(share) < FEWEST_FOR_OUTLIERS:
            continue
        typical = float(np.median([*share.values()]))
        for case, own in share.items():
            ratio = own / typical
            if 1 / OUTLIER <= ratio <= OUTLIER:
                continue
            factor = f"{ratio:.1f} times" if ratio > 1 else f"1/{1 / ratio:.1f} of"
            findings.append(
                Finding(
                    "warning",
                    "coverage-outlier",
                    case,
                    f"{name}: {100 * own:.3g} % of the voxels annotated, {factor} the median "
                    f"case's {100 * typical:.3g} %",
                    "Look at it with scribble_tools preview: half finished, painted instead of "
                    "scribbled, or a stray click?",
                )
            )
    return findings


def slice_findings(facts: Sequence[CaseFacts]) -> list[Finding]:
    """One note on the slices that the 2d configuration never sees, if there are such."""
    bare = [f for f in facts if f.bare_slices]
    if not bare:
        return []
    message = (
        f"{sum(f.bare_slices for f in bare)} of {sum(f.slices for f in facts)} slices, in "
        f"{counted(len(bare), 'case')}, hold no annotation: nnU-Net's 2d configuration draws its "
        "patches from annotated slices and never trains on these; the 3d ones see them beside "
        "annotated ones"
    )
    remedy = "Nothing, if it is meant. If 2d is poor there, annotate some: background is enough"
    return [Finding("note", "slices-without-annotation", "data set", message, remedy)]


def dimension_findings(facts: Sequence[CaseFacts]) -> list[Finding]:
    """One error where some cases are 2D and others 3D."""
    first = {f.dimension: f.case for f in reversed(facts) if f.dimension}
    if len(first) < 2:
        return []
    counts = Counter(f.dimension for f in facts)
    words = [f"{counts[d]} {d}D, such as {case}" for d, case in sorted(first.items())]
    message = f"cases of different dimensions ({'; '.join(words)}): no network is shared between"
    remedy = "Make a data set of each, or take the odd ones out"
    return [Finding("error", "dimension-mixed", "data set", message, remedy)]


def agreement_findings(facts: Sequence[CaseFacts]) -> list[Finding]:
    """One note on how well scribbles and dense references agree over all cases."""
    compared = sum(f.compared for f in facts)
    if not compared:
        return []
    wrong = sum(f.contradicting for f in facts)
    cases = sum(f.compared > 0 for f in facts)
    against = sum(f.contradicting > 0 for f in facts)
    message = (
        f"{100 - 100 * wrong / compared:.2f} % of {compared} annotated voxels in "
        f"{counted(cases, 'case')} agree with labelsTr_dense "
        f"({counted(against, 'case contradicts', 'cases contradict')} it somewhere)"
    )
    return [Finding("note", "dense-agreement", "data set", message, "Nothing to do")]
