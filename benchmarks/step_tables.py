"""The figures of `step.py` as text."""

from __future__ import annotations

from typing import Any

from scribble_tools.text_tables import text_table

WIDTH = 140


def with_quartiles(row: dict[str, Any]) -> str:
    """The ratio of a row, with its quartiles."""
    low, middle, high = row["ratio_quartiles"]
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def tables(plan: str, result: dict[str, Any]) -> str:
    """The figures of one plan as text."""
    inference = result.get("inference", {})
    timed = {
        "step": result.get("steps"),
        "iteration with loader": result.get("loader"),
        "inference": inference.get("steps"),
    }
    amounts = {
        "memory of a step, MiB": result.get("memory_mib"),
        "tensors of a step, MiB": result.get("tensor_mib"),
        "memory of inference, MiB": inference.get("memory_mib"),
        "weights in the checkpoint, bytes": inference.get("weight_bytes"),
        "checkpoint, bytes": inference.get("checkpoint_bytes"),
    }
    text = [f"{plan}, ratios to {result.get('ratios_to')}"]
    for what, trainers in timed.items():
        if trainers:
            rows = [
                (
                    name,
                    f"{row['seconds_median']:.4f}",
                    f"{row['seconds_least']:.4f}",
                    with_quartiles(row),
                    f"{row['ratio_of_least']:.2f}",
                )
                for name, row in trainers.items()
            ]
            header = (what, "median, s", "least, s", "ratio (quartiles)", "ratio of least")
            text.append(text_table(header, rows, WIDTH))
    for what, trainers in amounts.items():
        if trainers:
            rows = [
                (name, *("unknown" if v is None else f"{v:.{d}f}" for v, d in values))
                for name, row in trainers.items()
                for values in [((row["value"], 0), (row["ratio"], 3))]
            ]
            text.append(text_table((what, "value", "ratio"), rows, WIDTH))
    for name, found in result.get("waits", {}).items():
        text.append(f"waits for the GPU in a step of {name}: {found}")
    for name, count in result.get("synchronisations", {}).items():
        text.append(f"synchronisations in a step of {name}: {count}")
    for name, parts in result.get("parts", {}).items():
        rows = [
            (part, f"{1000 * seconds:.2f}", f"{100 * seconds / parts['step']:.1f} %")
            for part, seconds in parts.items()
        ]
        text.append(text_table((f"parts of {name}", "ms", "of the step"), rows, WIDTH))
    return "\n\n".join(text) + "\n"
