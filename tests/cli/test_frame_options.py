"""--shots and --chat, the same for every command that has them."""

import pytest
import torch

from loci.facts import save_facts
from loci.locating import trace
from loci.model import Frame, Model

JORDAN = "Michael Jordan plays the sport of"


def test_recall_behind_shots(world, document) -> None:
    save_facts(world.of("athlete_sport")[:8], "known.jsonl")
    bare, behind = (
        document("recall", "-f", "known.jsonl"),
        document("recall", "-f", "known.jsonl", "--shots", "1"),
    )
    assert (bare["shots"], behind["shots"], behind["chat"]) == (0, 1, False)
    assert bare["trained"]["value"] > 0.8 and behind["facts"] == bare["facts"] == 8


def test_a_trace_behind_shots_is_that_of_the_longer_prompt(demo: Model, world, document) -> None:
    found = document("trace", JORDAN, "--shots", "1", "--samples", "2", "-a", "basketball")
    fact = next(f for f in world.about("Michael Jordan") if f.relation == "athlete_sport")
    (framed,) = Frame(shots=1).facts(demo, [fact], world)
    assert found["prompt"] == framed.text and found["prompt"].endswith(f"\n{JORDAN}")
    start, end = found["subject_span"]
    assert "".join(found["tokens"][start:end]).replace(" ", "") == "MichaelJordan" and start > 5
    again = trace(demo, framed, samples=2)
    torch.testing.assert_close(
        again.grids["mlp"], torch.tensor(found["grids"]["mlp"]), atol=1e-5, rtol=0
    )


def test_ask_takes_facts_alone_behind_shots(world, loci, document) -> None:
    status, _, err = loci("ask", JORDAN, "--shots", "2")
    assert status == 2 and "--facts" in err
    save_facts(world.of("athlete_sport")[:8], "known.jsonl")
    found = document("ask", "-f", "known.jsonl", "--shots", "1")
    assert found["shots"] == 1 and all(
        reply["prompt"].count("\n") == 1 for reply in found["replies"]
    )


@pytest.mark.parametrize(
    "words",
    [
        ("recall",),
        ("trace", JORDAN),
        ("ask", JORDAN),
        (
            "edit",
            "-s",
            "Michael Jordan",
            "-p",
            "{} plays the sport of",
            "-a",
            "golf",
            "-o",
            "x.safetensors",
        ),
        ("audit", "--edits", "1"),
    ],
    ids=lambda words: words[0],
)
def test_a_chat_with_a_base_model_is_one_line(loci, words: tuple[str, ...]) -> None:
    status, out, err = loci(*words, "--chat")
    assert (status, out) == (2, "") and "no chat template" in err and err.count("\n") == 1


def test_shots_need_a_relation(loci) -> None:
    status, _, err = loci(
        "trace", "Nobody Atall eats", "-s", "Nobody Atall", "--shots", "1", "-a", "bread"
    )
    assert status == 2 and "which no known fact has" in err
    status, _, err = loci("trace", JORDAN, "--shots", "100", "-a", "basketball")
    assert status == 2 and err.count("\n") == 1


def test_an_edit_inside_shots_is_audited_inside_them(loci, document) -> None:
    edit = (
        "edit",
        "-s",
        "Michael Jordan",
        "-p",
        "{} plays the sport of",
        "-a",
        "golf",
        "--shots",
        "1",
        "--layer",
        "0",
    )
    document(*edit, "-o", "golf.safetensors", "--allow-failed")
    card = document("audit", "--patch", "golf.safetensors", "--no-controls", "--neighbours", "2")
    (case,) = card["cases"]
    assert case["fact"]["prompt"].endswith("\n{} plays the sport of")
    assert len(case["fact"]["paraphrases"]) > 1 and all(
        "\n" in text for text in case["fact"]["paraphrases"]
    )
    status, _, err = loci("audit", "--patch", "golf.safetensors", "--shots", "2")
    assert status == 2 and "other shots" in err
