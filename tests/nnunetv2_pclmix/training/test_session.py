"""Around a training: one at a time in a folder, earlier ones set aside, one last message."""

import errno
import os
import signal
import threading
from multiprocessing import Event
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from batchgenerators.dataloading.nondet_multi_threaded_augmenter import results_loop

from nnunetv2_pclmix.training.checkpoint_files import save_whole, write_checkpoint
from nnunetv2_pclmix.training.session import (
    FolderGuard,
    alone,
    one_last_message,
    validation_in_words,
)
from scribble_tools.storage.interruptions import Terminated
from scribble_tools.storage.locks import Busy
from tests.nnunetv2_pclmix.training.test_resume import (
    FINAL,
    LATEST,
    PREVIOUS,
    go_on,
    new_trainer,
    read,
)
from tests.scribble_tools.storage.killing import kill_everywhere
from tests.scribble_tools.storage.test_locks import end, hold_in_child


def test_a_validation_that_was_stopped_is_repeated_only_where_a_training_was_saved():
    # --c and --val exclude each other
    assert "finished and saved" in validation_in_words(False)
    assert "without --c, and with --val" in validation_in_words(False)
    assert "nothing of it is saved" in validation_in_words(True)
    assert "--val" not in validation_in_words(True)


def stop_in(trainer, epoch, error):
    """Let the training be stopped in the middle of an epoch."""
    step = trainer.train_step

    def stopped(batch):
        if trainer.current_epoch == epoch:
            raise error
        return step(batch)

    trainer.train_step = stopped


def test_a_second_training_in_the_folder_is_refused(nnunet, monkeypatch, capsys):
    monkeypatch.setattr("nnunetv2_pclmix.training.session.PATIENCE_S", 0)
    trainer = new_trainer(nnunet)
    folder = Path(trainer.output_folder)
    (folder / LATEST).write_text("the other training's")
    child = hold_in_child(folder / ".training.lock")
    try:
        with pytest.raises(SystemExit) as stop:
            trainer.run_training()
        assert stop.value.code == 1
        assert f"process {child} on" in capsys.readouterr().out
        assert (folder / LATEST).read_text() == "the other training's"
    finally:
        end(child)


def test_what_an_unfinished_training_left_is_set_aside_at_the_start(nnunet):
    torch.manual_seed(1)
    first = new_trainer(nnunet)
    first.save_every = 1
    stop_in(first, 2, KeyboardInterrupt())
    with pytest.raises(SystemExit):
        first.run_training()
    folder = Path(first.output_folder)
    assert (folder / LATEST).exists()
    (folder / "validation").mkdir()
    (folder / "validation" / "summary.json").write_text("the first one's")
    torch.manual_seed(2)
    second = new_trainer(nnunet)
    stop_in(second, 0, KeyboardInterrupt())  # before it has a checkpoint of its own
    with pytest.raises(SystemExit):
        second.run_training()
    assert not list(folder.glob("checkpoint_*"))
    kept = folder / "earlier_training_1"
    assert (kept / LATEST).exists() and (kept / "validation" / "summary.json").exists()
    assert not (folder / "validation").exists()
    assert Path(second.log_file).exists()
    trainer, began = go_on(nnunet)
    assert began == 0  # not where the first one was
    assert read(trainer)["pclmix"]["torch_seed"] != 1


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        (KeyboardInterrupt(), 128 + signal.SIGINT, "stopped by Ctrl-C"),
        (OSError(errno.ENOSPC, "No space left on device", "x.pth"), 1, "the disk is full (x.pth"),
    ],
)
def test_the_last_message_says_what_was_saved_and_how_to_go_on(nnunet, capsys, error, code, word):
    trainer = new_trainer(nnunet)
    trainer.save_every = 1
    stop_in(trainer, 2, error)
    with pytest.raises(SystemExit) as stop:
        trainer.run_training()
    assert stop.value.code == code
    said = capsys.readouterr().out
    assert word in said
    assert f"{LATEST} holds 2 finished epochs. Go on with the same command and --c" in said
    assert word in Path(trainer.log_file).read_text()
    assert go_on(nnunet)[1] == 2


def test_a_training_that_saved_nothing_says_so(nnunet, capsys):
    trainer = new_trainer(nnunet)
    stop_in(trainer, 0, KeyboardInterrupt())
    with pytest.raises(SystemExit):
        trainer.run_training()
    assert "No checkpoint was written yet" in capsys.readouterr().out


def test_sigterm_is_such_an_end():
    said = []
    with pytest.raises(SystemExit) as stop:
        with one_last_message(said.append, lambda: "This was saved.", lambda: said.append("x")):
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
    assert stop.value.code == 128 + signal.SIGTERM
    assert said == ["x", "The training was stopped by SIGTERM. This was saved."]


@pytest.mark.parametrize("told", [False, True])
def test_workers_that_a_signal_has_ended_are_no_news(monkeypatch, told):
    """SIGTERM to a whole job reaches the workers, and the threads that wait for them raise."""
    seen = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    workers = [SimpleNamespace(is_alive=lambda: False)]
    queues = (None, None)
    if told:  # another error of the same thread
        workers, queues = [], (SimpleNamespace(get=lambda timeout: 1 / 0), None)
    thread = threading.Thread(target=results_loop, args=(*queues, Event(), False, workers))
    with alone(None, print, str, lambda: None):
        thread.start()
        thread.join()
    assert [error.exc_type for error in seen] == [ZeroDivisionError] * told
    assert threading.excepthook == seen.append


@pytest.mark.parametrize("raised", [ConnectionResetError, EOFError, BrokenPipeError])
@pytest.mark.parametrize("stopped", [False, True])
def test_pipes_of_workers_that_a_signal_has_ended_are_no_news(monkeypatch, raised, stopped):
    """A worker that dies while it sends; the thread may see it before the signal is seen."""
    seen = []
    monkeypatch.setattr(threading, "excepthook", lambda error: seen.append(error.exc_type))

    def get(timeout):
        raise raised

    def other():
        raise raised

    queue = SimpleNamespace(get=get)
    threads = [
        threading.Thread(target=results_loop, args=(queue, None, Event(), False, [])),
        threading.Thread(target=other),
    ]
    with pytest.raises(SystemExit if stopped else RuntimeError):
        with alone(None, print, str, lambda: None):
            for thread in threads:
                thread.start()
                thread.join()
            raise Terminated if stopped else RuntimeError
    assert seen == [raised] * (1 if stopped else 2)


@pytest.mark.parametrize("error", [OSError("other"), RuntimeError("other")])
def test_other_errors_come_through(error):
    with pytest.raises(type(error), match="other"):
        with one_last_message(print, str, lambda: None):
            raise error


def test_a_failing_compiler_is_named_with_what_to_do(capsys):
    def fails(graph, inputs):
        raise AssertionError("no code for this")

    said = []
    with pytest.raises(SystemExit) as stop:
        with one_last_message(said.append, lambda: "This was saved.", lambda: said.append("x")):
            torch.compile(lambda x: x + 1, backend=fails)(torch.ones(2))
    assert stop.value.code == 1
    assert said[0] == "x" and said[1].endswith("This was saved.")
    assert f"torch {torch.__version__}" in said[1] and "nnUNet_compile=f" in said[1]
    assert "no code for this" in capsys.readouterr().err


def raised_by(module):
    return type("SomeError", (RuntimeError,), {"__module__": module})("other")


def after_memory_ran_out():
    error = raised_by("torch._dynamo.exc")
    error.__cause__ = ValueError()
    error.__cause__.__context__ = torch.OutOfMemoryError()
    return error


@pytest.mark.parametrize("module", ["torch._inductor.exc", "triton.compiler.errors"])
def test_other_parts_of_the_compiler_are_known(module):
    with pytest.raises(SystemExit):
        with one_last_message(print, str, lambda: None):
            raise raised_by(module)


def test_memory_that_runs_out_while_compiling_is_not_the_compilers_failure():
    with pytest.raises(RuntimeError, match="other"):
        with one_last_message(print, str, lambda: None):
            raise after_memory_ran_out()


def test_the_guard_can_be_held_twice_by_its_training_only(tmp_path, monkeypatch):
    monkeypatch.setattr("nnunetv2_pclmix.training.session.PATIENCE_S", 0)
    guard = FolderGuard(tmp_path / "fold_0")
    with guard.held(), guard.held():
        with pytest.raises(Busy), FolderGuard(tmp_path / "fold_0").held():
            raise AssertionError("not reached")
    with FolderGuard(tmp_path / "fold_0").held():
        pass


# --- checkpoint files ------------------------------------------------------------------------


def test_killed_anywhere_there_is_a_whole_latest_checkpoint(tmp_path):
    path = tmp_path / LATEST
    old, new = {"epoch": torch.tensor(1)}, {"epoch": torch.tensor(2)}
    save_whole({"epoch": torch.tensor(0)}, str(path))

    def before():
        save_whole(old, str(path))

    def after(number):
        epoch = torch.load(path, weights_only=True)["epoch"].item()
        assert epoch in (1, 2), number
        assert torch.load(tmp_path / PREVIOUS, weights_only=True)["epoch"].item() <= epoch

    assert kill_everywhere(lambda: save_whole(new, str(path)), tmp_path, before, after) > 5
    save_whole(new, str(path))
    assert sorted(os.listdir(tmp_path)) == [LATEST, PREVIOUS]


def test_a_full_disk_is_the_systems_error_and_costs_no_old_checkpoint(tmp_path):
    import resource

    path = tmp_path / FINAL
    save_whole({"a": torch.zeros(3)}, str(path))
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OSError) as error:
            write_checkpoint({"a": torch.zeros(100_000)}, tmp_path / "x.pth")
        with pytest.raises(OSError):
            save_whole({"a": torch.zeros(100_000)}, str(path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert error.value.errno == errno.EFBIG
    assert path.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == [FINAL, "x.pth"]
