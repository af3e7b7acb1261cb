"""What `gpu.sh` does besides running commands: a training killed, segmentations compared, a table.

Each sub-command stands alone; all of them take what the demo left in nnU-Net's three folders.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from scribble_tools.storage.file_sets import write_json

PLANS = "nnUNetPlans_small"  # the demo's
STOCK = "nnUNetTrainer"
STEPS = {"steps_eager": "eager", "steps_compiled": "compiled"}  # files of step.py
WIDTH = 150
OUTCOME = 100  # characters of one


# ------------------------------------------------------------------ beside the main job


def main_job_runs(parts: Path) -> bool:
    """Whether it has not ended: it would be a line of ``parts``."""
    return not parts.exists() or "main_job\t" not in parts.read_text()


def wait_for(pattern: str, still: Callable[[], bool], otherwise: str) -> Path:
    """The first file of one of nnU-Net's folders, ``FOLDER:PATTERN``, or ``otherwise`` is said."""
    folder, _, pattern = pattern.partition(":")
    while True:
        goes_on = still()  # asked first: what it wrote at last is found
        if found := list(Path(os.environ[folder]).glob(pattern)):
            return found[0]
        if not goes_on:
            raise SystemExit(otherwise)
        time.sleep(0.05)


def run(command: Sequence[str], environment: dict[str, str] | None = None) -> None:
    """A command that has to succeed; it has said itself what was wrong."""
    if code := subprocess.run(command, env=environment).returncode:
        raise SystemExit(f"{command[0]} ended with {code}")


# ------------------------------------------------------------------ a training that is killed


def killed_and_continued(trainer: str, device: str, parts: Path, out: Path) -> None:
    """Kill a training once it has saved, continue it, and look whether it comes to its end.

    It begins as soon as the demo's own training, which may still run, has begun: all data are
    there then.
    """
    model = f"nnUNet_results:Dataset999_*/{trainer}__{PLANS}__2d"
    wait_for(
        f"{model}/fold_0/training_log_*.txt",
        lambda: main_job_runs(parts),
        "not begun: preprocessing in main_job did not finish",
    )
    command = ["nnUNetv2_train", "999", "2d", "1", "-tr", trainer, "-p", PLANS, "-device", device]
    environment = {**os.environ, "nnUNet_compile": "f"}
    first = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        latest = wait_for(
            f"{model}/fold_1/checkpoint_latest.pth",
            lambda: first.poll() is None,
            "the training ended before it had saved",
        )
    finally:
        with contextlib.suppress(ProcessLookupError):  # it may have ended by itself
            os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    final = latest.with_name("checkpoint_final.pth")
    if final.exists():
        raise SystemExit("the training was over before it could be killed")
    saved = Path("when_killed.pth")  # in a folder of our own: the other goes on
    shutil.copy(latest, saved)
    run([*command, "--c"], environment)

    import torch  # takes seconds, so not before

    saved, ended = (torch.load(p, map_location="cpu", weights_only=True) for p in (saved, final))
    losses = ended["logging"]["train_losses"]
    result = {
        "killed_after_epochs": saved["current_epoch"],
        "epochs_in_the_end": ended["current_epoch"],
        "iteration_in_the_end": ended["pclmix"]["iteration"],
        "losses": losses,
        "losses_before_are_kept": losses[: saved["current_epoch"]]
        == saved["logging"]["train_losses"][: saved["current_epoch"]],
    }
    write_json(result, out)
    if len(losses) != ended["current_epoch"] or not result["losses_before_are_kept"]:
        raise SystemExit("the continued training does not fit what was saved, see continued.json")


# ------------------------------------------------------------------ prediction, here and there


def predictions_compared(trainer: str, there: Path, parts: Path, out: Path) -> None:
    """Predict again on the CPU, and count the voxels that differ from what is ``there``.

    The network is there before the main job's own predictions are: these are waited for at last.
    """
    model = f"nnUNet_results:Dataset999_*/{trainer}__{PLANS}__2d"
    wait_for(
        f"{model}/fold_0/checkpoint_final.pth",
        lambda: main_job_runs(parts),
        "not begun: the training in main_job did not finish",
    )
    (images,) = Path(os.environ["nnUNet_raw"]).glob("Dataset999_*/imagesTs")
    here = there.with_name("predictions_cpu")
    command = ["nnUNetv2_predict", "-d", "999", "-c", "2d", "-f", "0", "-tr", trainer, "-p", PLANS]
    command += ["-device", "cpu", "-i", str(images), "-o", str(here), "-npp", "2", "-nps", "2"]
    run(command)
    scores = there.with_name("scores")  # of all predictions, so they are complete
    while main_job_runs(parts) and not scores.exists():
        time.sleep(0.05)
    cases = sorted(path.name for path in here.glob("*.nii.gz"))
    if not cases or not scores.exists():
        raise SystemExit("not compared: main_job did not finish its predictions and scores")

    import numpy as np
    import SimpleITK as sitk

    counts = []
    for case in cases:
        files = (there / case, here / case)
        one, two = (sitk.GetArrayFromImage(sitk.ReadImage(file)) for file in files)
        foreground = int(np.count_nonzero(one) + np.count_nonzero(two))
        counts.append((int(np.count_nonzero(one != two)), foreground, one.size))
    different, foreground, voxels = (sum(column) for column in zip(*counts, strict=True))
    result = {
        "cases": len(cases),
        "voxels": voxels,
        "foreground_voxels": foreground // 2,
        "different_voxels": different,
    }
    write_json(result, out)


# ------------------------------------------------------------------ the table


def read(path: Path) -> dict[str, Any]:
    """A JSON file, or nothing where a part did not come to write it."""
    return json.loads(path.read_text()) if path.exists() else {}


def step_rows(plan: str, result: dict[str, Any]) -> list[tuple[str, ...]]:
    """Seconds, memory and waiting of each trainer with one plan."""
    rows = []
    for name, steps in result.get("steps", {}).items():
        memory = result.get("memory_mib") or result.get("tensor_mib") or {}
        memory = memory.get(name, {}).get("ratio")
        parts = result.get("parts", {}).get(name, {})
        outside = parts["not network"] / parts["step"] if parts else None
        rows.append(
            (
                plan,
                name,
                f"{1000 * steps['seconds_median']:.1f}",
                f"{1000 * steps['seconds_least']:.1f}",
                f"{steps['ratio_quartiles'][1]:.2f}",
                f"{steps['ratio_of_least']:.2f}",
                "-" if memory is None else f"{memory:.2f}",
                "-" if outside is None else f"{100 * outside:.0f} %",
                str(result.get("synchronisations", {}).get(name, "-")),
            )
        )
    return rows


def outcomes(parts: Sequence[dict[str, str]]) -> str:
    """How each part ended, a line each; no table of aligned columns, which long reasons widen."""
    lines = [f"{'part':<15} {'s':>4}  outcome"]
    for part in parts:
        status = shorten(part["status"])
        lines.append(f"{part['part']:<15} {part['seconds']:>4}  {status}")
    return "\n".join(lines)


def shorten(text: str) -> str:
    """What fits a line of the table."""
    return text if len(text) <= OUTCOME else f"{text[: OUTCOME - 2]}.."


def step_remarks(content: dict[str, Any], how: str) -> list[str]:
    """What the table of steps does not hold, a line each."""
    lines = []
    for plan, result in content.get("results", {}).items():
        ready = [f"{name} {seconds} s" for name, seconds in result.get("ready", {}).items()]
        if ready:
            lines.append(f"until ready, {plan}, {how}: {', '.join(ready)}")
        reference = result.get("ratios_to")
        if reference and reference != STOCK:
            lines.append(f"{plan}, {how}: RATIOS ARE TO {reference}, not to {STOCK}")
        for name, found in result.get("waits", {}).items():
            lines.append(
                f"three steps in which waiting is an error, {plan}, {how}, {name}: {found}"
            )
    for what, why_not in content.get("kernels", {}).items():
        if why_not:
            lines.append(f"kernel of {what}, {how}: {why_not}")
    for plan, found in content.get("failed", {}).items():
        lines += [f"failed, {plan}, {how}, {what}: {why}" for what, why in found.items()]
    return lines


def table(work: Path, out: Path) -> int:
    """Gather all figures into ``gpu.json`` and print them as text, into ``table.txt`` too.

    Args:
        work: with ``parts.tsv`` and the JSON files of the parts.
        out: for the two files.

    Returns:
        1 where a part failed or had no time, a kernel does not run, or figures are missing, else 0.
    """
    from scribble_tools.text_tables import text_table

    lines = (work / "parts.tsv").read_text().splitlines() if (work / "parts.tsv").exists() else []
    parts = [
        dict(zip(("part", "seconds", "status"), line.split("\t"), strict=True)) for line in lines
    ]
    figures = {name: read(work / f"{name}.json") for name in (*STEPS, "continued", "prediction")}
    write_json({"parts": parts, **figures}, out / "gpu.json")

    machine = next((figures[name]["machine"] for name in STEPS if figures[name]), {})
    machine = ", ".join(map(str, machine.values()))
    text = [f"machine: {machine or 'unknown, no step was measured'}", outcomes(parts)]
    rows = [
        row
        for name, how in STEPS.items()
        for plan, result in figures[name].get("results", {}).items()
        for row in step_rows(f"{plan}, {how}", result)
    ]
    head = ("plan", "trainer", "ms", "least", "ratio", "of least", "memory", "not network", "waits")
    if rows:
        text.append(text_table(head, rows, WIDTH))
    remarks = [line for name, how in STEPS.items() for line in step_remarks(figures[name], how)]
    if remarks:
        text.append("\n".join(remarks))
    if found := figures["continued"]:
        text.append(
            f"killed after {found['killed_after_epochs']} epochs and continued to "
            f"{found['epochs_in_the_end']}; earlier losses kept: {found['losses_before_are_kept']}"
        )
    if found := figures["prediction"]:
        text.append(
            f"predicted again on the CPU: {found['different_voxels']} of {found['voxels']} voxels "
            f"differ ({found['foreground_voxels']} are foreground)"
        )
    missing = [name for name, content in figures.items() if not content]
    missing += [
        f"{name} ({plan}: {' '.join(sections)})"
        for name in STEPS
        for plan, sections in figures[name].get("missing", {}).items()
        if sections
    ]
    text.append(f"figures that are missing: {', '.join(missing) or 'none'}")
    text = [line for paragraph in text for line in (*folded(paragraph), "")][:-1]
    (out / "table.txt").write_text("\n".join(text) + "\n")
    print("\n".join(text))
    lame = any(any(figures[name].get("kernels", {}).values()) for name in STEPS)
    return int(bool(missing) or lame or any(part["status"] != "ok" for part in parts))


def folded(paragraph: str) -> list[str]:
    """The lines of a table as they are, those of text no longer than the page is wide."""
    return [
        piece
        for line in paragraph.splitlines()
        for piece in ([line] if len(line) <= WIDTH else textwrap.wrap(line, WIDTH))
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the sub-commands and return its exit status."""
    # what was started is ended too, where this is told to end
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    beside = {"parts": Path, "out": Path}
    for name, function, arguments in (
        ("continued", killed_and_continued, {"trainer": str, "device": str, **beside}),
        ("prediction", predictions_compared, {"trainer": str, "there": Path, **beside}),
        ("table", table, {"work": Path, "out": Path}),
    ):
        command = commands.add_parser(name, help=function.__doc__)
        command.set_defaults(function=function)
        for argument, kind in arguments.items():
            command.add_argument(argument, type=kind)
    values = vars(parser.parse_args(argv))
    return values.pop("function")(**values) or 0


if __name__ == "__main__":
    sys.exit(main())
