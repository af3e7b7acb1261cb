"""What `gpu.sh` does besides running commands: a training killed, segmentations compared, a table.

Each sub-command stands alone; all of them take what the demo left in nnU-Net's three folders.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PLANS = "nnUNetPlans_small"  # the demo's
WIDTH = 150


# ------------------------------------------------------------------ a training that is killed


def killed_and_continued(trainer: str, device: str, out: Path) -> None:
    """Kill a training once it has saved, continue it, and look whether it comes to its end.

    It begins as soon as the demo's own training, which may still run, has saved for the first time:
    earlier not all that both need is there.
    """
    import torch

    parts = Path("parts.tsv")  # that have ended
    model = f"nnUNet_results:Dataset999_*/{trainer}__{PLANS}__2d"
    wait_for(
        f"{model}/fold_0/checkpoint_*.pth",
        lambda: not parts.exists() or "main_job" not in parts.read_text(),
    )
    command = ["nnUNetv2_train", "999", "2d", "1", "-tr", trainer, "-p", PLANS, "-device", device]
    environment = {**os.environ, "nnUNet_compile": "f"}
    first = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        latest = wait_for(
            f"{model}/fold_1/checkpoint_latest.pth",
            lambda: first.poll() is None,
        )
    finally:
        with contextlib.suppress(ProcessLookupError):  # it may have ended by itself
            os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    final = latest.with_name("checkpoint_final.pth")
    if final.exists():
        raise SystemExit("the training was over before it could be killed")
    saved = torch.load(latest, map_location="cpu", weights_only=True)
    subprocess.run([*command, "--c"], env=environment, check=True)
    ended = torch.load(final, map_location="cpu", weights_only=True)
    losses = ended["logging"]["train_losses"]
    result = {
        "killed_after_epochs": saved["current_epoch"],
        "epochs_in_the_end": ended["current_epoch"],
        "iteration_in_the_end": ended["pclmix"]["iteration"],
        "losses": losses,
        "losses_before_are_kept": losses[: saved["current_epoch"]]
        == saved["logging"]["train_losses"][: saved["current_epoch"]],
    }
    out.write_text(json.dumps(result, indent=2))
    if len(losses) != ended["current_epoch"] or not result["losses_before_are_kept"]:
        raise SystemExit(f"the continued training does not fit: {result}")


def wait_for(pattern: str, still: Callable[[], bool]) -> Path:
    """The first file below one of nnU-Net's folders, ``FOLDER:PATTERN``, once it is there."""
    folder, _, pattern = pattern.partition(":")
    while not (found := list(Path(os.environ[folder]).glob(pattern))):
        if not still():
            raise SystemExit(f"there will be no {pattern}: what should write it has ended")
        time.sleep(0.05)
    return found[0]


# ------------------------------------------------------------------ prediction, here and there


def predictions_compared(trainer: str, there: Path, out: Path) -> None:
    """Predict again on the CPU, and count the voxels that differ from what is ``there``."""
    import numpy as np
    import SimpleITK as sitk

    (images,) = Path(os.environ["nnUNet_raw"]).glob("Dataset999_*/imagesTs")
    here = there.with_name("predictions_cpu")
    command = ["nnUNetv2_predict", "-d", "999", "-c", "2d", "-f", "0", "-tr", trainer, "-p", PLANS]
    command += ["-device", "cpu", "-i", str(images), "-o", str(here), "-npp", "2", "-nps", "2"]
    subprocess.run(command, check=True)
    cases = sorted(path.name for path in there.glob("*.nii.gz"))
    if not cases:
        raise SystemExit(f"no predictions in {there}")
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
    out.write_text(json.dumps(result, indent=2))


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


def table(work: Path, out: Path) -> int:
    """Gather all figures into ``gpu.json`` and print them as text, into ``table.txt`` too.

    Returns:
        1 where a part failed or had no time, else 0.
    """
    from scribble_tools.text_tables import text_table

    lines = (work / "parts.tsv").read_text().splitlines() if (work / "parts.tsv").exists() else []
    parts = [
        dict(zip(("part", "seconds", "status"), line.split("\t"), strict=True)) for line in lines
    ]
    names = ("steps_2d", "steps_3d", "continued", "prediction")
    figures = {name: read(work / f"{name}.json") for name in names}
    compiled = {path.stem: read(path) for path in sorted(work.glob("compile_*.json"))}
    machine = next((f[k] for f in figures.values() for k in ("machine",) if k in f), {})
    (out / "gpu.json").write_text(
        json.dumps({"parts": parts, "compiled": compiled, **figures}, indent=1)
    )

    text = [f"machine: {machine or 'unknown, no step was measured'}"]
    rows = [(part["part"], part["seconds"], part["status"]) for part in parts]
    text.append(text_table(("part", "s", "outcome"), rows, WIDTH))
    rows = [
        row
        for name in ("steps_2d", "steps_3d")
        for plan, result in figures[name].get("results", {}).items()
        for row in step_rows(plan, result)
    ]
    head = ("plan", "trainer", "ms", "least", "ratio", "of least", "memory", "not network", "waits")
    if rows:
        text.append(text_table(head, rows, WIDTH))
    waits = {
        (plan, name): found
        for content in (*compiled.values(), figures["steps_2d"], figures["steps_3d"])
        for plan, result in content.get("results", {}).items()
        for name, found in result.get("waits", {}).items()
    }
    for (plan, name), found in waits.items():
        text.append(f"three steps in which waiting is an error, {plan}, {name}: {found}")
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
    text.append(f"figures that are missing: {', '.join(missing) or 'none'}")
    (out / "table.txt").write_text("\n\n".join(text) + "\n")
    print("\n\n".join(text))
    return int(bool(missing) or any(part["status"] != "ok" for part in parts))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the sub-commands and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    for name, function, arguments in (
        ("continued", killed_and_continued, {"trainer": str, "device": str, "out": Path}),
        ("prediction", predictions_compared, {"trainer": str, "there": Path, "out": Path}),
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
