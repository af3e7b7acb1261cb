"""Names out of files and folders, made fit for a terminal and a log."""

from __future__ import annotations

import contextlib
import io
import sys
import unicodedata
from collections.abc import Iterator
from typing import TextIO

# Control characters (also terminal escapes), those that turn the direction of writing or are not
# seen, halves of characters (bytes of a name that are no UTF-8), and separators of lines.
UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(text: object, keep: str = "") -> str:
    r"""The text with every character that could deceive a reader written as ``\n`` or ``\u202e``.

    Args:
        keep: such characters to let pass.
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(c if _is_harmless(c) or c in keep else _escaped(c) for c in text)


def _is_harmless(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) not in UNSEEN


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # how Python writes a byte that is no UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


class PrintableStream(io.TextIOBase):
    """A text stream that writes to another one what `printable` leaves, lines and tabs kept."""

    def __init__(self, stream: TextIO, keep: str = "\n\t") -> None:
        self._stream = stream
        self._keep = keep

    @property
    def encoding(self) -> str:
        """Of the stream below."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Write the text; what the stream's encoding lacks is written as an escape too."""
        shown = printable(text, self._keep)
        self._stream.write(shown.encode(self.encoding, "backslashreplace").decode(self.encoding))
        return len(text)

    def flush(self) -> None:
        """Flush the stream below."""
        self._stream.flush()

    def isatty(self) -> bool:
        """Whether the stream below is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Of the stream below."""
        return self._stream.fileno()

    def writable(self) -> bool:
        """Always."""
        return True


@contextlib.contextmanager
def printable_output() -> Iterator[None]:
    """Within the block nothing reaches the terminal that is not fit for it.

    Progress bars, which write to standard error, go back to the beginning of their line.
    """
    out, err = PrintableStream(sys.stdout), PrintableStream(sys.stderr, "\n\t\r")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield
