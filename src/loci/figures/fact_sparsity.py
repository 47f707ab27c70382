"""Facts against the units that carry half of their effect."""

import plotly.graph_objects as go

from loci.dictionaries import FactSparsity
from loci.dictionaries.fact_units import BASES
from loci.errors import UseError
from loci.figures.theme import BLUE, GREY, INK, ORANGE, styled

INKS = dict(zip(BASES, (BLUE, ORANGE, INK), strict=True))


def fact_sparsity_figure(result: FactSparsity) -> go.Figure:
    """For each basis, the share of facts that so many units or fewer serve. Raises `UseError` where
    no fact was taken apart.
    """
    if not result.rows:
        raise UseError("no fact has an effect there: there is nothing to draw")
    figure = go.Figure()
    for basis in BASES:
        rows = result.of(basis)
        needed = sorted(row.needed for row in rows if row.needed is not None)
        figure.add_trace(
            go.Scatter(
                x=[1, *needed],
                y=[sum(n == 1 for n in needed) / len(rows)]
                + [(i + 1) / len(rows) for i in range(len(needed))],
                mode="lines",
                line={"shape": "hv", "color": INKS[basis], "width": 2},
                name=basis,
                hovertemplate=f"{basis}: %{{x}} serve %{{y:.0%}}<extra></extra>",
            )
        )
    figure.update_xaxes(type="log", title="units restored, the strongest first", gridcolor=GREY)
    figure.update_yaxes(
        range=[0, 1.02], tickformat=".0%", title="facts with half of the effect", gridcolor=GREY
    )
    figure.update_layout(legend={"orientation": "h", "y": -0.2})
    medians = ", ".join(f"{basis} {result.needed(basis).value:.0f}" for basis in BASES)
    note = f"{result.taken} facts through {result.target} of {result.model}; medians: {medians}"
    return styled(figure, "Does a fact live in few features?", note, height=480)
