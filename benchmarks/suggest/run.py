"""Does it pay to draw where `suggest` says? Hand-drawn strokes, added so and at random.

Every seed begins with a share of the hand-drawn strokes, trains, and is scored on the validation
patients' dense labels. Then the same number of strokes is added twice: next to the places that
`suggest` ranks first with that model, and at random. Both train from scratch, or with ``--go-on``
on from the model before, and so on. How one training from scratch differs from the next is far more
than what some strokes do, so that few seeds tell nothing without ``--go-on``. Trainings of one
stage run side by side, each in a process of its own; every result is written at once.

    python benchmarks/suggest/run.py "$nnUNet_raw/Dataset031_ACDCCrop" --out suggest --device cuda

makes ``suggest/rows.jsonl`` and ``suggest/dice.png``. The data set needs ``labelsTr_dense``:
`benchmarks/accuracy/crop_task.py` makes one of ACDC around its hearts. It is planned once, with all
strokes; plans say nothing about labels. Fold 0 is used; ``--patients`` takes a part of its training
patients. On one H100 with 16 cores the defaults are meant to take three to four minutes, two with
``--rounds 1`` (not timed yet); on a CPU give fewer ``--iterations`` and patience.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ARMS = ("suggest", "random")
PLANS = "nnUNetPlans_small"


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path, help="folder of a raw data set")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.1, help="of the strokes, to begin with")
    parser.add_argument("--rounds", type=int, default=2, help="of adding as many strokes again")
    parser.add_argument("--patients", type=int, default=20, help="to train on")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--iterations", type=int, default=125, help="per epoch")
    parser.add_argument(
        "--go-on",
        type=int,
        metavar="ITERATIONS",
        help="per epoch, of trainings that go on from the model before (default: from scratch); "
        "what is there for training only, such as the auxiliary decoder, begins anew",
    )
    parser.add_argument("--trainer", default="nnUNetTrainerPCLMix")
    parser.add_argument("--patch", type=int, nargs="+", default=[96, 96])
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--features", type=int, nargs="+", default=[16, 32, 64, 128])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--processes", type=int, default=6, help="trainings side by side")
    parser.add_argument("--workers", type=int, default=2, help="of augmentation, per training")
    parser.add_argument("--keep", action="store_true", help="models and predictions, too")
    return parser.parse_args(words)


def prepare(args: argparse.Namespace) -> Path:
    """Plan the data set once, with a small network; returns the folder for nnUNet_preprocessed."""
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import (
        DatasetFingerprintExtractor,
    )
    from nnunetv2.experiment_planning.plan_and_preprocess_api import plan_experiments

    from nnunetv2_pclmix.cli import main as pclmix

    number = int(args.dataset.name[7:10])
    prepared = args.out / "prepared"
    for name, folder in (
        ("raw", args.dataset.resolve().parent),
        ("preprocessed", prepared),
        ("results", args.out / "results"),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        os.environ[f"nnUNet_{name}"] = str(folder.resolve())
    workers, os.environ["nnUNet_n_proc_DA"] = os.environ.get("nnUNet_n_proc_DA"), "1"
    fingerprint = DatasetFingerprintExtractor(number, num_processes=min(8, os.cpu_count() or 1))
    fingerprint.num_foreground_voxels_for_intensitystats = 1e5  # for CT only; 1e8 take a minute
    fingerprint.run()
    plan_experiments([number])
    if workers is not None:
        os.environ["nnUNet_n_proc_DA"] = workers
    words = ["small-plans", number, "--patch", *args.patch, "--batch", args.batch]
    if pclmix([*map(str, [*words, "--features", *args.features])]) != 0:
        raise SystemExit("the plans could not be made")
    return prepared.resolve()


def split_of(args: argparse.Namespace) -> tuple[list[dict], dict[str, str]]:
    """Fold 0 with a part of its training patients, and the patient of every case."""
    from scribble_tools.dataset.patients import find_patients
    from scribble_tools.dataset.raw import RawDataset
    from scribble_tools.dataset.writing import patient_grouped_splits

    raw = RawDataset.read(args.dataset)
    cases = list(raw.files("labelsTr"))
    patients = find_patients(cases, args.dataset) or {c: c.split("_")[0] for c in cases}
    splits = raw.splits or patient_grouped_splits(patients, min(5, len(set(patients.values()))))
    drawn = sorted({patients[case] for case in splits[0]["train"]})
    random.Random(0).shuffle(drawn)
    chosen = set(drawn[: args.patients])
    train = [case for case in splits[0]["train"] if patients[case] in chosen]
    return [{"train": train, "val": [*splits[0]["val"]]}], patients


def start_stage(folder: Path, workers: int) -> subprocess.Popen:
    """Begin a stage in a process of its own."""
    environment = {
        **os.environ,
        "nnUNet_n_proc_DA": str(workers),
        "nnUNet_def_n_proc": "2",
        "nnUNet_compile": "f",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join((str(HERE.parents[1]), os.environ.get("PYTHONPATH", ""))),
    }
    with (folder / "log.txt").open("w") as log:
        words = [sys.executable, "-W", "ignore", str(HERE / "stage.py"), str(folder)]
        return subprocess.Popen(words, env=environment, stdout=log, stderr=subprocess.STDOUT)


def run_stages(folders: list[Path], args: argparse.Namespace, rows: Path) -> list[dict]:
    """Run stages side by side; their results are appended to ``rows`` as they come."""
    waiting, running, results = list(folders), {}, []
    while waiting or running:
        while waiting and len(running) < args.processes:
            folder = waiting.pop(0)
            running[folder] = start_stage(folder, args.workers)
        time.sleep(0.2)
        for folder in [f for f, process in running.items() if process.poll() is not None]:
            process = running.pop(folder)
            if process.returncode:
                tail = (folder / "log.txt").read_text()[-2000:]
                print(f"{folder.name} failed ({process.returncode}):\n{tail}", flush=True)
                continue
            result = json.loads((folder / "result.json").read_text())
            row = {key: value for key, value in result.items() if key not in ("next", "folder")}
            with rows.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(
                f"{row['arm']:8} seed {row['seed']}, {row['strokes']:5} of {row['of']} strokes: "
                f"Dice {row['dice']:.3f}  ({sum(row['seconds'].values()):.0f} s)",
                flush=True,
            )
            results.append(result)
    return results


def main(words: list[str] | None = None) -> None:
    """Run all stages, write rows and picture."""
    args = arguments(words)
    args.out.mkdir(parents=True, exist_ok=True)
    rows = args.out / "rows.jsonl"
    if rows.exists():
        raise SystemExit(f"{rows} exists: take another --out")
    begun = time.time()
    prepared = prepare(args)
    splits, patients = split_of(args)
    sys.path.insert(0, str(HERE))
    from hand_drawn import begin
    from stage import read_strokes

    from scribble_tools.dataset.raw import RawDataset

    strokes, _ = read_strokes(RawDataset.read(args.dataset), splits[0]["train"])
    number = max(1, round(args.share * len(strokes)))
    print(f"{len(strokes)} strokes in {len(splits[0]['train'])} cases; {number} at a time")
    common = {
        "raw": str(args.dataset.resolve()),
        "prepared": str(prepared),
        "dataset": args.dataset.resolve().name,
        "plans": PLANS,
        "splits": splits,
        "patients": patients,
        "add": number,
        "share": args.share,
        **{k: getattr(args, k) for k in ("trainer", "epochs", "iterations", "device", "keep")},
        "processes": 2,
    }
    stages = []
    for seed in range(args.seeds):
        keys = [stroke.key for stroke in begin(strokes, number, seed)]
        stages.append({"arm": "start", "seed": seed, "strokes": keys, "goes_on_from": None})
    for round_number in range(args.rounds + 1):
        folders = []
        for stage in stages:
            folder = args.out / "work" / f"{stage['arm']}_{stage['seed']}_{round_number}"
            folder.mkdir(parents=True)
            last = round_number == args.rounds
            then = [] if last else [*ARMS] if stage["arm"] == "start" else [stage["arm"]]
            content = {**common, **stage, "round": round_number, "then": then}
            (folder / "stage.json").write_text(json.dumps(content))
            folders.append(folder)
        results = run_stages(folders, args, rows)
        stages = [
            {
                "arm": arm,
                "seed": result["seed"],
                "strokes": keys,
                "goes_on_from": f"{result['folder']}/weights.pth" if args.go_on else None,
                "iterations": args.go_on or args.iterations,
            }
            for result in results
            for arm, keys in result["next"].items()
        ]
    if not args.keep:
        shutil.rmtree(args.out / "work", ignore_errors=True)
        shutil.rmtree(prepared, ignore_errors=True)
    if rows.exists():
        found = [json.loads(line) for line in rows.read_text().splitlines()]
        plot(found, args.out / "dice.png")
        for line in differences(found, patients):
            print(line)
    print(f"{time.time() - begun:.0f} s in all: {rows}, {args.out / 'dice.png'}")


def differences(rows: list[dict], patients: dict[str, str], draws: int = 10000) -> list[str]:
    """A line for each number of strokes: by how much the Dice is better where `suggest` says.

    Pairs are of one seed and one patient. Intervals are bootstrap 95 % ones, which resample
    patients and, since trainings differ more than patients do, seeds.
    """
    found: dict[int, dict[str, dict[int, dict]]] = {}
    for row in rows:
        arms = found.setdefault(row["strokes"], {})
        arms.setdefault(row["arm"], {})[row["seed"]] = row["dice_of_case"]
    generator, lines = np.random.default_rng(0), []
    for strokes, arms in sorted(found.items()):
        suggested, at_random = (arms.get(arm, {}) for arm in ARMS)
        seeds = sorted(suggested.keys() & at_random.keys())
        if not seeds:
            continue
        owners = sorted({patients[case] for case in suggested[seeds[0]]})
        gains = np.zeros((len(seeds), len(owners)))
        for s, seed in enumerate(seeds):
            for p, owner in enumerate(owners):
                own = [case for case in suggested[seed] if patients[case] == owner]
                gains[s, p] = np.mean([suggested[seed][c] - at_random[seed][c] for c in own])
        rows_of = generator.integers(len(seeds), size=(draws, len(seeds)))
        columns = generator.integers(len(owners), size=(draws, len(owners)))
        means = gains[rows_of[:, :, None], columns[:, None]].mean((1, 2))
        low, high = np.percentile(means, [2.5, 97.5])
        of_seeds = ", ".join(f"{gain:+.3f}" for gain in gains.mean(1))
        lines.append(
            f"{strokes} strokes, suggest less random: {gains.mean():+.3f} [{low:+.3f}, {high:+.3f}]"
            f"; of the seeds {of_seeds}"
        )
    return lines


def plot(rows: list[dict], out: Path) -> None:
    """Dice and HD95 over the number of strokes: thin lines are seeds, thick ones their means."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    matplotlib.rcdefaults()  # nnU-Net's own plots leave their style
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 4), dpi=130, layout="constrained")
    names = {"dice": "Dice, validation patients", "hd95_mm": "HD95 in mm, validation patients"}
    for axis, (measure, name) in zip(axes, names.items(), strict=True):
        for arm, colour in zip(ARMS, ("#0072B2", "#E69F00"), strict=True):
            lines = {}
            for row in rows:
                if row["arm"] in ("start", arm):
                    lines.setdefault(row["seed"], {})[row["strokes"]] = row[measure]
            for line in lines.values():
                xs = sorted(line)
                axis.plot(xs, [line[x] for x in xs], color=colour, lw=0.7, alpha=0.5)
            counts = sorted({x for line in lines.values() for x in line})
            means = [np.mean([line[x] for line in lines.values() if x in line]) for x in counts]
            word = {"suggest": "added where suggest says", "random": "added at random"}[arm]
            axis.plot(counts, means, "o-", color=colour, lw=2.5, label=f"{word}, mean of seeds")
        axis.set_xlabel("hand-drawn strokes")
        axis.set_ylabel(name)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(lw=0.4, alpha=0.5)
    axes[0].legend(frameon=False)
    figure.savefig(out)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
