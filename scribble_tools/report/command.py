"""`scribble_tools report`: data set, training and predictions in one HTML file to look at."""

from __future__ import annotations

import argparse
import glob
import shlex
from dataclasses import dataclass
from pathlib import Path

from scribble_tools.arguments import positive_int
from scribble_tools.dataset.writing import find_raw_dataset
from scribble_tools.json_files import read_json
from scribble_tools.predict.chosen_model import find_model_folder, other_dataset_in_words
from scribble_tools.report.data import ReportData, gather
from scribble_tools.report.page import as_json, render
from scribble_tools.report.rows import unfinished_of
from scribble_tools.storage.file_sets import finish_sets, write_json, written_together
from scribble_tools.storage.folders import made_folder
from scribble_tools.storage.written_record import refuse_foreign


def write_report(data: ReportData, out: Path, command: str = "", overwrite: bool = False) -> Path:
    """Write the page ``out``, and its numbers beside it as JSON; return the latter's path.

    Args:
        command: that made the report, to be shown in it.

    Raises:
        FileExistsError: there is one of the two, and ``overwrite`` is false.
        ValueError: ``out`` is not called ``.html``.
    """
    page = render(data, command)
    with made_folder(out.parent), written_together(out.parent, out.name) as work:
        numbers = json_beside(out, overwrite)
        write_json(as_json(data, command), work / numbers.name)
        # a name from a file may hold half a character, which UTF-8 cannot
        (work / out.name).write_text(page, encoding="utf-8", errors="backslashreplace")
    return numbers


def json_beside(out: Path, overwrite: bool) -> Path:
    """The JSON file that goes with a page.

    Raises:
        FileExistsError: there is one of the two, and ``overwrite`` is false or it is none of an
            earlier report.
        ValueError: ``out`` is not called ``.html``.
    """
    if out.suffix != ".html":
        raise ValueError(f"{out}: the report is one HTML file, name it so (report.html)")
    numbers = out.with_suffix(".json")
    if not overwrite and (old := [path for path in (out, numbers) if path.exists()]):
        raise FileExistsError(f"{old[0]} exists: choose another --out or say --overwrite")
    earlier = {out.name, numbers.name} if _has_numbers(numbers) else set()
    earlier |= {out.name} if _is_page(out) else set()
    refuse_foreign((out, numbers), earlier, "scribble_tools report")
    return numbers


def _is_page(out: Path) -> bool:
    """Whether an HTML file is an earlier report."""
    if not out.is_file():
        return False
    with out.open("rb") as file:
        return b'name="generator" content="scribble_tools report"' in file.read(1000)


def _has_numbers(numbers: Path) -> bool:
    """Whether a JSON file is an earlier report's."""
    try:
        content = read_json(numbers)
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"dataset", "predictions", "made"} <= content.keys()


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says, see ``-h``."""

    dataset: str
    model: Path | None
    pred: Path | None
    ref: Path | None
    compare: Path | None
    fold: str | None
    out: Path
    patient_regex: str | None
    overwrite: bool
    num_processes: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments and help."""
    parser.description = (
        "One HTML file that opens from disk in any browser: scores or, without references, what\n"
        "can be known from scribbles alone; a table of cases to sort, filter and look at; best,\n"
        "median and worst cases; comparison with another model; training curves; the data set\n"
        "with what `check` finds; and how it was made. Beside it, the same numbers as JSON."
    )
    parser.epilog = (
        "examples:\n"
        "  scribble_tools report --dataset 127 --model nnUNetTrainerPCLMix__nnUNetPlans__2d \\\n"
        "    --out report.html\n"
        "  scribble_tools report --dataset 127 --model MODEL --pred predictions \\\n"
        "    --ref labelsTs_dense --compare STOCK_MODEL --fold 0 --out report.html\n\n"
        "The page loads nothing from the network. It holds pictures of the images: share it as\n"
        "you may share them. Disagreement with scribbles is the share of annotated voxels that\n"
        "are predicted as another class, of cases that the model was not trained on."
    )
    parser.add_argument("--dataset", required=True, help="id, full name or folder of the raw data")
    parser.add_argument(
        "--model",
        type=Path,
        help="folder TRAINER__PLANS__CONFIGURATION in nnUNet_results, or its name among the data "
        "set's models, for the training's section",
    )
    parser.add_argument(
        "--pred",
        type=Path,
        help="folder of predictions (default: the validation folder of the model's fold)",
    )
    parser.add_argument(
        "--ref",
        type=Path,
        help="folder of dense references, also relative to the data set (default: labelsTr_dense "
        "and labelsTs_dense of the data set, where they have the case)",
    )
    parser.add_argument(
        "--compare",
        metavar="OTHER",
        type=Path,
        help="predictions of the same cases by another model, or that model's folder or name",
    )
    parser.add_argument("--fold", help="of the model (default: the only one there is)")
    parser.add_argument("--out", type=Path, required=True, help="the HTML file")
    parser.add_argument(
        "--patient-regex",
        metavar="REGEX",
        help="finds the patient in a case's name, such as '(.+)_frame', for intervals and tests "
        "(default: as the conversion recorded)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier report")
    parser.add_argument(
        "-np", type=positive_int, default=2, dest="num_processes", help="processes (default: 2)"
    )


def _command(options: Options) -> str:
    words = ["scribble_tools", "report"]
    for name in ("dataset", "model", "pred", "ref", "compare", "fold", "patient_regex", "out"):
        if (value := getattr(options, name)) is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)


def run(options: Options) -> int:
    """Run the sub-command; return its exit code."""
    finish_sets(
        options.out.parent, glob.escape(options.out.name)
    )  # that a killed run was about to write
    json_beside(options.out, options.overwrite)  # before anything that takes long
    dataset = find_raw_dataset(options.dataset)
    model, other = (
        None if given is None else find_model_folder(dataset.name, given, option)
        for given, option in ((options.model, "--model"), (options.compare, "--compare"))
    )
    try:
        data = gather(
            dataset,
            model,
            options.pred,
            options.ref,
            other,
            options.fold,
            options.patient_regex,
            options.num_processes,
        )
    except FileNotFoundError as error:
        wrong = [other_dataset_in_words(own, dataset) for own in (model, other) if own]
        if not any(wrong):
            raise
        # what is missing, and how it would be made, is of no use to whoever took the wrong model
        raise FileNotFoundError("\n".join(filter(None, wrong))) from error
    numbers = write_report(data, options.out, _command(options), options.overwrite)
    for sentence in unfinished_of(data):
        print(f"warning: {sentence}")
    print(f"wrote {options.out} (open it in a browser) and {numbers}")
    return 0
