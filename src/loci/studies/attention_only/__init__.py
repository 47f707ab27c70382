"""Attention-only models of 0, 1 and 2 layers, trained in minutes (Elhage et al. 2021).

training         `train`, `load`; recipe: the settings; init_model: the untrained module
synthetic_text   text whose statistics are known exactly, from grammar; training_text: or a user's
bigram_table     0 layers: the model becomes its text's bigrams
skip_trigrams    1 layer: skip-trigrams, and their bug
induction_heads  2 layers: K-composition makes induction heads; training_series: as they form
phenomena        `phenomenon`: each of these from nothing
"""

from loci.deprecated import renamed
from loci.studies.attention_only.bigram_table import BigramTable, bigrams
from loci.studies.attention_only.grammar import Grammar
from loci.studies.attention_only.induction_heads import SecondLayerHead, TwoLayerInduction, corners
from loci.studies.attention_only.measures import TrainingCheckpoint
from loci.studies.attention_only.phenomena import PHENOMENA, phenomenon
from loci.studies.attention_only.recipe import Recipe
from loci.studies.attention_only.skip_trigrams import SkipTrigramBug, SkipTrigrams, bug, skips
from loci.studies.attention_only.synthetic_text import made_text
from loci.studies.attention_only.training import SmallModel, load, train
from loci.studies.attention_only.training_series import (
    HeadSizes,
    OptimizerBases,
    TrainingHistory,
    sizes,
)

__getattr__ = renamed(
    __name__,
    {
        "Bases": "OptimizerBases",
        "Bigrams": "BigramTable",
        "Bug": "SkipTrigramBug",
        "Checkpoint": "TrainingCheckpoint",
        "CornerHead": "SecondLayerHead",
        "Corners": "TwoLayerInduction",
        "History": "TrainingHistory",
        "Sizes": "HeadSizes",
        "Skips": "SkipTrigrams",
        "Small": "SmallModel",
    },
)
__all__ = [
    "PHENOMENA",
    "BigramTable",
    "Grammar",
    "HeadSizes",
    "OptimizerBases",
    "Recipe",
    "SecondLayerHead",
    "SkipTrigramBug",
    "SkipTrigrams",
    "SmallModel",
    "TrainingCheckpoint",
    "TrainingHistory",
    "TwoLayerInduction",
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
