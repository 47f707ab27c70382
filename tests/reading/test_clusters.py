"""Planted clusters, brute force for the silhouette, and a control that has the values'
covariance.
"""

import pytest
import torch
from tests.model.families import make
from torch.nn.functional import normalize

from loci.errors import ModelError
from loci.figures.reading import clusters_figure
from loci.model import Model
from loci.reading import clusters
from loci.reading.value_clusters import gaussian_like, kmeans, silhouettes


def planted(noise: float) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    centres, of = normalize(torch.randn(6, 24, generator=generator), dim=1), torch.arange(180) % 6
    return normalize(centres[of] + noise * torch.randn(180, 24, generator=generator), dim=1), of


def test_planted_clusters_are_found_and_clouds_are_not() -> None:
    rows, of = planted(0.05)
    labels, centres, _ = kmeans(rows, 6, seed=1)
    for one in range(6):
        assert len(labels[of == one].unique()) == 1
    assert len(labels.unique()) == 6
    like = normalize(gaussian_like(rows), dim=1)
    assert (
        silhouettes(rows, labels, centres).mean()
        > 0.7
        > 0.6
        > silhouettes(like, *kmeans(like, 6)[:2]).mean()
    )


def test_silhouettes_and_fixed_point_by_brute_force() -> None:
    rows, _ = planted(0.4)
    labels, centres, rounds = kmeans(rows, 9, seed=3)
    found = silhouettes(rows, labels, centres).tolist()
    assert rounds < 50
    for i, (row, label) in enumerate(zip(rows, labels.tolist(), strict=True)):
        distances = [1 - float(row @ centre) for centre in centres]
        assert distances[label] == pytest.approx(min(distances), abs=1e-6), "nothing moves any more"
        a, b = distances[label], min(d for j, d in enumerate(distances) if j != label)
        assert found[i] == pytest.approx((b - a) / max(a, b), abs=1e-4)
    for label in range(9):
        torch.testing.assert_close(centres[label], normalize(rows[labels == label].sum(0), dim=0))
    again, other = kmeans(rows, 9, seed=3), kmeans(rows, 9, seed=4)
    assert torch.equal(again[0], labels) and not torch.equal(other[0], labels)


def test_no_cluster_stays_empty() -> None:
    """Twenty copies of three rows still make five clusters without a hole that would be a zero
    centre.
    """
    labels, centres, _ = kmeans(torch.eye(3).repeat(20, 1), 5)
    assert torch.isfinite(centres).all() and set(labels.tolist()) <= set(range(5))


def test_the_control_keeps_mean_and_covariance() -> None:
    values = (
        torch.randn(4000, 5, generator=torch.Generator().manual_seed(0))
        @ torch.randn(5, 5, generator=torch.Generator().manual_seed(1))
        + 2
    )
    like = gaussian_like(values)
    torch.testing.assert_close(like.mean(0), values.mean(0), atol=0.15, rtol=0)
    torch.testing.assert_close(like.T.cov(), values.T.cov(), atol=0.4, rtol=0.1)


def test_the_embedded_model_has_clusters(demo: Model) -> None:
    found = clusters(demo, 24, layers=(3,))
    assert sum(cluster.size for cluster in found.clusters) == found.neurons == demo.d_mlp
    assert found.quality.low > found.control.high, (
        "values hang together more than their covariance says"
    )
    values = normalize(demo.W_down(3).T, dim=1)
    first = found.clusters[0]
    assert first.size > 1 and all(name.startswith("L3N") for name in first.nearest)
    near = values[[int(name[3:]) for name in first.nearest]]
    assert (near @ near.T).min() > 0.2
    document = found.to_dict()
    assert document["schema"] == "loci.clusters/1" and len(document["clusters"]) == len(
        found.clusters
    )
    assert f"{found.neurons:,} values (layer 3)" in clusters_figure(found).layout.title.text


def test_what_cannot_be_clustered(demo: Model) -> None:
    with pytest.raises(ModelError, match="mixtures"):
        clusters(make("mixtral", demo), 4)
    with pytest.raises(ModelError, match="layers 0 … 5"):
        clusters(demo, 4, layers=(6,))
    for count in (1, demo.d_mlp + 1):
        with pytest.raises(ModelError, match="2 … 1024 clusters"):
            clusters(demo, count, layers=(0,))
