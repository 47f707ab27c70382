"""Checks that all commands share: texts are text, numbers are numbers, names fit a file system; and
--quiet.
"""

import inspect
import math
import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from loci.cli import common
from loci.cli.net import Escaped

NAME_MAX = 255
PLACES = ("model", "config", "base", "edited", "first", "second", "query")
"""Options that are texts, and may be paths."""
QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="no progress and no notes on stderr")]


class Commands(TyperGroup):
    """All commands. What typer would turn into a status of its own, or a panel of many lines, goes
    on to the net.
    """

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """A command of two words, as `facts discover`, goes before the one of its first word."""
        if args[1:] and f"{args[0]} {args[1]}" in self.commands:
            args = [f"{args[0]} {args[1]}", *args[2:]]
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, OSError, EOFError) as error:
            raise Escaped from error


class Command(TyperCommand):
    """One command; its values are looked at before it runs."""

    def invoke(self, ctx: Any) -> Any:
        parameter: Any
        for parameter in self.params:
            values = ctx.params.get(parameter.name)
            for value in values if isinstance(values, (list, tuple)) else (values,):
                wrong = fault(value, parameter.name in PLACES)
                if wrong:
                    raise typer.BadParameter(wrong, ctx=ctx, param=parameter)
        return super().invoke(ctx)


def fault(value: object, place: bool = False) -> str | None:
    """The reason why a value cannot be used by any option; None where it can."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is no finite number"
    if isinstance(value, Path) or (place and isinstance(value, str)):
        if any(len(os.fsencode(part)) > NAME_MAX for part in _parts(str(value))):
            return f"a name of more than {NAME_MAX} bytes is no file's"
        if "\0" in str(value):
            return "a file's name has no character 0"
    elif isinstance(value, str):
        if "\0" in value:
            return "text has no character 0"
        if any(0xD800 <= ord(char) < 0xE000 for char in value):
            return "this is no text: bytes that are not UTF-8, or half a character"
    return None


def _parts(path: str) -> list[str]:
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return []
    return list(Path(path).parts)


class Verbs(typer.Typer):
    """Commands that are checked, and that know --quiet."""

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        add = super().command(name, cls=Command, **options)

        def added(verb: Callable[..., Any]) -> Callable[..., Any]:
            add(_with_quiet(verb))
            return verb

        return added


def _with_quiet(verb: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(verb)
    def run(*, quiet: bool, **given: Any) -> Any:
        common.quiet = quiet
        return verb(**given)

    signature = inspect.signature(verb)
    parameters = [
        parameter.replace(kind=parameter.KEYWORD_ONLY)
        for parameter in signature.parameters.values()
    ]
    parameters.append(
        inspect.Parameter("quiet", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=QUIET)
    )
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run
