"""A tiny network for the small world, trained once by nnU-Net itself, and what it is to predict.

    python -m tests.hostile.network_world FOLDER

is a process of its own: nnU-Net plans and preprocesses, and its pools want a clean start.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDERS = {"nnUNet_raw": "raw", "nnUNet_preprocessed": "pre", "nnUNet_results": "results"}
TRAINER = "nnUNetTrainerPCLMix"
ENVIRONMENT = {"nnUNet_n_proc_DA": "0", "nnUNet_def_n_proc": "1", "nnUNet_compile": "f"}
TINY = "Dataset901_Tiny"
TRAINED = f"results/{TINY}/{TRAINER}__nnUNetPlans__2d"
NEW = ("anna", "ben")


def build(root: Path, keep: Path | None = None) -> None:
    """Add a data set, its preprocessed images, a model of two folds, and new images.

    Args:
        keep: a folder in which they stay for the next time.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = keep or Path(folder)
        if not (place / "complete").exists():
            _run(place)
        shutil.copytree(place, root, dirs_exist_ok=True)


def _run(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    places = {name: str(root / folder) for name, folder in FOLDERS.items()}
    settings = {**ENVIRONMENT, "nnUNet_n_proc_DA": "1"}  # the planner wants one
    line = [sys.executable, "-m", "tests.hostile.network_world", str(root)]
    here = Path(__file__).resolve().parents[2]
    subprocess.run(line, check=True, cwd=here, env={**os.environ, **places, **settings}, stdout=2)


def shorten() -> None:
    """From now on in this process a training has two epochs of two iterations."""
    from nnunetv2_pclmix.trainer import nnUNetTrainerPCLMix

    begin = nnUNetTrainerPCLMix.initialize

    def shorter(self):
        self.num_epochs, self.num_iterations_per_epoch = 2, 2
        self.num_val_iterations_per_epoch = 1
        begin(self)

    nnUNetTrainerPCLMix.initialize = shorter


def fewer_samples() -> None:
    """From now on in this process nnU-Net draws 20 000 intensities, where it draws 100 000 000."""
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import (
        DatasetFingerprintExtractor,
    )

    begin = DatasetFingerprintExtractor.__init__

    def fewer(self, *arguments, **options):
        begin(self, *arguments, **options)
        self.num_foreground_voxels_for_intensitystats = 20_000

    DatasetFingerprintExtractor.__init__ = fewer


def _make(root: Path) -> None:
    import torch
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprint_dataset,
        plan_experiments,
        preprocess,
    )

    from nnunetv2_pclmix import trainer
    from tests.conftest import shrink, write_raw_dataset

    raw = root / "raw" / TINY
    write_raw_dataset(raw)
    fewer_samples()
    extract_fingerprint_dataset(901, num_processes=1, show_progress_bar=False)
    plan_experiments([901])
    preprocess([901], configurations=["2d"], num_processes=[1])
    path = root / "pre" / TINY / "nnUNetPlans.json"
    plans = shrink(json.loads(path.read_text()))
    path.write_text(json.dumps(plans))
    content = json.loads((root / "pre" / TINY / "dataset.json").read_text())
    os.environ.update(ENVIRONMENT)
    shorten()
    for fold in (0, 1):
        torch.manual_seed(fold)
        given = {**plans, "continue_training": False}
        own = trainer.nnUNetTrainerPCLMix(given, "2d", fold, content, torch.device("cpu"))
        own.run_training()
    for number, name in enumerate(NEW):
        place = root / "new" / f"{name}.nii.gz"
        place.parent.mkdir(exist_ok=True)
        shutil.copy(raw / "imagesTr" / f"case{number}_0000.nii.gz", place)
    (root / "complete").touch()


if __name__ == "__main__":
    _make(Path(sys.argv[1]))
