"""`nnunetv2_pclmix export`: a lean model of a PCLMix training, for stock nnU-Net."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shlex
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from nnunetv2_pclmix import __version__
from scribble_tools.dataset.provenance import package_versions
from scribble_tools.dataset.shapes import PLANS
from scribble_tools.json_files import Record, read_json
from scribble_tools.storage.file_sets import written_atomically
from scribble_tools.storage.folders import made_folder, written_folder
from scribble_tools.storage.interruptions import error_in_words
from scribble_tools.storage.overlap import refuse_overlap, refuse_same_file
from scribble_tools.storage.written_record import write_record, written_by_record
from scribble_tools.wording import counted

STOCK_TRAINER = "nnUNetTrainer"
CHECKPOINT = "checkpoint_final.pth"  # what nnU-Net looks for unless told otherwise
# all that nnU-Net reads to predict, or to take the weights as pretrained ones
KEPT = ("network_weights", "init_args", "inference_allowed_mirroring_axes")
PROVENANCE = "pclmix_provenance"
REQUIRED_HISTORY = ("trainer_name", "version", "config", "iteration")
HISTORY = (*REQUIRED_HISTORY, "num_epochs", "torch_seed", "versions")
MODEL_FILES = ("plans.json", "dataset.json", "dataset_fingerprint.json")
CROSSVAL_FILES = ("postprocessing.json", "postprocessing.pkl", "plans.json", "dataset.json")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of this package's trainer as data: nothing in the file is executed.

    Tensors stay in the file until they are used, so that optimiser state costs no memory.

    Raises:
        OSError, ValueError: there is no such file, it is damaged, holds more than plain data, or
            is not a checkpoint of a PCLMix training; the message names the file.
    """
    # not above: the command line must start where packages are missing, for the doctor
    from scribble_tools.trust.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(path, mmap=True)
    if isinstance(checkpoint, dict) and PROVENANCE in checkpoint:
        raise ValueError(f"{path} is an export already: copy it, or export the training's folder")
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("pclmix"), dict):
        raise ValueError(
            f"{path} is not a checkpoint of a PCLMix training (no key 'pclmix'). Models of other "
            "trainers: nnUNetv2_export_model_to_zip"
        )
    if missing := [key for key in KEPT if key not in checkpoint]:
        raise ValueError(f"{path} lacks {', '.join(missing)}")
    if not isinstance(checkpoint["init_args"], dict):
        raise ValueError(f"{path} is damaged: init_args is {checkpoint['init_args']!r:.80}")
    return checkpoint


def lean_checkpoint(checkpoint: dict[str, Any], source: Path) -> dict[str, Any]:
    """The stock network's weights, what nnU-Net needs to use them, and where they come from.

    Neither optimiser, grad scaler and logs nor auxiliary decoder, embedding head and memory are in
    it, so no training can be continued with it; as ``-pretrained_weights`` it serves.

    Args:
        checkpoint: as `read_checkpoint` gives it.
        source: the file it was read from; its name and sha256 become part of the provenance.

    Raises:
        ValueError: the weights are no tensors or not the stock network's alone, or what the
            checkpoint says of its training is incomplete or no plain data.
    """
    import torch

    from nnunetv2_pclmix.method.network import PCLMixNetwork

    weights, state = checkpoint["network_weights"], checkpoint["pclmix"]
    added = tuple(f"{name}." for name in PCLMixNetwork.TRAINING_ONLY)
    if not isinstance(weights, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) and not key.startswith(added)
        for key, value in weights.items()
    ):
        raise ValueError(f"{source}: network_weights are not those of a stock network")
    if missing := [key for key in REQUIRED_HISTORY if key not in state]:
        raise ValueError(f"{source}: 'pclmix' lacks {', '.join(missing)}")
    provenance = {
        **{key: state[key] for key in HISTORY if key in state},
        "fold": checkpoint["init_args"].get("fold"),
        "source": {"checkpoint": source.name, "sha256": sha256(source)},
        "exported_with": {**package_versions(), "nnunetv2-pclmix": __version__},
    }
    if "torch_seed" in provenance:  # up to 2^64, which not every reader of JSON takes for a number
        provenance["torch_seed"] = str(provenance["torch_seed"])
    try:
        json.dumps(provenance)
    except TypeError as error:
        raise ValueError(f"{source}: 'pclmix' holds more than plain data: {error}") from None
    return {
        **{key: checkpoint[key] for key in KEPT},
        "trainer_name": STOCK_TRAINER,
        PROVENANCE: provenance,
    }


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def export_model(
    model: Path,
    out: Path,
    folds: Sequence[str] | None = None,
    checkpoint: str = CHECKPOINT,
    as_zip: bool = False,
    trainer_name: str = STOCK_TRAINER,
    overwrite: bool = False,
) -> Path:
    """Write folds of a trained PCLMix model as a model folder, or zip, of stock nnU-Net.

    Args:
        model: ``DatasetNNN_x/TRAINER__PLANS__CONFIGURATION`` with plans.json and fold folders.
        out: folder like nnU-Net's results folder, which gets ``DatasetNNN_x/...``, or the zip.
        folds: default: every fold that has this checkpoint.
        checkpoint: name of the checkpoint to take; in the export it is ``checkpoint_final.pth``.
        as_zip: write one file, for ``nnUNetv2_install_pretrained_model_from_zip``.
        trainer_name: first part of the exported folder's name, what ``-tr`` has to be at
            prediction. Any name works, because nnU-Net takes the class from the checkpoint.

    Returns:
        The model folder, or the zip.

    Raises:
        ValueError: something cannot be exported; the message lists all problems.
        FileExistsError: the target exists and ``overwrite`` is false.
    """
    if not model.is_dir():
        raise ValueError(
            f"{model} is not a folder: give the path of DatasetNNN_x/TRAINER__PLANS__CONFIGURATION"
        )
    if folds is None:
        folds = sorted(path.parent.name[5:] for path in model.glob(f"fold_*/{checkpoint}"))
    problems = []
    if not folds:
        problems = [f"no fold in {model} has a {checkpoint}"]
        if any(model.glob("fold_*/checkpoint_*.pth")):
            problems[0] += ": finish the training (nnUNetv2_train ... --c), or choose --checkpoint"
    plans = _read_json(model / "plans.json", PLANS, problems)
    _read_json(model / "dataset.json", Record(), problems)
    exported = {}
    for fold in dict.fromkeys(folds):
        path = model / f"fold_{fold}" / checkpoint
        try:
            exported[fold] = lean_checkpoint(read_checkpoint(path), path)
        except (OSError, ValueError) as error:
            problems.append(str(error))
    dataset, plans_name = plans.get("dataset_name"), plans.get("plans_name")
    configurations = {str(c["init_args"].get("configuration")) for c in exported.values()}
    if len(configurations) > 1:
        problems.append(f"the folds are of several configurations: {sorted(configurations)}")
    # these make up folder names, and come from files that anyone may have written
    names = {"trainer": [trainer_name], "configuration": configurations}
    names |= {"plans": [plans_name], "data set": [dataset]} if plans else {}
    problems += [
        f"{name!r} cannot be the name of a {what}: it becomes part of a folder's name"
        for what, values in names.items()
        for name in values
        if not _is_folder_name(name)
    ]
    if not problems and not configurations <= set(plans.get("configurations", ())):
        problems.append(f"{model / 'plans.json'} has no configuration {min(configurations)}")
    if problems:
        raise ValueError(
            "\n- ".join((f"{counted(len(problems), 'problem')}, nothing exported:", *problems))
        )

    name = f"{trainer_name}__{plans_name}__{min(configurations)}"
    target = out if as_zip else out / dataset / name
    if os.path.realpath(target) == os.path.realpath(model):
        raise ValueError(f"{target} is the training itself: export to another place or name")
    if os.path.lexists(target) and not overwrite:
        raise FileExistsError(
            f"{target} exists already. It may be another model (a stock one has the same name): "
            "--overwrite replaces an earlier export"
            + ("" if as_zip else ", --trainer-name puts this beside it")
        )
    if not as_zip:
        refuse_overlap(target, model, "export to another place or name")
        with written_folder(target, _written_before if overwrite else None) as work:
            _write_model(model, work, exported)
        return target
    refuse_same_file(out, [path for path in model.rglob("*") if path.is_file()])
    with made_folder(out.parent), written_atomically(out) as packed:
        _refuse_other_zip(out)
        with tempfile.TemporaryDirectory(dir=packed.parent) as work:
            _write_model(model, Path(work) / dataset / name, exported)
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
                for path in sorted((Path(work) / dataset).rglob("*")):
                    archive.write(path, path.relative_to(work))
    return target


def _written_before(folder: Path) -> set[PurePosixPath]:
    """What an earlier export wrote into ``folder``: nothing else may be replaced."""
    return written_by_record(folder, f"{PROVENANCE}.json", "export")


def _refuse_other_zip(out: Path) -> None:
    """Refuse to replace a file that is no earlier export.

    Raises:
        FileExistsError: it is none.
    """
    if not os.path.lexists(out):
        return
    try:
        with zipfile.ZipFile(out) as archive:
            is_export = any(Path(n).name == f"{PROVENANCE}.json" for n in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        is_export = False
    if not is_export:
        raise FileExistsError(f"{out} is no earlier export: not replaced, take another name")


def _read_json(path: Path, shape: Record, problems: list[str]) -> dict:
    try:
        return read_json(path, shape)
    except (OSError, ValueError) as error:
        problems.append(str(error))
        return {}


def _is_folder_name(name: object) -> bool:
    """Whether it is a single folder's name that nnU-Net can take apart at ``__`` again."""
    return isinstance(name, str) and bool(re.fullmatch(r"(?!\.)(?!.*__)[^/\\:]+", name))


def _write_model(model: Path, work: Path, exported: dict[str, dict[str, Any]]) -> None:
    # not above: the command line must start where torch is missing, for the doctor
    from nnunetv2_pclmix.training.checkpoint_files import write_checkpoint

    for fold, checkpoint in exported.items():
        (work / f"fold_{fold}").mkdir(parents=True)
        write_checkpoint(checkpoint, work / f"fold_{fold}" / CHECKPOINT)
    # Postprocessing is kept with the files that applying it asks for. The pickle is copied, not
    # opened. Predictions, summaries and debug.json stay behind: they hold paths and case names.
    crossval = [
        f"{folder.name}/{file}"
        for folder in model.glob("crossval_results_folds_*")
        for file in CROSSVAL_FILES
        if (folder / CROSSVAL_FILES[0]).is_file()
    ]
    for file in (*MODEL_FILES, *crossval):
        if (model / file).is_file():
            (work / file).parent.mkdir(exist_ok=True)
            shutil.copyfile(model / file, work / file)
    provenance = {f"fold_{fold}": c[PROVENANCE] for fold, c in exported.items()}
    write_record(provenance, work / f"{PROVENANCE}.json")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says, see ``-h``."""

    model: Path
    out: Path
    folds: Sequence[str] | None
    checkpoint: str
    zip: bool
    trainer_name: str
    overwrite: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments and help."""
    parser.description = (
        "Write a trained PCLMix model for machines that have only nnU-Net: the "
        "network's weights without optimiser, logs and the parts that exist for training only. "
        "Predictions are the same bit for bit. No training can be continued with the export."
    )
    parser.epilog = (
        "The exported folder is named as a stock model's, for nnU-Net's commands to find it "
        "without -tr. Where a stock model of the same data set, plans and configuration is "
        "installed, nnU-Net's zip installation writes over it without asking, and folds that only "
        "the stock model has stay and would be averaged with these: give another --trainer-name "
        "then, and predict with -tr and that name."
    )
    parser.add_argument("model", metavar="MODEL_FOLDER", type=Path, help="...__PLANS__CONFIG")
    parser.add_argument(
        "out", metavar="OUT", type=Path, help="results folder to export into, or the zip"
    )
    parser.add_argument(
        "--folds", nargs="+", metavar="FOLD", help="0 1 ... or all (default: every)"
    )
    parser.add_argument(
        "--checkpoint", default=CHECKPOINT, help=f"to take; in the export it is {CHECKPOINT}"
    )
    parser.add_argument("--zip", action="store_true", help="write a zip (also if OUT ends so)")
    parser.add_argument("--trainer-name", default=STOCK_TRAINER, help=f"default: {STOCK_TRAINER}")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")


def run(options: Options) -> int:
    """Export, print how to predict; return the exit status."""
    as_zip = options.zip or options.out.suffix == ".zip"
    try:
        target = export_model(
            options.model,
            options.out,
            options.folds,
            options.checkpoint,
            as_zip,
            options.trainer_name,
            options.overwrite,
        )
    except (OSError, ValueError) as error:
        print(f"nnunetv2_pclmix export: error: {error_in_words(error)}", file=sys.stderr)
        return 1
    if as_zip:
        with zipfile.ZipFile(target) as archive:
            files = [Path(name) for name in archive.namelist()]
        install = shlex.join(["nnUNetv2_install_pretrained_model_from_zip", str(target)])
        print(f"wrote {target}; install it: {install}")
    else:
        files = [path.relative_to(options.out) for path in target.rglob("*")]
        print(f"wrote {target}")
    weights = sorted(path for path in files if path.name == CHECKPOINT)
    dataset, model, _ = weights[0].parts[-4:-1]
    trainer, plans, configuration = model.split("__")
    folds = [path.parent.name[5:] for path in weights]
    command = ["nnUNetv2_predict", "-d", dataset, "-c", configuration, "-p", plans, "-tr", trainer]
    print(f"predict: {shlex.join([*command, '-f', *folds])} -i IMAGES -o PREDICTIONS")
    if trainer == STOCK_TRAINER:
        print(
            f"note: the name is a stock {STOCK_TRAINER}'s. Where such a model of {dataset} is "
            "installed, do not install this over it: export with --trainer-name"
        )
    return 0
