"""Who imports whom: layers that point one way, no circles, and packages that cost nothing.

A new room (a folder, or a module beside the folders) gets a place in `LAYERS`.
"""

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# From the bottom to the top: a room imports from rooms above its line in this list only, which are
# below it in the house. Imports inside functions count like all others.
LAYERS = {
    "scribble_tools": (
        "wording",
        "arguments csv_files json_files parallel problems text_tables",
        "trust",
        "subcommands",
        "storage",
        "images",
        "dataset",
        "convert check evaluate",
        "draw generate demo survey",
        "predict",
        "suggest report",
        "cli",
    ),
    "nnunetv2_pclmix": (
        "__init__ config discovery",
        "method",
        "watching",
        "training",
        "trainer",
        "variants train",
        "commands external_trainers",
        "cli",
    ),
}


def modules() -> dict[str, Path]:
    """Every module of both packages by its dotted name; of folders, their __init__."""
    return {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
        for package in LAYERS
        for file in sorted((ROOT / package).rglob("*.py"))
    }


MODULES = modules()


def imported(name: str) -> set[str]:
    """The modules of both packages that a module imports, wherever in its code."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name} imports relatively: write the whole name"
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            parts = whole & MODULES.keys()
            found |= parts | ({node.module} if len(parts) < len(whole) else set())
    return {other for other in found if other.split(".")[0] in LAYERS}


IMPORTS = {name: imported(name) for name in MODULES}


def room_of(name: str) -> str:
    """The first folder or module below the package."""
    return (*name.split("."), "__init__")[1]


def test_every_room_has_a_place():
    for package, layers in LAYERS.items():
        placed = " ".join(layers).split()
        rooms = {room_of(name) for name in MODULES if name.startswith(f"{package}.")}
        assert not rooms - set(placed), f"give {rooms - set(placed)} a place in LAYERS"
        assert len(placed) == len(set(placed))


def test_layers_point_one_way():
    wrong = []
    for package, layers in LAYERS.items():
        height = {room: number for number, rooms in enumerate(layers) for room in rooms.split()}
        for name in IMPORTS:
            for other in IMPORTS[name]:
                if not (name.startswith(package) and other.startswith(package)):
                    continue
                own, its = room_of(name), room_of(other)
                if own != its and height[its] >= height[own] and its != "__init__":
                    wrong.append(f"{name} imports {other}")
    assert not wrong


def test_no_circles():
    try:
        TopologicalSorter(IMPORTS).prepare()
    except CycleError as error:
        pytest.fail(f"circle: {' -> '.join(reversed(error.args[1]))}")


def test_the_data_tools_do_not_know_the_trainer():
    wrong = [
        f"{name} imports {other}"
        for name, others in IMPORTS.items()
        if name.startswith("scribble_tools")
        for other in others
        if other.startswith("nnunetv2_pclmix")
    ]
    assert not wrong


def test_the_trainer_imports_what_the_data_tools_offer():
    offered = ast.get_docstring(ast.parse(MODULES["scribble_tools"].read_text(encoding="utf-8")))
    public = {f"scribble_tools.{word.strip('`,.')}" for word in offered.split() if "`" in word}
    assert public and public <= MODULES.keys()
    wrong = [
        f"{name} imports {other}"
        for name, others in IMPORTS.items()
        if name.startswith("nnunetv2_pclmix")
        for other in others
        if other.startswith("scribble_tools") and other not in public
    ]
    assert not wrong, "take what is public, or name it in scribble_tools/__init__.py"


def test_the_answers_to_the_ten_questions_are_there():
    text = (ROOT / "docs" / "developing.md").read_text(encoding="utf-8")
    answers = re.findall(r"^- .*\? `([^`]+)`$", text, re.M)
    assert len(answers) == 10
    assert not [answer for answer in answers if not (ROOT / answer).is_file()]


@pytest.mark.parametrize("package", LAYERS)
def test_packages_import_nothing(package):
    for file in (ROOT / package).rglob("__init__.py"):
        docstring, *rest = ast.parse(file.read_text(encoding="utf-8")).body
        assert isinstance(docstring, ast.Expr), file
        assert not rest or file.parent.name == package == "nnunetv2_pclmix", file
        assert all(isinstance(node, ast.Assign) for node in rest), file  # the version


SLOW = ("numpy", "SimpleITK", "scipy", "torch", "matplotlib", "h5py", "nnunetv2", "jinja2", "PIL")


@pytest.mark.parametrize("package", LAYERS)
def test_help_imports_nothing_slow(package):
    """Whoever mistypes a command waits for Python's own start, not for torch."""
    code = (
        f"import sys; from {package}.cli import main\n"
        "try:\n    main(['-h'])\nexcept SystemExit:\n    pass\n"
        f"print(sorted(sys.modules.keys() & {set(SLOW)!r}), len(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.startswith(f"usage: {package}")
    assert done.stderr.startswith("[]"), done.stderr
