"""Which neurons write similar things: spherical k-means over their values (Dhillon & Modha 2001;
clusters of values: Geva et al.

2022).

1. Values are brought to length 1, and centres drawn among them as in k-means++ (Arthur &
   Vassilvitskii 2007), with 1 − cosine as distance.
2. Each value goes to the centre with the largest cosine, each centre to the direction of its
   values' sum; an empty cluster takes the value that fits worst. Until nothing moves, or 50 times.
3. quality = mean of (b − a) / max(a, b), a the distance to the own centre and b to the next one:
   the simplified silhouette (Hruschka et al. 2004). 1: far apart, 0: no borders. A centre lies near
   its own values in any cloud, so the quality of no clusters is above 0.

Control: as many Gaussian vectors with the values' mean and covariance, clustered in the same way:
what correlations alone give.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from loci.errors import ModelError
from loci.linalg import symmetric_eigen
from loci.model import Weights
from loci.reading.value_projections import BLOCK, Scored, promoted, written
from loci.result import About, Result
from loci.stats import Estimate, mean
from loci.tables import Table, columns, joined

ROUNDS = 50
NAMED = 5


@dataclass(frozen=True)
class Cluster:
    """Neurons whose values point about the same way."""

    size: int
    cosine: float
    """Mean cosine between its values and their centre."""
    by_layer: tuple[int, ...]
    """How many of its neurons lie in each of the layers that were asked for."""
    nearest: tuple[str, ...]
    """The neurons nearest to the centre."""
    promotes: Scored
    """The tokens that the centre promotes."""


@dataclass(frozen=True)
class Clusters(Result):
    """Clusters of values, the tightest first among those of two neurons or more."""

    about: ClassVar[About] = About(
        "clusters of values",
        "Which neurons write similar things?",
        "Each row is a cluster and the words it promotes.",
        "reading.clusters_figure",
    )

    model: str
    layers: tuple[int, ...]
    neurons: int
    seed: int
    rounds: int
    quality: Estimate
    """Simplified silhouette, mean over neurons."""
    control: Estimate
    """The same of Gaussian vectors with the same mean and covariance."""
    clusters: tuple[Cluster, ...]

    def summary(self) -> tuple[str, ...]:
        return (
            f"Silhouette {self.quality}, against {self.control} for Gaussian vectors of the same"
            " covariance.",
        )

    def title(self) -> str:
        return f"{len(self.clusters)} clusters of {self.neurons:,} values of {self.model}"

    def tables(self) -> tuple[Table, ...]:
        return (
            Table(
                "The largest first",
                columns("neurons", "cosine|.2f", "promotes", "nearest to the centre"),
                tuple(
                    (
                        f"{own.size:,}",
                        own.cosine,
                        joined(token for token, _ in own.promotes[:6]),
                        ", ".join(own.nearest[:3]),
                    )
                    for own in self.clusters
                ),
                note="cosine: mean of a value to its cluster's centre; silhouette: 0 where there"
                " are no borders, 1 where all lie far apart",
                shown=40,
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in ("model", "neurons", "seed", "rounds")}
        rows = [
            {
                **vars(cluster),
                "promotes": [{"token": token, "score": score} for token, score in cluster.promotes],
            }
            for cluster in self.clusters
        ]
        estimates = {name: getattr(self, name).to_dict() for name in ("quality", "control")}
        return {
            "schema": "loci.clusters/1",
            **plain,
            "layers": list(self.layers),
            **estimates,
            "clusters": rows,
        }


@torch.no_grad()
def clusters(
    weights: Weights,
    count: int,
    *,
    layers: tuple[int, ...] | None = None,
    seed: int = 0,
    top: int = 8,
) -> Clusters:
    """Cluster MLP values by k-means on the sphere.

        loci.clusters(model, 64, layers=(4, 5))

    Args:
        weights: an open model or `open_weights`; nothing is run.
        count: number of clusters.
        layers: whose values; None: all together.
        seed: seed of every random draw.
        top: tokens listed that each centre promotes.

    Returns: `Clusters`.
    Raises: `ModelError` for mixtures of experts, a layer that is not there, and a count that is not
        between 2 and the number of neurons.
    Cost: At most 50 products of all values with the centres, twice.
    """
    chosen = tuple(range(weights.n_layers)) if layers is None else layers
    if weights.n_experts:
        raise ModelError(
            f"the MLPs of {weights.name!r} are mixtures of experts: there are no values in common "
            "to cluster"
        )
    if not chosen or any(not 0 <= layer < weights.n_layers for layer in chosen):
        raise ModelError(f"this model has layers 0 … {weights.n_layers - 1}")
    values = torch.cat([written(weights, layer).cpu() for layer in chosen])
    labels, centres, rounds = kmeans(normalize(values, dim=1), count, seed)
    like = normalize(gaussian_like(values, seed), dim=1)
    control = silhouettes(like, *kmeans(like, count, seed)[:2])
    rows = normalize(values, dim=1)
    groups = [
        _cluster(weights, chosen, rows, labels == i, centre, top)
        for i, centre in enumerate(centres)
        if (labels == i).any()
    ]
    groups.sort(key=lambda cluster: (cluster.size > 1, cluster.cosine), reverse=True)
    return Clusters(
        model=weights.name,
        layers=chosen,
        neurons=len(values),
        seed=seed,
        rounds=rounds,
        quality=mean(silhouettes(rows, labels, centres).tolist(), samples=500),
        control=mean(control.tolist(), samples=500),
        clusters=tuple(groups),
    )


def kmeans(
    rows: Float[Tensor, "neuron d"], count: int, seed: int = 0
) -> tuple[Int[Tensor, " neuron"], Float[Tensor, "cluster d"], int]:
    """Each row's cluster, the centres, and the rounds it took; rows are of length 1."""
    if not 2 <= count <= len(rows):
        raise ModelError(f"{len(rows)} values make 2 … {len(rows)} clusters, not {count}")
    centres = _drawn(rows, count, torch.Generator().manual_seed(seed))
    labels = torch.full((len(rows),), -1)
    rounds = 0
    while rounds < ROUNDS:
        rounds += 1
        cosines, nearest = _two(rows, centres)
        new, fits = nearest[:, 0], cosines[:, 0]
        empty = (new.bincount(minlength=count) == 0).nonzero()[:, 0]
        new[fits.argsort()[: len(empty)]] = empty
        if torch.equal(new, labels):
            break
        labels = new
        centres = normalize(torch.zeros_like(centres).index_add_(0, labels, rows), dim=1)
    return labels, centres, rounds


def _drawn(rows: Tensor, count: int, generator: torch.Generator) -> Float[Tensor, "cluster d"]:
    """First centres: each next one drawn in proportion to its distance from those that are
    there."""
    chosen = [int(torch.randint(len(rows), (), generator=generator))]
    distance = 1 - rows @ rows[chosen[0]]
    while len(chosen) < count:
        odds = distance.clamp(min=1e-9)
        odds[torch.tensor(chosen)] = 0
        chosen.append(
            int(
                torch.searchsorted(
                    odds.cumsum(0), torch.rand((), generator=generator) * odds.sum()
                ).clamp(max=len(rows) - 1)
            )
        )
        distance = torch.minimum(distance, 1 - rows @ rows[chosen[-1]])
    return rows[torch.tensor(chosen)]


def _two(
    rows: Tensor, centres: Tensor
) -> tuple[Float[Tensor, "neuron 2"], Int[Tensor, "neuron 2"]]:
    """Each row's two nearest centres, in blocks."""
    blocks = [(some @ centres.T).topk(2) for some in rows.split(max(1, BLOCK // len(centres)))]
    return torch.cat([block.values for block in blocks]), torch.cat(
        [block.indices for block in blocks]
    )


def silhouettes(
    rows: Float[Tensor, "neuron d"],
    labels: Int[Tensor, " neuron"],
    centres: Float[Tensor, "cluster d"],
) -> Float[Tensor, " neuron"]:
    """(b − a) / max(a, b) of each row."""
    cosines, nearest = _two(rows, centres)
    own = (rows * centres[labels]).sum(1)
    other = torch.where(nearest[:, 0] == labels, cosines[:, 1], cosines[:, 0])
    a, b = (1 - own).clamp(min=0), (1 - other).clamp(min=0)
    quality: Tensor = (b - a) / torch.maximum(a, b).clamp(min=1e-9)
    return quality


def gaussian_like(values: Float[Tensor, "neuron d"], seed: int = 0) -> Float[Tensor, "neuron d"]:
    """Gaussian vectors with the mean and covariance of these."""
    wide = values.double()
    center = wide.mean(0)
    size, basis = symmetric_eigen(
        (wide - center).T @ (wide - center) / len(wide), "the covariance of the neurons"
    )
    drawn = torch.randn(
        wide.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    turned: Tensor = (drawn * size.clamp(min=0).sqrt()) @ basis.T
    return (center + turned).float()


def _cluster(
    weights: Weights,
    layers: tuple[int, ...],
    rows: Tensor,
    inside: Tensor,
    centre: Tensor,
    top: int,
) -> Cluster:
    which = inside.nonzero()[:, 0]
    cosines = rows[which] @ centre
    near = which[cosines.topk(min(NAMED, len(which))).indices].tolist()
    return Cluster(
        size=len(which),
        cosine=float(cosines.mean()),
        by_layer=tuple((which // weights.d_mlp).bincount(minlength=len(layers)).tolist()),
        nearest=tuple(f"L{layers[i // weights.d_mlp]}N{i % weights.d_mlp}" for i in near),
        promotes=promoted(weights, centre.to(weights.W_U.device), top)[0],
    )
