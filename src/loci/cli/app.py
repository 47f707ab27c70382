"""The verbs put together."""

from typing import Annotated

import typer

from loci.cli import (
    ask,
    atlas,
    audit,
    cache,
    census,
    circuits,
    concepts,
    demo,
    dictionaries,
    directions,
    doctor,
    edit,
    explore,
    facts,
    forensics,
    lens,
    lessons,
    locate,
    lookup,
    memories,
    neurons,
    patch,
    probe,
    read,
    recall,
    routes,
    sparsity,
    superposition,
    survey,
    sweep,
    trace,
    write,
)
from loci.cli.net import run
from loci.cli.verbs import Commands, Verbs


def _version(wanted: bool) -> None:
    if wanted:
        from loci import __version__

        print(f"loci {__version__}")  # noqa: T201
        raise typer.Exit


app = Verbs(
    name="loci",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (
    demo,
    ask,
    recall,
    facts,
    locate,
    trace,
    lens,
    neurons,
    routes,
    probe,
    lookup,
    read,
    memories,
    sparsity,
    directions,
    concepts,
    edit,
    audit,
    forensics,
    sweep,
    doctor,
    census,
    lessons,
    explore,
):
    app.command(verb.__name__.rpartition(".")[2])(verb.run)
app.command("facts discover")(facts.discover)
app.add_typer(patch.app, name="patch")
app.add_typer(atlas.app, name="atlas")
app.add_typer(cache.app, name="cache")
app.add_typer(survey.app, name="survey")
app.add_typer(write.app, name="write")
app.add_typer(superposition.app, name="superposition")
app.add_typer(circuits.app, name="circuits")
app.add_typer(dictionaries.app, name="dictionaries")


@app.callback()
def about(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="say the version, and stop", is_eager=True, callback=_version
        ),
    ] = False,
) -> None:
    """Find, read, write, edit and audit the facts that a language model keeps in its weights."""


def main() -> None:
    """Run the command line in this process: its statuses are those of `loci.cli.net`."""
    run(app)
