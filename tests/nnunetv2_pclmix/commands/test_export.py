"""Exports: lean, bit-identical for stock nnU-Net, refused whole, and never executing a file."""

import contextlib
import json
import os
import shutil
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.model_sharing.model_import import install_model_from_zip_file
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunetv2_pclmix import __version__, cli
from nnunetv2_pclmix.commands.export import export_model, sha256
from nnunetv2_pclmix.method.network import PCLMixNetwork
from tests.conftest import DATASET
from tests.nnunetv2_pclmix.test_trainer import make_trainer

STOCK = "nnUNetTrainer__nnUNetPlans__2d"


@pytest.fixture(scope="module")
def saved(preprocessed, tmp_path_factory):
    """A model folder with folds 0 and 1, saved as training does, each after one step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("nnUNet_preprocessed", str(preprocessed / "nnUNet_preprocessed"))
        patch.setenv("nnUNet_results", str(tmp_path_factory.mktemp("saved")))
        torch.manual_seed(0)
        for fold in (0, 1):
            trainer = make_trainer(preprocessed, fold=fold)
            trainer.initialize()
            targets = [torch.randint(0, 4, (2, 1, s, s)) for s in (32, 16)]
            trainer.train_step({"data": torch.randn(2, 1, 32, 32), "target": targets})
            trainer.save_checkpoint(os.path.join(trainer.output_folder, "checkpoint_final.pth"))
    folder = Path(trainer.output_folder_base)
    (folder / "plans.json").write_text(json.dumps(trainer.plans_manager.plans))
    for name in ("dataset.json", "dataset_fingerprint.json"):
        shutil.copy(preprocessed / "nnUNet_preprocessed" / DATASET / name, folder)
    crossval = folder / "crossval_results_folds_0_1"
    crossval.mkdir()
    for name in ("postprocessing.json", "postprocessing.pkl", "plans.json", "summary.json"):
        (crossval / name).write_text("{}")
    return folder


@pytest.fixture
def model(saved, nnunet):
    """A copy of it in this test's nnUNet_results."""
    return Path(shutil.copytree(saved, nnunet / "nnUNet_results" / DATASET / saved.name))


def edit_checkpoint(path: Path, change) -> None:
    checkpoint = torch.load(path, weights_only=True)
    change(checkpoint)
    torch.save(checkpoint, path)


def predictor_of(folder: Path, folds=None, name="checkpoint_final.pth") -> nnUNetPredictor:
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), folds, name)
    return predictor


def logits(folder: Path, folds=None, name="checkpoint_final.pth") -> torch.Tensor:
    data = torch.randn(1, 2, 40, 36, generator=torch.Generator().manual_seed(1))
    return predictor_of(folder, folds, name).predict_logits_from_preprocessed_data(data)


def tree(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_export_is_lean_plain_and_predicts_bit_for_bit_the_same(model, tmp_path):
    target = export_model(model, tmp_path / "out")
    assert target == tmp_path / "out" / DATASET / STOCK
    for fold in (0, 1):
        source = model / f"fold_{fold}" / "checkpoint_final.pth"
        path = target / f"fold_{fold}" / "checkpoint_final.pth"
        before = torch.load(source, weights_only=True)
        after = torch.load(path, weights_only=True)
        assert set(after) == {
            "network_weights",
            "init_args",
            "inference_allowed_mirroring_axes",
            "trainer_name",
            "pclmix_provenance",
        }
        assert after["trainer_name"] == "nnUNetTrainer"
        assert list(after["network_weights"]) == list(before["network_weights"])
        assert all(map(torch.equal, *(c["network_weights"].values() for c in (after, before))))
        # nothing but the weights takes room: momentum and auxiliary parts are gone
        distinct = {v.data_ptr(): v.nbytes for v in after["network_weights"].values()}
        assert path.stat().st_size < sum(distinct.values()) + 60_000 < source.stat().st_size / 2
    for folds in ((0,), (1,), (0, 1), None):
        assert torch.equal(logits(target, folds), logits(model, folds))
    assert not torch.equal(logits(target, (0,)), logits(target, (1,)))


def test_files_and_provenance_are_kept(model, tmp_path):
    target = export_model(model, tmp_path / "out")
    crossval = "crossval_results_folds_0_1"
    assert tree(tmp_path / "out" / DATASET / STOCK) == {
        "plans.json",
        "dataset.json",
        "dataset_fingerprint.json",
        "pclmix_provenance.json",
        "fold_0/checkpoint_final.pth",
        "fold_1/checkpoint_final.pth",
        *(f"{crossval}/{name}" for name in ("postprocessing.json", "postprocessing.pkl")),
        f"{crossval}/plans.json",
    }
    for name in ("plans.json", "dataset.json", "dataset_fingerprint.json"):
        assert (target / name).read_bytes() == (model / name).read_bytes()
    provenance = json.loads((target / "pclmix_provenance.json").read_text())
    inside = torch.load(target / "fold_1" / "checkpoint_final.pth", weights_only=True)
    assert provenance["fold_1"] == inside["pclmix_provenance"]
    source = model / "fold_1" / "checkpoint_final.pth"
    state = torch.load(source, weights_only=True)["pclmix"]
    assert provenance["fold_1"]["source"] == {
        "checkpoint": "checkpoint_final.pth",
        "sha256": sha256(source),
    }
    for key in ("trainer_name", "version", "config", "iteration"):
        assert provenance["fold_1"][key] == state[key]
    assert provenance["fold_1"]["iteration"] == 1
    exporter = provenance["fold_1"]["exported_with"]
    assert exporter["nnunetv2-pclmix"] == __version__
    assert exporter["nnunetv2"] == metadata.version("nnunetv2")


def test_zip_installs_with_nnunets_own_command(model, tmp_path, monkeypatch, capsys):
    command = ["export", str(model), str(tmp_path / "model.zip"), "--folds", "1"]
    assert cli.main(command) == 0
    printed = capsys.readouterr().out
    assert f"nnUNetv2_install_pretrained_model_from_zip {tmp_path / 'model.zip'}" in printed
    assert f"nnUNetv2_predict -d {DATASET} -c 2d -p nnUNetPlans -tr nnUNetTrainer -f 1" in printed
    assert "do not install this over it" in printed
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "elsewhere"))
    install_model_from_zip_file(str(tmp_path / "model.zip"))
    installed = tmp_path / "elsewhere" / DATASET / STOCK
    assert not (installed / "fold_0").exists()
    assert torch.equal(logits(installed), logits(model, (1,)))
    assert os.listdir(tmp_path / "elsewhere") == [DATASET]
    assert not list(tmp_path.glob(".*"))


def test_what_is_exported_is_not_refused_whatever_the_seed(model, tmp_path, capsys):
    def seed(checkpoint):
        checkpoint["pclmix"]["torch_seed"] = 2**64 - 1  # torch draws one from 0 on, up to this

    edit_checkpoint(model / "fold_0" / "checkpoint_final.pth", seed)
    shutil.rmtree(model / "crossval_results_folds_0_1")  # whose files are made up
    assert cli.main(["export", str(model), str(tmp_path / "model.zip")]) == 0
    assert cli.main(["verify", str(tmp_path / "model.zip")]) == 0, capsys.readouterr().err


def test_fold_all_and_another_checkpoint(model, tmp_path):
    shutil.copytree(model / "fold_0", model / "fold_all")
    (model / "fold_all" / "checkpoint_final.pth").rename(model / "fold_all/checkpoint_best.pth")
    target = export_model(model, tmp_path, ["all"], "checkpoint_best.pth", trainer_name="ours")
    assert target.name == "ours__nnUNetPlans__2d"
    assert torch.equal(logits(target, ("all",)), logits(model, ("all",), "checkpoint_best.pth"))
    provenance = json.loads((target / "pclmix_provenance.json").read_text())
    assert provenance["fold_all"]["source"]["checkpoint"] == "checkpoint_best.pth"
    # by default, every fold that has this checkpoint
    both = export_model(model, tmp_path / "both")
    assert sorted(p.name for p in both.glob("fold_*")) == ["fold_0", "fold_1"]


def test_stock_and_pclmix_trainers_start_from_an_export(model, nnunet, tmp_path):
    path = export_model(model, tmp_path) / "fold_0" / "checkpoint_final.pth"
    weights = torch.load(path, weights_only=True)["network_weights"]
    for trainer in (make_trainer(nnunet), make_trainer(nnunet, nnUNetTrainer)):
        trainer.initialize()
        load_pretrained_weights(trainer.network, str(path))
        key = "encoder.stages.0.0.convs.0.conv.weight"
        assert torch.equal(trainer.network.state_dict()[key], weights[key])
    with pytest.raises(RuntimeError, match="-pretrained_weights"):
        make_trainer(nnunet).load_checkpoint(str(path))


def test_nothing_is_overwritten_unasked(model, tmp_path, capsys):
    target = export_model(model, tmp_path)
    stock = target / "fold_4" / "checkpoint_final.pth"
    stock.parent.mkdir()
    stock.write_text("a stock training's")
    marker = stock
    assert cli.main(["export", str(model), str(tmp_path), "--folds", "0"]) == 1
    error = capsys.readouterr().err
    assert str(target) in error
    assert "a stock one has the same name" in error
    assert "--trainer-name" in error
    assert marker.exists()
    assert cli.main(["export", str(model), str(tmp_path), "--folds", "0", "--overwrite"]) == 0
    assert stock.read_text() == "a stock training's"
    (target / "pclmix_provenance.json").unlink()
    assert cli.main(["export", str(model), str(tmp_path), "--folds", "0", "--overwrite"]) == 1
    assert "not replaced" in capsys.readouterr().err
    zipped = tmp_path / "model.zip"
    zipped.write_text("kept")
    assert cli.main(["export", str(model), str(zipped)]) == 1
    assert zipped.read_text() == "kept"
    assert cli.main(["export", str(model), str(zipped), "--overwrite"]) == 1
    assert zipped.read_text() == "kept"  # no earlier export
    zipped.unlink()
    for more in ([], ["--overwrite"]):
        assert cli.main(["export", str(model), str(zipped), *more]) == 0
    assert zipfile.is_zipfile(zipped)


def test_the_training_itself_is_never_replaced(model, nnunet):
    before = sha256(model / "fold_0" / "checkpoint_final.pth")
    with pytest.raises(ValueError, match="is the training itself"):
        export_model(
            model, nnunet / "nnUNet_results", trainer_name="nnUNetTrainerPCLMix", overwrite=True
        )
    assert sha256(model / "fold_0" / "checkpoint_final.pth") == before


def test_a_file_that_carries_code_is_not_executed(model, tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    path = model / "fold_1" / "checkpoint_final.pth"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["init_args"]["extra"] = Evil()
    torch.save(checkpoint, path)
    (model / "crossval_results_folds_0_1" / "postprocessing.pkl").write_bytes(
        b"cpathlib\nPath.touch\n(S'%s'\ntR." % str(tmp_path / "executed").encode()
    )
    with pytest.raises(ValueError, match=r"fold_1.* holds more than plain data") as error:
        export_model(model, tmp_path / "out")
    assert "fold_0" not in str(error.value)
    export_model(model, tmp_path / "out", ["0"])
    assert not (tmp_path / "executed").exists()
    with contextlib.suppress(Exception):  # proof that it would have been
        torch.load(path, weights_only=False)
    assert (tmp_path / "executed").exists()


def test_all_problems_are_named_at_once_and_nothing_is_written(model, tmp_path, capsys):
    final = "checkpoint_final.pth"
    for fold in "234567":
        shutil.copytree(model / "fold_0", model / f"fold_{fold}")
    edit_checkpoint(model / "fold_2" / final, lambda c: c.pop("pclmix"))
    (model / "fold_3" / final).write_bytes((model / "fold_0" / final).read_bytes()[:5000])
    (model / "fold_4" / final).write_text("")
    edit_checkpoint(model / "fold_5" / final, lambda c: c["pclmix"].pop("config"))
    edit_checkpoint(model / "fold_6" / final, lambda c: c["pclmix"].update(iteration=torch.ones(1)))
    edit_checkpoint(
        model / "fold_7" / final, lambda c: c["network_weights"].update({"embedding_head.x": 1})
    )
    (model / "dataset.json").write_text("{")
    assert cli.main(["export", str(model), str(tmp_path / "out"), "--folds", *"023456789"]) == 1
    error = capsys.readouterr().err
    assert "9 problems, nothing exported" in error
    for words in (
        f"fold_2/{final} is not a checkpoint of a PCLMix training (no key 'pclmix')",
        f"fold_3/{final} is no readable checkpoint",
        f"fold_4/{final} is no readable checkpoint",
        f"fold_5/{final}: 'pclmix' lacks config",
        f"fold_6/{final}: 'pclmix' holds more than plain data",
        f"fold_7/{final}: network_weights are not those of a stock network",
        f"fold_8/{final} does not exist",
        f"fold_9/{final} does not exist",
        "dataset.json cannot be read",
    ):
        assert words in error
    assert "fold_0" not in error
    assert not (tmp_path / "out").exists()


def test_an_export_is_not_exported_again(model, tmp_path):
    target = export_model(model, tmp_path)
    with pytest.raises(ValueError, match="is an export already"):
        export_model(target, tmp_path / "again")


@pytest.mark.parametrize("name", ["../../outside", "/tmp/x", "", None, "a__b", ".hidden"])
def test_names_from_files_cannot_lead_outside_the_target(model, tmp_path, name):
    for key in ("plans_name", "dataset_name"):
        plans = json.loads((model / "plans.json").read_text())
        (model / "plans.json").write_text(json.dumps({**plans, key: name}))
        refusal = "cannot be the name of a|_name is .*; expected text"
        with pytest.raises(ValueError, match=refusal):
            export_model(model, tmp_path / "out")
        (model / "plans.json").write_text(json.dumps(plans))
    with pytest.raises(ValueError, match="cannot be the name of a trainer"):
        export_model(model, tmp_path / "out", trainer_name=name)
    assert not (tmp_path / "out").exists()


def test_folds_of_several_configurations_or_none_are_refused(model, tmp_path):
    with pytest.raises(ValueError, match="has a checkpoint_best.pth: finish .* --c.*--checkpoint"):
        export_model(model, tmp_path / "out", checkpoint="checkpoint_best.pth")
    with pytest.raises(ValueError, match="elsewhere is not a folder: give the path of DatasetNNN"):
        export_model(tmp_path / "elsewhere", tmp_path / "out")
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(ValueError, match="no fold in .*elsewhere has a checkpoint_final.pth\n"):
        export_model(tmp_path / "elsewhere", tmp_path / "out")
    path = model / "fold_1" / "checkpoint_final.pth"
    edit_checkpoint(path, lambda c: c["init_args"].update(configuration="3d_fullres"))
    with pytest.raises(ValueError, match=r"several configurations: \['2d', '3d_fullres'\]"):
        export_model(model, tmp_path / "out")
    with pytest.raises(ValueError, match="has no configuration nonsense"):
        edit_checkpoint(path, lambda c: c["init_args"].update(configuration="nonsense"))
        export_model(model, tmp_path / "out", ["1"])


def test_the_stock_network_is_what_is_exported(model, tmp_path):
    network = predictor_of(export_model(model, tmp_path)).network
    assert not isinstance(network, PCLMixNetwork)
    assert type(network).__name__ == "PlainConvUNet"
