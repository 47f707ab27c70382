"""Write docs/cli.md: every command with its arguments, options and examples.

python scripts/make_cli_reference.py
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import typer.main

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
INTRO = """<!-- Written by scripts/make_cli_reference.py from the commands; do not edit, run it again. -->

# Commands

Every command with what it takes. `--help` behind a command prints the same.
Every command has `--quiet` (no progress on stderr) and `--help`; they are not repeated below.
What commands promise about failure stands in the [README](../README.md#what-is-promised-about-failure).

"""
OPENING = (
    "model",
    "device",
    "dtype",
    "device_map",
    "bos",
    "join",
    "layout",
    "pickle",
    "trust_remote_code",
)
"""Options of every command that opens a model and runs it; described once."""
LEFT_OUT = {"help", "quiet", "install_completion", "show_completion"}


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All commands below one, with their names."""
    if isinstance(getattr(command, "commands", None), dict):
        for name, below in command.commands.items():
            yield from commands(below, (*path, name))
    else:
        yield path, command


def page() -> str:
    """The whole page."""
    from loci.cli.app import app

    found = sorted(commands(typer.main.get_command(app)))
    names = [" ".join(path) for path, _ in found]
    index = " · ".join(f"[{name}](#loci-{name.replace(' ', '-')})" for name in names)
    sections = [_opening(dict(found)[("trace",)])]
    sections += [_section(path, command) for path, command in found]
    return INTRO + index + "\n\n" + "\n".join(sections)


def _opening(command: Any) -> str:
    """The options of an opened model, described once."""
    rows = [_row(p) for p in command.params if p.name in OPENING]
    head = ["## Options of an opened model", "", "| option | takes | |", "|---|---|---|"]
    return "\n".join([*head, *rows, ""])


def _section(path: tuple[str, ...], command: Any) -> str:
    text = re.sub(r"\n{2,}", "\n\n", (command.help or "").strip())
    said, _, examples = text.partition("Examples:")
    lines = [f"## loci {' '.join(path)}", "", _one_line(said), ""]
    asked = {p.name for p in command.params}
    opens = set(OPENING) <= asked
    left = LEFT_OUT | (set(OPENING) if opens else set())
    rows = [_row(p) for p in command.params if p.name not in left and not p.hidden]
    if opens:
        lines += ["Takes the [options of an opened model](#options-of-an-opened-model), and:", ""]
    if rows:
        lines += ["| option | takes | |", "|---|---|---|", *rows, ""]
    shown = [line.strip() for line in examples.splitlines() if line.strip()]
    if shown:
        lines += ["```text", *shown, "```", ""]
    return "\n".join(lines)


def _one_line(text: str) -> str:
    """Paragraphs, each on one line; what looks like HTML is no HTML."""
    paragraphs = (" ".join(part.split()) for part in text.split("\n\n"))
    return "\n\n".join(part.replace("<", "&lt;") for part in paragraphs if part)


def _row(parameter: Any) -> str:
    argument = parameter.param_type_name == "argument"
    names = [parameter.metavar or parameter.name.upper()] if argument else list(parameter.opts)
    names += [] if argument else list(parameter.secondary_opts)
    told = [parameter.help or ""]
    if parameter.required:
        told.append("required")
    elif _has_default(parameter):
        told.append(f"default {parameter.default}")
    cells = (
        " ".join(f"`{name}`" for name in names),
        _takes(parameter),
        "; ".join(filter(None, told)),
    )
    return "| " + " | ".join(cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells) + " |"


def _has_default(parameter: Any) -> bool:
    value = parameter.default
    return value is not None and not isinstance(value, bool) and value != () and not callable(value)


def _takes(parameter: Any) -> str:
    """The values of a parameter: choices, a range, or a word for them."""
    annotation = parameter.type_descriptor.annotation
    if getattr(annotation, "__origin__", None) is list:
        annotation = get_args(annotation)[0]
    if annotation is bool:
        return ""
    if parameter.type_descriptor.is_choice:
        choices = get_args(annotation) or tuple(choice.value for choice in annotation)
        return ", ".join(str(choice) for choice in choices)
    if annotation in (int, float):
        return f"{parameter.min} … {parameter.max}"
    return str(parameter.metavar or ("PATH" if annotation is Path else "TEXT"))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
