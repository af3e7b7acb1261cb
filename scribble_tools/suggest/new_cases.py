"""Images without annotation, of which `suggest` is to say where to draw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scribble_tools.dataset.raw import RawDataset
from scribble_tools.predict.new_images import find_new_images, read_new_images
from scribble_tools.problems import once_per_kind
from scribble_tools.suggest.search import CaseToDraw
from scribble_tools.wording import counted


def new_cases(
    images: Path, dataset: Path, work: Path, exclude: Sequence[str] = ()
) -> list[CaseToDraw]:
    """Images as they are, handed over to nnU-Net in the folder ``work``.

    Args:
        exclude: see `find_new_images`.

    Raises:
        FileNotFoundError, ValueError: there are none, or some are unlike the training's, or bear
            the name of a case of the data set; all are named.
    """
    raw = RawDataset.read(dataset, tolerate=("splits", "record"))
    names, ending = raw.channels, raw.file_ending
    found = find_new_images(images, len(names), exclude=exclude)
    known = [own for own in found if (dataset / "labelsTr" / f"{own.name}{ending}").exists()]
    new = [own for own in found if own not in known]
    read, problems = read_new_images(new, images, names, ending, work)
    said = f"{dataset.name} has a case of this name already"
    problems += [(own.files[0], said) for own in known]
    if problems:
        head = f"{counted(len(problems), 'problem')}, nothing predicted:"
        raise ValueError("\n".join([head, *once_per_kind(problems)]))
    return [CaseToDraw(own.name, tuple(read[own.name][1])) for own in new]
