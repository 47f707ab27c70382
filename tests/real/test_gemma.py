"""Gemma 3 270M: every claim of the model room, a fact known, traced and edited. Margins are wide:
kernels differ, the picture does not.
"""

import pytest
import torch

import loci
from loci.facts import Fact, FactSet, controls
from loci.locating import Trace
from loci.model import Model, own_answer
from loci.text import background

JORDAN = Fact(
    "Michael Jordan",
    "{} plays the sport of",
    "basketball",
    paraphrases=("{} plays professionally in the sport of", "What sport does {} play? They play"),
)
KNOWN = FactSet(
    [
        JORDAN,
        Fact("Germany", "The capital of {} is the city of", "Berlin"),
        Fact("Japan", "The capital of {} is the city of", "Tokyo"),
        Fact("Eiffel Tower", "The {} is in the country of", "France"),
        Fact("Brazil", "People in {} speak the language of", "Portuguese"),
        Fact("Mexico", "People in {} speak the language of", "Spanish"),
        Fact("fast", "The opposite of {} is", "slow"),
        Fact("Tiger Woods", "{} plays the sport of", "golf"),
    ]
)


@pytest.fixture(scope="module")
def grid(gemma: Model) -> Trace:
    return loci.trace(gemma, JORDAN)


def test_every_claim_holds(gemma: Model) -> None:
    checks = loci.doctor(gemma).checks
    assert not [check.name for check in checks if check.passed is False]
    assert sum(bool(check.passed) for check in checks) >= 25


def test_it_knows_what_everybody_knows(gemma: Model) -> None:
    found = loci.discover(gemma, KNOWN)
    assert found.known >= 6
    assert loci.recall(gemma, FactSet(found.facts)).trained.value == 1.0


def test_its_own_answer(gemma: Model) -> None:
    own = own_answer(gemma, JORDAN.text)
    assert own.text == "basketball" and 0.6 < own.probability < 0.95 and own.warning is None


def test_the_textbook_trace(grid: Trace) -> None:
    """State at the subject's last token early; MLPs there early;
    attention at the last token late.
    """
    end = grid.subject_span[1]
    assert (
        (end - 1, len(grid.tokens)) == (2, 7) and 0.6 < grid.clean < 0.95 and grid.corrupted < 0.3
    )
    lost = grid.clean - grid.corrupted
    state, mlp, attn = (grid.grids[kind] for kind in ("state", "mlp", "attn"))
    assert float(state[1:10, end - 1].min()) > 0.6 * lost
    assert float(state[14:, end - 1].max()) < 0.4 * lost
    assert float(state[14:, -1].min()) > 0.7 * lost
    layer, token = divmod(int(mlp[:, :-1].argmax()), mlp.shape[1] - 1)
    assert token == end - 1 and 1 <= layer <= 6 and float(mlp.max()) > 0.08
    layer, token = divmod(int(attn.argmax()), attn.shape[1])
    assert token == attn.shape[1] - 1 and 10 <= layer <= 14 and float(attn.max()) > 0.4


def test_its_text_is_its_own(gemma: Model) -> None:
    """Samples, the same ones each time, of words that the embedded model never saw."""
    text = background(gemma)
    assert text.to_dict()["source"] == background(gemma).to_dict()["source"]
    said = " ".join(text.texts[:20])
    assert not any(sentence in said for sentence in controls())
    assert len(set(said.split())) > 300
    assert "<start_of_image>" not in said and "<unused" not in said


def test_an_edit_holds_and_leaves_the_rest(gemma: Model) -> None:
    patch = loci.edit(gemma, JORDAN.to("baseball"))
    assert patch.report is not None and patch.report.hits == 1
    assert patch.report.neighbours.n == 0 or patch.report.neighbours.value <= 0.4
    before = gemma.weight("W_down.4").clone()
    with patch.applied(gemma):
        assert own_answer(gemma, JORDAN.text).text == "baseball"
        assert own_answer(gemma, "The capital of France is the city of").text == "Paris"
    assert torch.equal(before, gemma.weight("W_down.4"))


@torch.no_grad()
def test_what_lesson_1_says_of_its_neurons(gemma: Model) -> None:
    """One neuron alone changes nothing, ten of layer 3 take half of P(answer) away."""
    tokens = gemma.tokenize(JORDAN.text)
    ids, last = gemma.ids([tokens.ids]), tokens.span(JORDAN.subject_span)[-1] - 1
    target = gemma.tokenize(" basketball").ids[-1]

    def without(layer: int, count: int) -> float:
        act = gemma.read(ids, f"mlp_act.{layer}")[f"mlp_act.{layer}"][0, last]
        strongest = act.abs().topk(count).indices

        def silence(act: torch.Tensor) -> torch.Tensor:
            act = act.clone()
            act[:, last, strongest] = 0
            return act

        with gemma.patched({f"mlp_act.{layer}": silence}):
            return float(gemma(ids, last=1)[0, -1].softmax(-1)[target])

    whole = without(0, 0)
    assert all(abs(without(layer, 1) - whole) < 0.1 for layer in (0, 3, 12))
    assert without(3, 10) < 0.65 * whole
