"""One stage of one arm: preprocess, train, score, and choose the strokes to add. See `run.py`.

A process of its own, because nnU-Net's folders are the process's. Reads and writes JSON:

    python benchmarks/suggest/stage.py FOLDER     # FOLDER/stage.json says what to do
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from hand_drawn import Stroke, add_as_suggested, add_at_random, draw, strokes_of

from scribble_tools.dataset.raw import RawDataset
from scribble_tools.dataset.writing import write_json
from scribble_tools.evaluate.command import evaluate_folders
from scribble_tools.evaluate.summary import summarise
from scribble_tools.images.image_io import write_labels
from scribble_tools.images.segmentation_files import read_labels
from scribble_tools.predict.nnunet_model import NNUNetModel, find_model
from scribble_tools.suggest.command import training_cases
from scribble_tools.suggest.search import judge, rank_cases


def read_strokes(raw: RawDataset, cases: list[str]) -> tuple[list[Stroke], dict[str, tuple]]:
    """All hand-drawn strokes of the cases, and the shapes of their label maps."""
    strokes, shapes = [], {}
    for case in cases:
        labels, _ = read_labels(raw.folder / "labelsTr" / f"{case}{raw.file_ending}")
        strokes += strokes_of(case, labels, raw.labels.ignore)
        shapes[case] = labels.shape
    return strokes, shapes


def with_keys(strokes: list[Stroke], keys: list) -> list[Stroke]:
    """The strokes of these keys, in their order."""
    by_key = {stroke.key: stroke for stroke in strokes}
    return [by_key[tuple(key)] for key in keys]


def write_arm(raw: RawDataset, folder: Path, strokes: list[Stroke], shapes: dict, splits) -> Path:
    """A data set that has these strokes only; images are links."""
    target = folder / "raw" / raw.folder.name
    shutil.rmtree(target, ignore_errors=True)
    for sub in ("imagesTr", "labelsTr"):
        (target / sub).mkdir(parents=True)
    for case, labels in draw(strokes, shapes, raw.labels.ignore).items():
        name = f"{case}{raw.file_ending}"
        like = sitk.ReadImage(str(raw.folder / "labelsTr" / name))
        write_labels(labels, like, target / "labelsTr" / name)
        for path in raw.images()[case]:
            (target / "imagesTr" / path.name).symlink_to(path.resolve())
    content = {**raw.content, "numTraining": len(shapes)}
    write_json(content, target / "dataset.json")
    write_json(splits, target / "splits_final.json")
    return target


def preprocess(arm: Path, prepared: Path, todo: dict) -> Path:
    """Preprocess with the plans that `run.py` made once; returns the folder."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

    target = arm / "preprocessed" / todo["dataset"]
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in (f"{todo['plans']}.json", "dataset.json", "dataset_fingerprint.json"):
        shutil.copy(prepared / todo["dataset"] / name, target / name)
    write_json(todo["splits"], target / "splits_final.json")
    number = int(todo["dataset"][7:10])
    DefaultPreprocessor(verbose=False).run(number, "2d", todo["plans"], todo["processes"])
    return target


def train(folder: Path, todo: dict, weights: Path) -> Path:
    """Train, from scratch or on from a model before; returns the model's folder.

    Args:
        weights: file for the network's weights, with which the next stage may go on.
    """
    import torch
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    random.seed(todo["seed"])
    np.random.seed(todo["seed"])
    torch.manual_seed(todo["seed"])
    plans = json.loads((folder / f"{todo['plans']}.json").read_text())
    trainer = recursive_find_trainer_class_by_name(todo["trainer"])(
        {**plans, "continue_training": False},
        "2d",
        0,
        json.loads((folder / "dataset.json").read_text()),
        torch.device(todo["device"]),
    )
    trainer.num_epochs, trainer.num_iterations_per_epoch = todo["epochs"], todo["iterations"]
    trainer.num_val_iterations_per_epoch, trainer.save_every = 1, todo["epochs"]
    if todo["goes_on_from"]:
        trainer.initialize()
        before = torch.load(todo["goes_on_from"], map_location="cpu", weights_only=True)
        trainer.network.load_state_dict(before)
    trainer.run_training()
    torch.save(trainer.network.state_dict(), weights)
    return Path(trainer.output_folder_base)


def score(network: NNUNetModel, raw: RawDataset, cases: list[str], out: Path) -> dict:
    """Dice and HD95 of the validation cases against dense labels."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    images = raw.images()
    for case in cases:
        image = sitk.ReadImage(str(images[case][0]))
        write_labels(network.predict(images[case]).labels, image, out / f"{case}{raw.file_ending}")
    dense = raw.folder / "labelsTr_dense"
    found = evaluate_folders(out, dense, raw.labels, raw.file_ending, 1, cases)
    summary = summarise(found.scores)
    per_class = {name: row["dice"] for name, row in summary["per_class"].items()}
    of_case: dict[str, list[float]] = {}
    for own in found.scores:
        of_case.setdefault(own.case, []).append(own.dice)
    return {
        "dice": summary["overall"]["dice"],
        "hd95_mm": summary["overall"]["hd95_mm"],
        "dice_of": per_class,
        "dice_of_case": {case: float(np.nanmean(own)) for case, own in of_case.items()},
    }


def choose(network, arm: Path, todo: dict, strokes: list[Stroke], having: list[Stroke]) -> tuple:
    """The strokes to add, how many of them are fillers, and the seconds that it took."""
    start = time.time()
    if todo["arm"] == "random":
        return add_at_random(strokes, having, todo["add"], todo["seed"] + 1000), 0, 0.0
    raw = RawDataset.read(arm / "raw" / todo["dataset"])
    judged = {}
    for case in training_cases(raw.folder, todo["splits"][0]["train"]):
        members = (own.probabilities for own in network.predict_members(case.images))
        judged[case.name], _ = judge(case, members, raw.labels, network.region_values)
    places = rank_cases(judged, patients=todo["patients"])
    spacing = {name: own.spacing_mm for name, own in judged.items()}
    seed = todo["seed"] + 1000
    more, fillers = add_as_suggested(strokes, having, places, spacing, todo["add"], seed)
    return more, fillers, time.time() - start


def main(folder: Path) -> None:
    """Do what ``folder/stage.json`` says and write ``folder/result.json``."""
    todo = json.loads((folder / "stage.json").read_text())
    arm = folder / "nnunet"
    for name in ("raw", "preprocessed", "results"):
        (arm / name).mkdir(parents=True, exist_ok=True)
        os.environ[f"nnUNet_{name}"] = str(arm / name)
    start = time.time()
    raw = RawDataset.read(Path(todo["raw"]))
    fold = todo["splits"][0]
    strokes, shapes = read_strokes(raw, [*fold["train"], *fold["val"]])
    validation = [stroke for stroke in strokes if stroke.case in set(fold["val"])]
    strokes = [stroke for stroke in strokes if stroke.case in set(fold["train"])]
    having = with_keys(strokes, todo["strokes"])
    # nnU-Net's pseudo Dice needs strokes in validation cases; nothing is chosen by it
    write_arm(raw, arm, [*having, *validation], shapes, todo["splits"])
    preprocessed = preprocess(arm, Path(todo["prepared"]), todo)
    seconds = {"preprocessing": time.time() - start}
    start = time.time()
    model = train(preprocessed, todo, folder / "weights.pth")
    seconds["training"] = time.time() - start
    start = time.time()
    plain = NNUNetModel(find_model(model, ["0"]), todo["device"], mirroring=False)
    result = score(plain, raw, fold["val"], arm / "predicted")
    seconds["scoring"] = time.time() - start
    result |= {key: todo[key] for key in ("arm", "seed", "round", "share")}
    result |= {"strokes": len(having), "of": len(strokes), "seconds": seconds}
    result["voxels"] = int(sum(len(stroke.voxels) for stroke in having))
    result["next"], result["folder"] = {}, str(folder)
    for name in todo["then"]:
        network = NNUNetModel(find_model(model, ["0"]), todo["device"], mirroring=True)
        own = {**todo, "arm": name}
        more, fillers, took = choose(network, arm, own, strokes, having)
        result["next"][name] = [stroke.key for stroke in (*having, *more)]
        result.setdefault("fillers", {})[name] = fillers
        seconds[f"choosing, {name}"] = took
    write_json(result, folder / "result.json")
    if not todo["keep"]:
        shutil.rmtree(arm)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
