"""Attention-only models of 0, 1 and 2 layers, trained in minutes, that show what circuits are made of."""

from loci.circuits.small.bigrams import Bigrams, bigrams
from loci.circuits.small.clauses import made_text
from loci.circuits.small.corner import CornerHead, Corners, corners
from loci.circuits.small.grammar import Grammar
from loci.circuits.small.measures import Checkpoint
from loci.circuits.small.phenomena import PHENOMENA, phenomenon
from loci.circuits.small.recipe import Recipe
from loci.circuits.small.series import Bases, History, Sizes, sizes
from loci.circuits.small.skips import Bug, Skips, bug, skips
from loci.circuits.small.training import Small, load, train

__all__ = [
    "PHENOMENA",
    "Bases",
    "Bigrams",
    "Bug",
    "Checkpoint",
    "CornerHead",
    "Corners",
    "Grammar",
    "History",
    "Recipe",
    "Sizes",
    "Skips",
    "Small",
    "bigrams",
    "bug",
    "corners",
    "load",
    "made_text",
    "phenomenon",
    "sizes",
    "skips",
    "train",
]
