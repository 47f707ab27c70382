"""Open a transformer, name its parts, run it with reads and patches, replay it from any layer."""

from loci.model.answers import AnswerScore, answer_of, complete, first_sentence, next_tokens, score_answers
from loci.model.hooks import Edit
from loci.model.layouts import LAYOUTS, Layout
from loci.model.model import Logits, Model, by_length
from loci.model.open import open_model, open_weights, quiet
from loci.model.points import POINTS, Point
from loci.model.replay import Recording
from loci.model.tokens import Tokens
from loci.model.weights import Folded, Norm, Weights

__all__ = [
    "LAYOUTS",
    "POINTS",
    "AnswerScore",
    "Edit",
    "Folded",
    "Layout",
    "Logits",
    "Model",
    "Norm",
    "Point",
    "Recording",
    "Tokens",
    "Weights",
    "answer_of",
    "by_length",
    "complete",
    "first_sentence",
    "next_tokens",
    "open_model",
    "open_weights",
    "quiet",
    "score_answers",
]
