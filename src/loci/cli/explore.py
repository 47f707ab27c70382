"""loci explore: the local page."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from loci.cli.common import console, emit, note
from loci.cli.opening import Opening, opens
from loci.cli.options import JSON, whole
from loci.cli.terminal import plain


@opens()
def run(
    port: Annotated[
        int, whole("the first port to try on 127.0.0.1; 0: any", low=0, high=65_535)
    ] = 8321,
    browser: Annotated[bool, typer.Option(help="open the page in a browser")] = True,
    keep: Annotated[
        Path | None,
        typer.Option(help="a folder in which patches stay; without it they go at the end"),
    ] = None,
    *,
    opening: Opening,
    json: JSON = False,
) -> None:
    """A local page in which a fact is seen, followed, changed and put back. It stops by Ctrl-C, or
    by its own button.

    The page is for this machine alone: it listens on 127.0.0.1, and the address holds a token that
    nobody else knows. Nothing is loaded from the network. The model's files are never written.

    Examples:

        loci explore

        loci explore -m ./my-model --keep patches

        loci explore -m gpt2 --port 9000 --no-browser
    """
    from loci.explorer import Explorer, Settings, serve
    from loci.files import check_writable

    if keep is not None:
        check_writable(keep / "patch.safetensors")
        keep.mkdir(parents=True, exist_ok=True)
    how = {**opening.how, "layout": str(opening.layout) if opening.layout is not None else None}

    def ready(page: Explorer) -> None:
        for line in page.notes:
            note(line)
        if json:
            emit(
                {
                    "schema": "loci.explorer/1",
                    "url": page.url,
                    "port": page.port,
                    "model": opening.model,
                }
            )
        else:
            console.print(
                f"exploring [bold]{plain(opening.model)}[/] at\n[bold]{page.url}[/]\nCtrl-C"
                " stops it",
                soft_wrap=True,
            )
        if browser and not webbrowser.open(page.url):
            note("no browser opened: open the address yourself")

    serve(Settings(opening.model, how, port, keep), ready)
