"""Text for a terminal of any encoding and any width, without control characters from outside.

Names, cells, tokens and messages come from files and models. `clean` shows their control characters
instead of sending them, `plain` also takes the meaning of rich's markup from them. Every string
from outside passes one of the two.
"""

import codecs
import os
import sys
from typing import Any

from rich.console import Console
from rich.errors import MarkupError
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from loci.cli.streams import on_stdout
from loci.cli.tables import aligned, lines

NARROW, USUAL, WIDE = 40, 80, 1000
BIDI = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}
"""Characters that turn the direction of what follows; the marks U+200E and U+200F are left, as are
joiners.
"""
HIDDEN = {*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *BIDI, *range(0xD800, 0xE000)}
SHOWN = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in HIDDEN} | {
    9: "\\t",
    10: "\\n",
    13: "\\r",
}
LINES = {code: text for code, text in SHOWN.items() if code not in (9, 10)}
PLAIN = str.maketrans(
    {
        "→": "->", "…": "...", "·": "*", "×": "x", "–": "-", "—": "-", "−": "-", "≥": ">=",
        "≤": "<=", "‖": "|", "°": " deg", "±": "+-",
        "“": '"', "”": '"', "‘": "'", "’": "'", "Σ": "sum", "σ": "sigma", "λ": "lambda",
        "Δ": "delta", "θ": "theta", "ε": "epsilon", "✓": "ok", "✗": "x", "█": "#", "▏": "|",
        "│": "|", "─": "-",
        "╭": "+", "╮": "+", "╰": "+", "╯": "+", "├": "+", "┤": "+", "•": "*", "₁": "1", "₀": "0",
        "²": "^2", "ᵀ": "^T",
    }
)  # fmt: skip


def clean(text: str) -> str:
    """The text in one line, its control characters shown as escapes."""
    return text.translate(SHOWN)


def plain(value: object) -> str:
    """A value from outside, in rich's markup: nothing in it is markup, a control character or a new
    line.
    """
    return escape(clean(str(value)))


class Terminal(Console):
    """A console that never sends a control character from outside, and prints what is no valid
    markup as it is.
    """

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # rich would end the process with status 1

    def print(self, *objects: Any, **options: Any) -> None:
        try:
            super().print(*map(self._laid_out, objects), **options)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise on_stdout(error) from error

    def _laid_out(self, thing: Any) -> Any:
        if isinstance(thing, Table):
            return aligned(thing)
        return lines(thing, self.width) if isinstance(thing, str) else thing

    @property
    def coloured(self) -> bool:
        """Whether a mark by colour is seen; where it is not, a mark by characters is needed."""
        return self.is_terminal and not self.no_color

    def render_str(self, text: str, **options: Any) -> Text:
        text = text.translate(LINES)
        try:
            return super().render_str(text, **options)
        except MarkupError:
            return super().render_str(text, **{**options, "markup": False})


def terminal(*, stderr: bool = False) -> Terminal:
    """A console on stdout or stderr."""
    return Terminal(stderr=stderr, highlight=False, emoji=False)


def prepare() -> None:
    """Before anything is printed: widths that show something, and streams that take every
    character.
    """
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit():
        width = int(columns[:9])
        os.environ["COLUMNS"] = str(USUAL if width == 0 else min(max(width, NARROW), WIDE))
    codecs.register_error("loci", _replaced)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="loci")


def is_unicode() -> bool:
    """Whether stdout takes every character."""
    return (
        (getattr(sys.stdout, "encoding", None) or "utf-8")
        .lower()
        .replace("-", "")
        .startswith("utf")
    )


def _replaced(error: UnicodeError) -> tuple[str, int]:
    """Replacements for characters that a stream cannot encode: look-alikes in ASCII, or escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    said = "".join(
        char.translate(PLAIN) if char.translate(PLAIN).isascii() else _escape(char) for char in lost
    )
    return said, error.end


def _escape(char: str) -> str:
    return char.encode("ascii", "backslashreplace").decode("ascii")
