"""Studies: experiments that train or build their own objects, and are not about a user's model.

superposition/      how many directions fit into d dimensions, what sharing them costs, toy
                    models that learn to share
attention_only/     attention-only models of 0, 1 and 2 layers, trained in minutes: bigrams,
                    skip-trigrams, induction
"""

from importlib import import_module
from typing import Any

__all__ = ["attention_only", "superposition"]


def __getattr__(name: str) -> Any:
    """Studies load when they are first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")
