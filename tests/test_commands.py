"""Every command of both packages is built the same way: see `scribble_tools.subcommands`."""

import argparse
import importlib
import inspect
import subprocess
import sys
from dataclasses import FrozenInstanceError, dataclass, fields
from pathlib import Path

import pytest

import nnunetv2_pclmix.cli
import scribble_tools.cli
from scribble_tools.arguments import options_of
from scribble_tools.subcommands import add_subcommands

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = {"scribble_tools": scribble_tools.cli, "nnunetv2_pclmix": nnunetv2_pclmix.cli}
MODULES = {
    " ".join((program, *words)): module_name
    for program, cli in PROGRAMS.items()
    for words, (module_name, _) in cli.COMMANDS.items()
}


@pytest.mark.parametrize("command", MODULES)
def test_the_fields_of_its_options_are_the_arguments(command):
    module = importlib.import_module(MODULES[command])
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    destinations = {action.dest for action in parser._actions} - {"help"}
    assert {field.name for field in fields(module.Options)} == destinations
    assert parser.description
    (parameter,) = inspect.signature(module.run, eval_str=True).parameters.values()
    assert (parameter.name, parameter.annotation) == ("options", module.Options)
    options = options_of(module.Options, argparse.Namespace(**dict.fromkeys(destinations)))
    with pytest.raises(FrozenInstanceError):
        setattr(options, destinations.pop(), 1)


@pytest.mark.parametrize("program", PROGRAMS)
def test_its_help_needs_nothing_of_torch(program):
    """The help of all commands in one process; where torch is needed, `run` imports it."""
    code = (
        "import sys\n"
        f"from {program}.cli import COMMANDS, main\n"
        "for words in COMMANDS:\n"
        "    try:\n        main([*words, '-h'])\n    except SystemExit as end:\n"
        "        assert not end.code, words\n"
        "    print(*words, sorted(sys.modules.keys() & {'torch', 'nnunetv2'}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    lines = done.stderr.splitlines()
    assert done.returncode == 0, done.stderr
    assert len(lines) == len(PROGRAMS[program].COMMANDS)
    assert all(line.endswith(" []") for line in lines), done.stderr


def test_a_command_gets_its_options_and_returns_its_exit_code(monkeypatch):
    @dataclass(frozen=True, kw_only=True)
    class Options:
        size: int
        loud: bool

    seen = []
    module = argparse.Namespace(
        Options=Options,
        add_arguments=lambda parser: (
            parser.add_argument("--size", type=int, default=3),
            parser.add_argument("--loud", action="store_true"),
        ),
        run=lambda options: seen.append(options) or 5,
    )
    monkeypatch.setitem(sys.modules, "a_command", module)
    parser = argparse.ArgumentParser("tool")
    words = ["draw", "--size", "7"]
    add_subcommands(parser, {("draw",): ("a_command", "draws")}, words)
    arguments = parser.parse_args(words)
    assert arguments.run(arguments) == 5
    assert seen == [Options(size=7, loud=False)]


@pytest.mark.parametrize("program", [nnunetv2_pclmix.cli, scribble_tools.cli])
def test_ctrl_c_while_a_command_is_imported_is_one_message(program, monkeypatch, capsys):
    words, (module, _) = next(iter(program.COMMANDS.items()))

    def interrupted(name):
        assert name == module
        raise KeyboardInterrupt

    monkeypatch.setattr("scribble_tools.subcommands.importlib.import_module", interrupted)
    assert program.main(list(words)) == 130
    assert "stopped by Ctrl-C. Nothing was written" in capsys.readouterr().err
