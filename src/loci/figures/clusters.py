"""Clusters of values: how tight each is, how large, and what it promotes."""

import plotly.graph_objects as go

from loci.figures.theme import BLUE, GREY, INK, styled
from loci.figures.updates import shown
from loci.reading import Clusters

NAMED = 24


def clusters_figure(result: Clusters) -> go.Figure:
    """The tightest clusters of two neurons or more: mean cosine to the centre, size, and the first
    tokens of the centre.
    """
    rows = [cluster for cluster in result.clusters if cluster.size > 1][:NAMED]
    words = [", ".join(shown(token) for token, _ in cluster.promotes[:5]) for cluster in rows]
    figure = go.Figure(
        go.Bar(
            x=[cluster.cosine for cluster in rows],
            y=list(range(len(rows))),
            orientation="h",
            marker_color=BLUE,
            text=[f"{cluster.size} neurons" for cluster in rows],
            textposition="outside",
            textfont={"size": 11, "color": INK},
            customdata=[", ".join(cluster.nearest) for cluster in rows],
            hovertemplate=(
                "mean cosine %{x:.2f}; nearest to the centre: %{customdata}<extra></extra>"
            ),
        )
    )
    figure.update_yaxes(
        tickvals=list(range(len(rows))), ticktext=words, autorange="reversed", tickfont_size=11
    )
    figure.update_xaxes(
        title="mean cosine of a value to its cluster's centre",
        range=[0, 0.12 + max((cluster.cosine for cluster in rows), default=1)],
        gridcolor=GREY,
    )
    layers = (
        f"layer {result.layers[0]}" if len(result.layers) == 1 else f"{len(result.layers)} layers"
    )
    note = (
        f"{len(result.clusters)} clusters of {result.neurons:,} values ({layers}), the {len(rows)}"
        f" tightest; silhouette {result.quality}, Gaussian vectors of the same covariance"
        f" {result.control}"
    )
    return styled(
        figure,
        f"Neurons of {result.model} that write similar things",
        note,
        height=150 + 22 * len(rows),
    )
