"""`show(result)`: a result on a terminal, by its type, as `loci.plot` draws it."""

from loci.cli.show import (
    circuits,
    circuits_paths,
    dictionaries,
    directions,
    editing,
    forensics,
    locating,
    model,
    patches,
    reading,
    replies,
    small,
    superposition,
    superposition_toys,
    writing,
)
from loci.cli.show.base import show

__all__ = [
    "circuits",
    "circuits_paths",
    "dictionaries",
    "directions",
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
    "superposition_toys",
    "writing",
]
