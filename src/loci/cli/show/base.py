"""`show(result)`: the form of a result by its type, and the pieces that forms share."""

import math
from collections.abc import Mapping, Sequence
from functools import singledispatch
from itertools import product

from rich.markup import escape
from rich.table import Table

from loci import tables
from loci.cli.console import console
from loci.cli.tables import unsigned
from loci.cli.terminal import plain
from loci.locating import Attribution, Trace
from loci.result import Result
from loci.stats import Estimate, spelt

BLUE = "#2f7fd6"
SHADES = ("grey50", "default", BLUE, f"bold {BLUE}", f"bold reverse {BLUE}")
"""From nothing to most; each can be read on a light and on a dark screen."""


@singledispatch
def show(result: object) -> None:
    """Print a result. What comes from outside is escaped: names, tokens, cells, paths."""
    if not isinstance(result, Result):
        raise TypeError(f"{type(result).__name__} has no form on a terminal")
    for number, line in enumerate(result.summary()):
        console.print(f"[bold]{plain(line)}[/]" if number == 0 else plain(line))
    for table in result.tables():
        console.print(f"\n[dim]{plain(table.title)}[/]")
        console.print(of_table(table))


def of_table(table: tables.Table) -> Table:
    """A table as rich draws it: headings, and cells as text."""
    drawn = Table(*map(plain, table.headings), box=None, header_style="dim")
    for row in table.texts():
        drawn.add_row(*map(plain, row))
    return drawn


def estimate_row(table: Table, name: str, estimate: Estimate, *, percent: bool = True) -> None:
    form = ".1%" if percent else ".4f"
    table.add_row(
        escape(name),
        spelt(estimate.value, form),
        estimate.interval(form) if estimate.n else "",
        str(estimate.n),
    )


def shade(effect: float, limit: float) -> str:
    """An effect in hundredths, as dark as it is large; without colours it is the number alone."""
    if math.isnan(effect):
        return f"[{SHADES[0]}]   –[/]"
    level = min(len(SHADES) - 1, max(0, int(effect / limit * len(SHADES))))
    return f"[{SHADES[level]}]{unsigned(f'{100 * effect:.0f}'):>4}[/]"


def by_layer(
    title: str,
    rows: Mapping[str, Sequence[str]],
    first: str = "",
    last: Mapping[str, str] | None = None,
) -> Table:
    """A value for each row and layer: layers across where they fit, else down, so that none is left
    out.

    `first` heads a column before layer 0 that the rows begin with; `last` holds what all layers
    together have, by row.
    """
    heads = [
        *([first] if first else []),
        *map(str, range(len(next(iter(rows.values()))) - bool(first))),
    ]
    beyond = max(map(len, last.values())) + 2 if last else 0
    if max(map(len, [title, *rows])) + 6 * len(heads) + beyond <= console.width:
        table = Table(
            title, *heads, *(["all layers"] if last else []), box=None, header_style="dim"
        )
        for name, cells in rows.items():
            table.add_row(
                name, *(cell.replace("] ", "]") for cell in cells), *([last[name]] if last else [])
            )
        return table
    table = Table(f"{title}, layer" if title else "layer", box=None, header_style="dim")
    for name in rows:
        table.add_column(
            name, justify="right", max_width=max(8, (console.width - 12) // len(rows) - 2)
        )
    for i, head in enumerate(heads):
        table.add_row(head, *(cells[i] for cells in rows.values()))
    if last:
        table.add_row("all layers", *(last[name] for name in rows))
    return table


def short_token(token: str, width: int = 12) -> str:
    token = token.strip() or repr(token)
    return token if len(token) <= width else token[: width - 1] + "…"


def cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else plain(value)


def grid(trace: Trace | Attribution) -> None:
    """Indirect effects in hundredths: the kinds side by side where the terminal is wide enough,
    else one below the other.
    """
    limit = max(float(grid.max()) for grid in trace.grids.values()) or 1.0
    first, end = trace.subject_span
    labels = [short_token(token) + "*" * (first <= i < end) for i, token in enumerate(trace.tokens)]
    width = max(map(len, labels))
    layers = len(next(iter(trace.grids.values())))
    fits = width + len(trace.grids) * (4 * layers + 3) <= console.width
    most = layers if fits else max(4, (console.width - width - 2) // 4)
    most = -(
        -layers // -(-layers // most)
    )  # blocks of equal width: 9 and 9 of 18 layers, not 17 and 1
    parts = [range(start, min(start + most, layers)) for start in range(0, layers, most)]
    for kinds, shown in product(
        [list(trace.grids)] if fits else [[kind] for kind in trace.grids], parts
    ):
        blocks = {"": "   ".join(f"{kind}, layer:".ljust(4 * len(shown)) for kind in kinds)}
        blocks[" "] = "   ".join("".join(f"{layer:4}" for layer in shown) for _ in kinds)
        for head, text in blocks.items():
            console.print(f"[dim]{head.ljust(width + 2)}{text}[/]", no_wrap=True)
        for i, label in enumerate(labels):
            rows = (
                "".join(shade(float(trace.grids[kind][layer, i]), limit) for layer in shown)
                for kind in kinds
            )
            console.print(f"{escape(label.ljust(width))}  {'   '.join(rows)}", no_wrap=True)
        console.print()
    console.print("[dim]hundredths of P(answer) given back by restoring it; * subject[/]")


def narrow(first: str, *names: str) -> Table:
    """A table that fits a terminal of 80 columns with many columns; its first column is never
    folded.
    """
    table = Table(
        box=None, header_style="dim", padding=(0, 2, 0, 0) if console.width > 100 else (0, 1, 0, 0)
    )
    table.add_column(first, no_wrap=True)
    for name in names:
        table.add_column(name, no_wrap=name.endswith("interval"), justify="right")
    return table
