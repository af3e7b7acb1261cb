"""Models from somewhere else: folder, zip or checkpoint, judged without running any of it."""

import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from nnunetv2_pclmix import cli
from scribble_tools.predict.verify import verify_model

POSTPROCESSING = "remove_all_but_largest_component_from_segmentation"


class Evil:
    def __reduce__(self):
        return os.system, ("touch PWNED",)


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A model's folder, as nnU-Net writes it."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "Dataset001_A" / "nnUNetTrainer__nnUNetPlans__2d"
    for fold in (0, 1):
        (folder / f"fold_{fold}").mkdir(parents=True)
        torch.save(
            {"network_weights": {"a": torch.zeros(3)}, "trainer_name": "nnUNetTrainer"},
            folder / f"fold_{fold}" / "checkpoint_final.pth",
        )
        (folder / f"fold_{fold}" / "training_log_1.txt").write_text("Epoch 0\n")
    write_plans(folder)
    crossval = folder / "crossval_results_folds_0_1"
    crossval.mkdir()
    from nnunetv2.postprocessing import remove_connected_components

    functions = [getattr(remove_connected_components, POSTPROCESSING)]
    with (crossval / "postprocessing.pkl").open("wb") as file:
        pickle.dump((functions, [{"labels_or_regions": [1, (2, 3)]}]), file)
    return folder


def write_plans(folder: Path, **architecture: object) -> None:
    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {"conv_op": "torch.nn.modules.conv.Conv2d", "dropout_op": None},
        "_kw_requires_import": ["conv_op", "dropout_op"],
        **architecture,
    }
    plans = {"plans_name": "nnUNetPlans", "configurations": {"2d": {"architecture": architecture}}}
    (folder / "plans.json").write_text(json.dumps(plans))


def zipped(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.parent.rglob("*")):
            archive.write(path, path.relative_to(folder.parents[1]))
    return target


def test_a_model_that_is_plain_data(model, tmp_path, capsys):
    line = "plain data, 1 entry of weights, 0.0 MB, a network of nnUNetTrainer"
    names = [f"fold_{fold}/checkpoint_final.pth" for fold in (0, 1)]
    assert verify_model(model) == [f"{name}: {line}" for name in names]
    below = f"Dataset001_A/{model.name}/"
    assert verify_model(zipped(model, tmp_path / "m.zip")) == [
        f"{below}{name}: {line}" for name in names
    ]
    assert cli.main(["verify", str(model / names[0])]) == 0
    assert capsys.readouterr().out == (
        f"checkpoint_final.pth: {line}\n{model / names[0]} is plain data\n"
    )


def test_every_file_that_would_be_executed_is_named(model, tmp_path, capsys):
    torch.save(Evil(), model / "fold_1" / "checkpoint_final.pth")
    (model / "crossval_results_folds_0_1" / "postprocessing.pkl").write_bytes(pickle.dumps(Evil()))
    write_plans(model, network_class_name="os.system")
    # torch.load takes any name
    torch.save(Evil(), model / "fold_0" / "weights")
    (model / "fold_0" / "old").write_bytes(pickle.dumps(Evil()))
    for path in (model, zipped(model, tmp_path / "m.zip")):
        assert cli.main(["verify", str(path)]) == 1
        said = capsys.readouterr()
        assert said.out == ""
        assert "5 reasons" in said.err
        for name in ("fold_1/checkpoint_final.pth", "postprocessing.pkl", "fold_0/weights"):
            assert f"{name} holds more than plain data, or is damaged: it asks" in said.err
        assert "posix.system" in said.err
        assert "plans.json: it makes nnU-Net import 'os.system'" in said.err
    assert not (tmp_path / "PWNED").exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"_kw_requires_import": ["conv_op", "x"], "arch_kwargs": {"x": "os.system"}}, "os.system"),
        ({"network_class_name": ["torch.nn.ReLU"]}, "expected the name of a network.s class"),
        ({"arch_kwargs": 3}, "expected the settings of a network"),
    ],
)
def test_plans_that_call_something_else_than_a_network(model, change, reason):
    write_plans(model, **change)
    with pytest.raises(ValueError, match=f"plans.json: .*{reason}"):
        verify_model(model)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("plans.json", {"configurations": []}, "configurations is .*expected configurations by"),
        ("plans.json", {}, "configurations is missing"),
        ("plans.json", [], "expected keys and values"),
        ("dataset.json", {"labels": {"background": 0}}, "channel_names is missing"),
        ("dataset.json", {"labels": {"a": "b"}}, "labels.a is"),
        ("dataset_fingerprint.json", 3, "the content is 3"),
        ("splits_final.json", [], "expected a list of folds"),
        ("crossval_results_folds_0_1/plans.json", {"configurations": 3}, "configurations is 3"),
    ],
)
def test_json_that_is_not_what_its_name_says(model, tmp_path, name, content, reason):
    (model / name).write_text(json.dumps(content))
    for path in (model, zipped(model, tmp_path / "m.zip")):
        with pytest.raises(ValueError, match=f"{name}: (?s:.)*{reason}"):
            verify_model(path)


@pytest.mark.parametrize("name", ["plans.json", "fold_0/checkpoint_final.pth"])
def test_a_folder_in_a_files_place_is_named(model, name):
    (model / name).unlink()
    (model / name).mkdir()
    with pytest.raises(ValueError, match=f"{name} is a folder"):
        verify_model(model)


def test_json_without_end(model):
    (model / "dataset.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"dataset.json is nested more than"):
        verify_model(model)


def test_zips_that_leave_their_folder_or_do_not_end(model, tmp_path):
    archive_file = zipped(model, tmp_path / "m.zip")
    with zipfile.ZipFile(archive_file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../outside.pth", b"")
        archive.writestr("big.pth", bytes(100 << 20))
        link = zipfile.ZipInfo("link.pth")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ValueError) as caught:
        verify_model(archive_file)
    assert "outside.pth would be written outside the folder" in str(caught.value)
    assert "link.pth is a link" in str(caught.value)
    assert "big.pth would unpack to 0.1 GB" in str(caught.value)
    archive_file.write_bytes(archive_file.read_bytes()[:200])
    with pytest.raises(ValueError, match="no zip that can be read"):
        verify_model(archive_file)


def test_what_is_no_model(tmp_path, model):
    with pytest.raises(FileNotFoundError):
        verify_model(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="there is no checkpoint"):
        verify_model(tmp_path / "empty")
    os.mkfifo(model / "fold_0" / "pipe.pth")
    with pytest.raises(ValueError, match=r"fold_0/pipe.pth: it is no file \(a pipe or a device\)"):
        verify_model(model)
