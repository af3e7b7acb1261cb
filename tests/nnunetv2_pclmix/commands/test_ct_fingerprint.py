"""CT statistics of scribbled voxels: nnU-Net's own numbers, without the ignore label."""

import json
import os
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import (
    DatasetFingerprintExtractor,
)
from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    extract_fingerprint_dataset,
    plan_experiments,
)

from nnunetv2_pclmix import cli
from nnunetv2_pclmix.commands import ct_fingerprint
from nnunetv2_pclmix.commands.ct_fingerprint import STATISTICS, scribbled_statistics
from tests.conftest import DATASET, LABELS

COMMAND = ["ct-fingerprint", "901", "-np", "1"]


@pytest.fixture
def ct(nnunet, monkeypatch):
    """The tiny data set as CT; 20 000 samples in place of nnU-Net's 100 000 000.

    Air and table (-1000 and 3000) are never scribbled, the organs are 100 and -100 with noise.
    """
    init = DatasetFingerprintExtractor.__init__

    def fewer_samples(self, *args, **kwargs):
        init(self, *args, **kwargs)
        self.num_foreground_voxels_for_intensitystats = 20_000

    monkeypatch.setattr(DatasetFingerprintExtractor, "__init__", fewer_samples)
    raw = nnunet / "nnUNet_raw" / DATASET
    for path in (raw / "imagesTr").iterdir():
        image = sitk.ReadImage(str(path))
        array = 25 * sitk.GetArrayFromImage(image)
        array[:, :2], array[:, -2:] = -1000, 3000
        changed = sitk.GetImageFromArray(array)
        changed.CopyInformation(image)
        sitk.WriteImage(changed, str(path))
    edit(raw / "dataset.json", lambda d: d.update(channel_names={"0": "CT"}))
    extract_fingerprint_dataset(901, num_processes=1, show_progress_bar=False)
    return nnunet


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def relabel(root, cases, change):
    for case in cases:
        path = root / "nnUNet_raw" / DATASET / "labelsTr" / f"case{case}.nii.gz"
        image = sitk.ReadImage(str(path))
        changed = sitk.GetImageFromArray(change(sitk.GetArrayFromImage(image)))
        changed.CopyInformation(image)
        sitk.WriteImage(changed, str(path))


def preprocessed_folder(root):
    return root / "nnUNet_preprocessed" / DATASET


def stored(root, name="dataset_fingerprint"):
    return json.loads((preprocessed_folder(root) / f"{name}.json").read_text())


def scribbled_intensities(root):
    raw = root / "nnUNet_raw" / DATASET
    for path in sorted((raw / "labelsTr").iterdir()):
        image_file = str(raw / "imagesTr" / path.name.replace(".nii", "_0000.nii"))
        label, image = (sitk.GetArrayFromImage(sitk.ReadImage(f)) for f in (str(path), image_file))
        yield image[(label == 1) | (label == 2)]


def test_statistics_are_those_of_the_scribbled_voxels(ct):
    statistics, voxels = scribbled_statistics(DatasetFingerprintExtractor(901, 1), LABELS["ignore"])
    cases = list(scribbled_intensities(ct))
    assert voxels == [len(values) for values in cases] == [48] * 5
    values = np.concatenate(cases)  # equally many per case, so the cases' weights are equal too
    found = statistics["0"]
    assert found["min"] == values.min()
    assert found["max"] == values.max()
    # what remains is the noise of nnU-Net's sampling: 20 000 draws
    assert found["mean"] == pytest.approx(values.mean(), abs=4 * float(values.std()) / 20_000**0.5)
    assert found["std"] == pytest.approx(values.std(), rel=0.02)
    for name, q in (("percentile_00_5", 0.5), ("percentile_99_5", 99.5)):
        assert np.percentile(values, q - 0.4) <= found[name] <= np.percentile(values, q + 0.4)
    stock = stored(ct)[STATISTICS]["0"]
    assert stock["percentile_00_5"] == -1000
    assert stock["percentile_99_5"] == 3000
    assert found["std"] < stock["std"] / 3


def test_without_ignored_voxels_the_result_is_nnunets_own(ct):
    raw = ct / "nnUNet_raw" / DATASET
    shutil.rmtree(raw / "labelsTr")
    shutil.copytree(raw / "labelsTr_dense", raw / "labelsTr")
    extractor = DatasetFingerprintExtractor(901, 1)
    extractor.show_progress_bar = False
    expected = extractor.run(overwrite_existing=True)[STATISTICS]
    statistics, voxels = scribbled_statistics(extractor, LABELS["ignore"])
    assert statistics == {str(channel): row for channel, row in expected.items()}
    assert min(voxels) > 300


def test_cases_count_the_same_and_cases_without_foreground_do_not_count(ct):
    def nothing(label):
        label[label != 0] = LABELS["ignore"]
        return label

    def left_only(label):
        label[label == 2] = LABELS["ignore"]
        return label

    relabel(ct, (1, 2, 3), nothing)
    relabel(ct, (4,), left_only)
    extractor = DatasetFingerprintExtractor(901, 1)
    statistics, voxels = scribbled_statistics(extractor, LABELS["ignore"])
    assert voxels == [48, 0, 0, 0, 24]
    cases = [values for values in scribbled_intensities(ct) if len(values)]
    assert statistics["0"]["mean"] == pytest.approx(np.mean([c.mean() for c in cases]), abs=5)
    relabel(ct, (0, 4), nothing)
    with pytest.raises(ValueError, match="no foreground is scribbled"):
        scribbled_statistics(extractor, LABELS["ignore"])


def test_processes_do_not_change_the_result(ct, monkeypatch):
    alone = scribbled_statistics(DatasetFingerprintExtractor(901, 1), LABELS["ignore"])
    monkeypatch.undo()  # real processes
    monkeypatch.setenv("nnUNet_raw", str(ct / "nnUNet_raw"))
    extractor = DatasetFingerprintExtractor(DATASET, 2)
    extractor.num_foreground_voxels_for_intensitystats = 20_000
    assert scribbled_statistics(extractor, LABELS["ignore"]) == alone


def test_the_command_keeps_nnunets_own_and_the_planner_takes_ours(ct, capsys, monkeypatch):
    stock = stored(ct)
    assert cli.main(COMMAND) == 0
    printed = capsys.readouterr().out
    assert "240 scribbled foreground voxels in 5 of 5 cases" in printed
    assert "about 1 lie beyond each clip bound" in printed
    assert "warning: that is few" in printed
    before, after = (line for line in printed.splitlines() if line.startswith("channel 0 (CT)"))
    assert "-1000" in before
    assert "3000" in before
    assert "3000" not in after
    # the plans of the fixture are older
    assert "nnUNetPlans still hold other statistics" in printed
    commands = "next:\n  nnUNetv2_plan_experiment -d 901\n  nnUNetv2_preprocess -d 901 -c 2d\n"
    assert printed.endswith(commands)
    changed = stored(ct)
    assert stored(ct, "dataset_fingerprint_stock") == stock
    assert changed[STATISTICS] != stock[STATISTICS]
    assert changed[STATISTICS]["0"].keys() == stock[STATISTICS]["0"].keys()
    assert {k: v for k, v in changed.items() if k in stock and k != STATISTICS} == {
        k: v for k, v in stock.items() if k != STATISTICS
    }
    monkeypatch.setenv("nnUNet_n_proc_DA", "1")  # the planner takes it for a number of threads
    # extraction without --clean, as in plan_and_preprocess, leaves it; then plans hold it
    extract_fingerprint_dataset(901, num_processes=1, clean=False)
    plan_experiments([901])
    assert stored(ct, "nnUNetPlans")[STATISTICS] == changed[STATISTICS]
    capsys.readouterr()

    content = (preprocessed_folder(ct) / "dataset_fingerprint.json").read_bytes()
    assert cli.main(COMMAND) == 0
    again = capsys.readouterr().out
    assert before in again
    assert after in again
    assert "still hold" not in again and again.endswith(commands)
    assert (preprocessed_folder(ct) / "dataset_fingerprint.json").read_bytes() == content
    assert stored(ct, "dataset_fingerprint_stock") == stock


def test_a_later_extraction_becomes_the_copy_that_is_kept(ct):
    assert cli.main(COMMAND) == 0
    relabel(ct, (0,), lambda label: np.where(label == 1, LABELS["ignore"], label))
    extract_fingerprint_dataset(901, num_processes=1, show_progress_bar=False)
    newer = stored(ct)
    edit(preprocessed_folder(ct) / "dataset_fingerprint.json", lambda d: d.update(newer=1))
    assert cli.main(COMMAND) == 0
    assert stored(ct, "dataset_fingerprint_stock") == {**newer, "newer": 1}
    # lost, it cannot come back, and ours is not taken for it
    (preprocessed_folder(ct) / "dataset_fingerprint_stock.json").unlink()
    assert cli.main(COMMAND) == 0
    assert not (preprocessed_folder(ct) / "dataset_fingerprint_stock.json").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channel_names": {"0": "MRI"}}, "no CT channel"),
        ({"labels": {"background": 0, "left": 1, "right": 2}}, "no ignore label"),
    ],
)
def test_where_there_is_nothing_to_gain_nothing_changes(ct, capsys, change, message):
    edit(ct / "nnUNet_raw" / DATASET / "dataset.json", lambda d: d.update(change))
    before = {p: p.read_bytes() for p in preprocessed_folder(ct).glob("*.json")}
    assert cli.main(COMMAND) == 0
    assert message in capsys.readouterr().out
    assert {p: p.read_bytes() for p in preprocessed_folder(ct).glob("*.json")} == before


def test_only_ct_channels_are_named_as_used():
    names = {"channel_names": {"0": "T1", "1": "CT", "2": "ct", "3": "noNorm"}}
    assert ct_fingerprint.ct_channels(names) == {"1": "CT", "2": "ct"}
    assert ct_fingerprint.ct_channels({"modality": {"0": "CT"}}) == {"0": "CT"}


def test_errors_say_what_to_do(ct, capsys):
    path = preprocessed_folder(ct) / "dataset_fingerprint.json"
    path.write_text("{}")
    assert cli.main(COMMAND) == 1
    assert "extract_fingerprint --clean" in capsys.readouterr().err
    path.unlink()
    assert cli.main(COMMAND) == 1
    assert "run nnUNetv2_extract_fingerprint first" in capsys.readouterr().err
    assert cli.main(["ct-fingerprint", "902"]) == 1
    assert "902" in capsys.readouterr().err
    (ct / "nnUNet_raw" / DATASET / "dataset.json").unlink()
    assert cli.main(COMMAND) == 1
    assert "dataset.json" in capsys.readouterr().err
    assert not path.exists()


def test_files_that_nnunets_reader_takes_for_others_are_named(ct, capsys):
    """ITK fills up with zeros what a cut file lacks; a folder of an image's name is no case."""
    raw, fingerprint = ct / "nnUNet_raw" / DATASET, stored(ct)
    cut = raw / "imagesTr" / "case0_0000.nii.gz"
    cut.write_bytes(cut.read_bytes()[:-40])
    for place in ("imagesTr/case1_0000.nii.gz", "labelsTr/case2.nii.gz"):
        (raw / place).unlink()
        (raw / place).mkdir()
    assert cli.main(COMMAND) == 1
    error = capsys.readouterr().err
    assert "3 problems, nothing written" in error and "Traceback" not in error
    assert "case0_0000.nii.gz is cut off" in error  # the first one, by which nnU-Net takes a reader
    assert "case1_0000.nii.gz is no regular file" in error and "case2.nii.gz" in error
    assert stored(ct) == fingerprint


def test_a_pipe_is_not_waited_for(ct, capsys):
    path = ct / "nnUNet_raw" / DATASET / "dataset.json"
    path.unlink()
    os.mkfifo(path)
    assert cli.main(COMMAND) == 1
    assert "dataset.json is no file" in capsys.readouterr().err
