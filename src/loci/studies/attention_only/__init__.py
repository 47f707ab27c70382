"""Attention-only models of 0, 1 and 2 layers, trained in minutes, that show what circuits are made of."""

from loci.studies.attention_only.bigram_table import Bigrams, bigrams
from loci.studies.attention_only.grammar import Grammar
from loci.studies.attention_only.induction_heads import CornerHead, Corners, corners
from loci.studies.attention_only.measures import Checkpoint
from loci.studies.attention_only.phenomena import PHENOMENA, phenomenon
from loci.studies.attention_only.recipe import Recipe
from loci.studies.attention_only.skip_trigrams import Bug, Skips, bug, skips
from loci.studies.attention_only.synthetic_text import made_text
from loci.studies.attention_only.training import Small, load, train
from loci.studies.attention_only.training_series import Bases, History, Sizes, sizes

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
