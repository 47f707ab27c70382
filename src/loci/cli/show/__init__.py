"""`show(result)`: a result on a terminal, by its type, as `loci.plot` draws it."""

from loci.cli.show import (
    editing,
    patches,
)
from loci.cli.show.base import show

__all__ = [
    "editing",
    "patches",
    "show",
]
