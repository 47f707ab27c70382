"""loci cache: what is kept of what was computed, and how to be rid of it."""

import time
from typing import Annotated

import typer

from loci.cli.common import emit
from loci.cli.console import console
from loci.cli.options import JSON, CacheKind, number
from loci.cli.terminal import plain
from loci.cli.verbs import Verbs

app = Verbs(help="What Loci keeps of what it computed: look at it, clear it.", no_args_is_help=True)
DAY = 86_400.0


@app.command("show")
def show(json: JSON = False) -> None:
    """The folder, its limit (LOCI_CACHE_LIMIT, in GB), and how much is kept of each kind.

    Example:

        loci cache show
    """
    from loci.cache import entries, limit_bytes, summary
    from loci.files import cache_folder

    folder, most, kinds = cache_folder(), limit_bytes(), summary(entries())
    total = sum(kind["bytes"] for kind in kinds)
    if json:
        emit(
            {
                "schema": "loci.cache/1",
                "folder": str(folder) if folder else None,
                "bytes": total,
                "limit_bytes": most,
                "kinds": kinds,
            }
        )
        return
    if folder is None:
        console.print("nothing is kept: LOCI_CACHE is empty, or there is no home folder")
        return
    for kind in kinds:
        console.print(
            plain(
                f"{kind['kind']:>8}  {kind['entries']:>6,}  {_size(kind['bytes']):>10} "
                f" {kind['what']}"
            )
        )
    console.print(
        plain(
            f"{'in all':>8}  {'':>6}  {_size(total):>10}  of {_size(most) if most else 'any size'},"
            f" in {folder}"
        )
    )


@app.command("clear")
def clear(
    kind: Annotated[CacheKind | None, typer.Argument(help="this kind alone")] = None,
    older: Annotated[
        float, number("what was not used for so many days", "--older-than", high=100_000)
    ] = 0.0,
    json: JSON = False,
) -> None:
    """Remove what is kept, all of it or some. Nothing is lost but time: it is made again when it is
    needed.

    Examples:

        loci cache clear

        loci cache clear moments --older-than 30
    """
    from loci.cache import entries, remove

    latest = time.time() - older * DAY
    gone = remove(
        entry for entry in entries() if kind in (None, entry.kind) and entry.used <= latest
    )
    freed = sum(entry.bytes for entry in gone)
    if json:
        emit(
            {
                "schema": "loci.cache_clear/1",
                "entries": len(gone),
                "bytes": freed,
                "paths": [str(entry.path) for entry in gone],
            }
        )
    else:
        console.print(f"removed: {len(gone):,} entries, {_size(freed)}")


def _size(count: int) -> str:
    return f"{count / 1e9:,.2f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
