"""The doctor, in-process: what it says about good and bad installations, and its exit status."""

import json
import os
import shlex
import subprocess
import sys
from importlib import metadata
from types import SimpleNamespace

import pytest
import torch
from packaging.requirements import Requirement

import nnunetv2_pclmix
from nnunetv2_pclmix import cli, discovery
from nnunetv2_pclmix.commands import doctor

FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


@pytest.fixture
def healthy(monkeypatch, tmp_path):
    """Variables as on a well-kept machine; the folders are made and returned."""
    folders = {}
    for name in FOLDERS:
        folders[name] = tmp_path / name
        folders[name].mkdir()
        monkeypatch.setenv(name, str(folders[name]))
    monkeypatch.setenv(discovery.VARIABLE, discovery.FOLDER)
    monkeypatch.delenv("nnUNet_compile", raising=False)
    return folders


def only(checks: list[doctor.Check]) -> doctor.Check:
    (check,) = checks
    return check


def write_trainer(folder, name: str):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(
        "from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer\n"
        f"print('chatter')\nclass {name}(nnUNetTrainer):\n    pass\n",
        encoding="utf-8",
    )
    return folder


# --- the variable of nnU-Net ---


@pytest.mark.parametrize("unset", ["", " ", os.pathsep])
def test_our_folder_alone_when_nothing_is_set(unset):
    assert discovery.with_our_folder(unset) == discovery.FOLDER


def test_folders_of_the_user_come_first_and_stay_as_they_are():
    value = os.pathsep.join(["/one folder", "", "~/two"])
    assert discovery.with_our_folder(value) == value + os.pathsep + discovery.FOLDER


def test_our_folder_is_recognised_in_any_spelling(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(discovery.FOLDER)
    for spelling in (discovery.FOLDER, discovery.FOLDER + os.sep, str(link)):
        value = os.pathsep.join([spelling, "/other"])
        assert discovery.with_our_folder(value) == value


def test_register_sets_the_variable_once(monkeypatch):
    monkeypatch.setenv(discovery.VARIABLE, "/mine")
    discovery.register()
    discovery.register()
    assert os.environ[discovery.VARIABLE] == f"/mine{os.pathsep}{discovery.FOLDER}"


def test_register_does_nothing_when_the_folder_is_gone(monkeypatch, tmp_path):
    monkeypatch.delenv(discovery.VARIABLE, raising=False)
    monkeypatch.setattr(discovery, "FOLDER", str(tmp_path / "gone"))
    discovery.register()
    assert discovery.VARIABLE not in os.environ


def test_external_folder_holds_one_module_and_is_no_package():
    names = {name for name in os.listdir(discovery.FOLDER) if name != "__pycache__"}
    assert names == {f"{discovery.TRAINER}.py"}


# --- finding the trainer ---


def test_trainer_is_found_quietly_and_its_folder_named(healthy, monkeypatch, tmp_path, capsys):
    mine = write_trainer(tmp_path / "mine", "nnUNetTrainerMine")
    folders = os.pathsep.join([str(tmp_path / "missing"), "", str(mine), discovery.FOLDER])
    monkeypatch.setenv(discovery.VARIABLE, folders)
    trainer, folder = discovery.find_trainer()
    assert (trainer.__module__, folder) == ("nnunetv2_pclmix.trainer", discovery.FOLDER)
    trainer, folder = discovery.find_trainer("nnUNetTrainerMine")
    assert (trainer.__name__, folder) == ("nnUNetTrainerMine", str(mine))
    assert capsys.readouterr().out == ""


def test_trainer_of_nnunet_itself_is_found_in_its_package(healthy):
    import nnunetv2

    assert discovery.find_trainer("nnUNetTrainer")[1] == nnunetv2.__path__[0]


def test_trainer_check_names_file_and_folder(healthy):
    check = only(doctor.check_trainer())
    assert check.status == "ok"
    assert os.path.join("nnunetv2_pclmix", "trainer.py") in check.seen
    assert check.seen.endswith(discovery.FOLDER)


def test_variable_not_set_is_an_error_with_the_line_that_sets_it(healthy, monkeypatch):
    monkeypatch.delenv(discovery.VARIABLE)
    check = trainer_check()
    assert check.status == "error"
    assert "Could not find requested nnunet trainer" in check.seen
    assert f"export {discovery.VARIABLE}={shlex.quote(discovery.FOLDER)}" in check.remedy


def test_remedy_keeps_the_folders_of_the_user(healthy, monkeypatch):
    monkeypatch.setenv(discovery.VARIABLE, "/mine")
    value = shlex.quote(f"/mine{os.pathsep}{discovery.FOLDER}")
    expected = f"{discovery.VARIABLE}={value}"
    assert expected in doctor.trainer_remedy()


def test_package_folder_in_the_variable_is_an_error(healthy, monkeypatch):
    # nnU-Net then imports our modules under other names and forgets them after the look-up.
    monkeypatch.setenv(discovery.VARIABLE, os.path.dirname(discovery.FOLDER))
    check = trainer_check()
    assert check.status == "error"
    assert "imported anew on every look-up" in check.seen
    assert check.remedy.endswith(f"export {discovery.VARIABLE}={shlex.quote(discovery.FOLDER)}")


def test_another_class_of_the_same_name_is_an_error(healthy, monkeypatch, tmp_path):
    other = write_trainer(tmp_path / "other", discovery.TRAINER)
    monkeypatch.setenv(discovery.VARIABLE, f"{other}{os.pathsep}{discovery.FOLDER}")
    check = trainer_check()
    assert check.status == "error"
    assert f"not the one of this package: {other / discovery.TRAINER}.py" in check.seen
    assert "Remove or rename that file" in check.remedy


@pytest.mark.parametrize("line", ["raise ValueError('broken trainer')", "raise SystemExit('bye')"])
def test_module_of_the_user_that_cannot_be_imported_is_an_error(
    healthy, monkeypatch, tmp_path, line
):
    (tmp_path / "broken_module.py").write_text(line, encoding="utf-8")
    monkeypatch.setenv(discovery.VARIABLE, f"{tmp_path}{os.pathsep}{discovery.FOLDER}")
    check = trainer_check()
    assert check.status == "error"
    assert "broken trainer" in check.seen or "bye" in check.seen


def trainer_check() -> doctor.Check:
    return next(check for check in doctor.examine() if check.name == "trainer")


# --- versions ---


def test_versions_within_and_below_their_bounds(monkeypatch):
    monkeypatch.setattr(metadata, "version", lambda name: "2.1.2+cu121")
    assert doctor.check_requirement(Requirement("torch>=2.1.2")).status == "ok"
    assert doctor.check_requirement(Requirement("torch")).seen == "2.1.2+cu121 (needs any version)"
    low = doctor.check_requirement(Requirement("torch>=2.10"))
    assert (low.status, low.remedy) == ("error", 'pip install "torch>=2.10"')
    assert low.seen == "2.1.2+cu121, but needs >=2.10"


def test_missing_dependency_is_an_error():
    check = doctor.check_requirement(Requirement("no-such-package-anywhere>=3"))
    assert (check.status, check.seen) == ("error", "not installed (needs >=3)")
    assert check.remedy == 'pip install "no-such-package-anywhere>=3"'


def test_every_requirement_is_checked_but_not_those_of_extras(monkeypatch):
    lines = ["numpy>=1.26", 'pytest; extra == "dev"', 'torch>=2; python_version >= "3"']
    monkeypatch.setattr(metadata, "requires", lambda name: lines)
    names = [check.name for check in doctor.check_versions()]
    assert names == ["nnunetv2-pclmix", "numpy", "torch"]


def test_uninstalled_sources_are_a_warning(monkeypatch):
    def requires(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    check = only(doctor.check_versions())
    assert (check.status, check.name) == ("warning", "nnunetv2-pclmix")
    assert nnunetv2_pclmix.__version__ in check.seen


def test_torchvision_that_cannot_be_imported_is_an_error(healthy, monkeypatch):
    def import_module(name):
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist")
        return original(name)

    original = doctor.importlib.import_module
    monkeypatch.setattr(doctor, "importlib", SimpleNamespace(import_module=import_module))
    check = next(check for check in doctor.examine() if check.name == "torchvision")
    assert (check.status, check.seen) == (
        "error",
        "RuntimeError: operator torchvision::nms does not exist",
    )
    assert "pip install --force-reinstall torch torchvision" in check.remedy


# --- folders ---


@pytest.mark.parametrize("name", FOLDERS)
def test_folder_that_is_not_set(healthy, monkeypatch, name):
    for value in ("", None):
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value)
        check = doctor.check_folder(name)
        assert (check.status, check.seen) == ("error", "not set")
        assert f"export {name}=" in check.remedy


@pytest.mark.parametrize("name", FOLDERS)
def test_folder_that_does_not_exist_is_not_made(healthy, name):
    healthy[name].rmdir()
    check = doctor.check_folder(name)
    assert check.status == "error"
    assert check.remedy.startswith(f'mkdir -p "{healthy[name]}"')
    assert not healthy[name].exists()


def test_folder_that_cannot_be_written_to(healthy, monkeypatch):
    # The superuser may write anywhere, so the answer of the operating system is replaced.
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    statuses = {check.name: check.status for check in doctor.check_folders()}
    assert statuses == {
        "nnUNet_raw": "warning",
        "nnUNet_preprocessed": "error",
        "nnUNet_results": "error",
    }
    assert f'chmod u+rwx "{healthy["nnUNet_raw"]}"' in doctor.check_folder("nnUNet_raw").remedy


def test_lines_that_set_a_variable(monkeypatch):
    assert doctor.set_variable("nnUNet_raw", "/a b") == "export nnUNet_raw='/a b'"
    monkeypatch.setattr(doctor, "os", SimpleNamespace(name="nt"))
    assert doctor.set_variable("nnUNet_raw", "C:/a'b") == "$env:nnUNet_raw = 'C:/a''b'"


# --- device and compiling ---


def use_device(monkeypatch, device: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: device == "cuda")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: device == "mps")


def test_cuda_device_is_named_with_its_memory(monkeypatch):
    use_device(monkeypatch, "cuda")
    gpu = SimpleNamespace(name="Some GPU", total_memory=24 * 2**30)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: gpu)
    check = only(doctor.check_device())
    assert (check.status, check.seen) == (
        "ok",
        "CUDA: Some GPU (24.0 GiB), Some GPU (24.0 GiB)",
    )


@pytest.mark.parametrize("device", ["mps", "cpu"])
def test_slower_devices_are_a_warning_with_the_option_to_use(monkeypatch, device):
    use_device(monkeypatch, device)
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    check = only(doctor.check_device())
    assert check.status == "warning"
    assert f"-device {device}" in check.remedy
    assert ("7 cores" in check.seen) == (device == "cpu")


@pytest.mark.parametrize(
    ("device", "setting", "compiles"),
    [
        ("cuda", None, True),
        ("cuda", "T", True),
        ("cuda", "0", False),
        ("mps", "1", False),
        ("cpu", "true", False),
    ],
)
def test_compile_setting_as_nnunet_decides(healthy, monkeypatch, device, setting, compiles):
    use_device(monkeypatch, device)
    if setting is not None:
        monkeypatch.setenv("nnUNet_compile", setting)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/cc")
    check = only(doctor.check_compile())
    assert check.status == "ok"
    assert check.seen.startswith(f"{'on' if compiles else 'off'} for {device}")
    assert ("not set" if setting is None else repr(setting)) in check.seen


def test_compiling_without_a_c_compiler_is_an_error(healthy, monkeypatch):
    use_device(monkeypatch, "cuda")
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    check = only(doctor.check_compile())
    assert check.status == "error"
    assert "export nnUNet_compile=f" in check.remedy


def test_kernels_are_looked_at_on_a_gpu_alone(monkeypatch):
    from nnunetv2_pclmix.method import stroke_growth, stroke_spread
    from nnunetv2_pclmix.method.triton_kernels import Kernel

    use_device(monkeypatch, "cpu")
    assert doctor.check_kernels() == []
    use_device(monkeypatch, "cuda")
    monkeypatch.setattr(stroke_spread, "kernel", lambda: Kernel(print, ""))
    monkeypatch.setattr(stroke_growth, "kernel", lambda: Kernel(print, ""))
    assert only(doctor.check_kernels()).status == "ok"
    monkeypatch.setattr(stroke_growth, "kernel", lambda: Kernel(None, "OSError: no"))
    check = only(doctor.check_kernels())
    assert (check.status, check.seen) == ("warning", "do not run; stroke growth: OSError: no")


# --- the command line ---


def test_doctor_exits_0_when_nothing_is_wrong(healthy, tmp_path, capsys):
    before = set(tmp_path.rglob("*"))
    assert cli.main(["doctor"]) == 0
    output = capsys.readouterr().out
    assert "0 errors" in output
    assert "ERROR" not in output
    assert "Searching" not in output
    assert set(tmp_path.rglob("*")) == before


def test_doctor_exits_1_with_the_remedy(healthy, monkeypatch, capsys):
    monkeypatch.delenv("nnUNet_raw")
    assert cli.main(["doctor"]) == 1
    output = capsys.readouterr().out
    assert "ERROR    nnUNet_raw" in output
    assert "export nnUNet_raw=" in output
    assert "1 error," in output


@pytest.mark.parametrize("missing", [False, True])
def test_json_says_the_same_as_the_checks(healthy, capsys, missing):
    if missing:
        healthy["nnUNet_results"].rmdir()
    status = cli.main(["doctor", "--json"])
    seen = json.loads(capsys.readouterr().out)
    assert (status, seen["ok"]) == ((1, False) if missing else (0, True))
    assert seen["checks"] == [vars(check) for check in doctor.examine()]
    names = [check["name"] for check in seen["checks"]]
    assert [name for name in names if name in FOLDERS] == list(FOLDERS)
    assert {"Python", "nnunetv2-pclmix", "torchvision", "trainer", "device", "compile"} < set(names)


def test_every_check_that_is_not_ok_has_a_remedy(monkeypatch):
    for name in (*FOLDERS, discovery.VARIABLE):
        monkeypatch.delenv(name, raising=False)
    troubles = [check for check in doctor.examine() if check.status != "ok"]
    assert {*FOLDERS, "trainer"} <= {check.name for check in troubles}
    assert all(check.remedy for check in troubles)


def test_version_is_printed(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"nnunetv2_pclmix {nnunetv2_pclmix.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["surgeon"]])
def test_missing_or_unknown_command_is_refused(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


def test_doctor_works_where_every_dependency_is_missing(tmp_path):
    package = os.path.dirname(os.path.dirname(discovery.FOLDER))
    code = f"import sys; sys.path.insert(0, {package!r}); from nnunetv2_pclmix.cli import main; "
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code + "sys.exit(main(['doctor', '--json']))"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1, result.stderr
    checks = {check["name"]: check for check in json.loads(result.stdout)["checks"]}
    for name in ("versions", "torchvision", "trainer", "device", "compile"):
        assert checks[name]["status"] == "error"
        assert "ModuleNotFoundError" in checks[name]["seen"]
        assert checks[name]["remedy"]
