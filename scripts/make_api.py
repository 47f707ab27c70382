"""Write docs/api.md from docstrings: python scripts/make_api.py (a test holds that it is current).

One section for `loci` and one for each room, in the order of their public names (`__all__`).
A row has the name, its parameters, and the first sentence of its docstring.
"""

import dataclasses
import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "api.md"
ROOMS = (
    "facts", "model", "text", "survey", "patches", "locating", "reading", "editing", "auditing", "writing",
    "circuits", "dictionaries", "figures", "report",
)  # fmt: skip
HEAD = """<!-- Written by scripts/make_api.py from docstrings; do not edit, run it again. -->

# API

Public names, with their parameters and the first sentence of their docstrings.
`help(name)` has the rest: formula, arguments with shapes and units, returns, errors, cost, source.
Results are frozen dataclasses with `plot`, `save`, `to_frame` and `to_dict`.
The studies have pages of their own: [superposition](superposition.md), [attention-only models](small_models.md).
"""


def parameters(thing: Any) -> str:
    """Parameters of a function, fields of a dataclass; nothing for other classes and constants."""
    if dataclasses.is_dataclass(thing):
        return ", ".join(field.name for field in dataclasses.fields(thing))
    if not inspect.isfunction(thing):
        return ""
    parts, starred = [], False
    for name, parameter in inspect.signature(thing).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            parts.append("\\*")
            starred = True
        starred |= parameter.kind is parameter.VAR_POSITIONAL
        optional = parameter.default is not parameter.empty
        parts.append(f"{name}=…" if optional else name)
    return ", ".join(parts)


def summary(thing: Any) -> str:
    """The first sentence of a docstring; a constant has none."""
    if not (inspect.isfunction(thing) or inspect.isclass(thing)):
        return f"constant ({type(thing).__name__})"
    text = inspect.getdoc(thing) or ""
    if dataclasses.is_dataclass(thing) and text.startswith(f"{thing.__name__}("):
        text = ""
    paragraph = " ".join(text.split("\n\n")[0].split())
    sentence = re.split(r"(?<=[.?!]) (?=[A-Z`])", paragraph)[0]
    return sentence.replace("|", "\\|")


def rows(module: Any) -> list[str]:
    """A table row for each public name of a module, except modules."""
    lines = ["| name | parameters or fields | |", "|---|---|---|"]
    for name in module.__all__:
        thing = getattr(module, name)
        thing = getattr(thing, "__wrapped__", thing)  # a cached function
        if not inspect.ismodule(thing):
            lines.append(f"| `{name}` | {parameters(thing)} | {summary(thing)} |")
    return lines


def page() -> str:
    """The whole page."""
    parts = [HEAD, "## loci\n", *rows(import_module("loci"))]
    for room in ROOMS:
        module = import_module(f"loci.{room}")
        title = " ".join((module.__doc__ or "").strip().split("\n\n")[0].split())
        parts += [f"\n## loci.{room}\n", f"{title}\n", *rows(module)]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"written: {PAGE}")
