"""What workers gather for others: an atlas and an edit's statistics are those made here."""

import json
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
import torch
from tests.conftest import tiny_gpt2

from loci.cli.opening import Opening as CliOpening
from loci.editing.edit import edit
from loci.editing.statistics import key_moments
from loci.errors import EditError, ModelError
from loci.facts import Fact, corpus
from loci.model import Model
from loci.patches import Patch, save_model
from loci.reading import build_atlas
from loci.survey import ModelSource, Plan, Workers, gather, gathering, keys_question, make_plan
from loci.survey.processes import Processes
from loci.survey.worker import opened


def test_statistics_of_an_edit(
    demo: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In two shards, from texts that are in no file; nothing of them is left over but the moment
    itself, and that is not made again.
    """
    texts = [*corpus()[:60], " "]
    monkeypatch.setenv("LOCI_CACHE", "")
    here = key_moments(demo, [1], texts=texts)
    monkeypatch.setenv("LOCI_CACHE", str(tmp_path))
    there = key_moments(demo, [1], texts=texts, workers=Workers(1, ModelSource(), shard_tokens=500))
    torch.testing.assert_close(there[1], here[1], rtol=1e-4, atol=1e-6)
    assert not list((tmp_path / "surveys").iterdir())
    assert torch.equal(
        key_moments(demo, [1], texts=texts, workers=Workers(1, ModelSource("nobody")))[1], there[1]
    )


def test_an_atlas(demo: Model, tmp_path: Path) -> None:
    """The tables are those of a pass here; lines that are no text are counted, and the others keep
    their numbers.
    """
    model = tiny_gpt2(demo)
    (tmp_path / "model").mkdir()
    save_model(model, tmp_path / "model")
    texts, path = corpus()[:120], tmp_path / "t.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text in texts) + "\n{\n")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as a worker has: ties are broken by the last digits
    build_atlas(model, lambda: texts, tmp_path / "here", source="t")
    torch.set_num_threads(threads)
    workers = Workers(1, ModelSource(str(tmp_path / "model")), shard_tokens=1000)
    build_atlas(model, lambda: texts, tmp_path / "there", source="t", workers=workers, text=path)
    one, other = (
        json.loads((tmp_path / name / "provenance.json").read_text()) for name in ("here", "there")
    )
    assert (one["tokens"], one["texts"]) == (other["tokens"], other["texts"] - 1) and other[
        "set_aside"
    ] == 1
    exact = {
        "texts": "text, content",
        "triggers": "layer, neuron, rank, text, position",
        "histograms": "*",
        "values": "*",
    }
    for table, columns in {
        **exact,
        "neurons": "layer, neuron, firing_rate, cluster, nearest",
    }.items():
        rows = [
            duckdb.sql(
                f"SELECT {columns} FROM '{tmp_path}/{name}/{table}.parquet' ORDER BY ALL"
            ).fetchall()
            for name in ("here", "there")
        ]
        assert rows[0] == rows[1], table
    assert not (tmp_path / "there" / "shards").exists()


def test_workers_of_ray(demo: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same pass by another pool, with the address that was said; the processes stand in for
    its actors, which have tests of their own.
    """
    asked = []

    def pool(address: str, plan: Plan, file: Path, folder: Path, count: int) -> Processes:
        asked.append((address, count))
        return Processes(file, folder)

    monkeypatch.setattr(gathering, "RayPool", pool)
    monkeypatch.setenv("LOCI_CACHE", "")
    texts = corpus()[:40]
    here = key_moments(demo, [0], texts=texts)
    workers = CliOpening().workers(None, "head:10001")
    there = key_moments(demo, [0], texts=texts, workers=workers)
    torch.testing.assert_close(there[0], here[0], rtol=1e-4, atol=1e-6)
    assert asked == [("head:10001", 1)]


def test_a_model_that_workers_cannot_open(demo: Model, tmp_path: Path) -> None:
    plan = make_plan(ModelSource(), keys_question([0]), limit=100)
    assert opened(replace(plan, weights=demo.fingerprint)).n_layers == demo.n_layers
    with pytest.raises(ModelError, match="is not the model that is open here"):
        opened(replace(plan, weights="sha256:another"))
    for count in (0, -1):
        with pytest.raises(ModelError, match="workers do nothing"):
            gather(demo, keys_question([0]), None, Workers(count, ModelSource()), tmp_path)
    with pytest.raises(ModelError, match="no text"):
        gather(demo, keys_question([0]), ["", " "], Workers(1, ModelSource()), tmp_path / "new")
    assert not (tmp_path / "new").exists(), "nothing is left where nothing was done"
    with pytest.raises(ModelError, match="--device-map auto: workers"):
        CliOpening(device_map="auto").workers(1)
    assert CliOpening(device_map="auto").workers(None) is None
    fact = Fact("Michael Jordan", "{} plays the sport of", "baseball")
    after = Patch("rome", demo.fingerprint, demo.name, {}, (fact,), {})
    with pytest.raises(EditError, match="without the earlier patch"):
        edit(demo, fact, after=after, workers=Workers(1, ModelSource()))
