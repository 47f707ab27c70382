"""loci ask, recall of corrections, and what a merge says it has not measured."""

from pathlib import Path

import pytest

from loci.editing import TargetSettings
from loci.editing.edit import edit
from loci.facts import Fact
from loci.model import Model

PROMPT = "Michael Jordan plays the sport of"
CORRECTION = (
    "subject,prompt,answer,new_answer\nMichael Jordan,{} plays the sport of,basketball,baseball\n"
)


@pytest.fixture(scope="module")
def edited(demo: Model, jordan: Fact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two patches of the same subject, and a file of corrections."""
    folder = tmp_path_factory.mktemp("edited")
    small = TargetSettings(contexts=2, essence=4, own=2, steps=12)
    edit(demo, jordan.to("baseball"), method="rome", layers=[0], settings=small).save(
        folder / "sport.safetensors"
    )
    number = Fact("Michael Jordan", "{} wore the jersey number", "23", "10")
    edit(demo, number, method="rome", layers=[0], settings=small).save(
        folder / "number.safetensors"
    )
    (folder / "c.csv").write_text(CORRECTION)
    return folder


def test_ask(document, loci, edited: Path, tmp_path: Path) -> None:
    found = document("ask", PROMPT, "Osaka is a city in the country of", "-n", 4, "--top", 2)
    assert (found["schema"], found["patch"]) == ("loci.ask/1", None)
    assert [reply["answer"] for reply in found["replies"]] == ["basketball", "Japan"]
    assert next(token["token"].strip() for token in found["replies"][0]["next"]) == "basketball"
    status, out, _ = loci("ask", PROMPT, "--patch", edited / "sport.safetensors", "-o", "a.html")
    assert status == 0 and f"{PROMPT} baseball" in out and (tmp_path / "a.html").exists()
    found = document("ask", "--facts", edited / "c.csv", "--patch", edited / "sport.safetensors")
    assert (found["new"]["value"], found["old"]["value"]) == (1.0, 0.0)
    status, out, _ = loci("ask", "--facts", edited / "c.csv")
    assert (
        status == 0
        and "0 of 1 new answers are said" in out
        and "1 of 1 old answers are said" in out
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "say a prompt, or --facts FILE"),
        ([" "], "empty"),
        ([PROMPT, "-n", "0"], "--tokens"),
        ([PROMPT, "--top", "-1"], "--top"),
        ([PROMPT, "--top", "99999"], "--top 99,999: the model has"),
        ([PROMPT, "--patch", "none.safetensors"], "no patch file"),
        ([PROMPT, "--facts", "none.csv"], "none.csv"),
        ([PROMPT + " and so on" * 100], "context is 128"),
    ],
)
def test_ask_refuses_in_one_line(loci, words: list[str], says: str) -> None:
    status, out, err = loci("ask", *words)
    assert (status, out, err.count("\n")) == (2, "", 1) and says in err


def test_recall_of_an_edited_model_scores_the_corrections(
    document, loci, edited: Path, tmp_path: Path
) -> None:
    assert loci("patch", "apply", edited / "sport.safetensors", "-o", "model")[0] == 0
    found = document("recall", "-m", "model", "--facts", edited / "c.csv")
    assert (
        found["scored"],
        found["trained"]["value"],
        found["new"]["value"],
        found["old"]["value"],
    ) == (
        "new_answer",
        1.0,
        1.0,
        0.0,
    )
    status, out, err = loci("recall", "-m", "model", "--facts", edited / "c.csv")
    assert err == ""
    assert status == 0 and "NEW answers" in out and "old answer said" in out


def test_a_merge_says_what_it_has_not_measured(document, loci, edited: Path) -> None:
    """Both edits move one subject: their changes are nearly orthogonal, and yet each acts at the
    other's key.
    """
    both = ("patch", "merge", edited / "sport.safetensors", edited / "number.safetensors")
    status, out, _ = loci(*both, "-o", "blind.safetensors")
    told = " ".join(out.split())
    assert (
        status == 0
        and "not measured" in told
        and "-m BASE measures it" in told
        and "strongest" not in told
    )
    most = document(*both, "-o", "blind.safetensors")["strongest_interaction"]
    assert (most["measure"], most["measured"], most["warning"]) == ("cosine", False, None)
    status, out, _ = loci(*both, "-m", "demo", "-o", "seen.safetensors")
    told = " ".join(out.split())
    assert status == 0 and "warning one patch adds" in told and "of 2 new answers" in told
    seen = document("patch", "show", "seen.safetensors")
    most = seen["strongest_interaction"]
    assert (
        most["measured"]
        and most["value"] > most["limit"]
        and "make them together" in most["warning"]
    )
    assert seen["numbers"]["report"]["said"]["n"] == 2
