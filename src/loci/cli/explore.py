"""loci explore: the local page."""

import shlex
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loci.cli.common import bar, emit, note
from loci.cli.console import console
from loci.cli.opening import Opening, opens
from loci.cli.options import JSON, whole, words
from loci.cli.terminal import plain
from loci.errors import UseError

if TYPE_CHECKING:
    from loci.explorer import Settings


PORT = Annotated[int, whole("the first port to try on 127.0.0.1; 0: any", low=0, high=65_535)]
KEEP = Annotated[
    Path | None,
    typer.Option(help="a folder in which patches stay; without it they go at the end"),
]
EXPORT = Annotated[
    Path | None,
    typer.Option(help="instead: write a static site of the atlas and some traces, and end"),
]
PROMPT = Annotated[
    list[str] | None,
    words(
        "with --export: a prompt to trace; repeat it for more. Braces mark a subject that is"
        " not known. By default facts that the model says",
        kind="TEXT",
    ),
]
ATLAS = Annotated[
    Path | None,
    typer.Option(help="with --export: an atlas of the model; by default one is built"),
]


@opens()
def run(
    port: PORT = 8321,
    browser: Annotated[bool, typer.Option(help="open the page in a browser")] = True,
    keep: KEEP = None,
    export: EXPORT = None,
    prompt: PROMPT = None,
    atlas: ATLAS = None,
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

        loci explore --export site

        loci explore -m gpt2 --export site --atlas gpt2-atlas --prompt "{Ada} lives in"
    """
    if export is not None:
        if keep is not None:
            raise UseError("--export writes no patches: leave --keep out")
        return site(opening, export, prompt, atlas, json)
    if prompt or atlas is not None:
        raise UseError("--prompt and --atlas go with --export")
    from loci.explorer import Explorer, serve
    from loci.files import check_writable

    if keep is not None:
        check_writable(keep / "patch.safetensors")
        keep.mkdir(parents=True, exist_ok=True)
    settings = settings_of(opening, port, keep)

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

    serve(settings, ready)


def settings_of(opening: Opening, port: int = 0, keep: Path | None = None) -> "Settings":
    from loci.explorer import Settings

    how = {**opening.how, "layout": str(opening.layout) if opening.layout is not None else None}
    return Settings(opening.model, how, port, keep)


def site(
    opening: Opening, folder: Path, prompts: list[str] | None, atlas: Path | None, json: bool
) -> None:
    """Write the static site."""
    from loci.explorer import export_site
    from loci.files import check_writable
    from loci.reading import open_atlas

    check_writable(folder, folder=True)
    book = open_atlas(atlas) if atlas is not None else None
    model = opening.open()
    with bar("writing the site") as progress:
        export_site(
            model,
            folder,
            prompts=prompts,
            atlas=book,
            settings=settings_of(opening),
            progress=progress,
        )
    files = [path for path in folder.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    if json:
        told = {"folder": str(folder), "files": len(files), "bytes": size}
        emit({"schema": "loci.explorer_export/1", "model": model.name, **told})
        return
    console.print(
        f"[bold]{plain(str(folder))}[/]: {len(files):,} files, {size / 1e6:.1f} MB. Put it on any"
        " web host, or look at it here:\npython -m http.server -d"
        f" {plain(shlex.quote(str(folder)))} -b 127.0.0.1 8000",
        soft_wrap=True,
    )
