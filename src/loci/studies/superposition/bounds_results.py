"""Bounds on the number of directions, at one angle and at several."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from loci.result import About, Result
from loci.tables import Table, columns


@dataclass(frozen=True)
class RuleOfThumb:
    """A rule of thumb for lines, judged by what is proved at this dimension and angle."""

    name: str
    log10: float
    verdict: str
    """false: above a proved bound; true: at or below a set that exists; open: between them."""

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


VERDICTS = {
    "true": "true here: so many exist",
    "open": "open: neither proved nor refuted",
    "false": "false: above a proved bound",
}


@dataclass(frozen=True)
class Bounds(Result):
    """log₁₀ of numbers of unit vectors of R^dim, of which no two are nearer than `angle`."""

    about: ClassVar[About] = About(
        "bounds",
        "How many directions fit?",
        "Green side exists, red side cannot; between them nobody knows.",
        "bounds.bounds_figure",
    )

    dim: int
    angle: float
    gilbert_varshamov_one_sided: float
    gilbert_varshamov_lines: float
    explicit_lines: float
    levenshtein_one_sided: float
    levenshtein_lines: float
    welch_lines: float
    johnson_lindenstrauss: float
    cap: float
    """Share of the sphere within the angle of a vector: σ."""
    drawn_one_sided: float
    drawn_lines: float
    mended_one_sided: float
    mended_lines: float
    welch_order: int
    kabatiansky_levenshtein_asymptotic: float
    scikit_learn: float
    """ln N = d (ε²/2 − ε³/3)/4: ε there is a distortion of squared distances, not a cosine."""
    explicit_count: int
    rules: tuple[RuleOfThumb, ...]

    @property
    def proved_lines(self) -> float:
        """The most lines that are known to exist, by the constructions above."""
        return max(self.gilbert_varshamov_lines, self.explicit_lines, math.log10(self.dim))

    def title(self) -> str:
        return f"Directions of R^{self.dim:,}, pairwise at least {self.angle:g}° apart"

    def tables(self) -> tuple[Table, ...]:
        explicit = (
            f"exists: {self.explicit_count:,} lines" if self.explicit_count < 1e15 else "exists"
        )
        rows = (
            (
                "a random draw, none removed",
                self.drawn_one_sided,
                self.drawn_lines,
                "with probability ½ no pair is nearer",
            ),
            (
                "… the nearer of bad pairs removed",
                self.mended_one_sided,
                self.mended_lines,
                "exists",
            ),
            (
                "Gilbert–Varshamov",
                self.gilbert_varshamov_one_sided,
                self.gilbert_varshamov_lines,
                "exists",
            ),
            ("explicit code", None, self.explicit_lines, explicit),
            (
                "Johnson–Lindenstrauss, e^(dε²/8)",
                None,
                self.johnson_lindenstrauss,
                "true, and weak",
            ),
            (
                "Levenshtein",
                self.levenshtein_one_sided,
                self.levenshtein_lines,
                "no more can exist",
            ),
            ("Welch", None, self.welch_lines, f"no more can exist (order {self.welch_order})"),
        )
        kabatiansky = self.kabatiansky_levenshtein_asymptotic
        return (
            Table(
                "log₁₀ of their number",
                columns("", "angle ≥ θ|.3f", "lines: θ … 180° − θ|.3f", ""),
                rows,
            ),
            Table(
                "Rules of thumb",
                columns("rule", "log₁₀|.3f", ""),
                tuple((own.name, own.log10, VERDICTS[own.verdict]) for own in self.rules),
                note=f"Kabatiansky–Levenshtein gives {kabatiansky:.3f}; it holds as d → ∞ and is no"
                " bound here",
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        main = (
            "gilbert_varshamov_one_sided",
            "gilbert_varshamov_lines",
            "explicit_lines",
            "levenshtein_one_sided",
        )
        upper = ("levenshtein_lines", "welch_lines", "johnson_lindenstrauss")
        more = (
            "cap",
            "drawn_one_sided",
            "drawn_lines",
            "mended_one_sided",
            "mended_lines",
            "scikit_learn",
        )
        return {
            "schema": "loci.superposition_bounds/1",
            "dim": self.dim,
            "angle": self.angle,
            "log10": {name: getattr(self, name) for name in (*main, *upper)},
            "more_log10": {
                name: getattr(self, name) for name in (*more, "kabatiansky_levenshtein_asymptotic")
            },
            "welch_order": self.welch_order,
            "explicit_count": str(self.explicit_count),
            "rules": [rule.to_dict() for rule in self.rules],
        }


@dataclass(frozen=True)
class BoundsTable(Result):
    """Bounds at one dimension and several angles."""

    about: ClassVar[About] = About(
        "bounds",
        "How many directions fit, by angle?",
        "Logarithms of the number of lines; no method passes the upper line.",
        "bounds.bounds_table_figure",
    )

    dim: int
    rows: tuple[Bounds, ...]

    def title(self) -> str:
        return f"Lines of R^{self.dim:,}, log₁₀ of their number (one-sided in brackets)"

    def tables(self) -> tuple[Table, ...]:
        rows = []
        for own in self.rows:
            rule, gv, top = own.rules[-1], own.gilbert_varshamov_lines, own.levenshtein_lines
            rows.append(
                (
                    f"{own.angle:g}°",
                    own.drawn_lines,
                    f"{gv:.3f} ({own.gilbert_varshamov_one_sided:.3f})",
                    own.explicit_lines,
                    f"{top:.3f} ({own.levenshtein_one_sided:.3f})",
                    own.welch_lines,
                    f"{rule.log10:.3f}" + " ✗" * (rule.verdict == "false"),
                )
            )
        heads = ("angle", "random draw|.3f", "Gilbert–Varshamov", "explicit code|.3f")
        return (
            Table(
                "By angle",
                columns(*heads, "Levenshtein", "Welch|.3f", "10^(d F²/1500)"),
                tuple(rows),
                note="exist: random draw (nothing removed), Gilbert–Varshamov, explicit;"
                " impossible above Levenshtein, Welch; ✗ false",
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.superposition_bounds_table/1",
            "dim": self.dim,
            "rows": [row.to_dict() for row in self.rows],
        }
