"""The metrics of an audit: one table of their names, in full and in short, and what they mean.

    METRICS["specificity"].label        "specificity: neighbours unchanged"
    METRICS["drift_kl"].told(0.0123)    "0.0123"

Terminal, page, figures, explorer and docs/auditing.md take their words from it. A share is of
greedy full answers (protocol `greedy-full/3`, see `questions`).
"""

import math
from typing import NamedTuple

from loci.stats import Estimate


class MetricWords(NamedTuple):
    """The words for one metric, and how its values read."""

    label: str
    """In figures and on pages."""
    short: str
    """On a terminal."""
    plainly: str
    """For people who do not know the literature: the explorer's words."""
    meaning: str
    """The quantity that it measures, in the words of the docs."""
    form: str = ".1%"
    """A share, unless it says otherwise."""

    @property
    def is_share(self) -> bool:
        """Whether it is a share, of which 1 is best."""
        return self.form.endswith("%")

    def told(self, value: float) -> str:
        """A value as text; nothing as a dash."""
        return "–" if math.isnan(value) else format(value, self.form)


METRICS = {
    "efficacy": MetricWords(
        "efficacy",
        "efficacy",
        "says the new answer",
        "share of edits whose prompt gets the new answer, or one of its aliases",
    ),
    "paraphrase": MetricWords(
        "paraphrase",
        "paraphrase",
        "in other words",
        "share of other prompts for the same fact that get the new answer",
    ),
    "paraphrase_untrained": MetricWords(
        "paraphrase, unseen phrasing",
        "… unseen",
        "in words never trained on",
        "the same, of those prompts that the model never saw in training",
    ),
    "alias": MetricWords(
        "subject under another name",
        "alias",
        "the subject under another name",
        "share of prompts with another name of the subject that get one of their right answers",
    ),
    "reverse": MetricWords(
        "the other way round",
        "reverse",
        "from the answer to the subject",
        "share of prompts from the answer to the subject that get one of their right answers",
    ),
    "logical": MetricWords(
        "what follows logically",
        "logical",
        "what follows logically",
        "share of questions that follow from the edit, by symmetry or inversion, answered right",
    ),
    "two_hop": MetricWords(
        "one step further",
        "two hop",
        "one step further",
        "share of questions one relation before or after the edit that are answered right",
    ),
    "specificity": MetricWords(
        "specificity: neighbours unchanged",
        "specificity",
        "other subjects stay",
        "share of the relation's prompts about other subjects that keep the base's answer",
    ),
    "specificity_same_answer": MetricWords(
        "specificity: neighbours of the same answer",
        "… same answer",
        "others with the old answer stay",
        "the same, of those subjects whose answer is the edit's old one",
    ),
    "same_subject": MetricWords(
        "same subject: other facts unchanged",
        "same subject",
        "subject's other facts stay",
        "share of the subject's other facts that keep the base's answer",
    ),
    "kept": MetricWords(
        "other true answers unchanged",
        "kept",
        "other true answers stay",
        "share of further answers of the relation that stay; where right, any right one counts",
    ),
    "same_answer": MetricWords(
        "others of the new answer unchanged",
        "same answer",
        "others with the new answer stay",
        "share of questions about subjects that have the new answer already that stay",
    ),
    "unrelated": MetricWords(
        "unrelated questions unchanged",
        "unrelated",
        "unrelated answers stay",
        "share of questions about something else altogether that stay",
    ),
    "efficacy_likelier": MetricWords(
        "efficacy by probability",
        "new likelier",
        "the new answer is likelier than the old",
        "share of edits with P(new) > P(old), by mean log-probability a token: the literature's"
        " version, which says less",
    ),
    "paraphrase_likelier": MetricWords(
        "paraphrase by probability",
        "… paraphrased",
        "… in other words",
        "the same, of other prompts for the fact",
    ),
    "drift_kl": MetricWords(
        "drift on text, nats",
        "drift, nats",
        "drift on plain sentences (nats)",
        "mean KL(base ‖ edited) of the next token on control sentences, in nats",
        ".4f",
    ),
    "perplexity_ratio": MetricWords(
        "perplexity ratio",
        "perplexity",
        "perplexity, edited over base",
        "exp of the mean change of −log P a token on those sentences; 1 is no change",
        ".4f",
    ),
    "fluency": MetricWords(
        "fluency, bits",
        "fluency, bits",
        "n-gram entropy of what it writes",
        "½ (⅔ H₂ + 4⁄3 H₃) in bits: entropy of the two- and three-word sequences of seeded samples"
        " (50 tokens, the five likeliest) from each edit's prompt; published figures are 100 times"
        " this",
        ".2f",
    ),
    "fluency_base": MetricWords(
        "fluency of the base",
        "… of the base",
        "… of the base",
        "the same of the base, on the same prompts",
        ".2f",
    ),
}
"""By the name that it has in JSON, in the order in which they are shown."""

CONTROL_NAMES = {"knowledge neurons": "neurons", "linear relations": "linear"}
"""Controls whose names would be long on a terminal."""


def label(name: str) -> str:
    """A metric's label; of an unknown one, its name in words."""
    return METRICS[name].label if name in METRICS else name.replace("_", " ")


def short(name: str) -> str:
    """A metric's name on a terminal."""
    return METRICS[name].short if name in METRICS else name.replace("_", " ")


def told(name: str, value: float) -> str:
    """A metric's value as text."""
    return (METRICS[name] if name in METRICS else METRICS["efficacy"]).told(value)


def interval(name: str, estimate: Estimate) -> str:
    """A metric's interval as text; nothing where there is none."""
    low, high = told(name, estimate.low), told(name, estimate.high)
    return "" if low == "–" else f"{low} … {high}"
