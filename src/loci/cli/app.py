"""The verbs put together; errors become one line and exit status 2."""

import sys

import typer

from loci.cli import (
    atlas,
    audit,
    census,
    circuits,
    concepts,
    demo,
    directions,
    doctor,
    edit,
    facts,
    forensics,
    lens,
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
    sweep,
    trace,
    write,
)
from loci.errors import LociError

app = typer.Typer(
    name="loci",
    help="Find, read, write, edit and audit the facts that a language model keeps in its weights.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (
    demo,
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
):
    app.command(verb.__name__.rpartition(".")[2])(verb.run)
app.add_typer(patch.app, name="patch")
app.add_typer(atlas.app, name="atlas")
app.add_typer(write.app, name="write")
app.add_typer(superposition.app, name="superposition")
app.add_typer(circuits.app, name="circuits")


def main() -> None:
    """Run the command line: status 0 if all is well, 2 for what the user can mend, 130 for Ctrl-C."""
    try:
        app()
    except LociError as error:
        print(f"loci: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except KeyboardInterrupt:
        print("loci: stopped", file=sys.stderr)  # noqa: T201
        sys.exit(130)
