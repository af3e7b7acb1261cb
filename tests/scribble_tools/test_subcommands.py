"""Help that fits the terminal, and a program of modules."""

import argparse

import pytest

from scribble_tools.subcommands import LAYOUT, Group, add_subcommands


def test_paragraphs_are_filled_and_examples_left_alone(monkeypatch):
    monkeypatch.setenv("COLUMNS", "42")
    example = "  tool --with a --line --that is --longer than the terminal"
    parser = argparse.ArgumentParser("tool", description="word " * 20, epilog=f"a:\n{example}\n\nb")
    parser.formatter_class = LAYOUT["formatter_class"]
    lines = parser.format_help().split("\n")
    assert example in lines and "a:" in lines and "b" in lines
    assert max(len(line) for line in lines if line != example) <= 42
    assert sum(line.count("word") for line in lines) == 20


def test_a_paragraph_of_several_lines_is_filled_as_one(monkeypatch):
    monkeypatch.setenv("COLUMNS", "42")
    text = "one two\nthree four five six seven eight nine\n\nan example:\n  tool\nmore"
    parser = argparse.ArgumentParser("tool", description=text, **LAYOUT)
    filled = "one two three four five six seven eight\nnine\n\nan example:\n  tool\nmore\n"
    assert filled in parser.format_help()


def test_words_with_hyphens_stay_whole(monkeypatch):
    monkeypatch.setenv("COLUMNS", "42")
    parser = argparse.ArgumentParser("tool", description="as " * 12 + "nnU-Net does", **LAYOUT)
    assert "\nnnU-Net does" in parser.format_help()


def test_only_the_module_that_is_asked_for_is_imported():
    table = {
        ("make", "one"): ("no.such.module", "makes one"),
        ("help",): ("neither.this", "helps"),
    }
    parser = argparse.ArgumentParser("tool")
    add_subcommands(parser, table, ["-h"], {"make": Group("makes things")})
    assert "makes things" in parser.format_help()
    with pytest.raises(ModuleNotFoundError, match="neither"):
        add_subcommands(argparse.ArgumentParser("tool"), table, ["help"], {"make": Group("")})
