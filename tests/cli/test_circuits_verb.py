"""loci circuits as a user runs it."""

import json
from pathlib import Path

import pytest

PROMPT = "Michael Jordan plays the sport of"
HEADS = ("--samples", "2")


def test_heads(document) -> None:
    found = document("circuits", "heads", *HEADS)
    assert found["schema"] == "loci.heads/1"
    row = found["heads"][11]
    assert (row["layer"], row["head"]) == (1, 3)
    assert {
        "copying",
        "previous_token",
        "induction",
        "duplicate",
        "entropy",
        "first",
        "deletion",
    } <= row.keys()


def test_compose(document) -> None:
    found = document("circuits", "compose")
    assert found["schema"] == "loci.compose/1" and found["null"] == pytest.approx(1 / 16)
    assert 0 < found["k"]["L1H3"]["L0H2"] < 1 and set(found) >= {"q", "k", "v"}
    assert document("circuits", "compose", "--threshold", "0.2") == found
    assert document("circuits", "compose", "--part", "L0N37")["part"] == "L0N37"
    assert document("circuits", "compose", "--part", "L3H2", "--top", "3")["before"]["q"]


def test_paths(document) -> None:
    found = document(
        "circuits", "paths", PROMPT, "--against", "baseball", "--single", "1", "--order", "2"
    )
    assert (
        found["schema"] == "loci.paths/1"
        and found["answer"] == "basketball"
        and len(found["orders"]) == 3
    )
    one = document(
        "circuits", "paths", "Osaka is a city in the country of", "-a", "Japan", "--corrupted",
        "Lyon is a city in the country of",
        "--from", "embed", "--to", "L0H3.v",
    )  # fmt: skip
    assert one["schema"] == "loci.edges/1" and one["top"][0]["receiver"] == "L0H3.v"


def test_tokens_and_attention(document) -> None:
    found = document("circuits", "tokens", "L0H5", "--source", "#300", "--top", "3")
    assert (
        found["schema"] == "loci.tokens/1"
        and len(found["trigrams"]) == 3
        and len(found["sources"]) == 1
    )
    assert (
        document("circuits", "attention", PROMPT, "--head", "L4H6")["schema"] == "loci.patterns/1"
    )


def test_induction(document) -> None:
    assert document("circuits", "induction", *HEADS)["schema"] == "loci.induction/1"


def test_fact_on_one_page(loci, tmp_path: Path) -> None:
    status, out, err = loci("circuits", "fact", PROMPT, "--out", "jordan.html", "--json")
    assert status == 0, err
    assert json.loads(out)["schema"] == "loci.fact_circuit/1" and "written: jordan.html" in err
    page = (tmp_path / "jordan.html").read_text()
    for part in (
        'class="attention"',
        "value-weighted",
        "sankey",
        'class="card"',
        "Attention:",
        "MLPs:",
        "Circuit:",
    ):
        assert part in page, part
    assert 'src="http' not in page


def test_words_and_pages(loci, tmp_path: Path) -> None:
    status, out, _ = loci("circuits", "heads", *HEADS, "--scatter", "--out", "scatter.html")
    assert status == 0 and "L0H5" in out and (tmp_path / "scatter.html").exists()
    status, out, _ = loci(
        "circuits", "attention", PROMPT, "--head", "L4H6", "--out", "attention.html"
    )
    page = (tmp_path / "attention.html").read_text()
    assert status == 0 and "application/json" in page and f">{PROMPT}<" in page and "L4H6" in out
    status, out, _ = loci("circuits", "heads", *HEADS)
    assert status == 0 and "…" not in out  # all headings fit on 80 columns
    (tmp_path / "text.txt").write_text(f"{PROMPT} basketball.\n")
    for words in (
        ("compose",),
        ("compose", "--threshold", "0.2"),
        ("compose", "--part", "L0H1"),
        ("tokens", "L0H5", "--source", " painter"),
        ("paths", "--importance", "--text", "text.txt"),
        ("fact", "--known", "1"),
    ):
        status, out, err = loci("circuits", *words)
        assert status == 0 and out, err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("heads", "--length", "40"), "at most 31 tokens"),
        (("heads", "--view", "half"), "'half' is not one of 'gain'"),
        (("compose", "--part", "L9H0"), "no layer 9"),
        (("compose", "--threshold", "0.99"), "the highest is +0.3"),
        (("compose", "--threshold", "0.1", "--part", "L0H1"), "leave it away with --part"),
        (("compose", "--offset", "500"), "beyond the context"),
        (("tokens", "L0H99"), "no head 99"),
        (("tokens", "L0H1", "--source", "#99999"), "vocabulary"),
        (("induction", "--text", "a"), "too short to repeat"),
        (("paths",), "say a prompt"),
        (("paths", PROMPT, "--answer", ""), "the answer is empty"),
        (("tokens", "L0H1", "--top", "-1"), "--top / -n: should be greater"),
        (("paths", PROMPT, "--single", "6", "--memory", "0.001"), "GiB at"),
        (("paths", PROMPT, "--from", "L0H1"), "need --corrupted"),
        (("paths", PROMPT, "--corrupted", "The", "-a", "basketball"), "equally many tokens"),
        (("fact",), "say a prompt"),
    ],
)
def test_bad_input_is_one_line(loci, words: tuple[str, ...], message: str) -> None:
    status, out, err = loci("circuits", *words)
    assert status == 2 and out == "" and err.count("\n") == 1
    assert message in err
