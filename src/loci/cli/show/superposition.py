"""How many directions fit and what they cost, on a terminal."""

import math
from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from loci.cli.console import console
from loci.cli.show.base import show
from loci.studies.superposition import (
    BestAngles,
    Bounds,
    BoundsTable,
    Interference,
    Packing,
    VerifiedCode,
    VideoExperiment,
    WeightAngles,
)

VERDICTS = {
    "true": "true here: so many exist",
    "open": "open: neither proved nor refuted",
    "false": "[red]false: above a proved bound[/]",
}


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(*columns, box=None, header_style="dim")
    for row in rows:
        table.add_row(*row)
    console.print(table)


@show.register
def show_bounds(found: Bounds) -> None:
    console.print(
        f"[bold]Directions of R^{found.dim:,}, pairwise at least {found.angle:g}° apart[/], log₁₀"
        " of their number\n"
    )
    rows = (
        (
            "a random draw, none removed",
            found.drawn_one_sided,
            found.drawn_lines,
            "with probability ½ no pair is nearer",
        ),
        ("… the nearer of bad pairs removed", found.mended_one_sided, found.mended_lines, "exists"),
        (
            "Gilbert–Varshamov",
            found.gilbert_varshamov_one_sided,
            found.gilbert_varshamov_lines,
            "exists",
        ),
        (
            "explicit code",
            None,
            found.explicit_lines,
            f"exists: {found.explicit_count:,} lines" if found.explicit_count < 1e15 else "exists",
        ),
        ("Johnson–Lindenstrauss, e^(dε²/8)", None, found.johnson_lindenstrauss, "true, and weak"),
        ("Levenshtein", found.levenshtein_one_sided, found.levenshtein_lines, "no more can exist"),
        ("Welch", None, found.welch_lines, f"no more can exist (order {found.welch_order})"),
    )
    _table(
        ("", "angle ≥ θ", "lines: θ … 180° − θ", ""),
        [
            (name, "" if one is None else f"{one:.3f}", f"{both:.3f}", f"[dim]{what}[/]")
            for name, one, both, what in rows
        ],
    )
    console.print()
    _table(
        ("rule of thumb", "log₁₀", ""),
        [(rule.name, f"{rule.log10:.3f}", VERDICTS[rule.verdict]) for rule in found.rules],
    )
    console.print(
        f"\n[dim]Kabatiansky–Levenshtein gives {found.kabatiansky_levenshtein_asymptotic:.3f}; it"
        " holds as d → ∞ and is no bound here[/]"
    )


@show.register
def show_bounds_table(found: BoundsTable) -> None:
    console.print(
        f"[bold]Lines of R^{found.dim:,}[/], log₁₀ of their number (one-sided in brackets)\n"
    )
    columns = (
        "angle",
        "random draw",
        "Gilbert–Varshamov",
        "explicit code",
        "Levenshtein",
        "Welch",
        "10^(d F²/1500)",
    )
    rows = []
    for row in found.rows:
        rule = row.rules[-1]
        cells = (
            f"{row.drawn_lines:.3f}",
            f"{row.gilbert_varshamov_lines:.3f} ({row.gilbert_varshamov_one_sided:.3f})",
            f"{row.explicit_lines:.3f}",
            f"{row.levenshtein_lines:.3f} ({row.levenshtein_one_sided:.3f})",
            f"{row.welch_lines:.3f}",
            f"[red]{rule.log10:.3f} ✗[/]" if rule.verdict == "false" else f"{rule.log10:.3f}",
        )
        rows.append((f"{row.angle:g}°", *cells))
    _table(columns, rows)
    console.print(
        "\n[dim]exist: random draw (nothing removed), Gilbert–Varshamov, explicit; impossible above"
        " Levenshtein, Welch; ✗ false[/]"
    )


@show.register
def show_reach(found: BestAngles) -> None:
    console.print(
        f"[bold]10^{found.log10_count:.4g} directions of R^{found.dim:,}[/], degrees between the"
        " nearest two\n"
    )
    rows = [
        (name, f"{side.drawn:.3f}", f"{side.possible:.3f}", side.by, f"{side.limit:.3f}")
        for name, side in (("lines", found.lines), ("one-sided", found.one_sided))
    ]
    _table(
        ("", "a random draw (median)", "known to be possible", "by", "limit (Levenshtein)"), rows
    )


@show.register
def show_built(found: VerifiedCode) -> None:
    own = found.codes
    console.print(
        f"[bold]{own.count:,} lines of R^{own.dim:,}[/], at least {own.angle:.4f}° apart (|cosine|"
        f" ≤ {own.coherence:g})\n"
    )
    rows = []
    for one in found.verified:
        how = (
            "all pairs"
            if one.complete
            else (
                f"{one.looked_at:,} of {one.classes:,} classes of pairs sampled; the rest by its"
                " rank"
            )
        )
        rows.append(
            (one.kind, f"{one.dim:,}", f"{one.lines:,}", f"{one.promised:g}", f"{one.found:g}", how)
        )
    _table(("code", "dimensions", "lines", "|cosine| promised", "found", "verified"), rows)
    met = (
        ": met, so no set of lines is larger"
        if abs(found.limit - math.log10(own.count)) < 1e-9
        else ""
    )
    console.print(
        f"\nlog₁₀: {math.log10(own.count):.4f}; Levenshtein's bound at this angle"
        f" {found.limit:.4f}{met}"
    )


@show.register
def show_packing(found: Packing) -> None:
    side = found.reach.lines if found.lines else found.reach.one_sided
    kind = "lines" if found.lines else "vectors"
    console.print(
        f"[bold]{found.after.vectors:,} {kind} in {found.after.dim:,} dimensions[/], degrees"
        " between the nearest two\n"
    )
    rows = [
        ("random draw", f"{found.drawn:.2f}"),
        (f"after {found.steps} steps", f"[bold]{found.closest:.2f}[/]"),
        ("known to be possible", f"{side.possible:.2f} ({side.by})"),
        ("limit (Levenshtein)", f"{side.limit:.2f}"),
    ]
    _table(("", "degrees"), rows)


@show.register
def show_video(found: VideoExperiment) -> None:
    console.print(f"[bold]{found.shown.vectors:,} vectors in {found.shown.dim:,} dimensions[/]\n")
    rows = [
        (
            name,
            f"{a.share(89, 91):.2%}",
            f"{1 - a.share(80, 100):.2%}",
            f"{a.beyond(0.9):.3%}",
            f"{a.closest_line:.2f}",
            f"{a.median_nearest:.2f}",
        )
        for name, a in (
            ("random draw", found.drawn),
            ("as shown", found.shown),
            ("pushed apart", found.honest.after),
        )
    ]
    _table(
        ("", "89° … 91°", "outside 80° … 100°", "|cos| > 0.9", "nearest pair", "median nearest"),
        rows,
    )
    console.print(
        f"\n{found.twins:.0%} of the vectors as shown have a twin at |cosine| above 0.999. All"
        f" pairs within 1° of 90° is possible for {found.most_within_1:,} lines at most; so many"
        f" have a pair nearer than {found.honest.reach.lines.limit:.2f}°"
    )


@show.register
def show_interference(found: Interference) -> None:
    console.print(
        f"[bold]{found.features} features in {found.dim} dimensions[/]: share of random sets of k"
        " read back whole\n"
    )
    rows = [
        (
            curve.kind,
            name,
            *(f"{e.value:.0%}" for e in row),
            f"k ≤ {curve.for_all}" if name == "threshold" else "",
        )
        for curve in found.curves
        for name, row in curve.whole.items()
    ]
    _table(("directions", "decoder", *(f"k={k}" for k in found.active), "every set"), rows)
    console.print()
    needed = found.needed
    rows = [
        (name, *map(str, dims), f"k^{needed.power(name):.2f}") for name, dims in needed.dims.items()
    ]
    _table(("dimensions needed (random)", *(f"k={k}" for k in needed.active), "grows as"), rows)


@show.register
def show_weights(found: WeightAngles) -> None:
    console.print(
        f"[bold]{escape(found.model)}[/]{', centred' if found.centred else ''}: degrees to the"
        " nearest other, as lines\n"
    )
    rows = [
        (
            escape(s.name if s.layer is None else f"{s.name} {s.layer}"),
            f"{s.angles.vectors:,} × {s.angles.dim}",
            f"{s.angles.median_nearest:.1f}",
            f"{s.random.median_nearest:.1f}",
            f"{s.angles.closest_line:.1f}",
            f"{s.random.closest_line:.1f}",
            f"{s.limit:.1f}",
            f"{s.mean_cosine:+.3f}",
            f"{s.effective_rank:.0f}",
            f"{s.per_dimension:.1f}",
        )
        for s in found.spaces
    ]
    columns = (
        "",
        "vectors",
        "median",
        "random",
        "nearest pair",
        "random",
        "limit",
        "mean cosine",
        "effective rank",
        "features a dimension",
    )
    _table(columns, rows)
