"""The fuzzer in short, for every run of the suite; `make fuzz` is its long form (LOCI_FUZZ cases,
LOCI_FUZZ_SEED).
"""

import os
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import hypothesis
import pytest
import torch
from tests.cli import fuzzing
from tests.conftest import tiny_gpt2

from loci.cli.opening import Opening
from loci.facts import Fact, corpus
from loci.model import Model, open_model, open_weights
from loci.patches import Factors, Patch

CASES = int(os.environ.get("LOCI_FUZZ", "160"))
SEED = int(os.environ.get("LOCI_FUZZ_SEED", "0"))


def log(line: str, seen: set[str]) -> None:
    """Of the long form: what was found so far, each once, in fuzz.log."""
    if CASES > 500 and line not in seen:
        seen.add(line)
        with Path("fuzz.log").open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{line}\n")


@pytest.fixture(scope="module")
def good(demo: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one good file of each kind."""
    from loci.reading import build_atlas

    room = tmp_path_factory.mktemp("good")
    tiny = tiny_gpt2(demo)
    tiny.hf.save_pretrained(room / "model")
    tiny.tokenizer.save_pretrained(room / "model")
    (room / "atlas").mkdir()
    build_atlas(tiny, lambda: corpus()[:20], room / "atlas", source="text")
    opened = open_model(room / "model")
    fact = Fact(
        "Michael Jordan", "{} plays the sport of", "basketball", relation="athlete_sport"
    ).to("golf")
    for name, layer in (("good", 1), ("other", 2)):
        factors = Factors(1e-3 * torch.ones(opened.d_model, 1), torch.ones(1, opened.d_mlp))
        Patch(
            "rome",
            opened.fingerprint,
            "model",
            {f"W_down.{layer}": factors},
            (fact,),
            {"seconds": 1.0},
        ).save(room / f"{name}.safetensors")
    (room / "one.csv").write_text(
        "subject,prompt,answer,new_answer,relation\nMichael Jordan,{} plays the sport"
        " of,basketball,golf,athlete_sport\n"
    )
    (room / "one.jsonl").write_text('{"subject": "Lima", "prompt": "{} is in", "answer": "Peru"}\n')
    (room / "lre.json").write_text(
        '{"name": "r", "prompt_templates": ["{} is in"], "samples": [{"subject": "Lima", "object":'
        ' "Peru"}]}'
    )
    (room / "text.txt").write_text("\n".join(corpus()[:20]))
    (room / "layout.json").write_text(fuzzing.json.dumps({**asdict(demo.layout), "family": "mine"}))
    (room / "folder").mkdir()
    (room / "full").mkdir()
    (room / "full" / "x").write_text("x")
    (room / "loop").symlink_to("loop")
    return room


@pytest.fixture
def light(demo: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded model is opened once, the hub is never asked."""
    weights = open_weights("demo")
    real = Opening.open_weights
    monkeypatch.setattr(
        Opening, "open_weights", lambda self: weights if self == Opening() else real(self)
    )
    monkeypatch.setattr("loci.model.open.hub_reachable", lambda: False)


@pytest.mark.usefixtures("light")
def test_whatever_is_said_ends_as_promised(good: Path) -> None:
    faults: dict[str, tuple[fuzzing.Case, fuzzing.Outcome]] = {}
    caught: set[str] = set()
    counts: Counter[str] = Counter()

    @hypothesis.settings(
        max_examples=CASES,
        database=None,
        derandomize=not SEED,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.seed(SEED)
    @hypothesis.given(fuzzing.cases())
    def one(case: fuzzing.Case) -> None:
        found = fuzzing.run(case, good)
        counts[f"status {found.status}"] += 1
        if sum(counts.values()) % 50 == 0:
            log(f"{sum(counts.values())} cases: {dict(counts)}", caught)
        if "LOCI_DEBUG" in found.err:
            counts["caught by the last net"] += 1
            log(f"net: {found.err.strip()[-300:]}  {case}", caught)
        fault = fuzzing.fault_of(case, found)
        if fault:
            faults.setdefault(f"{case.words[:2]}: {fault}", (case, found))
            log(f"FAULT: {fault}  {case}  {found.status} {found.err[-400:]!r}", caught)

    one()
    told = "\n\n".join(
        f"{what}\n  {case}\n  {found.status} {found.err[-600:]!r} {found.out[-200:]!r}"
        for what, (case, found) in faults.items()
    )
    assert not faults, f"{len(faults)} kinds of faults\n{told}"
    assert sum(counts.values()) >= min(CASES, 150)
