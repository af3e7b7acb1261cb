"""``nnunetv2_pclmix doctor``: is everything in place for a training, and if not, what to do?

:func:`examine` looks and returns a list of :class:`Check`; :func:`report` turns it into text. The
doctor only reads: it never creates a file or a folder.
"""

import argparse
import dataclasses
import importlib
import inspect
import json
import os
import platform
import shlex
import shutil
import sys
from collections.abc import Callable
from importlib import metadata
from typing import TYPE_CHECKING, Literal

from nnunetv2_pclmix import __version__, discovery
from scribble_tools.wording import counted

if TYPE_CHECKING:  # the doctor must also start where dependencies are missing
    from packaging.requirements import Requirement

DISTRIBUTION = "nnunetv2-pclmix"
MARKS = {"ok": "ok     ", "warning": "warning", "error": "ERROR  "}


@dataclasses.dataclass(frozen=True)
class Check:
    """One thing the doctor looked at. ``remedy`` says what to do unless the status is ok."""

    name: str
    status: Literal["ok", "warning", "error"]
    seen: str
    remedy: str = ""


def examine() -> list[Check]:
    """Look at everything a training needs. Nothing is changed, and no failure is raised."""
    reinstall = (
        "Install the package and what it depends on again; in its source folder: pip install ."
    )
    reinstall_torch = (
        "torch and torchvision must come from the same place and fit each other: "
        "pip install --force-reinstall torch torchvision"
    )
    examinations = (
        ("Python", check_python, reinstall),
        ("versions", check_versions, reinstall),
        ("torchvision", check_torchvision, reinstall_torch),
        ("trainer", check_trainer, trainer_remedy()),
        ("folders", check_folders, "Set the three folders of nnU-Net."),
        ("device", check_device, reinstall_torch),
        ("compile", check_compile, reinstall),
        ("kernels", check_kernels, reinstall_torch),
    )
    return [check for examination in examinations for check in _guarded(*examination)]


def check_python() -> list[Check]:
    """Which Python runs on which operating system."""
    return [Check("Python", "ok", f"{platform.python_version()} on {platform.platform()}")]


def check_versions() -> list[Check]:
    """This package and everything it depends on, against the versions it asks for."""
    from packaging.requirements import Requirement

    try:
        requirements = [Requirement(line) for line in metadata.requires(DISTRIBUTION) or ()]
    except metadata.PackageNotFoundError:
        seen = f"{__version__}, not installed: the versions it depends on cannot be compared"
        return [Check(DISTRIBUTION, "warning", seen, "In its source folder: pip install .")]
    wanted = [r for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
    return [Check(DISTRIBUTION, "ok", __version__), *map(check_requirement, wanted)]


def check_requirement(requirement: "Requirement") -> Check:
    """Whether one package is installed in a version that ``requirement`` allows."""
    needs = str(requirement.specifier) or "any version"
    remedy = f'pip install "{requirement.name}{requirement.specifier}"'
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return Check(requirement.name, "error", f"not installed (needs {needs})", remedy)
    if requirement.specifier.contains(version, prereleases=True):
        return Check(requirement.name, "ok", f"{version} (needs {needs})")
    return Check(requirement.name, "error", f"{version}, but needs {needs}", remedy)


def check_torchvision() -> list[Check]:
    """Whether torchvision can be imported: with a torch of another build it cannot."""
    torchvision = importlib.import_module("torchvision")
    return [Check("torchvision", "ok", f"{torchvision.__version__} can be imported")]


def check_trainer() -> list[Check]:
    """Whether nnU-Net finds our trainer, and whether it is the same class every time."""
    ours = importlib.import_module("nnunetv2_pclmix.trainer").nnUNetTrainerPCLMix
    found, folder = discovery.find_trainer()
    again, _ = discovery.find_trainer()
    # nnU-Net forgets the modules below an external folder: then the class no longer has a file.
    module = sys.modules.get(found.__module__)
    file = module.__file__ if module else os.path.join(folder, f"{found.__module__}.py")
    place = f"{file}, by way of {folder}"
    if found is ours and again is ours:
        # the look-up says so on the screen, which reads like an error
        after = "after a 'not found' among its own trainers "
        seen = f"{after}nnU-Net finds {discovery.TRAINER} in {place}"
        return [Check("trainer", "ok", seen)]
    if _normal(file) == _normal(inspect.getfile(ours)):
        seen = f"imported anew on every look-up, so it could not be pickled: {place}"
        return [Check("trainer", "error", seen, trainer_remedy())]
    remedy = f"Remove or rename that file; ours is {inspect.getfile(ours)}"
    return [Check("trainer", "error", f"not the one of this package: {place}", remedy)]


def trainer_remedy() -> str:
    """The line that makes nnU-Net look into our folder, keeping what else the user has set."""
    package = _normal(os.path.dirname(discovery.FOLDER))
    # A folder at or above the package makes nnU-Net import our modules under other names.
    kept = [
        folder
        for folder in os.environ.get(discovery.VARIABLE, "").split(os.pathsep)
        if folder.strip() and not f"{package}{os.sep}".startswith(f"{_normal(folder)}{os.sep}")
    ]
    value = discovery.with_our_folder(os.pathsep.join(kept))
    return f"Set the folders that nnU-Net scans: {set_variable(discovery.VARIABLE, value)}"


def check_folders() -> list[Check]:
    """The three folders of nnU-Net: set, there, and writable."""
    return [check_folder(name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")]


def check_folder(name: str) -> Check:
    """Whether the environment variable ``name`` holds a folder that can be written to."""
    folder = os.environ.get(name, "")
    if not folder:
        example = os.path.join(os.path.expanduser("~"), "nnunet", name.removeprefix("nnUNet_"))
        make = shlex.join(["mkdir", "-p", example])
        remedy = f"{make} && {set_variable(name, example)}   (or any other folder)"
        return Check(name, "error", "not set", remedy)
    if not os.path.isdir(folder):
        remedy = f'mkdir -p "{folder}"   (or set {name} to another folder)'
        return Check(name, "error", f"{folder} is not a folder", remedy)
    if not os.access(folder, os.W_OK | os.X_OK):
        # A training only reads the raw data; the two other folders it writes to.
        status = "warning" if name == "nnUNet_raw" else "error"
        remedy = f'chmod u+rwx "{folder}"   (or set {name} to another folder)'
        return Check(name, status, f"{folder} cannot be written to", remedy)
    return Check(name, "ok", folder)


def check_device() -> list[Check]:
    """The device a training would run on, and what that means for it."""
    import torch

    device = best_device()
    if device == "cuda":
        gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        seen = ", ".join(f"{gpu.name} ({gpu.total_memory / 2**30:.1f} GiB)" for gpu in gpus)
        return [Check("device", "ok", f"CUDA: {seen}")]
    if device == "mps":
        seen = "MPS (Apple): works, but several times slower than a CUDA GPU"
        return [Check("device", "warning", seen, "Train with: nnUNetv2_train ... -device mps")]
    seen = (
        f"CPU only, {os.cpu_count()} cores: enough for a look at small data; "
        "a full training would take weeks"
    )
    remedy = (
        "Use a machine with a CUDA GPU (and torch's CUDA build), "
        "or shrink the plans (nnunetv2_pclmix small-plans -h) and train with: "
        "nnUNetv2_train ... -p nnUNetPlans_small -device cpu"
    )
    return [Check("device", "warning", seen, remedy)]


def best_device() -> str:
    """``cuda``, ``mps`` or ``cpu``: the fastest kind of device that torch can use here."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def check_compile() -> list[Check]:
    """Whether the trainer would compile its network on this machine's device."""
    import torch

    from nnunetv2_pclmix.trainer import nnUNetTrainerPCLMix

    # The trainer's own answer, without the plans and data set that its constructor asks for.
    trainer = object.__new__(nnUNetTrainerPCLMix)
    trainer.device = torch.device(best_device())
    trainer.print_to_log_file = lambda *_, **__: None
    compiles = trainer._do_i_compile()
    setting = os.environ.get("nnUNet_compile")
    seen = (
        f"{'on' if compiles else 'off'} for {trainer.device.type} "
        f"(nnUNet_compile is {'not set' if setting is None else repr(setting)})"
    )
    compilers = [os.environ.get("CC") or "cc", "gcc", "clang"]
    if compiles and not any(map(shutil.which, compilers)):
        remedy = f"Install a C compiler, or: {set_variable('nnUNet_compile', 'f')}"
        return [Check("compile", "error", f"{seen}, but there is no C compiler", remedy)]
    return [Check("compile", "ok", seen)]


def check_kernels() -> list[Check]:
    """Whether our kernels for a GPU run on it; without them torch does the same more slowly."""
    from nnunetv2_pclmix.commands.machine import kernels

    if best_device() != "cuda":
        return []
    tried = kernels()
    failed = [f"{what}: {kernel.why_not}" for what, kernel in tried.items() if kernel.why_not]
    if failed:
        remedy = "A training is right without them, but slower. Triton, and a C compiler, may help."
        return [Check("kernels", "warning", f"do not run; {'; '.join(failed)}", remedy)]
    return [Check("kernels", "ok", f"{' and '.join(tried)} run on the GPU as they should")]


def set_variable(name: str, value: str) -> str:
    """The line that sets an environment variable in the shell of this operating system."""
    if os.name == "nt":
        return f"$env:{name} = '{value.replace(chr(39), chr(39) * 2)}'"
    return f"export {name}={shlex.quote(value)}"


def report(checks: list[Check]) -> str:
    """The checks as text for a terminal: one line each, remedies below what they are for."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{MARKS[check.status]}  {check.name:<{width}}  {check.seen}")
        if check.remedy:
            lines.append(f"{'':9}{'':{width}}  -> {check.remedy}")
    errors = sum(check.status == "error" for check in checks)
    warnings = sum(check.status == "warning" for check in checks)
    lines += ["", f"{counted(errors, 'error')}, {counted(warnings, 'warning')}"]
    return "\n".join(lines)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says, see ``-h``."""

    json: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments and help."""
    parser.description = (
        "Check everything a training needs. Exit status 1 if something must be put "
        "right first, with the remedy. Nothing is changed."
    )
    parser.add_argument("--json", action="store_true", help="print the checks as JSON")


def run(options: Options) -> int:
    """Examine, print, and return the exit status: 1 if any check is an error."""
    checks = examine()
    healthy = all(check.status != "error" for check in checks)
    if options.json:
        print(
            json.dumps({"ok": healthy, "checks": list(map(dataclasses.asdict, checks))}, indent=2)
        )
    else:
        print(report(checks))
    return 0 if healthy else 1


def _guarded(name: str, examination: Callable[[], list[Check]], remedy: str) -> list[Check]:
    try:
        return examination()
    # A folder in nnUNet_extTrainer may hold anything, even a script that ends with sys.exit().
    except (Exception, SystemExit) as error:
        return [Check(name, "error", f"{type(error).__name__}: {error}", remedy)]


def _normal(folder: str) -> str:
    return os.path.normcase(os.path.realpath(folder)).rstrip(os.sep)
