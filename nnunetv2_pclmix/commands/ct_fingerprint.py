"""`nnunetv2_pclmix ct-fingerprint`: CT intensity statistics of scribbled voxels only.

nnU-Net normalises CT with statistics of the training cases' foreground: it clips to the 0.5th and
99.5th percentile, subtracts the mean and divides by the standard deviation. Foreground is every
voxel with a label above 0. With scribbles that is the ignore label too, nearly all of every image:
the clip range becomes that of air, table and bone, and the organs share a small part of it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scribble_tools.dataset import shapes
from scribble_tools.dataset.preprocessed_plans import separate_plan_commands
from scribble_tools.dataset.raw import RawDataset
from scribble_tools.json_files import read_json
from scribble_tools.parallel import threaded_map
from scribble_tools.problems import refuse
from scribble_tools.storage.file_sets import write_json, written_together
from scribble_tools.storage.interruptions import error_in_words

# nnU-Net is imported where it is needed: the command line must start without it, for the doctor
if TYPE_CHECKING:
    import numpy as np
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import (
        DatasetFingerprintExtractor,
    )

STATISTICS = "foreground_intensity_properties_per_channel"
SOURCE = "scribbled foreground voxels, without the ignore label (nnunetv2_pclmix ct-fingerprint)"
FINGERPRINT = "dataset_fingerprint.json"
STOCK_COPY = "dataset_fingerprint_stock.json"
# below this, fewer than ten voxels lie beyond a percentile bound: it is then anyone's guess
FEW_VOXELS = 2000


class _IgnoreIsBackground:
    """One of nnU-Net's readers that hands out label maps with background for the ignore label."""

    def __init__(self, reader: Any, ignore: int) -> None:
        self.reader, self.ignore = reader, ignore
        self.read_images = reader.read_images
        self.foreground_voxels = 0

    def read_seg(self, file: str) -> tuple[np.ndarray, dict]:
        labels, properties = self.reader.read_seg(file)
        labels[labels == self.ignore] = 0
        self.foreground_voxels = int((labels > 0).sum())
        return labels, properties


def _analyse(
    reader_class: type, ignore: int, num_samples: int, case: dict[str, Any]
) -> tuple[list[np.ndarray], int]:
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import (
        DatasetFingerprintExtractor,
    )

    reader = _IgnoreIsBackground(reader_class(), ignore)
    _, _, intensities, *_ = DatasetFingerprintExtractor.analyze_case(
        case["images"], case["label"], lambda: reader, num_samples
    )
    return intensities, reader.foreground_voxels


def scribbled_statistics(
    extractor: DatasetFingerprintExtractor, ignore: int
) -> tuple[dict[str, dict[str, float]], list[int]]:
    """Intensity statistics per channel as nnU-Net computes them, the ignore label as background.

    Cropping, sampling (with a fixed seed, equally many from every case) and the numbers themselves
    are nnU-Net's, so without ignored voxels the result is its own.

    Args:
        extractor: of the data set; gives its cases, number of processes and of samples.
        ignore: value of the ignore label.

    Returns:
        ``{channel: {mean, median, std, min, max, percentile_00_5, percentile_99_5}}`` and the
        number of scribbled foreground voxels of each case.

    Raises:
        ValueError: no case has a scribbled foreground voxel.
    """
    import numpy as np
    from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json

    from scribble_tools.parallel import parallel_map

    cases = list(extractor.dataset.values())
    reader = determine_reader_writer_from_dataset_json(
        extractor.dataset_json, cases[0]["images"][0]
    )
    samples = int(extractor.num_foreground_voxels_for_intensitystats // len(cases))
    analyse = partial(_analyse, reader, ignore, samples)
    results = list(parallel_map(analyse, cases, extractor.num_processes, "intensities"))
    voxels = [count for _, count in results]
    annotated = [intensities for intensities, _ in results if len(intensities[0])]
    if not annotated:
        raise ValueError(f"{extractor.input_folder}: no foreground is scribbled in any case")
    statistics = {}
    for channel, values in enumerate(zip(*annotated, strict=True)):
        values = np.concatenate(values)
        low, median, high = np.percentile(values, (0.5, 50.0, 99.5))
        statistics[str(channel)] = {
            "mean": float(np.mean(values)),
            "median": float(median),
            "std": float(np.std(values)),
            "min": float(np.min(values)),
            "max": float(np.max(values)),
            "percentile_99_5": float(high),
            "percentile_00_5": float(low),
        }
    return statistics, voxels


def refuse_unreadable(raw: RawDataset, num_processes: int) -> None:
    """Refuse images and labels that nnU-Net's reader takes for others, or passes over.

    It fills up with zeros what a cut file lacks, and leaves out a case whose image is no file.

    Raises:
        ValueError: there are such; all are named.
    """
    from scribble_tools.images.image_files import channel_problems
    from scribble_tools.images.segmentation_files import read_labels

    def problems_of(path: Path) -> list[str]:
        if path.parent.name == "imagesTr":
            return channel_problems(path)
        try:
            read_labels(path)
            return []
        except (FileNotFoundError, ValueError) as error:
            return [str(error)]

    images = [path for channels in raw.images().values() for path in channels]
    files = [*images, *raw.files("labelsTr").values()]
    found = threaded_map(problems_of, files, num_processes, "reading")
    refuse([problem for own in found for problem in own])


def ct_channels(dataset_json: dict) -> dict[str, str]:
    """Index to name of the channels that nnU-Net normalises with the foreground's statistics."""
    from nnunetv2.preprocessing.normalization.default_normalization_schemes import CTNormalization
    from nnunetv2.preprocessing.normalization.map_channel_name_to_normalization import (
        get_normalization_scheme,
    )

    channels = dataset_json.get("channel_names") or dataset_json.get("modality", {})
    return {
        index: name
        for index, name in channels.items()
        if issubclass(get_normalization_scheme(name), CTNormalization)
    }


def read_fingerprint(folder: Path) -> dict:
    """Read ``folder/dataset_fingerprint.json``.

    Raises:
        ValueError: it has not been extracted, or is no fingerprint.
    """
    path = folder / FINGERPRINT
    if not path.is_file():
        raise ValueError(f"{path} does not exist: run nnUNetv2_extract_fingerprint first")
    try:
        return read_json(path, shapes.FINGERPRINT)
    except ValueError as error:
        raise ValueError(f"{error}\nrun nnUNetv2_extract_fingerprint --clean") from None


def replace_statistics(
    folder: Path, fingerprint: dict, statistics: dict[str, dict[str, float]]
) -> dict[str, dict[str, float]]:
    """Put statistics into ``folder/dataset_fingerprint.json`` and keep nnU-Net's own beside it.

    What nnU-Net extracts later does not carry our mark and becomes the copy that is kept.

    Returns:
        nnU-Net's own statistics, or what stood in the file if nobody kept them.

    Raises:
        ValueError: the copy is damaged; nothing was written.
        OSError: a file cannot be written; neither of them was.
    """
    copy, stock = folder / STOCK_COPY, fingerprint
    if shapes.CT_MARK in fingerprint and copy.is_file():
        stock = read_json(copy, shapes.FINGERPRINT)
    before = stock[STATISTICS]
    changed = {**fingerprint, STATISTICS: statistics, shapes.CT_MARK: SOURCE}
    with written_together(folder, FINGERPRINT) as work:
        if shapes.CT_MARK not in fingerprint:
            write_json(fingerprint, work / STOCK_COPY)
        if changed != fingerprint:
            write_json(changed, work / FINGERPRINT)
    return before


def outdated_plans(folder: Path, statistics: dict[str, dict[str, float]]) -> list[str]:
    """Names of the plans in ``folder`` that hold other statistics.

    Raises:
        ValueError: a JSON file there is damaged, so that nobody knows whether it holds plans.
    """
    plans = {path.stem: read_json(path) for path in sorted(folder.glob("*.json"))}
    return [
        name
        for name, content in plans.items()
        if isinstance(content, dict)
        and "configurations" in content
        and content.get(STATISTICS) != statistics
    ]


def format_change(
    channels: dict[str, str], before: dict[str, dict], after: dict[str, dict], voxels: Sequence[int]
) -> str:
    """Before and after of each channel as text, and how many voxels it rests on."""
    columns = ("percentile_00_5", "percentile_99_5", "mean", "std")
    lines = [f"{'':24}" + "".join(f"{name:>12}" for name in ("clip from", "to", "mean", "std"))]
    for channel, new in after.items():
        title = f"channel {channel} ({'CT' if channel in channels else 'not used'})"
        for source, row in (("nnU-Net", before.get(channel, {})), ("scribbles", new)):
            numbers = "".join(f"{row.get(column, float('nan')):12.4g}" for column in columns)
            lines.append(f"{title:24}{numbers}  {source}")
    total, annotated = sum(voxels), sum(count > 0 for count in voxels)
    lines.append(
        f"They rest on {total} scribbled foreground voxels in {annotated} of {len(voxels)} cases, "
        f"each case counting the same; about {round(0.005 * total)} lie beyond each clip bound."
    )
    if total < FEW_VOXELS:
        lines.append(
            f"warning: that is few (less than {FEW_VOXELS} voxels): the clip range is uncertain. "
            f"Scribble more, or keep nnU-Net's statistics by copying {STOCK_COPY} back"
        )
    return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says, see ``-h``."""

    dataset: str
    num_processes: int | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments and help."""
    parser.description = (
        "nnU-Net takes ignored voxels for foreground when it collects the intensities "
        "that CT is normalised with. This recomputes them in dataset_fingerprint.json from "
        f"scribbled foreground alone, and keeps nnU-Net's own in {STOCK_COPY}."
    )
    parser.epilog = (
        "order: nnUNetv2_extract_fingerprint -d ID; nnunetv2_pclmix ct-fingerprint ID; "
        "nnUNetv2_plan_experiment -d ID; nnUNetv2_preprocess -d ID. Instead of the last two "
        "nnUNetv2_plan_and_preprocess -d ID does as well, but without --clean, which would extract "
        "nnU-Net's own fingerprint again."
    )
    parser.add_argument("dataset", help="id or full name")
    parser.add_argument("-np", type=int, dest="num_processes", help="default: nnU-Net's")


def run(options: Options) -> int:
    """Recompute, write, print before and after; return the exit status."""
    from nnunetv2.configuration import default_num_processes
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import (
        DatasetFingerprintExtractor,
    )
    from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw
    from nnunetv2.utilities.dataset_name_id_conversion import maybe_convert_to_dataset_name

    try:
        nnUNet_raw.require()
        name = maybe_convert_to_dataset_name(options.dataset)
        folder = Path(nnUNet_preprocessed.require()) / name
        # before nnU-Net reads anything: it would wait for a pipe
        raw = RawDataset.read(Path(nnUNet_raw.require()) / name, tolerate=("splits", "record"))
        labels, channels = raw.labels, ct_channels(dict(raw.content))
        num_processes = options.num_processes or default_num_processes
        if not channels:
            print(
                f"{name} has no CT channel: nnU-Net normalises every image by its own intensities, "
                "the fingerprint's are not used. Nothing to gain, nothing changed"
            )
            return 0
        if labels.ignore is None:
            print(f"{name} has no ignore label: nnU-Net's statistics are right, nothing changed")
            return 0
        fingerprint = read_fingerprint(folder)
        refuse_unreadable(raw, num_processes)
        extractor = DatasetFingerprintExtractor(name, num_processes)
        statistics, voxels = scribbled_statistics(extractor, labels.ignore)
        outdated = outdated_plans(folder, statistics)
        before = replace_statistics(folder, fingerprint, statistics)
    except (OSError, RuntimeError, ValueError) as error:
        print(f"nnunetv2_pclmix ct-fingerprint: error: {error_in_words(error)}", file=sys.stderr)
        return 1
    print(format_change(channels, before, statistics, voxels))
    print(f"{folder / 'dataset_fingerprint.json'} holds them; nnU-Net's own: {STOCK_COPY}")
    if outdated:
        print(
            f"warning: {', '.join(outdated)} still hold other statistics, and so do the images "
            "preprocessed with them. Plan and preprocess again (as below, or with "
            "nnUNetv2_plan_and_preprocess without --clean; derived plans by the command that made "
            "them)"
        )
    print("\n  ".join(["next:", *separate_plan_commands(folder)]))
    return 0
