"""What reaches a terminal cannot move its cursor, turn its text, or fake a line."""

import io
import sys

import pytest

from scribble_tools.trust.printable import PrintableStream, printable, printable_output


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Herz_ä_心臓 é", "Herz_ä_心臓 é"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[2Jgone\x9b1m", "\\x1b[2Jgone\\x9b1m"),
        ("abc\u202egnp.exe\u2066\u200b\ufeff", "abc\\u202egnp.exe\\u2066\\u200b\\ufeff"),
        ("a\u2028b\u2029c\x85d", "a\\u2028b\\u2029c\\x85d"),
        (b"a\xff".decode("utf-8", "surrogateescape"), "a\\xff"),
        ("no\u00a0break", "no\u00a0break"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_characters_that_deceive_are_written_as_escapes(text, shown):
    assert printable(text) == shown


def test_streams_keep_lines_and_write_what_their_encoding_has():
    raw = io.TextIOWrapper(io.BytesIO(), "ascii")
    stream = PrintableStream(raw)
    print("a\tä\x1b\n\u202eb", file=stream, flush=True)
    assert raw.buffer.getvalue() == b"a\t\\xe4\\x1b\n\\u202eb\n"


def test_everything_printed_within_the_block(capsys):
    with printable_output():
        print("\x1b[31mred\rover")
        print("\x1b[31mbar\r", file=sys.stderr)
    said = capsys.readouterr()
    assert said.out == "\\x1b[31mred\\rover\n"
    assert said.err == "\\x1b[31mbar\r\n"
