"""The dispatcher: help for every sub-command, clear errors, nothing imported early."""

import subprocess
import sys

import pytest

import nnunetv2_pclmix.cli
from scribble_tools import cli


def run_and_exit(arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    return stop.value.code


def test_help_lists_every_sub_command(capsys):
    assert run_and_exit(["-h"]) == 0
    text = capsys.readouterr().out
    for name in cli.COMMANDS:
        assert name[0] in text
    assert "example:\n  scribble_tools " in text


@pytest.mark.parametrize("name", cli.COMMANDS, ids=" ".join)
def test_every_sub_command_explains_itself_with_an_example(name, capsys):
    assert run_and_exit([*name, "-h"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: scribble_tools {' '.join(name)}")
    assert f"scribble_tools {' '.join(name)} " in text.split("example", 1)[1]


def test_groups_list_their_sources(capsys):
    assert run_and_exit(["convert", "-h"]) == 0
    assert "acdc" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["convert"], ["evaluate", "only-one"]])
def test_wrong_usage_exits_with_2(arguments, capsys):
    assert run_and_exit(arguments) == 2
    assert "usage: scribble_tools" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["inspect . -np 0", "evaluate a b -np two"])
def test_a_number_of_things_is_at_least_one(words, capsys):
    assert run_and_exit(words.split()) == 2
    assert "is no whole number from 1 on" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["0", "1000", "hearts"])
def test_a_number_that_no_data_set_can_have_is_refused_before_files_are_read(number, capsys):
    words = f"convert acdc --images i --scribbles s --out o --dataset-id {number}"
    assert run_and_exit(words.split()) == 2
    told = capsys.readouterr().err
    assert "nnU-Net takes 1 to 999" in told or "is no whole number from 1 on" in told


@pytest.mark.parametrize("program", [cli, nnunetv2_pclmix.cli])
def test_an_option_that_does_not_exist_is_answered_with_the_one_that_is_meant(program, capsys):
    words = ["small-plans", "1", "--minuts=3"]
    meant = "unrecognized arguments: --minuts=3. Did you mean --minutes?\n"
    if program is cli:
        words = "convert folder --scribbles s --dataset-id 1 --out o --labels a=1 --unlabeled 0"
        words = [*words.split(), "--ignore", "4", "--strange"]
        meant = "--unlabeled 0 --ignore 4 --strange. Did you mean --unlabelled?\n"
    with pytest.raises(SystemExit) as stop:
        program.main(words)
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.endswith(meant)
    assert f" {words[0]} " in error.splitlines()[0], "the sub-command's usage"


def test_a_variable_that_is_not_set_is_not_the_current_folder(capsys):
    assert run_and_exit(["demo-data", "--out", ""]) == 2
    assert "an argument is empty: a variable such as $nnUNet_raw" in capsys.readouterr().err


def test_users_error_is_one_message_and_exit_code_1(tmp_path, capsys):
    assert cli.main(["evaluate", str(tmp_path / "a"), str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert captured.err == f"scribble_tools: error: {tmp_path / 'a'} is not a folder\n"
    assert captured.out == ""


def test_programming_errors_are_not_hidden(monkeypatch, tmp_path):
    import scribble_tools.evaluate.command as module

    def broken(args):
        raise KeyError("bug")

    monkeypatch.setattr(module, "run", broken)
    with pytest.raises(KeyError, match="bug"):
        cli.main(["evaluate", str(tmp_path), str(tmp_path)])


def test_help_imports_no_heavy_module():
    code = (
        "import sys\nfrom scribble_tools.cli import build_parser\nbuild_parser(['-h'])\n"
        "print(sorted({'numpy', 'scipy', 'SimpleITK', 'matplotlib', 'torch'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


EVIL = "\x1b[31m\u202eevil"


def test_names_reach_the_terminal_as_escapes(tmp_path, capsys):
    assert cli.main(["inspect", str(tmp_path / EVIL)]) == 1
    said = capsys.readouterr()
    assert r"\x1b[31m\u202eevil" in said.err and EVIL not in said.err
    with pytest.raises(SystemExit):
        cli.main([f"{EVIL}\x9b"])
    said = capsys.readouterr()
    assert r"\x1b[31m\u202eevil\x9b" in said.err
    assert "\x1b" not in said.err + said.out


def test_a_line_break_in_a_name_cannot_fake_a_line(tmp_path, capsys):
    with pytest.raises(SystemExit):
        cli.main(["inspect", "a\nscribble_tools: error: fake"])
    assert r"a\nscribble_tools: error: fake" in capsys.readouterr().err
    (tmp_path / "a\nscribble_tools: error: fake.nii.gz").write_text("")
    assert cli.main(["inspect", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "a line break stands in its name: rename it" in said
    assert not [line for line in said.splitlines() if line.startswith("scribble_tools: error: fa")]
