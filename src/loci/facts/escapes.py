r"""Unicode that was escaped twice: the six characters "\u00e9" where "é" was meant, as published
sets have it.
"""

import re
from typing import Any

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
