"""Append folds with a part of fold 0's training patients: how many scribbles does a method need?

Each new fold has the validation cases of fold 0, and a smaller one's training patients are among a
larger one's. Existing folds stay; nothing is appended twice.

    python benchmarks/accuracy/budget_splits.py "$nnUNet_preprocessed/DATASET/splits_final.json" \
        --patient-regex '(.*)_frame' --shares 0.1 0.25 0.5
"""

from __future__ import annotations

import argparse
import json
import random
import re
from pathlib import Path

from scribble_tools.dataset.writing import write_json


def main() -> None:
    """Append the folds and print their numbers, which `train.py` takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("splits", type=Path, help="splits_final.json of a preprocessed data set")
    parser.add_argument("--patient-regex", default="(.*)", help="its group names the patient")
    parser.add_argument("--shares", nargs="+", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    splits = json.loads(args.splits.read_text())
    patients: dict[str, list[str]] = {}
    for case in splits[0]["train"]:
        found = re.search(args.patient_regex, case)
        patients.setdefault(found.group(1) if found else case, []).append(case)
    drawn = sorted(patients)
    random.Random(args.seed).shuffle(drawn)
    for share in args.shares:
        chosen = drawn[: max(1, round(share * len(drawn)))]
        fold = {
            "train": sorted(case for patient in chosen for case in patients[patient]),
            "val": splits[0]["val"],
        }
        if fold not in splits:
            splits.append(fold)
        number = splits.index(fold)
        print(f"fold {number}: {len(chosen)} patients, {len(fold['train'])} cases to train")
    write_json(splits, args.splits)


if __name__ == "__main__":
    main()
