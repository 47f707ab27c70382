"""Several methods on one fact: a strip of layers each, so that one sees where they agree."""

import plotly.graph_objects as go

from loci.figures.theme import DIVERGING, styled
from loci.locating import Located
from loci.stats import spelt


def located_figure(located: Located) -> go.Figure:
    """Each profile as a strip, scaled to its own largest entry; rows of one site stand together."""
    rows = {
        f"{site}: {name}": profile
        for site, rows in located.profiles.items()
        for name, profile in rows.items()
    }
    scaled = [
        [value / (max(map(abs, profile)) or 1.0) for value in profile] for profile in rows.values()
    ]
    heat = go.Heatmap(
        z=scaled,
        y=list(rows),
        customdata=list(rows.values()),
        zmin=-1,
        zmax=1,
        colorscale=DIVERGING,
        xgap=1,
        ygap=3,
        colorbar={"title": {"text": "share of row", "side": "top"}, "thickness": 12},
        hovertemplate="%{y}, layer %{x}: %{customdata:.3f}<extra></extra>",
    )
    figure = go.Figure(heat)
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(title="layer", dtick=max(1, len(scaled[0]) // 12))
    agreement = ", ".join(f"{site} {spelt(rho, '.2f')}" for site, rho in located.agreement.items())
    note = f"smallest rank correlation over layers: {agreement}"
    return styled(
        figure,
        f"“{located.prompt} → {located.answer}”: where several methods see it",
        note,
        height=330,
    )
