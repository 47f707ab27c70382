"""Keys to store facts at: on a sphere, along a decaying spectrum, or a model's own residual
vectors at subjects.

isotropic    uniform on the unit sphere
anisotropic  Gaussian with variances i^(−β), β = 1.5, scaled to unit length
a model's    what enters the MLP of a layer at the last token of each subject
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import FactError, WriteError
from loci.facts import Fact
from loci.model import Model, at_subjects
from loci.writing.table import FactTable

GEOMETRIES = ("isotropic", "anisotropic")
DECAY = 1.5


def case(dim: int, facts: int, geometry: str = "isotropic", seed: int = 0) -> FactTable:
    """The protocol's case: random keys, which are the values too, in a random order.

    Args:
        dim: dimension of the space.
        facts: number of keys.
        geometry: one of `GEOMETRIES`.
        seed: seed of every random draw.

    Returns: `FactTable`.
    Raises: `WriteError` for another geometry, and for fewer than two facts or dimensions.
    """
    if geometry not in GEOMETRIES:
        raise WriteError(f"there is no geometry {geometry!r}: {', '.join(GEOMETRIES)}")
    if facts < 2 or dim < 2:
        raise WriteError(
            f"a case needs two facts and two dimensions at least, not {facts} in {dim}"
        )
    source = torch.Generator().manual_seed(seed)
    keys = torch.randn(facts, dim, generator=source)
    if geometry == "anisotropic":
        keys *= torch.arange(1, dim + 1) ** (-DECAY / 2)
    return permuted(keys / keys.norm(dim=1, keepdim=True), source)


def permuted(keys: Float[Tensor, "fact d"], source: torch.Generator) -> FactTable:
    """Each key has another key, drawn without repetition, as its value."""
    return FactTable(keys, keys, torch.randperm(len(keys), generator=source))


def subject_case(
    model: Model, facts: Sequence[Fact], layer: int, count: int, seed: int = 0
) -> FactTable:
    """The protocol's case over a model's own subject keys, scaled to unit root-mean-square length.

    Args:
        model: an open model; it is left as it was.
        facts: one key for each subject.
        layer: whose MLP reads the keys.
        count: number of keys.
        seed: seed of every random draw.

    Returns: `FactTable`.
    Raises: `FactError` where there are fewer subjects than `count`.
    Cost: One short run a subject.
    """
    subjects = list({fact.subject: fact for fact in facts}.values())
    if len(subjects) < count:
        raise FactError(f"there are {len(subjects)} subjects, and {count} keys are asked for")
    keys = subject_keys(model, subjects[:count], layer)
    return permuted(keys / keys.pow(2).sum(1).mean().sqrt(), torch.Generator().manual_seed(seed))


def subject_keys(model: Model, facts: Sequence[Fact], layer: int) -> Float[Tensor, "fact d_model"]:
    """The (normed) input of a layer's MLP at the last token of each fact's subject, in its
    own prompt, in float32."""
    return at_subjects(model, facts, f"mlp_in.{layer}")[f"mlp_in.{layer}"].float()
