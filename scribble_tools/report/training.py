"""What nnU-Net's model folder tells about a training, without running anything that lies in it.

Checkpoints are pickles: they are read as plain data (`scribble_tools.trust`), and what one that
holds more would say of the training stands in its log files too, rounded. Anyone may have written
logs and checkpoints, so whatever is shown of them has bounds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scribble_tools.dataset.shapes import PLANS
from scribble_tools.evaluate.label_files import label_files_like
from scribble_tools.json_files import read_json
from scribble_tools.predict.training_state import (
    begun_in_words,
    go_on_in_words,
    has_begun,
    train_command,
)
from scribble_tools.trust import checkpoint as trust
from scribble_tools.trust.plain_pickle import NotPlain

CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_latest.pth", "checkpoint_best.pth")
NUMBER = r"[-+]?(?:\d+(?:\.\d*)?(?:e[-+]?\d+)?|nan|inf)"
# one line of nnU-Net's log per epoch and value, and the series of its logger that holds it
LOGGED = {
    "train_losses": re.compile(rf": train_loss ({NUMBER})"),
    "val_losses": re.compile(rf": val_loss ({NUMBER})"),
    "lrs": re.compile(rf": Current learning rate: ({NUMBER})"),
    "seconds_per_epoch": re.compile(rf": Epoch time: ({NUMBER}) s"),
}
PSEUDO_DICE = re.compile(r": Pseudo dice \[(.*)\]")
EPOCH = re.compile(r": Epoch (\d{1,9}) *$")
WARNING = re.compile(r"^[-\d]+ [:.\d]+: (warning.*)", re.IGNORECASE)
MOST_WARNINGS = 20
MOST_EPOCHS = 100_000  # nnU-Net's default is 1000
LONGEST_LINE = 20_000  # of a log: the Dice of a thousand classes
MOST_LOG_BYTES = 256 << 20
LONGEST_FACT, MOST_ENTRIES = 200, 200


@dataclass(frozen=True)
class Training:
    """One fold of a model.

    Attributes:
        name: of the model's folder, ``TRAINER__PLANS__CONFIGURATION``.
        fold: such as ``0`` or ``all``.
        series: one value per epoch, ``dice_per_class`` a list of them; empty where nothing tells.
        facts: how it was trained, in words.
        settings: of PCLMix; empty for other trainers.
        changed: the settings whose value is not that of nnUNetTrainerPCLMix itself.
        warnings: lines of the log.
        pictures: progress.png, pclmix_losses.png and snapshots that exist.
        remarks: what could not be read, in sentences.
        unfinished: how far it has come, in a sentence; empty once it has ended, or where no
            checkpoint tells.
    """

    name: str
    fold: str
    series: Mapping[str, list] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    changed: Sequence[str] = ()
    warnings: Sequence[str] = ()
    pictures: Sequence[Path] = ()
    remarks: Sequence[str] = ()
    unfinished: str = ""


def find_fold(model: Path, fold: str | None = None) -> Path:
    """The folder of one fold, ``fold`` of a model's folder or the only one.

    Raises:
        FileNotFoundError: there is none.
        ValueError: there are several, and ``fold`` does not choose one.
    """
    if not model.is_dir():
        raise FileNotFoundError(f"{model} is not a folder")
    if model.name.startswith("fold_"):
        return model
    folds = sorted(path for path in model.glob("fold_*") if path.is_dir())
    if fold is not None:
        folds = [path for path in folds if path.name == f"fold_{fold}"]
    if not folds:
        raise FileNotFoundError(
            f"{model} has no fold_{'X' if fold is None else fold}: give the folder that "
            "nnUNetv2_train wrote, nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION"
        )
    if len(folds) > 1:
        numbers = ", ".join(path.name.removeprefix("fold_") for path in folds)
        raise ValueError(f"{model} has the folds {numbers}: choose one with --fold")
    return folds[0]


def find_predictions(folder: Path, ending: str, fold: str | None = None) -> Path:
    """The folder of predictions that a model's folder, one of its folds' or ``folder`` itself is.

    Raises:
        FileNotFoundError: none of them holds any.
        ValueError: the model has several folds, and ``fold`` does not choose one.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder")
    trained = folder.name.startswith("fold_") and any(folder.glob("training_log_*.txt"))
    # a training's own pictures are no predictions
    if label_files_like(folder, ending) and not trained:
        return folder
    if folder.name.startswith("fold_") or any(folder.glob("fold_*")):
        validation = find_fold(folder, fold) / "validation"
        if label_files_like(validation, ending):
            return validation
        fold_folder = validation.parent
        if has_begun(fold_folder):
            todo = begun_in_words([fold_folder])
        elif _is_unfinished(fold_folder):
            todo = f"The training is not finished. {go_on_in_words(fold_folder)}"
        else:
            command = train_command(fold_folder, "--val") or "nnUNetv2_train ... --val"
            todo = f"Let nnU-Net validate: {command}"
        raise FileNotFoundError(
            f"no predictions {validation}/*{ending}, which a training makes at its end: give a "
            f"folder of predictions with --pred. {todo}"
        )
    raise FileNotFoundError(f"no label files in {folder}: nothing to report on")


def _is_unfinished(fold: Path) -> bool:
    """Whether a fold has checkpoints, but not the last one."""
    final, *others = (fold / name for name in CHECKPOINTS)
    return not final.is_file() and any(other.is_file() for other in others)


def read_logs(fold: Path) -> tuple[dict[str, list], list[str]]:
    """Series by epoch, and warnings, of a fold's training logs; of epochs that ran twice the later.

    A continued training has one log for each start. Epochs from `MOST_EPOCHS` on are not believed.
    """
    epochs: dict[int, dict[str, object]] = {}
    warnings: dict[str, None] = {}
    for path in sorted(fold.glob("training_log_*.txt")):
        epoch: dict[str, object] = {}
        for line in _lines(path):
            if match := EPOCH.search(line):
                epoch = {}
                if int(match[1]) < MOST_EPOCHS:
                    epochs[int(match[1])] = epoch
            elif match := PSEUDO_DICE.search(line):
                # numpy 2 writes np.float32(0.4), earlier versions 0.4
                values = re.sub(r"np\.float\d+\(|\)", "", match[1]).split(",")
                if all(re.fullmatch(NUMBER, value.strip()) for value in values):
                    epoch["dice_per_class"] = [float(value) for value in values]
            elif match := WARNING.search(line):
                if len(warnings) < MOST_WARNINGS:
                    warnings[match[1].strip()] = None
            else:
                for name, pattern in LOGGED.items():
                    if match := pattern.search(line):
                        epoch[name] = float(match[1])
    last = max(epochs, default=-1)
    series = {}
    for name in dict.fromkeys(key for values in epochs.values() for key in values):
        values = [epochs.get(number, {}).get(name) for number in range(last + 1)]
        series[name] = [math.nan if value is None else value for value in values]
    if last >= 0 and len(epochs[last]) < len(series):  # the epoch that runs now
        series = {name: values[:-1] for name, values in series.items()}
    return series, [*warnings]


def _lines(path: Path) -> Iterator[str]:
    """The lines of a log that are not longer than any of nnU-Net's."""
    if not path.is_file():  # a pipe would make us wait
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        read = 0
        while read < MOST_LOG_BYTES and (line := file.readline(LONGEST_LINE)):
            read += len(line)
            yield line.rstrip("\r\n")


def read_checkpoint(fold: Path) -> tuple[dict, str | None]:
    """The plain part of the latest checkpoint that holds nothing else, or why there is none.

    Weights are not read.
    """
    paths = [fold / name for name in CHECKPOINTS if (fold / name).is_file()]
    for path in paths:
        try:
            content = trust.read_checkpoint(path, checksums=False).content
        except (OSError, ValueError) as error:
            plain = not isinstance(error, NotPlain)
            reason = "damaged" if plain else "it holds more than plain data, or is damaged"
            return {}, f"{path.name} was not read ({reason}); curves are from the training's log."
        if isinstance(content, dict):
            return content, None
    return {}, None if paths else "There is no checkpoint in the model's folder."


def _numbers(values: object) -> list | None:
    """A logger's series, if it is one: numbers, or lists of them."""
    if not isinstance(values, list) or not values:
        return None
    if len(values) > MOST_EPOCHS:
        return None
    if all(isinstance(value, (int, float)) for value in values):
        return [float(value) for value in values]
    if all(isinstance(v, list) and all(isinstance(x, (int, float)) for x in v) for v in values):
        return [[float(x) for x in value] for value in values]
    return None


def logger_series(logging: object) -> dict[str, list]:
    """The series of nnU-Net's logger as a checkpoint holds them; what is no number is left out."""
    series = {
        str(name): found for name, values in _known(logging).items() if (found := _numbers(values))
    }
    if "dice_per_class_or_region" in series:
        series["dice_per_class"] = series.pop("dice_per_class_or_region")
    start, end = (series.pop(f"epoch_{word}_timestamps", []) for word in ("start", "end"))
    if start and end and not any(isinstance(value, list) for value in (*start, *end)):
        series["seconds_per_epoch"] = [b - a for a, b in zip(start, end, strict=False)]
    return series


def _read_plans(path: Path) -> dict:
    try:
        return read_json(path, PLANS)
    except (OSError, ValueError):
        return {}


def _known(content: object) -> dict:
    """A table of a checkpoint; {} if it is none, or longer than any of ours."""
    return content if isinstance(content, dict) and len(content) <= MOST_ENTRIES else {}


def _is_short(name: object, value: object) -> bool:
    """Whether an entry is one that a page can show."""
    parts = value if isinstance(value, (list, tuple)) else (value,)
    simple = len(parts) <= MOST_ENTRIES and all(
        part is None or isinstance(part, (bool, int, float, str)) for part in parts
    )
    return isinstance(name, str) and simple and len(f"{name}{value}") <= LONGEST_FACT


def _plans_facts(model: Path, configuration: str) -> dict[str, str]:
    plans = _read_plans(model / "plans.json")
    try:
        configurations = plans["configurations"]
        chosen = configurations[configuration]
        chosen = {**configurations.get(chosen.get("inherits_from"), {}), **chosen}
        network = chosen["architecture"]
        return {
            "patch size": " x ".join(map(str, chosen["patch_size"])),
            "batch size": str(chosen["batch_size"]),
            # of pictures nnU-Net takes none
            "spacing mm": ""
            if plans.get("image_reader_writer") == "NaturalImage2DIO"
            else " x ".join(f"{value:.3g}" for value in chosen["spacing"]),
            "network": str(network["network_class_name"]).rpartition(".")[2],
            "features": ", ".join(map(str, network["arch_kwargs"]["features_per_stage"])),
        }
    except (KeyError, TypeError, ValueError):
        return {}


def _components(noted: Mapping) -> dict[str, str]:
    """What the method had switched on and off, in words."""
    return {
        side: "; ".join(map(str, names))
        for side, names in _known(noted.get("components")).items()
        if side in ("on", "off")
        and isinstance(names, list)
        and all(_is_short(side, words) for words in names[:MOST_ENTRIES])
    }


def read_training(fold: Path) -> Training:
    """Gather what the folder of one fold tells; nothing in it is required."""
    model = fold.absolute().parent
    trainer, plans, configuration = (*model.name.split("__"), "", "")[:3]
    number = fold.name.removeprefix("fold_")
    checkpoint, remark = read_checkpoint(fold)
    series, warnings = read_logs(fold)
    for name, values in logger_series(checkpoint.get("logging")).items():
        if len(values) >= len(series.get(name, ())):
            series[name] = values
    noted = _known(checkpoint.get("pclmix"))
    # a setting of a component that is off decides nothing, and is not shown
    active = noted.get("active_settings", noted.get("config"))
    tables = (noted, *map(_known, (active, noted.get("defaults"), noted.get("versions"))))
    ours, settings, defaults, versions = (
        {name: value for name, value in table.items() if _is_short(name, value)} for table in tables
    )
    facts = {
        "trainer": str(ours.get("trainer_name", trainer)),
        "plans": plans,
        "configuration": configuration,
        "fold": number,
        **_components(noted),
        **_plans_facts(model, configuration),
        "epochs done": str(len(series["train_losses"])) if series.get("train_losses") else "",
        "epochs planned": str(ours.get("num_epochs", "")),
        "iterations": str(ours.get("iteration", "")),
        "seed of torch": str(ours.get("torch_seed", "")),
        "version of nnunetv2-pclmix": str(ours.get("version", "")),
        "trained by": train_command(fold),
    }
    for name, version in versions.items():
        facts.setdefault(f"version of {name}", str(version))
    unfinished = ""
    if _is_unfinished(fold):
        done = " of ".join(n for k in ("done", "planned") if (n := facts[f"epochs {k}"]))
        unfinished = f"The training of fold {number} is not finished: "
        unfinished += (
            f"{done} epochs are done."
            if facts["epochs done"] and facts["epochs done"] != facts["epochs planned"]
            else f"there is no {CHECKPOINTS[0]}."
        )
        unfinished += f" {go_on_in_words(fold)}"
    named = [fold / name for name in ("progress.png", "pclmix_losses.png")]
    pictures = [*named, *sorted((fold / "pclmix_snapshots").glob("epoch_*.png"))]
    return Training(
        name=model.name,
        fold=number,
        series=series,
        facts={name: text for name, text in facts.items() if text},
        settings=settings,
        changed=[n for n, value in settings.items() if defaults.get(n, value) != value],
        warnings=warnings,
        pictures=[path for path in pictures if path.is_file()],
        remarks=[remark] if remark else [],
        unfinished=unfinished,
    )
