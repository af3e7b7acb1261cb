"""Installs the package for real, into fresh virtual environments.

Each environment borrows the dependencies of the running interpreter, so nothing is downloaded and
an installation takes seconds. Importing torch is slow: one process answers many questions.
"""

import json
import os
import runpy
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import Specifier, SpecifierSet
from packaging.version import Version

pytestmark = pytest.mark.slow

CHECKOUT = Path(__file__).resolve().parents[1]
VARIABLE = "nnUNet_extTrainer"
TRAINER = "nnUNetTrainerPCLMix"
STARTUP_FILES = {"nnunetv2_pclmix.pth", "nnunetv2_pclmix.start"}
PRINT_VARIABLE = f"import os; print(os.environ.get('{VARIABLE}'))"

PROBE = '''
"""Look trainers up as nnU-Net does, here and in a spawned process; print what was seen as JSON."""
import json, multiprocessing, os, pickle, sys

def look_up(name):
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
    return recursive_find_trainer_class_by_name(name)

def in_worker(name, pickled):
    import nnunetv2_pclmix
    trainer = pickle.loads(pickled)
    return {
        "same": trainer is look_up(name),
        "variable": os.environ.get("nnUNet_extTrainer"),
        "package": os.path.dirname(nnunetv2_pclmix.__file__),
    }

if __name__ == "__main__":
    seen = {"variable": os.environ.get("nnUNet_extTrainer"), "isolated": sys.flags.isolated}
    task = json.loads(sys.argv[1])
    if task["set_by_hand"]:
        try:
            look_up("nnUNetTrainerPCLMix")
        except RuntimeError as error:
            seen["before"] = str(error)
        os.environ["nnUNet_extTrainer"] = task["set_by_hand"]
    found = {"nnUNetTrainerPCLMix": look_up("nnUNetTrainerPCLMix")}
    from nnunetv2_pclmix import variants
    ours = ["nnUNetTrainerPCLMix", *variants.__all__]
    found.update({name: look_up(name) for name in [*variants.__all__, *task["names"]]})
    seen["modules"] = {name: trainer.__module__ for name, trainer in found.items()}
    seen["file"] = sys.modules["nnunetv2_pclmix.trainer"].__file__
    seen["variants"] = variants.__all__
    seen["same"] = [look_up(name) is found[name] for name in ours]
    pickled = pickle.dumps(found["nnUNetTrainerPCLMix"])
    seen["same"].append(pickle.loads(pickled) is found["nnUNetTrainerPCLMix"])
    if task["with_worker"]:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            seen["worker"] = pool.apply(in_worker, ("nnUNetTrainerPCLMix", pickled))
    print(json.dumps(seen))
'''


class Environment:
    """A fresh virtual environment that finds other packages in the folder ``borrowed``."""

    def __init__(self, folder: Path, borrowed: Path) -> None:
        venv.create(folder, symlinks=os.name != "nt")
        self.folder = folder
        self.scripts = folder / ("Scripts" if os.name == "nt" else "bin")
        paths = self.run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
        self.site_packages = Path(paths.stdout.strip())
        (self.site_packages / "borrowed.pth").write_text(str(borrowed), encoding="utf-8")
        self.original_files = self.files()

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
        return self.call(self.scripts / "python", *arguments, **variables)

    def call(self, program: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("nnUNet_", "PYTHON", "COV"))
        }
        return subprocess.run(
            [program, *arguments],
            env=kept | variables,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def pip(self, *arguments: str) -> None:
        result = self.run("-m", "pip", *arguments)
        assert result.returncode == 0, result.stdout + result.stderr

    def install(self, *what: str) -> None:
        self.pip("install", "--no-index", "--no-deps", "--no-build-isolation", *what)

    def probe(
        self,
        *options: str,
        names: tuple[str, ...] = (),
        set_by_hand: str = "",
        with_worker: bool = False,
    ) -> dict:
        """Run PROBE with these options of Python."""
        script = self.folder.parent / f"{self.folder.name}_probe.py"
        script.write_text(PROBE, encoding="utf-8")
        task = {"names": names, "set_by_hand": set_by_hand, "with_worker": with_worker}
        result = self.run(*options, str(script), json.dumps(task))
        assert result.returncode == 0, result.stdout + result.stderr
        return json.loads(result.stdout.splitlines()[-1])

    def files(self) -> set[str]:
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*")}


@pytest.fixture(scope="module")
def borrowed(tmp_path_factory) -> Path:
    """Links to the packages of the running interpreter, without this one if it is installed."""
    folder = tmp_path_factory.mktemp("borrowed")
    for site_packages in map(Path, sys.path):
        if site_packages.name in ("site-packages", "dist-packages") and site_packages.is_dir():
            for package in site_packages.iterdir():
                link = folder / package.name
                ours = package.name.startswith(("nnunetv2_pclmix", "scribble_tools"))
                if not ours and package.suffix != ".pth" and not link.exists():
                    link.symlink_to(package)
    return folder


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    """A copy of the sources: building leaves files in the folder it builds from."""
    folder = tmp_path_factory.mktemp("sources") / "checkout"
    folder.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        if (CHECKOUT / name).exists():
            shutil.copy(CHECKOUT / name, folder)
    for package in ("nnunetv2_pclmix", "scribble_tools"):
        shutil.copytree(
            CHECKOUT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    return folder


@pytest.fixture(scope="module")
def regular(tmp_path_factory, sources, borrowed) -> Environment:
    environment = Environment(tmp_path_factory.mktemp("regular") / "env", borrowed)
    environment.install(str(sources))
    return environment


@pytest.fixture(scope="module")
def wheel(tmp_path_factory, sources, regular) -> Path:
    """Built once for the environments that are spoilt."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--no-index", "--no-deps", "--no-build-isolation")
    regular.pip("wheel", *options, "--wheel-dir", str(folder), str(sources))
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def editable(tmp_path_factory, sources, borrowed) -> Environment:
    environment = Environment(tmp_path_factory.mktemp("editable") / "env", borrowed)
    environment.install("-e", str(sources))
    return environment


def only(specifiers: SpecifierSet) -> Specifier:
    (specifier,) = specifiers
    return specifier


def assert_trainers_found(seen: dict, package: Path) -> None:
    assert seen["modules"][TRAINER] == "nnunetv2_pclmix.trainer"
    assert seen["file"] == str(package / "trainer.py")
    assert seen["variants"]
    assert all(seen["modules"][name].startswith("nnunetv2_pclmix.") for name in seen["variants"])
    assert all(seen["same"])


def assert_worker_agrees(seen: dict, package: Path) -> None:
    variable = str(package / "external_trainers")
    assert seen["worker"] == {"same": True, "variable": variable, "package": str(package)}


def test_regular_install_is_found_by_isolated_python_without_any_variable(regular):
    package = regular.site_packages / "nnunetv2_pclmix"
    seen = regular.probe("-I", with_worker=True)
    assert seen["isolated"] == 1
    assert seen["variable"] == str(package / "external_trainers")
    assert_trainers_found(seen, package)
    assert_worker_agrees(seen, package)


def test_editable_install_is_found_without_any_variable(editable, sources):
    package = sources / "nnunetv2_pclmix"
    seen = editable.probe(with_worker=True)
    assert seen["variable"] == str(package / "external_trainers")
    assert_trainers_found(seen, package)
    assert_worker_agrees(seen, package)


def test_by_hand_beside_a_trainer_of_the_user(tmp_path, wheel, borrowed):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "nnUNetTrainerMine.py").write_text(
        "from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer\n"
        "class nnUNetTrainerMine(nnUNetTrainer):\n    pass\n",
        encoding="utf-8",
    )
    environment = Environment(tmp_path / "env", borrowed)
    environment.install("--no-compile", str(wheel))
    package = environment.site_packages / "nnunetv2_pclmix"
    both = f"{mine}{os.pathsep}{package / 'external_trainers'}"
    # The start-up files make exactly the value that is then set by hand.
    with_files = environment.run("-c", PRINT_VARIABLE, **{VARIABLE: str(mine)})
    assert with_files.stdout.strip() == both

    for name in STARTUP_FILES:
        (environment.site_packages / name).unlink()
    seen = environment.probe(names=("nnUNetTrainerMine",), set_by_hand=both)
    assert seen["variable"] is None
    assert "Could not find requested nnunet trainer" in seen["before"]
    assert seen["modules"]["nnUNetTrainerMine"] == "nnUNetTrainerMine"
    assert_trainers_found(seen, package)


def test_startup_loads_two_small_modules_and_nothing_else(regular):
    modules = "import sys; print(*sorted(sys.modules))"
    startup_file = regular.site_packages / "nnunetv2_pclmix.pth"
    with_file = regular.run("-c", modules).stdout.split()
    content = startup_file.read_text(encoding="utf-8")
    startup_file.unlink()
    try:
        without_file = regular.run("-c", modules).stdout.split()
    finally:
        startup_file.write_text(content, encoding="utf-8")
    new = set(with_file) - set(without_file)
    assert new == {"nnunetv2_pclmix", "nnunetv2_pclmix.discovery"}


@pytest.mark.parametrize("raised", ["SystemExit(3)", "KeyboardInterrupt", "MemoryError"])
def test_python_starts_whatever_the_hook_meets(regular, raised):
    content = (regular.site_packages / "nnunetv2_pclmix.pth").read_text(encoding="utf-8")
    broken = regular.site_packages / "zz_broken.pth"
    broken.write_text(content.replace("register()", f"raise {raised}"), encoding="utf-8")
    try:
        assert regular.run("-c", "print('started')").stdout == "started\n"
    finally:
        broken.unlink()


def test_a_process_started_by_another_does_not_list_the_folder_twice(regular):
    started = f'import subprocess, sys; subprocess.run([sys.executable, "-c", "{PRINT_VARIABLE}"])'
    folder = regular.site_packages / "nnunetv2_pclmix" / "external_trainers"
    assert regular.run("-c", started).stdout.strip() == str(folder)


def test_entry_point_that_python_3_15_calls_instead(regular):
    # What PEP 829 says the interpreter does with each line of a .start file.
    lines = (regular.site_packages / "nnunetv2_pclmix.start").read_text(encoding="utf-8")
    call = (
        f"import os, pkgutil; del os.environ['{VARIABLE}']; "
        f"[pkgutil.resolve_name(line)() for line in {lines.split()!r}]; {PRINT_VARIABLE}"
    )
    folder = regular.site_packages / "nnunetv2_pclmix" / "external_trainers"
    assert regular.run("-c", call).stdout.strip() == str(folder)


@pytest.mark.parametrize("how", ["regular", "editable"])
def test_uninstall_leaves_nothing(tmp_path, sources, wheel, borrowed, how):
    environment = Environment(tmp_path / "env", borrowed)
    environment.install(*(["-e", str(sources)] if how == "editable" else [str(wheel)]))
    installed = {Path(name).name for name in environment.files() - environment.original_files}
    assert STARTUP_FILES <= installed
    environment.run("-c", "import nnunetv2_pclmix.cli")  # leaves compiled files
    environment.pip("uninstall", "--yes", "nnunetv2-pclmix")
    assert environment.files() == environment.original_files
    assert environment.run("-c", PRINT_VARIABLE).stdout.strip() == "None"


def test_built_distributions_are_whole_and_pass_twine(tmp_path):
    folder = tmp_path / "checkout"
    unwanted = shutil.ignore_patterns(
        ".git", ".venv", "demo", "build", "dist", "*.egg-info", "__pycache__"
    )
    shutil.copytree(CHECKOUT, folder, ignore=unwanted)

    def call(*words: str) -> str:
        command = [sys.executable, "-m", *words]
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    call("build", "--no-isolation", ".")
    sdist, wheel = sorted((folder / "dist").iterdir(), key=lambda path: path.suffix)
    call("twine", "check", "--strict", str(sdist), str(wheel))
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    with zipfile.ZipFile(wheel) as archive:
        installed = set(archive.namelist())
    for place in ("docs", "benchmarks", "scripts", "tests", "nnunetv2_pclmix", "scribble_tools"):
        files = {
            path.relative_to(folder).as_posix()
            for path in (folder / place).rglob("*")
            if path.is_file()
        }
        assert files <= packed, "MANIFEST.in forgets files"
        if place in ("nnunetv2_pclmix", "scribble_tools"):
            assert files <= installed
    assert {"README.md", "CITATION.cff", "CHANGELOG.md", "LICENSE", "Makefile"} <= packed
    assert STARTUP_FILES <= installed


def test_half_removed_package_is_silent(tmp_path, wheel, borrowed):
    environment = Environment(tmp_path / "env", borrowed)
    environment.install("--no-compile", str(wheel))
    package = environment.site_packages / "nnunetv2_pclmix"

    def start() -> tuple[int, str, str]:
        result = environment.run("-c", PRINT_VARIABLE)
        return result.returncode, result.stdout.strip(), result.stderr

    assert start() == (0, str(package / "external_trainers"), "")
    shutil.rmtree(package / "external_trainers")
    assert start() == (0, "None", "")
    (package / "discovery.py").unlink()
    assert start() == (0, "None", "")
    shutil.rmtree(package)
    assert start() == (0, "None", "")


def test_lower_bounds_are_those_that_were_tried():
    # Importing setup.py must do nothing: nnU-Net does so if its folder is in nnUNet_extTrainer.
    requirements = map(Requirement, runpy.run_path(str(CHECKOUT / "setup.py"))["REQUIREMENTS"])
    bounds = {r.name.lower(): only(r.specifier) for r in requirements}
    assert {bound.operator for bound in bounds.values()} == {">="}
    lines = (CHECKOUT / "tests" / "lower_bounds.txt").read_text(encoding="utf-8").splitlines()
    tried = [Requirement(line) for line in lines if line and not line.startswith("#")]
    versions = {r.name.lower(): Version(only(r.specifier).version) for r in tried}
    assert versions.items() >= {n: Version(bound.version) for n, bound in bounds.items()}.items()


def test_doctor_of_the_installed_package(regular, tmp_path):
    """Where one folder is missing: what it says of the rest, and of that one."""
    folders = {n: tmp_path / n for n in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    for name in ("nnUNet_raw", "nnUNet_preprocessed"):
        folders[name].mkdir()
    doctor = regular.scripts / "nnunetv2_pclmix"
    variables = {name: str(folder) for name, folder in folders.items()}
    result = regular.call(doctor, "doctor", "--json", **variables)
    assert result.returncode == 1, result.stdout + result.stderr
    seen = json.loads(result.stdout)  # nothing of what nnU-Net says of its search
    trainer = next(check for check in seen["checks"] if check["name"] == "trainer")
    assert str(regular.site_packages / "nnunetv2_pclmix" / "trainer.py") in trainer["seen"]
    ill = [check for check in seen["checks"] if check["status"] == "error"]
    assert seen["ok"] is False and [check["name"] for check in ill] == ["nnUNet_results"]
    assert f'mkdir -p "{folders["nnUNet_results"]}"' in ill[0]["remedy"]
    assert not folders["nnUNet_results"].exists()
