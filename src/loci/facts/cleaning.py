"""Repairs of text that comes from outside: white space at its ends, and characters escaped twice.

A tokenizer makes another token of a word behind two spaces, or behind none. So the one space that
joins a prompt and its answer is put by the model's side alone, and whatever a file or a shell left
at the ends is taken off where a fact is made. Published sets hold the six characters "\\u00e9"
where "é" was meant.
"""

import re
from typing import Any

SPACES = " \t\u00a0\u3000"


def strip_prompt(text: str) -> str:
    """The text without spaces at its ends; line breaks stay, by which a chat template ends."""
    return text.strip(SPACES)


def stripped(texts: tuple[str, ...], *, prompts: bool) -> tuple[str, ...]:
    """Prompts or answers without spaces at their ends."""
    return tuple(map(strip_prompt if prompts else str.strip, texts))


ESCAPE = re.compile(r"(?:\\u[0-9a-fA-F]{4})+")


def repaired(value: Any) -> Any:
    """A JSON value with the escapes in its texts undone; those that make no characters (half a
    pair) stay as they are.
    """
    if isinstance(value, str):
        return ESCAPE.sub(_character, value)
    if isinstance(value, dict):
        return {name: repaired(item) for name, item in value.items()}
    return [repaired(item) for item in value] if isinstance(value, list) else value


def _character(match: re.Match[str]) -> str:
    units = bytes.fromhex(match[0].replace("\\u", ""))
    try:
        return units.decode("utf-16-be")
    except UnicodeDecodeError:
        return match[0]
