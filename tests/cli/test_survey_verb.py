"""loci survey: a plan, a run, a merge; what is refused, in one line."""

import json
from pathlib import Path

import pytest

from loci.cli.layer_ranges import layers_from
from loci.errors import ModelError


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("planned")
    (place / "t.txt").write_text(
        "Michael Jordan plays the sport of basketball.\nOsaka is in Japan.\n" * 20
    )
    return place


def test_plan_run_and_merge(loci, document, planned: Path) -> None:
    plan, text = str(planned / "p.json"), str(planned / "t.txt")
    found = document(
        "survey",
        "plan",
        "--text",
        text,
        "--layers",
        "1",
        "--keep",
        "stream",
        "--shard-tokens",
        "200",
        "-o",
        plan,
    )
    assert found["schema"] == "loci.survey_plan/1" and found["shards"] == 2
    for name in ("tokens", "flops", "state_bytes", "worker_bytes", "seconds", "disk_bytes"):
        assert found[name] > 0
    assert "time with one worker" in loci("survey", "plan", "--text", text, "--layers", "1")[1]
    ran = document("survey", "run", plan, "-o", planned / "all.safetensors")
    assert (
        ran["schema"] == "loci.survey/1"
        and ran["texts"] == 40
        and abs(ran["tokens"] / found["tokens"] - 1) < 0.1
    )
    assert set(ran["points"]["resid_post.1"]) == {"Moments", "Extremes", "SecondMoment"}
    assert (
        document("survey", "merge", plan, planned / "p.states", "--states", planned / "again")
        == ran
    )
    assert "tokens of 40 texts" in loci("survey", "run", plan)[1]
    (made,) = (planned / "again").iterdir()
    assert made.read_bytes() == (planned / "all.safetensors").read_bytes()


def test_what_is_refused(loci, planned: Path) -> None:
    text = str(planned / "t.txt")
    plan = planned / "q.json"
    loci(
        "survey", "plan", "--text", text, "--layers", "1", "--shard-tokens", "200", "-o", str(plan)
    )
    document = json.loads(plan.read_text())
    (planned / "old.json").write_text(json.dumps(document | {"loci": "0.0.1"}))
    for command, words in (
        (("run", str(plan), "-w", "0"), "0 workers do nothing"),
        (("run", str(plan), "-w", "3"), "3 workers for 2 shards"),
        (("run", str(planned / "old.json")), "the plan of Loci 0.0.1"),
        (("run", text), "t.txt"),
        (("run", str(planned / "gone.json")), "gone.json"),
        (("merge", str(plan), str(planned / "nowhere")), "no such folder of states"),
        (("plan", "--layers", "9"), "the model has the layers 0 … 5"),
        (("plan", "--text", str(planned / "gone.txt")), "there is no such file"),
        (("plan", "-m", "./gone"), "there is no folder"),
        (("plan", "-o", str(planned / "p.txt")), "it is written as .json"),
    ):
        status, _, err = loci("survey", *command, "-q")
        assert status == 2, command
        assert words in err and len(err.strip().splitlines()) == 1, err


@pytest.mark.parametrize(
    ("text", "layers"), [(None, [0, 1, 2, 3]), ("2", [2]), ("0, 2-3", [0, 2, 3]), ("1-1,1", [1])]
)
def test_layers(text: str | None, layers: list[int]) -> None:
    assert layers_from(text, 4) == layers


@pytest.mark.parametrize("text", ["", "x", "4", "3-2", "1-9", "-1", "1,,2"])
def test_no_layers(text: str) -> None:
    with pytest.raises(ModelError, match="--layers"):
        layers_from(text, 4)


def test_the_cache_is_shown_and_cleared(
    loci, document, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCI_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "texts").mkdir(parents=True)
    (tmp_path / "cache" / "texts" / "a.json").write_text("[]")
    found = document("cache", "show")
    assert (
        found["schema"] == "loci.cache/1"
        and found["bytes"] == 2
        and found["limit_bytes"] == 50 * 10**9
    )
    assert "what models sampled" in loci("cache", "show")[1]
    assert (
        document("cache", "clear", "moments")["entries"]
        == document("cache", "clear", "--older-than", "1")["entries"]
        == 0
    )
    assert "removed: 1 entries" in loci("cache", "clear")[1]
    monkeypatch.setenv("LOCI_CACHE_LIMIT", "much")
    assert loci("cache", "show")[0] == 2
    monkeypatch.setenv("LOCI_CACHE", "")
    monkeypatch.delenv("LOCI_CACHE_LIMIT")
    assert "nothing is kept" in loci("cache", "show")[1]
