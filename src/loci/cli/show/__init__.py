"""`show(result)`: a result on a terminal, by its type, as `loci.plot` draws it."""

from loci.cli.show import (
    circuits,
    dictionaries,
    editing,
    forensics,
    locating,
    model,
    patches,
    reading,
    replies,
    small,
    superposition,
    writing,
)
from loci.cli.show.base import show

__all__ = [
    "circuits",
    "dictionaries",
    "editing",
    "forensics",
    "locating",
    "model",
    "patches",
    "reading",
    "replies",
    "show",
    "small",
    "superposition",
    "writing",
]
