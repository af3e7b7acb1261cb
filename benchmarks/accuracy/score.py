"""Predict a fold's validation cases with stock nnU-Net and score them against dense labels.

Prediction is nnUNetv2_predict_from_modelfolder's, without mirroring (four times the time in 2D);
scores are those of ``scribble_tools evaluate``, raw and with only the largest component of each
class kept. Adds one JSON line to the results file. A case's line in ``cases`` is its name, class,
Dice, HD95, islands and volume error in per cent; older rows lack the last, and the confusion.

    python benchmarks/accuracy/score.py MODEL_FOLDER --fold 0 --dataset NAME --out rows.jsonl

``--checkpoint checkpoint_best.pth`` scores the one of the best pseudo Dice. Rows that name no
checkpoint are older than the option and of the final one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from scribble_tools.dataset.raw import read_label_set
from scribble_tools.evaluate.command import evaluate_folders
from scribble_tools.evaluate.confusion import parts_of, summarise_confusion
from scribble_tools.evaluate.summary import summarise

FINAL = "checkpoint_final.pth"
CONFUSION = ("true", "predicted", "percent", "mean_of_cases")


def predict(
    model: Path, fold: int, checkpoint: str, cases: list[str], raw: Path, out: Path, device: str
) -> float:
    """Write predictions of ``cases`` to ``out``; return the seconds it took."""
    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device(device), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model), (fold,), checkpoint)
    ending = json.loads((raw / "dataset.json").read_text())["file_ending"]
    files = [
        sorted(str(p) for p in (raw / "imagesTr").glob(f"{case}_[0-9][0-9][0-9][0-9]{ending}"))
        for case in cases
    ]
    start = time.time()
    predictor.predict_from_files(
        files,
        [str(out / case) for case in cases],
        num_processes_preprocessing=1,
        num_processes_segmentation_export=1,
    )
    return time.time() - start


def rounded(row: dict) -> dict:
    """Numbers short enough to read; null where there is none, because JSON has no NaN."""
    return {k: round(v, 4) if np.isfinite(v) else None for k, v in row.items()}


def scores(
    prediction: Path, reference: Path, dataset_json: Path, cases: list[str], keep_largest: bool
) -> dict:
    """Means over cases, the confusion of classes, and both of every case."""
    content = json.loads(dataset_json.read_text())
    evaluation = evaluate_folders(
        prediction,
        reference,
        read_label_set(dataset_json),
        content["file_ending"],
        cases=cases,
        keep_largest=keep_largest,
    )
    summary = summarise(evaluation.scores)
    parts, counts = [*parts_of(evaluation.labels)], evaluation.confusion
    confusion = summarise_confusion(counts, parts)
    return {
        "summary": {
            "overall": rounded(summary["overall"]),
            "per_class": {name: rounded(row) for name, row in summary["per_class"].items()},
            "confusion": [
                {**row, **rounded({key: row[key] for key in ("percent", "mean_of_cases")})}
                for row in ({key: row[key] for key in CONFUSION} for row in confusion)
            ],
        },
        # voxels, true by predicted
        "confusion": {"parts": parts, "cases": {c: t.tolist() for c, t in counts.items()}},
        "cases": [
            [
                s.case,
                s.label,
                round(s.dice, 4),
                None if not np.isfinite(s.hd95_mm) else round(s.hd95_mm, 2),
                s.islands,
                None if np.isnan(s.volume_error_percent) else round(s.volume_error_percent, 2),
            ]
            for s in evaluation.scores
        ],
    }


def main() -> None:
    """Predict, score, and add a row to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="TRAINER__PLANS__CONFIGURATION folder")
    parser.add_argument("--dataset", required=True, help="DatasetNNN_NAME")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--checkpoint", default=FINAL, help="in the fold (default: %(default)s)")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--out", type=Path, required=True, help="JSON lines file")
    args = parser.parse_args()
    folder = args.model / f"fold_{args.fold}"
    if not (folder / args.checkpoint).is_file():
        found = sorted(path.name for path in folder.glob("*.pth"))
        parser.error(f"{folder} has no {args.checkpoint}; it has {found or 'no checkpoint'}")
    raw = Path(os.environ["nnUNet_raw"]) / args.dataset
    splits = Path(os.environ["nnUNet_preprocessed"]) / args.dataset / "splits_final.json"
    split = json.loads(splits.read_text())[args.fold]
    cases = split["val"]
    # each checkpoint's in a folder of its own
    name = (
        "benchmark_raw" if args.checkpoint == FINAL else f"benchmark_{Path(args.checkpoint).stem}"
    )
    predictions = folder / name
    shutil.rmtree(predictions, ignore_errors=True)
    predictions.mkdir()
    if args.device == "cpu":
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())))
    seconds = predict(args.model, args.fold, args.checkpoint, cases, raw, predictions, args.device)
    # made by train.py; the stock trainer's hold more than plain data
    checkpoint = torch.load(folder / args.checkpoint, map_location="cpu", weights_only=False)
    trainer, plans, configuration = args.model.name.split("__")
    row = {
        "dataset": args.dataset,
        "fold": args.fold,
        "training_cases": len(split["train"]),
        "validation_cases": len(cases),
        "trainer": trainer,
        "plans": plans,
        "configuration": configuration,
        "checkpoint": args.checkpoint,
        "checkpoint_epoch": checkpoint["current_epoch"],
        **json.loads((folder / "benchmark.json").read_text()),
        "config": checkpoint.get("pclmix", {}).get("config"),
        **{
            kind: scores(
                predictions, raw / "labelsTr_dense", raw / "dataset.json", cases, keep_largest
            )
            for kind, keep_largest in (("raw", False), ("largest_component", True))
        },
        "prediction_seconds": round(seconds, 1),
        "machine": f"{os.cpu_count()} cores {platform.machine()}, {args.device}",
        "versions": {"python": sys.version.split()[0], "torch": torch.__version__},
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.open("a") as rows:
        rows.write(json.dumps(row) + "\n")
    for kind in ("raw", "largest_component"):
        print(kind, json.dumps(row[kind]["summary"], indent=1))


if __name__ == "__main__":
    main()
