"""Patches and keys that tests make."""

from collections.abc import Sequence

import torch

from loci.facts import Fact
from loci.model import Model
from loci.patches import Factors, Patch

JORDAN = Fact("Michael Jordan", "{} plays the sport of", "basketball", relation="sport").to(
    "baseball"
)
BIRD = Fact("Larry Bird", "{} plays the sport of", "basketball", relation="sport").to("golf")
OSAKA = Fact("Osaka", "{} is a city in the country of", "Japan", relation="country").to("Peru")


def random_factors(out: int, into: int, rank: int, seed: int = 0, scale: float = 0.1) -> Factors:
    made = torch.Generator().manual_seed(seed)
    left, right = torch.randn(out, rank, generator=made), torch.randn(rank, into, generator=made)
    return Factors(left * scale, right * scale)


def patch_of(
    model: Model,
    names: Sequence[str],
    facts: Sequence[Fact] = (JORDAN,),
    rank: int = 2,
    seed: int = 0,
) -> Patch:
    """A random patch of named weights; what it changes depends on the seed."""
    shapes = {name: model.weight(name).shape for name in names}
    factors = {
        name: random_factors(*shape, rank, seed + i)
        for i, (name, shape) in enumerate(shapes.items())
    }
    return Patch("test", model.fingerprint, model.name, factors, tuple(facts), {"seconds": 1.5})


def all_names(model: Model, layer: int = 1) -> list[str]:
    """The weights of a layer that a patch can hold."""
    return [f"{stem}.{layer}" for stem in ("W_up", "W_down", *(["W_gate"] if model.gated else []))]
