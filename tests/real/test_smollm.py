"""SmolLM2 135M Instruct: a Llama with a chat template."""

import loci
from loci.facts import Fact
from loci.model import Frame, Model, own_answer

JORDAN = Fact("Michael Jordan", "{} plays the sport of", "basketball")


def test_every_claim_holds(smollm: Model) -> None:
    checks = loci.doctor(smollm).checks
    assert not [check.name for check in checks if check.passed is False]


def test_it_answers_in_its_own_template(smollm: Model) -> None:
    prompt = Frame(chat=True).text(smollm, "What is the capital of France? Answer in one word.")
    assert "Paris" in smollm.generate(prompt, 12)


def test_a_trace_behind_shots(smollm: Model) -> None:
    """The subject of the last line is corrupted, and no other."""
    sports = loci.known_facts().of("athlete_sport")
    (asked,) = Frame(shots=3).facts(
        smollm,
        [Fact("Michael Jordan", JORDAN.prompt, "basketball", relation="athlete_sport")],
        sports,
    )
    assert own_answer(smollm, asked.text).text == "basketball"
    found = loci.trace(smollm, asked, kinds=("state",), samples=4)
    start, end = found.subject_span
    assert "".join(found.tokens[start:end]).split() == ["Michael", "Jordan"]
    state = found.grids["state"]
    assert float(state[:, :start].abs().max()) < 1e-4 * max(1.0, float(state.max()))
    assert float(state[0, start:end].max()) > 0.2 * (found.clean - found.corrupted)
