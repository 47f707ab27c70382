"""Every command, as a user runs it; every bad input, one line and status 2, nothing written."""

import json
import resource
from dataclasses import asdict
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from loci.facts import corpus
from loci.model import Model

JORDAN = (
    "--subject",
    "Michael Jordan",
    "--prompt",
    "{} plays the sport of",
    "--answer",
    "baseball",
)


def test_help_of_every_command_has_an_example(loci) -> None:
    for words in (
        ["demo"],
        ["ask"],
        ["recall"],
        ["facts"],
        ["trace"],
        ["lens"],
        ["locate"],
        ["neurons"],
        ["routes"],
        ["probe"],
        ["lookup"],
        ["memories"],
        ["sparsity"],
        ["directions"],
        ["concepts"],
        *(["atlas", verb] for verb in ("build", "find", "summary", "show", "query", "export")),
        ["sweep"],
        ["read"],
        ["edit"],
        ["audit"],
        ["doctor"],
        ["census"],
        ["patch", "show"],
        ["patch", "apply"],
        ["patch", "revert"],
    ):
        status, out, _ = loci(*words, "--help")
        assert status == 0
        assert "Example" in out
        assert f"loci {' '.join(words)}" in out


def test_trace(document, loci, tmp_path: Path) -> None:
    found = document("trace", "Michael Jordan plays the sport of", "--samples", 2)
    assert (found["schema"], found["subject"], found["answer"], found["samples"]) == (
        "loci.trace/1",
        "Michael Jordan",
        "basketball",
        2,
    )
    status, out, _ = loci(
        "trace", "The captain of the ship is a", "-s", "ship", "--out", "t.html", "--samples", 2
    )
    assert status == 0
    assert "* subject" in out
    assert (tmp_path / "t.html").stat().st_size > 1e6


def test_traces_of_many_facts_go_on_where_they_stopped(document, loci, tmp_path: Path) -> None:
    words = ("trace", "--known", 6, "--samples", 2, "--resume", "t.jsonl")
    found = document(*words)
    assert (found["schema"], found["n"] + found["unknown"]) == ("loci.average_trace/1", 6)
    lines = (tmp_path / "t.jsonl").read_text().splitlines()
    assert len(lines) == 1 + found["n"]
    (tmp_path / "t.jsonl").write_text("\n".join([*lines[:3], lines[3][:40]]))
    assert document(*words) == found
    assert sorted((tmp_path / "t.jsonl").read_text().splitlines()) == sorted(lines)
    status, _, err = loci(*words, "--noise", 2.0)
    assert status == 2
    assert "other settings" in err
    status, out, _ = loci(*words, "--out", "average.html")
    assert status == 0
    assert "largest:" in out


def test_traces_of_single_neurons_and_severed_paths(document, loci) -> None:
    prompt = "Michael Jordan plays the sport of"
    found = document("trace", prompt, "--neurons", 0, "--samples", 1, "--corruption", "mean")
    assert (found["schema"], found["layer"], found["token"], found["samples"]) == (
        "loci.neuron_trace/1",
        0,
        2,
        1,
    )
    assert loci("trace", prompt, "--neurons", 5, "--samples", 1, "--out", "neurons.html")[0] == 0
    severed = document("trace", prompt, "--severed", "--samples", 1)
    assert set(severed["grids"]) == {
        "state",
        "mlp",
        "attn",
        "state-without-mlp",
        "state-without-attn",
    }


def test_neurons_and_routes(document, loci, tmp_path: Path) -> None:
    prompt = "Michael Jordan plays the sport of"
    status, out, _ = loci("neurons", prompt, "--controls", 2, "-o", "neurons.json")
    found = json.loads((tmp_path / "neurons.json").read_text())
    assert (found["schema"], found["answer"]) == ("loci.knowledge/1", "basketball")
    assert set(found["suppress"]) == {"before", "after", "change"}
    assert set(found["random"]) == {"suppress", "amplify"}
    assert status == 0
    assert "suppress" in out
    found = document("routes", "--known", 2, "-o", "routes.html")
    assert (found["schema"], set(found["all_layers"])) == (
        "loci.routes/1",
        {"edges", "mlp", "attn"},
    )
    assert (tmp_path / "routes.html").exists()


def test_probe(document, loci) -> None:
    found = document("probe", "athlete_sport", "--folds", 3)
    assert (found["schema"], found["relation"], found["folds"]) == (
        "loci.probe/1",
        "athlete_sport",
        3,
    )
    status, out, _ = loci("probe", "-o", "probe.html")
    assert status == 0
    assert "the commonest answer alone" in out


def test_locate(document, loci, tmp_path: Path) -> None:
    found = document("locate", "Michael Jordan plays the sport of", "-o", "where.html")
    assert (found["schema"], found["known"], found["readable"]) == ("loci.locate/1", True, 4)
    status, out, _ = loci("locate", "Michael Jordan plays the sport of")
    assert status == 0
    assert "methods point at layer 0" in " ".join(out.split())


def test_lens(document, loci, tmp_path: Path) -> None:
    found = document(
        "lens", "Michael Jordan plays the sport of", "--against", "golf", "-o", "lens.html"
    )
    assert (found["schema"], found["answer"], found["against"]) == (
        "loci.lens/1",
        "basketball",
        "golf",
    )
    assert found["sum_error"] < 1e-3
    assert len(found["layers"]) == 6
    status, out, _ = loci("lens", "Osaka is a city in the country of")
    assert status == 0
    assert "all parts sum to it" in " ".join(out.split())
    assert (tmp_path / "lens.html").exists()


def test_recall_from_a_file(document, loci, tmp_path: Path) -> None:
    assert loci("facts", "--relation", "state_capital", "-o", "f.jsonl")[0] == 0
    found = document("recall", "--facts", "f.jsonl")
    assert (found["schema"], found["facts"], found["trained"]["value"]) == (
        "loci.recall/1",
        49,
        1.0,
    )
    assert set(found["held_out"]) == {"value", "low", "high", "n"}


def test_read(document, loci, tmp_path: Path) -> None:
    found = document("read", "L1N37", "--tokens", 2000)
    assert (found["schema"], found["layer"], found["neuron"]) == ("loci.neuron/1", 1, 37)
    (tmp_path / "text.txt").write_text(
        "Michael Jordan plays the sport of basketball.\n\nThe king slept.\n"
    )
    status, out, _ = loci("read", "L0N5", "--text", "text.txt", "--out", "card.html")
    assert status == 0
    assert "promotes" in out


def test_edit_audit_apply_revert(document, loci, tmp_path: Path, demo: Model) -> None:
    made = document("edit", *JORDAN, "-o", "p.safetensors")
    assert made["schema"] == "loci.edit/1"
    assert {"method", "layers", "edits", "patch", "seconds"} <= set(made)
    shown = document("patch", "show", "p.safetensors")
    assert shown["facts"][0]["new_answer"] == "baseball"
    assert loci("audit", "--patch", "p.safetensors", "-o", "audit.json")[0] == 0
    audited = json.loads((tmp_path / "audit.json").read_text())
    assert (audited["schema"], audited["edits"], audited["metrics"]["efficacy"]["value"]) == (
        "loci.audit/1",
        1,
        1.0,
    )
    assert audited["metrics"]["specificity"]["n"] == 10
    assert document("patch", "apply", "p.safetensors", "-o", "edited")["folder"] == "edited"
    AutoModelForCausalLM.from_pretrained(tmp_path / "edited")
    assert (
        document("trace", "Michael Jordan plays the sport of", "-m", "edited", "--samples", 1)[
            "answer"
        ]
        == "baseball"
    )
    back = document("patch", "revert", "p.safetensors", "-m", "edited", "-o", "restored")
    assert back["base"] == demo.fingerprint
    assert (
        document("trace", "Michael Jordan plays the sport of", "-m", "restored", "--samples", 1)[
            "answer"
        ]
        == "basketball"
    )
    for words in (["patch", "show", "p.safetensors"], ["facts", "Michael Jordan"]):
        assert loci(*words)[0] == 0


def test_edit_from_a_file(document, tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text(
        "subject,prompt,answer,new_answer\nMichael Jordan,{} plays the sport"
        " of,basketball,golf\nLarry Bird,{} plays the sport of,basketball,chess\n"
    )
    made = document(
        "edit", "--facts", "f.csv", "--method", "emmet", "--layer", 0, "-o", "p.safetensors"
    )
    assert (made["method"], made["edits"]) == ("emmet", 2)
    assert document("audit", "--patch", "p.safetensors", "--facts", "f.csv")["metrics"][
        "efficacy"
    ] == {
        "value": 1.0,
        **_interval(2),
    }


def _interval(n: int) -> dict:
    from loci.stats import share

    return {k: v for k, v in share([True] * n).to_dict().items() if k != "value"}


def test_doctor(document, loci, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = document("doctor")
    assert (found["schema"], found["healthy"], found["bos"], found["family"]) == (
        "loci.doctor/1",
        True,
        True,
        "gpt2",
    )
    assert {check["passed"] for check in found["checks"]} == {True, None}
    assert {"name", "error", "allowed", "passed", "note"} <= set(found["checks"][0])
    real = Model.unembed
    monkeypatch.setattr(Model, "unembed", lambda self, resid: real(self, resid) + 0.01)
    status, out, _ = loci("doctor")
    assert status == 1
    assert [line for line in out.splitlines() if line.startswith("✗ replay")]
    assert "2 fail" in out


def test_census(document, loci, tmp_path: Path, demo: Model) -> None:
    found = document("census", "--config", "gpt3-175b")
    assert (found["schema"], found["total"], found["layers"]) == (
        "loci.census/1",
        175_181_291_520,
        96,
    )
    demo.config.save_pretrained(tmp_path / "bare")
    assert document("census", "-m", "bare")["parts"] == document("census")["parts"]
    assert document("census", "--config", "bare/config.json")["total"] == sum(
        p.numel() for p in demo.hf.parameters()
    )
    status, out, _ = loci("census", "-c", "llama", "-o", "census.html")
    assert status == 0
    assert "6,738,415,616" in out
    assert (tmp_path / "census.html").exists()


def test_weights_alone(document) -> None:
    found = document("read", "L1N37", "--weights-only")
    assert (found["name"], found["firing_rate"], found["triggers"]) == ("L1N37", None, [])
    assert found["promotes"] == document("read", "L1N37", "--tokens", 500)["promotes"]


def test_options_by_which_a_model_is_opened(document, loci, tmp_path: Path, demo: Model) -> None:
    prompt = ("trace", "Michael Jordan plays the sport of", "--samples", 1)
    assert document(*prompt)["bos"] is True
    assert document(*prompt, "--no-bos")["bos"] is False
    assert document(*prompt, "--device-map", "disk")["answer"] == "basketball"
    layout = {"family": "mine", **{k: v for k, v in asdict(demo.layout).items() if k != "family"}}
    (tmp_path / "layout.json").write_text(json.dumps(layout))
    assert document("doctor", "--layout", "layout.json")["family"] == "mine"
    for wrong, says in (
        ({"family": "mine"}, "blocks is missing"),
        ({**layout, "up": "mlp.gone"}, "no part 'up'"),
        ({**layout, "x": 1}, "x: no field of loci.Layout"),
    ):
        (tmp_path / "layout.json").write_text(json.dumps(wrong))
        status, _, err = loci("doctor", "--layout", "layout.json")
        assert (status, err.count("\n")) == (2, 1)
        assert says in err


def test_seeded_single_edits(document) -> None:
    found = document("audit", "--edits", 2, "--neighbours", 1, "--method", "rome", "--layer", 0)
    assert found["edits"] == 2
    assert found["metrics"]["efficacy"]["n"] == 2


@pytest.fixture
def sentences(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("\n".join(corpus()[:400]), encoding="utf-8")
    return path


def test_the_atlas_from_building_to_export(loci, document, sentences: Path, tmp_path: Path) -> None:
    built = document("atlas", "build", "--text", sentences, "-o", "book")
    assert built["schema"] == "loci.atlas/1" and built["texts"] == 400
    found = document("atlas", "find", "book", "capital")
    assert found["schema"] == "loci.atlas_find/1" and found["fires"]
    name = found["fires"][0]["name"]
    assert document("atlas", "show", "book", name)["name"] == name
    assert (
        loci("atlas", "show", "book", name, "-o", "card.html")[0] == 0
        and (tmp_path / "card.html").exists()
    )
    assert document("atlas", "query", "book", "SELECT count(*) FROM neurons")["rows"] == [[6144]]
    dead = document("atlas", "find", "book", "--kind", "dead", "--layer", 2, "--top", 3)
    assert dead["schema"] == "loci.atlas_kind/1" and dead["count"] >= len(dead["neurons"]) == 3
    assert (
        len(document("atlas", "summary", "book", "-o", "book.html")["by_layer"]) == 6
        and (tmp_path / "book.html").exists()
    )
    files = document(
        "atlas", "export", "book", "-o", "features", "--model-id", "demo", "--layer", "1"
    )["files"]
    assert all((tmp_path / file).exists() for file in files)
    for words in (
        ("find", "book", "capital"),
        ("show", "book", name),
        ("query", "book", "SELECT * FROM neurons LIMIT 2"),
        ("summary", "book"),
        ("find", "book", "--kind", "eraser"),
    ):
        assert loci("atlas", *words)[0] == 0
    for words, says in (
        (("find", "book", "kapital"), "near it"),
        (("query", "book", "DROP VIEW neurons"), "only read"),
        (("find", "book", "capital", "--layer", 99), "--layer 99: the atlas has the layers 0 … 5"),
        (("find", "book", ""), "WORD is empty"),
        (("export", "book", "-o", "book", "--model-id", "demo"), "is in the atlas"),
        (("find", "book"), "say a word, or a --kind"),
        (("find", "book", "x", "--kind", "dead"), "say a word, or a --kind"),
        (("find", "book", "--kind", "sleepy"), "'sleepy' is not one of 'eraser'"),
        (("find", "book", "capital", "--rate", "often"), "no range"),
        (("build", "--text", sentences, "-o", "book"), "finished atlas"),
        (("find", tmp_path / "nowhere", "x"), "there is no atlas"),
    ):
        status, out, err = loci("atlas", *words)
        assert status == 2 and out == "" and says in err and err.count("\n") == 1


def test_a_full_disk_leaves_no_finished_atlas(loci, sentences: Path, tmp_path: Path) -> None:
    """No file may be longer than 100,000 bytes: the checkpoint is."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, usual[1]))
    try:
        status, out, err = loci("atlas", "build", "--text", sentences, "-o", "book")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert status == 2 and out == "" and "cannot be written" in err and err.count("\n") == 1
    assert not (tmp_path / "book" / "provenance.json").exists()
    assert (
        "half-built" not in loci("atlas", "build", "--text", sentences, "-o", "book", "--json")[2]
    ), "with room again it goes on"


def test_an_atlas_over_texts_of_its_own(document) -> None:
    built = document("atlas", "build", "--own", 20, "-o", "own")
    assert built["text"] == "20 texts of its own, seed 0"
    files = document(
        "atlas", "export", "own", "-o", "features", "--model-id", "demo", "--layer", 2
    )["files"]
    assert json.loads(Path(files[0]).read_text(encoding="utf-8"))["features"]


def test_reading_verbs(document, loci, sentences: Path, tmp_path: Path) -> None:
    assert document("memories", "--text", sentences, "--neurons", 4)["schema"] == "loci.memories/1"
    assert (
        document("memories", "--clusters", 8, "--layer", 1, "-o", "c.html")["schema"]
        == "loci.clusters/1"
    )
    assert (
        document("memories", "--prompt", "Lima is in", "-o", "u.html")["schema"]
        == "loci.sub_updates/1"
    )
    assert (
        document("concepts", "Michael Jordan", "-c", "Michael", "-c", "Jordan")["schema"]
        == "loci.concepts/1"
    )
    for words in (
        ("--clusters", 8),
        ("--prompt", "Lima is in"),
        ("--text", sentences, "--neurons", 2),
    ):
        assert loci("memories", *words)[0] == 0
    for words in (
        ("--layer", 1),
        ("--clusters", 8, "--prompt", "x"),
        ("--clusters", 1),
        ("--prompt", " "),
    ):
        status, out, err = loci("memories", *words)
        assert status == 2 and out == "" and err.count("\n") == 1
    assert document("sparsity", "--out", "s.parquet")["schema"].startswith("loci.sparsity")
    assert document("directions", "Paris,France", "Rome,Italy", "Tokyo,Japan")["schema"].startswith(
        "loci.directions"
    )
    assert (tmp_path / "s.parquet").exists()


def test_lookup(document) -> None:
    found = document("lookup", "athlete_sport", "--count", 4, "--neurons", 64)
    assert found["schema"] == "loci.lookup/1"
    assert {"probe", "two_tokens", "single_step", "effects", "context", "missing"} <= set(found)


BAD = [
    (
        ["trace", "Michael Jordan plays the sport of", "-s", "Larry Bird"],
        "does not stand in the prompt",
    ),
    (["trace", "Jordan and Jordan play the sport of", "-s", "Jordan"], "2 times"),
    (["trace", ""], "the prompt is empty"),
    (["trace", "nobody known is here in the"], "say --subject"),
    (["trace", "Michael Jordan and Larry Bird play the sport of"], "several known subjects"),
    (["trace", "Michael Jordan " + "and so on " * 100, "-s", "Michael Jordan"], "context is 128"),
    (
        ["trace", "Michael Jordan plays the sport of", "--samples", "0"],
        "--samples: should be greater than or equal to 1",
    ),
    (["trace", "Michael Jordan plays the sport of", "-o", "x.doc"], "the ending says"),
    (
        ["trace", "Michael Jordan plays the sport of", "--neurons", "0", "--samples", "0"],
        "--samples: should be greater than or equal to 1",
    ),
    (
        ["trace", "Michael Jordan plays the sport of", "--estimate", "gradient", "--noise", "0"],
        "noise > 0",
    ),
    (
        ["trace", "Michael Jordan plays the sport of", "--window", "0"],
        "--window: should be greater than or equal to 1",
    ),
    (["trace", "--known", "2", "--resume", "latin.csv"], "line 2: not UTF-8"),
    (["trace", "--known", "2", "--resume", "pickled"], "there is a folder with files in it"),
    (["probe", "--folds", "900"], "cannot be held out in 900 folds"),
    (["trace"], "say a prompt, or --facts FILE, or --known N"),
    (["trace", "Osaka is in", "--known", "3"], "say a prompt"),
    (["trace", "--known", "0"], "--known: should be greater than or equal to 1"),
    (
        ["trace", "Michael Jordan plays the sport of", "--corruption", "loud"],
        "--corruption: 'loud' is not one of 'noise'",
    ),
    (
        ["trace", "Michael Jordan plays the sport of", "--neurons", "9"],
        "--neurons 9: the model has the layers 0",
    ),
    (["trace", "Michael Jordan plays the sport of", "--neurons", "1", "--token", "40"], "tokens 0"),
    (
        ["neurons", "Michael Jordan plays the sport of", "--threshold", "2"],
        "--threshold: should be less than or equal to 1",
    ),
    (
        ["neurons", "Michael Jordan plays the sport of", "--baseline", "noise"],
        "'noise' is not one of 'zero'",
    ),
    (["routes", "--window", "0"], "--window: should be greater"),
    (["sweep", "--edits", "0"], "--edits: should be greater"),
    (["probe", "nothing_like_it"], "there is no relation"),
    (["probe", "--folds", "1"], "--folds: should be greater than or equal to 2"),
    (["lens", ""], "the prompt is empty"),
    (["lens", "Osaka is in", "-a", "Japan", "--top", "0"], "--top: should be greater"),
    (["lens", "Osaka is in", "-a", "Japan", "--against", "Japan"], "begin with the same token"),
    (["recall", "-o", "file/x.html"], "cannot be written"),
    (["audit", "-o", "x.pdf"], "the ending says"),
    (["recall", "-m", "./nowhere"], "no folder"),
    (["recall", "-m", "empty"], "no config.json"),
    (["recall", "-m", "pickled"], "pickled"),
    (["recall", "--facts", "bad.csv"], "line 1: no column answer"),
    (["recall", "--facts", "latin.csv"], "line 2: not UTF-8"),
    (["read", "N37"], "names no neuron"),
    (["read", "L99N0"], "this model has"),
    (["census", "--config", "gpt3-175B"], "the nearest is 'gpt3-175b'"),
    (["census", "-m", "demo", "-c", "gpt2"], "either --model or --config"),
    (["census", "-m", "./nowhere"], "no folder"),
    (["doctor", "-m", "empty"], "no config.json"),
    (["read", "L1E0N3"], "no mixtures"),
    (["read", "L1N37", "--weights-only", "-m", "pickled"], "pickled"),
    (["facts", "Nobody Atall"], "no fact with"),
    (["edit", *JORDAN[:-1], "basketball", "-o", "p.safetensors"], "already answers"),
    (["edit", *JORDAN, "-o", "file/p.safetensors"], "cannot be written"),
    (["edit", "--subject", "x", "-o", "p.safetensors"], "an edit needs"),
    (["edit", *JORDAN, "--facts", "bad.csv", "-o", "p.safetensors"], "say either"),
    (
        [
            "edit",
            "--subject",
            "Larry Bird",
            "--prompt",
            "Michael Jordan plays the",
            "--answer",
            "x",
            "-o",
            "p.safetensors",
        ],
        "does not stand",
    ),
    (["patch", "show", "none.safetensors"], "no patch file"),
    (["patch", "show", "cut.safetensors"], "truncated"),
    (["patch", "apply", "foreign.safetensors", "-o", "out"], "no patch of Loci"),
    (["audit", "--patch", "other-base.safetensors"], "not the same base"),
    (["patch", "apply", "other-base.safetensors", "-o", "out"], "not the same base"),
    (["demo", "--out", "file"], "cannot be written"),
]


@pytest.mark.parametrize(
    ("words", "says"), BAD, ids=[f"{' '.join(words)[:40]}" for words, _ in BAD]
)
def test_bad_input(loci, tmp_path: Path, words: list[str], says: str, demo: Model) -> None:
    _bad_files(tmp_path, demo)
    before = sorted(tmp_path.rglob("*"))
    status, out, err = loci(*words)
    assert status == 2
    assert out == ""
    assert err.startswith("loci: ")
    assert err.count("\n") == 1
    assert says in err
    assert sorted(tmp_path.rglob("*")) == before, "nothing was written"


def _bad_files(path: Path, demo: Model) -> None:
    import torch
    from safetensors.torch import save_file

    from loci.facts import Fact
    from loci.patches import Factors, Patch

    (path / "empty").mkdir()
    (path / "pickled").mkdir()
    (path / "pickled" / "config.json").write_text("{}")
    (path / "pickled" / "pytorch_model.bin").write_bytes(b"")
    (path / "file").write_text("x")
    (path / "bad.csv").write_text("subject,prompt\n")
    (path / "latin.csv").write_bytes(b"subject,prompt,answer\nPeru,{} is,Lim\xe1\n")
    zero = Factors(torch.zeros(demo.d_model, 1), torch.zeros(1, demo.d_mlp))
    other = Patch(
        "rome",
        "sha256:" + "0" * 64,
        "another",
        {"W_down.1": zero},
        (Fact("a", "{} is", "b").to("c"),),
        {"seconds": 1.0},
    )
    other.save(path / "other-base.safetensors")
    (path / "cut.safetensors").write_bytes((path / "other-base.safetensors").read_bytes()[:300])
    save_file({"x": torch.zeros(1)}, path / "foreign.safetensors")
