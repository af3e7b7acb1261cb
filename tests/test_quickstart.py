"""docs/quickstart.ipynb runs as it stands, shows its pictures, and names commands that exist."""

import base64
import io
import re

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

from scribble_tools.draw.contact_sheet import colour_of
from tests.test_docs import ROOT, lines_of, unknown_options

NOTEBOOK = ROOT / "docs" / "quickstart.ipynb"
LARGEST = 600_000  # bytes, with all pictures


def pictures_of(notebook) -> list[bytes]:
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    data = [out.data for out in outputs if out.output_type in ("execute_result", "display_data")]
    return [base64.b64decode(entry["image/jpeg"]) for entry in data if "image/jpeg" in entry]


@pytest.fixture(scope="module")
def committed():
    return nbformat.read(NOTEBOOK, 4)


def test_it_is_shown_with_its_pictures_and_small(committed):
    assert NOTEBOOK.stat().st_size < LARGEST
    pictures = [np.asarray(Image.open(io.BytesIO(data))) for data in pictures_of(committed)]
    assert len(pictures) == 3  # strokes, curves, a prediction
    assert all(picture.shape[1] >= 300 for picture in pictures)
    strokes, _, prediction = pictures
    for value in (1, 2, 3):  # every class is there in its own colour
        colour = 255 * np.array(colour_of(value))
        for picture in (strokes, prediction) if value == 2 else (strokes,):
            close = np.abs(picture - colour).max(-1) < 60
            assert close.sum() > 20, value
    code = [cell for cell in committed.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert "/home/" not in NOTEBOOK.read_text() and "/tmp/" not in NOTEBOOK.read_text()


def test_every_step_names_its_command_and_the_commands_exist(committed):
    text = "\n".join(cell.source for cell in committed.cells if cell.cell_type == "markdown")
    lines = [
        line for block in re.findall(r"```bash\n(.*?)```", text, re.S) for line in lines_of(block)
    ]
    steps = {tuple(line[1:2]) for line in lines if line[0] == "scribble_tools"}
    wanted = "demo-data inspect convert check preview predict evaluate report".split()
    assert {name for (name,) in steps} == set(wanted)
    assert not [line for line in lines if unknown_options(line)]
    assert not re.search(r"\\\\$", text, re.M), "a shell takes the second one for a word"


LENGTH = "trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = 100, 5"
SHORT = "trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = 4, 1"
FEW_VOXELS = """
from nnunetv2.experiment_planning.dataset_fingerprint import fingerprint_extractor
Extractor = fingerprint_extractor.DatasetFingerprintExtractor
extract = Extractor.run

def run(self, *args, **options):
    self.num_foreground_voxels_for_intensitystats = 1e4  # nnU-Net's 1e8 take half a minute
    return extract(self, *args, **options)

Extractor.run = run
"""


@pytest.mark.slow
def test_it_runs(tmp_path, commands_without_processes):
    """As it stands, but for lengths: of the training, and of what nnU-Net counts."""
    notebook = nbformat.read(NOTEBOOK, 4)
    (training,) = (cell for cell in notebook.cells if LENGTH in cell.source)
    training.source = training.source.replace(LENGTH, f"{SHORT}\ntrainer.num_epochs = 2")
    (planning,) = (cell for cell in notebook.cells if "plan_experiment_dataset(130)" in cell.source)
    planning.source = f"{FEW_VOXELS}\n{planning.source}"
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources=resources).execute()
    assert len(pictures_of(notebook)) == 3
    made = {path.name for path in (tmp_path / "quickstart").iterdir()}
    assert {"pictures", "predictions", "report.html", "report.json"} <= made
    assert not [path for path in tmp_path.iterdir() if path.name != "quickstart"]
