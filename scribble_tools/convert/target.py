"""Where a converted data set goes."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from scribble_tools.arguments import positive_int
from scribble_tools.dataset.ids import dataset_number


@dataclass(frozen=True)
class Target:
    """Where a data set goes, and how it is written: what the options of all converters begin with.

    Attributes:
        out: the nnUNet_raw folder.
        dataset_id: 1 to 999.
        name: gives DatasetNNN_NAME.
        num_folds: of the cross-validation; None: 5, or as many as there are patients.
        seed: of the folds.
        overwrite: replace what an earlier conversion wrote.
        num_processes: that read in parallel.
    """

    out: Path
    dataset_id: int
    name: str
    num_folds: int | None = None
    seed: int = 0
    overwrite: bool = False
    num_processes: int = 2


def add_target_arguments(
    parser: argparse.ArgumentParser, name: str | None = None, needs_name: bool = True
) -> None:
    """Add the arguments for a `Target`.

    Args:
        name: default name of the data set.
        needs_name: without a default the name must be given.
    """
    parser.add_argument(
        "--dataset-id", type=dataset_number, required=True, help="nnU-Net data set id, 1-999"
    )
    parser.add_argument("--out", type=Path, required=True, help="your nnUNet_raw folder")
    parser.add_argument(
        "--name",
        default=name,
        required=name is None and needs_name,
        help="gives DatasetNNN_NAME" + (f" (default: {name})" if name else ""),
    )
    parser.add_argument(
        "--folds",
        type=int,
        dest="num_folds",
        help="cross-validation folds (default: 5, or one per patient)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the folds (default: 0)")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace what an earlier conversion wrote; other files in the data set stay",
    )
    parser.add_argument(
        "-np", type=positive_int, default=2, dest="num_processes", help="parallel readers"
    )
