"""Is a model that came from somewhere else plain data? Nothing in it is executed to find out.

nnU-Net's own loaders execute what stands in a checkpoint (``-pretrained_weights``, prediction), in
postprocessing.pkl, and import whatever class plans.json names.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from scribble_tools.dataset.shapes import DATASET_JSON, FINGERPRINT, PLANS, SPLITS
from scribble_tools.json_files import Shape, read_json
from scribble_tools.trust.checkpoint import read_checkpoint
from scribble_tools.trust.plain_pickle import MOST_BYTES, NotPlain, read_plain_pickle
from scribble_tools.trust.printable import printable
from scribble_tools.wording import counted

CHECKPOINTS = frozenset({".pth", ".pt"})
PICKLES = frozenset({".pkl", ".pickle"})
# what else lies in a model's folder: nothing of it is executed by what reads it
DATA = frozenset(
    ".json .txt .png .csv .html .md .log .npz .nii .gz .nrrd .mha .gipl .tif .tiff .bmp".split()
)
SHAPES = {
    "dataset.json": DATASET_JSON,
    "dataset_fingerprint.json": FINGERPRINT,
    "splits_final.json": SPLITS,
}  # of JSON files by name; of all that end in plans.json: PLANS
POSTPROCESSING = (
    "nnunetv2.postprocessing.remove_connected_components "
    "remove_all_but_largest_component_from_segmentation"
)
NETWORKS = ("dynamic_network_architectures.", "torch.nn.", "nnunetv2.")
MOST_FILES = 100_000
LARGEST_GROWTH, SMALL_BYTES = 50, 64 << 20  # of what unpacks to more than its size in the zip


def verify_model(path: Path) -> list[str]:
    """Make sure that a checkpoint, or all of a model's folder or zip, is plain data.

    Returns:
        A line about every checkpoint.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: it is not plain data, damaged, or no model; the message lists all reasons.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    problems: list[str] = []
    if path.is_dir():
        facts = _verify_folder(path, problems)
    elif path.suffix.lower() == ".zip":
        facts = _verify_zip(path, problems)
    else:
        facts = _verify_file(path, path.name, path.suffix.lower(), problems)
    if not problems and not facts:
        problems.append("there is no checkpoint (.pth) in it: is it a model?")
    if problems:
        raise ValueError(
            "\n- ".join(
                (f"{path} is not to be used, {counted(len(problems), 'reason')}:", *problems)
            )
        )
    return facts


def _verify_folder(folder: Path, problems: list[str]) -> list[str]:
    facts, number = [], 0
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in folders:
            if PurePosixPath(name).suffix.lower() in CHECKPOINTS | PICKLES | {".json"}:
                problems.append(f"{printable(Path(parent, name).relative_to(folder))} is a folder")
        for name in sorted(names):
            number += 1
            if number > MOST_FILES:
                problems.append(f"it holds more than {MOST_FILES} files")
                return facts
            file = Path(parent, name)
            if not name.startswith(".") or file.suffix.lower() in CHECKPOINTS | PICKLES:
                shown = file.relative_to(folder).as_posix()
                facts += _verify_file(file, shown, file.suffix.lower(), problems)
    return facts


def _verify_file(file: Path, name: str, suffix: str, problems: list[str]) -> list[str]:
    """A line about a checkpoint; [] for other files."""
    name = printable(name)
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise ValueError("it is no file (a pipe or a device)")
        if suffix in PICKLES:
            if file.stat().st_size > MOST_BYTES:
                raise ValueError("it is too large for nnU-Net's")
            try:
                read_plain_pickle(file.read_bytes(), (POSTPROCESSING,))
            except NotPlain as error:
                raise NotPlain(f"holds more than plain data, or is damaged: {error}") from None
        elif suffix == ".json":
            refuse_foreign_code(read_json(file, _shape_of(name)))
        elif suffix in CHECKPOINTS or (suffix not in DATA and _may_be_checkpoint(file)):
            return [f"{name}: {_describe(file)}"]
    except (ValueError, OSError) as error:
        reason = str(error).removeprefix(f"{file} ").removeprefix(f"{file}: ")
        between = " " if reason.startswith(("holds", "is ")) else ": "
        problems.append(f"{name}{between}{reason}")
    return []


def _may_be_checkpoint(file: Path) -> bool:
    """Whether a file begins as zips and pickles do; nnU-Net's ``-chk`` takes any name."""
    with file.open("rb") as opened:
        return opened.read(2).startswith((b"PK", b"\x80"))


def _describe(file: Path) -> str:
    """What a checkpoint holds.

    Raises:
        OSError, ValueError: see `read_checkpoint`.
    """
    checkpoint = read_checkpoint(file)
    content = checkpoint.content if isinstance(checkpoint.content, dict) else {}
    weights = content.get("network_weights", content)
    trainer = content.get("trainer_name")
    return (
        f"plain data, {counted(len(weights), 'entry', 'entries')} of weights, "
        f"{checkpoint.tensor_bytes / 1e6:.1f} MB"
        + (f", a network of {printable(trainer)[:80]}" if isinstance(trainer, str) else "")
    )


def _shape_of(name: str) -> Shape | None:
    """What a JSON file of this name, or path, has to hold."""
    name = PurePosixPath(name).name.lower()
    return SHAPES.get(name, PLANS if name.endswith("plans.json") else None)


def refuse_foreign_code(content: object) -> None:
    """Refuse plans that make nnU-Net import and call something other than a network.

    Args:
        content: of a JSON file; of what are no plans nothing is said.

    Raises:
        ValueError: they do.
    """
    configurations = content.get("configurations") if isinstance(content, dict) else None
    for configuration in configurations.values() if isinstance(configurations, dict) else ():
        own = configuration.get("architecture") if isinstance(configuration, dict) else None
        if not isinstance(own, Mapping):
            continue
        arguments, imported = own.get("arch_kwargs", {}), own.get("_kw_requires_import", [])
        if not isinstance(arguments, dict) or not isinstance(imported, list):
            raise ValueError("its architecture is not as nnU-Net writes it")
        names = [own.get("network_class_name")]
        names += [arguments.get(key) for key in imported if isinstance(key, str)]
        for name in names:
            if name is not None and not (isinstance(name, str) and name.startswith(NETWORKS)):
                raise ValueError(
                    f"it makes nnU-Net import {printable(name)[:80]!r}, which is none of "
                    f"{', '.join(NETWORKS)}"
                )


def _verify_zip(path: Path, problems: list[str]) -> list[str]:
    """Verify a zip for nnU-Net's installation, unpacking one file of interest at a time."""
    facts: list[str] = []
    try:
        with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
            if len(archive.infolist()) > MOST_FILES:
                raise ValueError(f"it holds more than {MOST_FILES} files")
            problems += _strange_members(archive, path.stat().st_size)
            if problems:
                return []
            for info in archive.infolist():
                suffix = PurePosixPath(info.filename).suffix.lower()
                if info.is_dir() or suffix in DATA - {".json"}:
                    continue
                unpacked = Path(folder) / "unpacked"
                with archive.open(info) as source, unpacked.open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)  # compares the checksum too
                facts += _verify_file(unpacked, info.filename, suffix, problems)
    # what zipfile and zlib raise for a damaged archive depends on where it is damaged
    except Exception as error:
        problems.append(f"it is no zip that can be read: {error}")
    return facts


def _strange_members(archive: zipfile.ZipFile, length: int) -> list[str]:
    """What is wrong with the names and sizes in a zip."""
    problems, seen = [], set()
    for info in archive.infolist():
        place = PurePosixPath(info.filename)
        name = printable(info.filename)[:100]
        if place.is_absolute() or ".." in place.parts or "\\" in info.filename:
            problems.append(f"{name} would be written outside the folder")
        if stat.S_ISLNK(info.external_attr >> 16):
            problems.append(f"{name} is a link")
        if info.filename.lower() in seen:
            problems.append(f"{name} is in it twice")
        seen.add(info.filename.lower())
        if info.file_size > max(SMALL_BYTES, LARGEST_GROWTH * info.compress_size):
            problems.append(f"{name} would unpack to {info.file_size / 1e9:.1f} GB")
    if (total := sum(info.file_size for info in archive.infolist())) > max(
        SMALL_BYTES, LARGEST_GROWTH * length
    ):
        problems.append(f"it would unpack to {total / 1e9:.1f} GB")
    return problems
