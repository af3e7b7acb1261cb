"""`--c` after a kill at any moment, and from broken files: nothing lost but the epoch in progress.

A training is killed in a process of its own, by SIGKILL, and goes on here. The batches depend on
epoch and iteration only, so what it ends with must be what an uninterrupted training ends with.
"""

import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from nnunetv2.run.run_training import maybe_load_checkpoint

from nnunetv2_pclmix.config import PCLMixConfig
from nnunetv2_pclmix.trainer import nnUNetTrainerPCLMix
from tests.nnunetv2_pclmix.test_trainer import edit_json, make_trainer

EPOCHS, ITERATIONS = 4, 2
LATEST, PREVIOUS, FINAL = (f"checkpoint_{name}.pth" for name in ("latest", "previous", "final"))
# loss and network are the same, but clocks are not
CLOCKS = ("epoch_start_timestamps", "epoch_end_timestamps")

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are killed after a fork")


class FixedBatches:
    """A data loader whose batches follow from the trainer's counters alone."""

    def __init__(self, trainer):
        self.trainer = trainer

    def __iter__(self):
        return self

    def __next__(self):
        counters = self.trainer.current_epoch * 1000 + self.trainer.iteration
        generator = torch.Generator().manual_seed(counters)
        image = torch.randn(4, 1, 32, 32, generator=generator)
        label = torch.randint(0, 3, (4, 1, 32, 32), generator=generator)
        label[torch.rand(label.shape, generator=generator) > 0.2] = 3
        return {"data": image, "target": [label, label[..., ::2, ::2]]}


class Fixed(nnUNetTrainerPCLMix):
    config = PCLMixConfig()

    def get_dataloaders(self):
        return FixedBatches(self), FixedBatches(self)

    def plot_network_architecture(self):
        pass  # pictures take most of so short a training's time

    def initialize(self):
        super().initialize()
        self.pictures.draw = lambda epoch, series: None  # nor are they files to be killed at


Fixed.__name__ = "nnUNetTrainerPCLMix"  # names the folder


def new_trainer(root, scaler=False, continue_training=False):
    trainer = make_trainer(root, Fixed, EPOCHS, continue_training=continue_training)
    trainer.num_iterations_per_epoch = ITERATIONS
    trainer.logger.plot_progress_png = lambda folder: None
    if scaler:
        trainer.grad_scaler = torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=3)
    return trainer


def go_on(root, **options):
    """As nnUNetv2_train --c does; returns the trainer and the epoch that it began with."""
    trainer = new_trainer(root, continue_training=True, **options)
    maybe_load_checkpoint(trainer, continue_training=True, validation_only=False)
    epoch = trainer.current_epoch
    trainer.run_training()
    return trainer, epoch


def read(trainer, name=FINAL):
    return torch.load(Path(trainer.output_folder) / name, weights_only=True)


def flat(value, name=""):
    """Leaves of nested dicts and lists by their path."""
    if isinstance(value, (dict, list, tuple)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for key, part in items for k, v in flat(part, f"{name}/{key}").items()}
    return {name: value}


def differences(one, two):
    """Names of what differs between two checkpoints, bit for bit, clocks apart."""
    one, two = flat(one), flat(two)
    return sorted(one.keys() ^ two.keys()) + [
        name
        for name in one.keys() & two.keys()
        if name.split("/")[-2] not in CLOCKS
        and not (
            torch.equal(one[name], two[name])
            if isinstance(one[name], torch.Tensor)
            else one[name] == two[name] or one[name] != one[name]  # NaN
        )
    ]


def run_until_killed(environment, action, arguments):
    os.environ.update(environment)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    trainer = new_trainer(Path(environment["root"]), continue_training=action == "continue")
    if action == "continue":
        maybe_load_checkpoint(trainer, continue_training=True, validation_only=False)
    KILLS[arguments[0]](trainer, *arguments[1:])
    trainer.run_training()


def train_until_killed(root, *arguments, action="train"):
    """Train in a process that kills itself; nothing of Python's or torch's is tidied up.

    Processes are forked from a server that has imported all and computed nothing: forks of this
    one, in which torch has computed, can hang.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["nnunetv2_pclmix.trainer"])
    environment = {**os.environ, "root": str(root)}
    process = context.Process(target=run_until_killed, args=(environment, action, arguments))
    process.start()
    process.join(60)
    code = process.exitcode
    process.kill()
    assert code == -signal.SIGKILL
    return Path(new_trainer(root).output_folder)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def seeded(preprocessed, tmp_path_factory):
    """Makes a trainer whose results lie in a folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("nnUNet_raw", "nnUNet_preprocessed"):
            patch.setenv(name, str(preprocessed / name))
        patch.setenv("nnUNet_n_proc_DA", "0")

        def make():
            patch.setenv("nnUNet_results", str(tmp_path_factory.mktemp("results")))
            torch.manual_seed(0)
            return new_trainer(preprocessed)

        yield make


@pytest.fixture(scope="module")
def uninterrupted(seeded):
    """Final checkpoint of a training that nothing happened to."""
    trainer = seeded()
    trainer.run_training()
    return read(trainer)


@pytest.fixture(scope="module")
def stopped(seeded):
    """Folder of a training that was stopped after three epochs; read only."""
    return stop_after(seeded(), 3)


def copy_of(stopped, root):
    """The stopped training as the one of ``root``; returns its folder there."""
    return Path(shutil.copytree(stopped, new_trainer(root).output_folder, dirs_exist_ok=True))


def in_the_middle_of_an_epoch(trainer):
    step = trainer.train_step

    def train_step(batch):
        if trainer.iteration == 2 * ITERATIONS + 1:
            die()
        return step(batch)

    trainer.train_step = train_step


def while_the_file_is_written(trainer):
    save = torch.save

    def half(content, file, *args, **kwargs):
        save(content, file, *args, **kwargs)
        if trainer.current_epoch == 2 and hasattr(file, "file"):  # not nnU-Net's buffer
            file.file.truncate(file.file.tell() // 2)
            file.flush()
            die()

    torch.save = half  # in the process that dies


def before_file_operation(trainer, number):
    """Kill at the n-th thing done to a checkpoint's name in the third epoch."""
    done = []

    def dying(function):
        def operation(*args, **kwargs):
            if trainer.current_epoch == 2 and ".pth" in str(args[0]):
                done.append(function)
                if len(done) == number:
                    die()
            return function(*args, **kwargs)

        return operation

    for name in ("replace", "rename", "link"):
        setattr(os, name, dying(getattr(os, name)))


KILLS = {
    "epoch": in_the_middle_of_an_epoch,
    "write": while_the_file_is_written,
    "file": before_file_operation,
}


@needs_fork
@pytest.mark.parametrize(
    ("kill", "epochs"),
    [(("epoch",), 2), (("write",), 2), *((("file", number), 2) for number in range(1, 6))],
)
def test_a_kill_at_any_moment_changes_nothing(nnunet, uninterrupted, kill, epochs):
    folder = train_until_killed(nnunet, *kill)
    for path in folder.glob("*.pth"):  # whatever has a final name is whole
        assert torch.load(path, weights_only=True)["pclmix"], path
    assert (folder / LATEST).is_file()  # else nnU-Net goes on from the best, which may be old
    torch.manual_seed(99)  # another process, other random numbers
    trainer, began = go_on(nnunet)
    assert began == epochs
    assert differences(uninterrupted, read(trainer)) == []
    assert not {LATEST, PREVIOUS} & {path.name for path in folder.iterdir()}
    assert not list(folder.glob("*.part"))


@needs_fork
def test_killed_again_and_again(nnunet, uninterrupted):
    train_until_killed(nnunet, "file", 2)
    train_until_killed(nnunet, "file", 5, action="continue")
    trainer, began = go_on(nnunet)
    assert began == 2
    assert differences(uninterrupted, read(trainer)) == []


class Stop(Exception):
    pass


def stop_after(trainer, epochs):
    """Train and stop as a kill at the beginning of an epoch would."""

    def on_epoch_start():
        if trainer.current_epoch == epochs:
            raise Stop
        type(trainer).on_epoch_start(trainer)

    trainer.on_epoch_start = on_epoch_start
    with pytest.raises(Stop):
        trainer.run_training()
    return Path(trainer.output_folder)


def test_the_gradient_scaler_is_saved_and_goes_on(nnunet):
    torch.manual_seed(0)
    trainer = new_trainer(nnunet, scaler=True)
    trainer.run_training()
    expected = read(trainer)
    assert expected["grad_scaler_state"]["scale"] == 64 * 2**2  # grown twice in 8 iterations

    torch.manual_seed(0)
    trainer = new_trainer(nnunet, scaler=True)
    stop_after(trainer, 2)
    assert read(trainer, LATEST)["grad_scaler_state"]["_growth_tracker"] == 1
    trainer, _ = go_on(nnunet, scaler=True)
    assert differences(expected, read(trainer)) == []


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def empty(path):
    path.write_bytes(b"")


def zeros(path):
    """What a file system can leave of a file after a power failure."""
    path.write_bytes(bytes(path.stat().st_size))


def flip(path):
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(255 - b for b in content[middle : middle + 64])
    path.write_bytes(content)


BREAK = [cut, empty, zeros, flip]


@pytest.mark.parametrize("spoil", BREAK)
def test_a_broken_latest_checkpoint_falls_back_to_the_one_before(
    nnunet, uninterrupted, stopped, spoil
):
    folder = copy_of(stopped, nnunet)
    spoil(folder / LATEST)
    trainer, began = go_on(nnunet)
    assert began == 2
    log = Path(trainer.log_file).read_text()
    assert "WARNING" in log
    assert f"{folder / LATEST} cannot be read" in log
    assert f"going on from {folder / PREVIOUS}" in log
    assert differences(uninterrupted, read(trainer)) == []


@pytest.mark.parametrize("spoil", BREAK)
def test_both_broken_is_an_error_that_names_the_file_and_the_remedy(nnunet, stopped, spoil):
    folder = copy_of(stopped, nnunet)
    for name in (LATEST, PREVIOUS):
        spoil(folder / name)
    trainer = new_trainer(nnunet, continue_training=True)
    with pytest.raises(RuntimeError, match=f"{folder / PREVIOUS} cannot be read.*checkpoint_best"):
        maybe_load_checkpoint(trainer, continue_training=True, validation_only=False)
    # what the message advises
    for name in (LATEST, PREVIOUS):
        (folder / name).unlink()
    trainer = new_trainer(nnunet, continue_training=True)
    maybe_load_checkpoint(trainer, continue_training=True, validation_only=False)
    assert trainer.current_epoch in (1, 2, 3)


def test_without_hard_links_the_previous_checkpoint_is_a_copy(nnunet, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError("this file system has no hard links")

    monkeypatch.setattr(os, "link", refuse)
    trainer = new_trainer(nnunet)
    stop_after(trainer, 3)
    assert read(trainer, LATEST)["current_epoch"] == 3
    assert read(trainer, PREVIOUS)["current_epoch"] == 2


def test_a_finished_training_can_be_continued_and_stays_as_it_is(nnunet, uninterrupted):
    torch.manual_seed(0)
    new_trainer(nnunet).run_training()
    trainer, began = go_on(nnunet)
    assert began == EPOCHS
    assert differences(uninterrupted, read(trainer)) == []


def test_a_new_training_keeps_the_finished_one_of_the_same_folder(nnunet):
    for number in (1, 2):
        torch.manual_seed(number)
        new_trainer(nnunet).run_training()
    torch.manual_seed(3)
    trainer = new_trainer(nnunet)
    stop_after(trainer, 3)
    folder = Path(trainer.output_folder)
    kept = [folder / f"earlier_training_{number}" for number in (1, 2)]
    states = [torch.load(path / FINAL, weights_only=True) for path in kept]
    assert [state["pclmix"]["torch_seed"] for state in states] == [1, 2]
    assert (kept[0] / "checkpoint_best.pth").is_file()
    assert not (folder / FINAL).exists()
    # --c goes on with the new one, not with what was finished before it
    trainer, began = go_on(nnunet)
    assert began == 3
    assert read(trainer)["pclmix"]["torch_seed"] == 3
    assert not (folder / "earlier_training_3").exists()


def test_pretrained_weights_of_another_architecture_are_refused_by_nnunet(nnunet):
    trainer = new_trainer(nnunet)
    trainer.initialize()
    path = nnunet / "other.pth"
    trainer.save_checkpoint(str(path))

    def wider(plans):
        network = plans["configurations"]["2d"]["architecture"]["arch_kwargs"]
        network["features_per_stage"] = [12, 16, 32]

    edit_json(next((nnunet / "nnUNet_preprocessed").glob("*/nnUNetPlans.json")), wider)
    other = new_trainer(nnunet)
    with pytest.raises(AssertionError, match="not seem to be compatible with your network"):
        maybe_load_checkpoint(other, False, False, str(path))
