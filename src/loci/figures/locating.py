"""Figures of locating: several methods on one fact, severed routes, probes."""

import plotly.graph_objects as go

from loci.figures.theme import BLUE, DIVERGING, GREY, INK, MUTED, ORANGE, by_layer, styled
from loci.locating import Located, Probe, Routes
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


NAMES = {
    "edges": "last token may not attend to the subject",
    "mlp": "MLPs at the subject",
    "attn": "attention's output at the last token",
}
INKS = {"edges": INK, "mlp": BLUE, "attn": ORANGE}


def routes_figure(routes: Routes) -> go.Figure:
    """Lines with 95 % bands by layer; the loss with all layers cut stands in the legend."""
    figure = go.Figure()
    for cut, row in routes.by_layer.items():
        total, layers = routes.all_layers[cut], list(range(len(row)))
        band = [e.high for e in row] + [e.low for e in row][::-1]
        figure.add_trace(
            go.Scatter(
                x=layers + layers[::-1],
                y=band,
                mode="lines",
                fill="toself",
                fillcolor=INKS[cut],
                opacity=0.15,
                line={"width": 0},
                hoverinfo="skip",
                showlegend=False,
            )
        )
        figure.add_trace(
            go.Scatter(
                x=layers,
                y=[e.value for e in row],
                mode="lines+markers",
                line={"color": INKS[cut], "width": 2},
                name=f"{NAMES[cut]} (all layers: {total.value:.0%})",
                hovertemplate=f"{NAMES[cut]}, layer %{{x}}: %{{y:.1%}}<extra></extra>",
            )
        )
    figure.update_yaxes(title="P(answer) lost", tickformat=".0%", gridcolor=GREY)
    figure.update_xaxes(
        title="layer", dtick=max(1, len(next(iter(routes.by_layer.values()))) // 12)
    )
    bands = " 95 % bands;" if routes.n > 1 else ""
    note = (
        f"windows of {routes.window} layer{'s' * (routes.window > 1)};{bands} {routes.unknown}"
        " unknown facts left out"
    )
    return styled(
        figure, f"What recall needs, over {routes.n} fact{'s' * (routes.n != 1)}", note, height=400
    ).update_layout(legend={"orientation": "h", "y": -0.2})


def probe_figure(probe: Probe) -> go.Figure:
    """Held-out accuracy with 95 % bands; shuffled answers and the commonest answer as controls."""
    layers = ["embeddings", *map(str, range(len(probe.accuracy) - 1))]
    figure = go.Figure()
    for name, row, ink in (
        ("probe, held-out subjects", probe.accuracy, BLUE),
        ("probe of shuffled answers", probe.shuffled, MUTED),
    ):
        figure.add_trace(by_layer(row, layers, name, ink, ".1%"))
    figure.add_hline(
        y=probe.commonest.value,
        line={"color": GREY, "dash": "dash"},
        annotation={"text": "the commonest answer", "font": {"color": MUTED}},
    )
    figure.update_yaxes(range=[0, 1.05], tickformat=".0%", gridcolor=GREY)
    figure.update_xaxes(title="after layer")
    title = f"Reading {probe.relation or 'the answer'} off the subject's last token"
    note = (
        f"{probe.subjects} subjects, {len(probe.answers)} answers; {probe.folds} folds of held-out"
        " subjects, 95 % intervals"
    )
    return styled(figure, title, note, height=400).update_layout(
        legend={"orientation": "h", "y": -0.2}
    )
