"""Open a transformer, name its parts, run it with reads and patches, replay it from any layer.

open                `open_model`; `sources`, `stored`, `config`: its files, checked
layouts             where a family's parts are; `families`: the rows; `invariants`: the check
points              names of tensors; `pointed`, `accessors`, `hooks`: read and replaced
weights             weights by their names; `modules`; `mapped`: left in their files
running             a forward pass; `replay`: from layer L on; `reads`: at one position
generation          samples and greedy text; `answers`, `answer_rule`, `joins`: answers of facts
tokens              text to tokens with offsets; `frames`: shots and chats
health              the doctor; `health_checks`, `health_run`
fingerprint         SHA-256 of the weights; `parameter_census`: their number
gguf/               GGUF files
"""

from loci.deprecated import renamed
from loci.model.answer_rule import OwnAnswer, answer_of, own_answer, own_answers
from loci.model.answers import AnswerScore, complete, first_sentence, next_tokens, score_answers
from loci.model.families import LAYOUTS
from loci.model.frames import Frame
from loci.model.given import fact_from, fact_given, facts_given, model_given, texts_given
from loci.model.health import Diagnosis, doctor
from loci.model.health_run import Check
from loci.model.hooks import Edit
from loci.model.layouts import Layout
from loci.model.model import Model
from loci.model.modules import Source, is_conv1d
from loci.model.open import open_empty, open_model, open_weights
from loci.model.parameter_census import Census
from loci.model.parameter_counts import census, published
from loci.model.points import POINTS, Point
from loci.model.reads import at_subjects, read_at
from loci.model.replay import Recording, short_attention
from loci.model.silence import quiet
from loci.model.sources import DEMO, folder_of
from loci.model.tokenised import Logits, by_length, by_near_length
from loci.model.tokens import Tokens
from loci.model.weights import Folded, Norm, Weights

__getattr__ = renamed(__name__, {"examine": "doctor"})
__all__ = [
    "DEMO",
    "LAYOUTS",
    "POINTS",
    "AnswerScore",
    "Census",
    "Check",
    "Diagnosis",
    "Edit",
    "Folded",
    "Frame",
    "Layout",
    "Logits",
    "Model",
    "Norm",
    "OwnAnswer",
    "Point",
    "Recording",
    "Source",
    "Tokens",
    "Weights",
    "answer_of",
    "at_subjects",
    "by_length",
    "by_near_length",
    "census",
    "complete",
    "doctor",
    "fact_from",
    "fact_given",
    "facts_given",
    "first_sentence",
    "folder_of",
    "is_conv1d",
    "model_given",
    "next_tokens",
    "open_empty",
    "open_model",
    "open_weights",
    "own_answer",
    "own_answers",
    "published",
    "quiet",
    "read_at",
    "score_answers",
    "short_attention",
    "texts_given",
]
