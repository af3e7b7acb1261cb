"""Trainings of the tests draw no pictures, but where a test asks for them."""

import pytest
from nnunetv2.training.logging.nnunet_logger import MetaLogger
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunetv2_pclmix import trainer as trainer_module
from nnunetv2_pclmix.watching.pictures import TrainingPictures


class Undrawn(TrainingPictures):
    """Takes what is to be drawn, and leaves it at that."""

    def draw(self, epoch, series):
        self._snapshot = None


PICTURES = (
    (MetaLogger, "plot_progress_png"),
    (nnUNetTrainer, "plot_network_architecture"),
    (trainer_module, "TrainingPictures"),
)
DRAWING = [(place, name, getattr(place, name)) for place, name in PICTURES]


def draw_none(patch):
    """Pictures take most of so short a training's time."""
    patch.setattr(MetaLogger, "plot_progress_png", lambda self, folder: None)
    patch.setattr(nnUNetTrainer, "plot_network_architecture", lambda self: None)
    patch.setattr(trainer_module, "TrainingPictures", Undrawn)


@pytest.fixture(scope="module", autouse=True)
def without_pictures():
    with pytest.MonkeyPatch.context() as patch:
        draw_none(patch)
        yield


def draw_all(patch):
    """Our curves and snapshots, and nnU-Net's own."""
    for place, name, value in DRAWING:
        patch.setattr(place, name, value)


@pytest.fixture
def pictures(monkeypatch):
    """With all pictures."""
    draw_all(monkeypatch)


@pytest.fixture
def our_pictures(monkeypatch):
    """With our curves and snapshots only."""
    monkeypatch.setattr(trainer_module, "TrainingPictures", TrainingPictures)
