"""loci facts discover: published forms in, a fact file out."""

import json
from pathlib import Path

LRE = {
    "name": "athlete sport",
    "prompt_templates": ["{} plays the sport of", "Everybody knows that {} is a"],
    "prompt_templates_zs": ["{} plays the sport of", "The sport that {} plays is"],
    "samples": [{"subject": "Michael Jordan", "object": "basketball"},
        {"subject": "Tiger Woods", "object": "golf"},
        {"subject": "Nobody Atall", "object": "chess"}],
}  # fmt: skip
PARAREL = {
    "relation": "P17",
    "prompts": ["{} is a city in the country of"],
    "facts": [["Osaka", "Japan"], ["Osaka", "Peru"]],
}


def test_the_command(loci, document, tmp_path: Path) -> None:
    """Published forms in a folder; its file goes on to another command."""
    (tmp_path / "sets").mkdir()
    for name, relation in (("lre", LRE), ("pararel", PARAREL)):
        (tmp_path / "sets" / f"{name}.json").write_text(json.dumps(relation), encoding="utf-8")
    found = document("facts", "discover", "--facts", "sets", "-o", "known.jsonl")
    assert (found["schema"], found["asked"], found["known"], found["shots"]) == (
        "loci.discovery/1",
        5,
        3,
        0,
    )
    assert found["by_relation"] == {
        "athlete sport": {"asked": 3, "known": 2},
        "P17": {"asked": 2, "known": 1},
    }
    assert document("recall", "--facts", "known.jsonl")["trained"]["value"] == 1.0
    status, out, _ = loci(
        "facts", "discover", "--facts", "sets", "--shots", "1", "--phrasings", "1"
    )
    assert status == 2 and not out
    status, _, err = loci("facts", "discover", "--facts", "sets", "--chat")
    assert status == 2 and "no chat template" in err and err.count("\n") == 1
    status, out, _ = loci("facts", "discover", "--facts", "sets/lre.json", "--phrasings", "1")
    assert status == 0 and "knows 2 of 3 facts" in out
