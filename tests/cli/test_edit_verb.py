"""loci edit says how many of its edits took, and its status does too."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from loci.editing import JointSettings
from loci.editing.methods import together

PROMPT = ("-s", "Michael Jordan", "-p", "{} plays the sport of")
ROME = ("--method", "rome")


def test_an_edit_that_took(document, loci) -> None:
    made = document("edit", *PROMPT, "-a", "baseball", *ROME, "-o", "p.safetensors")
    assert made["said"]["value"] == 1.0 and set(made["said"]) == {"value", "low", "high", "n"}
    assert made["failed"] == [] and made["moved"]["n"] == 20 and made["moved"]["neighbours"] <= 0.05
    status, out, _ = loci("patch", "show", "p.safetensors")
    assert (
        status == 0
        and "1 of 1 new answers" in out
        and "0 of 20 prompts about other subjects" in " ".join(out.split())
    )


def test_an_edit_that_failed_ends_with_status_3_and_is_written(loci, tmp_path: Path) -> None:
    """ROME at one layer does not reach an answer of many tokens."""
    words = ("edit", *PROMPT, "-a", "the game of baseball", *ROME, "-o", "p.safetensors")
    status, out, _ = loci(*words)
    told = " ".join(out.split())
    assert status == 3 and (tmp_path / "p.safetensors").exists()
    assert (
        "0 of 1 new answers" in told
        and "the model says baseball" in told
        and "--method joint" in told
    )
    assert "failed" in told.split("written:")[1], "what failed is not praised"
    status, out, _ = loci(*words, "--allow-failed", "--json")
    made = json.loads(out)
    assert status == 0 and made["said"]["value"] == 0.0
    assert [(f["subject"], f["prompt"], f["says"]) for f in made["failed"]] == [
        ("Michael Jordan", "Michael Jordan plays the sport of", "baseball")
    ]


def test_spaces_at_the_ends_change_nothing_and_plain_transformers_agrees(
    document, loci, tmp_path: Path
) -> None:
    """`-a " baseball"` once passed the audit, and then said basketball."""
    made = document(
        "edit",
        "-s",
        " Michael Jordan",
        "-p",
        "{} plays the sport of ",
        "-a",
        " baseball ",
        *ROME,
        "-o",
        "p.safetensors",
    )
    assert made["said"]["value"] == 1.0
    (fact,) = document("patch", "show", "p.safetensors")["facts"]
    assert (fact["subject"], fact["prompt"], fact["new_answer"]) == (
        "Michael Jordan",
        "{} plays the sport of",
        "baseball",
    )
    assert (
        document("audit", "-p", "p.safetensors", "--no-controls")["metrics"]["efficacy"]["value"]
        == 1.0
    )
    assert loci("patch", "apply", "p.safetensors", "-o", "edited")[0] == 0
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "edited")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "edited")
    ids = torch.tensor(
        [
            [
                tokenizer.bos_token_id,
                *tokenizer("Michael Jordan plays the sport of", add_special_tokens=False).input_ids,
            ]
        ]
    )
    said = tokenizer.decode(
        model.generate(ids, max_new_tokens=2, do_sample=False)[0, ids.shape[1] :]
    )
    assert said.strip().startswith("baseball")


def test_a_csv_file_with_spaces_and_a_wrong_old_answer(document, loci, tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text(
        "subject, prompt, answer, new_answer\nMichael Jordan, {} plays the sport of, tennis,"
        " baseball\n"
    )
    made = document("edit", "--facts", "f.csv", *ROME, "-o", "p.safetensors")
    assert made["said"]["value"] == 1.0
    assert made["old_answers"] == [
        {
            "subject": "Michael Jordan",
            "prompt": "Michael Jordan plays the sport of",
            "given": "tennis",
            "says": "basketball",
        }
    ]
    assert document("patch", "show", "p.safetensors")["facts"][0]["answer"] == "basketball"


def test_the_old_answer_is_what_the_opened_model_says(document, loci, tmp_path: Path) -> None:
    """Another model is open: its answer is recorded, not the embedded list's."""
    assert loci("edit", *PROMPT, "-a", "baseball", *ROME, "-o", "p.safetensors")[0] == 0
    assert loci("patch", "apply", "p.safetensors", "-o", "other")[0] == 0
    loci("edit", *PROMPT, "-a", "golf", *ROME, "--layer", 0, "-m", "other", "-o", "q.safetensors")
    assert document("patch", "show", "q.safetensors")["facts"][0]["answer"] == "baseball"


@pytest.mark.parametrize("answer", [" ", "\t"])
def test_an_answer_of_nothing_but_spaces_is_refused(loci, tmp_path: Path, answer: str) -> None:
    status, out, err = loci("edit", *PROMPT, "-a", answer, "-o", "p.safetensors")
    assert (status, out, err.count("\n")) == (2, "", 1) and "empty" in err
    assert not (tmp_path / "p.safetensors").exists()


def test_the_example_of_the_help_unlearns(document, loci, monkeypatch: pytest.MonkeyPatch) -> None:
    """ "unknown" is four tokens that the model never says together: one layer does not reach it,
    all of them do. A quarter of the retain prompts a step is enough here.
    """
    monkeypatch.setattr(together, "JointSettings", partial(JointSettings, near=16))
    made = document("edit", *PROMPT, "--remove", "unknown", "-o", "forgotten.safetensors")
    assert made["failed"] == [] and made["said"]["value"] == 1.0
    assert (made["method"], made["numbers"]["tried"][0]["method"]) == ("joint", "rome")
    stays = made["moved"]["same_subject"]
    # over three seeds none or one of these moves
    assert stays["n"] == 3 and stays["value"] < 0.5, "team, number and country stay, but for one"
