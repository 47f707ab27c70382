"""Open a transformer, name its parts, run it with reads and patches, replay it from any layer."""

from loci.model.answers import AnswerScore, answer_of, complete, first_sentence, next_tokens, score_answers
from loci.model.hooks import Edit
from loci.model.layouts import LAYOUTS, Layout
from loci.model.model import Logits, Model, by_length
from loci.model.open import open_model, quiet
from loci.model.points import POINTS, Point
from loci.model.replay import Recording
from loci.model.tokens import Tokens

__all__ = [
    "LAYOUTS",
    "POINTS",
    "AnswerScore",
    "Edit",
    "Layout",
    "Logits",
    "Model",
    "Point",
    "Recording",
    "Tokens",
    "answer_of",
    "by_length",
    "complete",
    "first_sentence",
    "next_tokens",
    "open_model",
    "quiet",
    "score_answers",
]
