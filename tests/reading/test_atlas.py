"""The atlas against brute force and dense products; what is broken, half-built or foreign is
refused.
"""

import json
import resource
import shutil
import statistics
from importlib import import_module
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
import torch
from tests.model.families import make

from loci.errors import ModelError, OutputError
from loci.figures.atlas import atlas_figure
from loci.model import Model, open_model
from loci.reading import (
    build_atlas,
    check_export,
    export_neuronpedia,
    open_atlas,
    project,
    promoted_by,
    read,
    read_weights,
)
from loci.reading.atlas_answers import ERASES
from loci.reading.atlas_folder import CHECKPOINT, PROVENANCE, SOURCE, TABLES
from loci.reading.atlas_tables import Tables, word_at
from loci.reading.value_projections import BLOCK, lie, nearest, written
from loci.survey import windows
from loci.text import sample_text


@pytest.fixture(scope="module")
def texts(demo: Model) -> list[str]:
    return sample_text(demo, 12_000)


@pytest.fixture(scope="module")
def folder(demo: Model, texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_atlas(
        demo, lambda: iter(texts), tmp_path_factory.mktemp("atlases") / "demo", source="a sample"
    )


@torch.no_grad()
def test_triggers_and_rates_against_brute_force(
    demo: Model, texts: list[str], folder: Path
) -> None:
    """Every text run by itself: the largest activation of each, and where."""
    atlas, best, fired, count = open_atlas(folder), [], 0, 0
    for number, text in enumerate(texts):
        act = demo.read(demo.ids([demo.tokenize(text).ids]), "mlp_act.2")["mlp_act.2"][0, 1:]
        best.append((act.max(0).values, act.argmax(0) + 1, number))
        fired, count = fired + (act > 0).sum(0), count + len(act)
    assert atlas.provenance["tokens"] == count
    rows = atlas.query(
        "SELECT neuron, firing_rate FROM neurons WHERE layer = 2 ORDER BY neuron"
    ).rows
    torch.testing.assert_close(
        torch.tensor([rate for _, rate in rows]), (fired / count), atol=1e-4, rtol=0
    )
    for neuron in (0, 7, 500, 1023):
        expected = sorted(
            (-float(values[neuron]), number, int(at[neuron])) for values, at, number in best
        )
        found = atlas.query(
            f"SELECT activation, text, position FROM triggers WHERE layer = 2 AND neuron = {neuron}"
            " ORDER BY rank"
        ).rows
        assert len(found) == sum(value < 0 for value, *_ in expected[:8])
        for (activation, text, position), (value, _, _) in zip(found, expected, strict=False):
            assert activation == pytest.approx(-value, abs=1e-4)
            assert float(best[text][0][neuron]) == pytest.approx(activation, abs=1e-4)
            assert int(best[text][1][neuron]) == position


def test_projections_are_the_dense_product(demo: Model, folder: Path) -> None:
    gain, _, _ = demo.norm("final_norm")
    values = demo.W_down(3).T
    dense = (gain * (values - values.mean(1, keepdim=True))) @ demo.W_U.T
    found, rows = promoted_by(demo, 3, 5), open_atlas(folder)
    torch.testing.assert_close(found.promoted, dense.topk(5).values, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        found.suppressed, dense.topk(5, largest=False).values, atol=1e-5, rtol=1e-5
    )
    torch.testing.assert_close(found.peak, dense.softmax(-1).max(-1).values, atol=1e-6, rtol=1e-4)
    said = rows.query(
        "SELECT token_id FROM values WHERE layer = 3 AND neuron = 9 AND side = 'promotes' ORDER BY"
        " rank LIMIT 5"
    ).rows
    assert [row[0] for row in said] == dense[9].topk(5).indices.tolist()
    assert BLOCK < 50_257 * 3_072, (
        "a block is less than all neurons of a GPT-2 times its vocabulary"
    )


@pytest.mark.parametrize("name", ["llama", "gemma2", "pythia"])
def test_other_families(name: str, demo: Model, texts: list[str], tmp_path: Path) -> None:
    model = make(name, demo)
    atlas = open_atlas(
        build_atlas(model, lambda: texts[:300], tmp_path / name, source="x"), model.fingerprint
    )
    card, alone = atlas.card("L1N7"), read(model, "L1N7", texts[:300])
    assert [token for token, _ in card.promotes] == [token for token, _ in alone.promotes]
    assert card.firing_rate == pytest.approx(alone.firing_rate, abs=1e-4)
    assert [t.activation for t in card.triggers] == pytest.approx(
        [t.activation for t in alone.triggers[:8]], rel=1e-3, abs=1e-5
    )
    assert set(lie(model, 0)) >= ({"up_cosine", "gate_up_cosine"} if model.gated else {"cosine"})
    torch.testing.assert_close(
        project(model, written(model, 1)[7]),
        project(model, written(model, 1))[7],
        atol=1e-5,
        rtol=1e-5,
    )


def test_mixtures_have_no_single_neurons(demo: Model, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="mixtures"):
        build_atlas(make("mixtral", demo), lambda: ["x"], tmp_path / "a", source="x")


def test_find_leads_to_the_neurons_of_a_word(folder: Path) -> None:
    """By plain Parquet and DuckDB alone, as anyone would look it up."""
    atlas = open_atlas(folder)
    found = atlas.find("Basketball ", top=5)
    rows = pq.read_table(folder / "values.parquet").to_pylist()
    there = sorted(
        (r["rank"], -r["score"], f"L{r['layer']}N{r['neuron']}")
        for r in rows
        if r["word"] == "basketball" and r["side"] == "promotes"
    )
    assert [row["name"] for row in found.promoted_by] == [name for *_, name in there][:5]
    fires = duckdb.sql(
        f"SELECT count(*) FROM read_parquet('{folder}/triggers.parquet') WHERE word = 'basketball'"
    ).fetchall()[0]
    assert sum(row["triggers"] for row in atlas.find("basketball", top=10**6).fires) == fires[0]
    filtered = atlas.find("basketball", layer=4, cosine=(0, 1), rate=(0, 0.5))
    assert all(
        row["layer"] == 4 and row["cosine"] >= 0 and row["firing_rate"] <= 0.5
        for row in filtered.promoted_by
    )
    with pytest.raises(ModelError, match=r"near it: .*basketball"):
        atlas.find("basketbal")


@pytest.mark.parametrize(
    ("text", "start", "end", "word"),
    [
        ("Mt. Fuji's top", 4, 6, "fuji"),
        ("a  b", 1, 3, ""),
        ("x = 23.", 4, 5, "23"),
        ("end.", 3, 4, "."),
        ("Zürich", 1, 3, "zürich"),
    ],
)
def test_whole_words(text: str, start: int, end: int, word: str) -> None:
    assert word_at(text, start, end) == word


@pytest.mark.parametrize(
    "sql",
    [
        "DROP VIEW neurons",
        "COPY neurons TO 'x.parquet'",
        "SELECT 1; SELECT 2",
        "",
        "SET threads=1",
        "CREATE TABLE t AS SELECT 1",
    ],
)
def test_questions_only_read(folder: Path, sql: str) -> None:
    with pytest.raises(ModelError, match="only read"):
        open_atlas(folder).query(sql)


def test_questions_stay_inside_the_atlas(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ModelError, match="cannot be answered"):
        open_atlas(folder).query(f"SELECT * FROM read_csv('{tmp_path}/secret.csv')")
    with pytest.raises(ModelError, match="tables: neurons"):
        open_atlas(folder).query("SELECT nothing FROM neurons")


def contents(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.iterdir()}


class Stop:
    """Ctrl-C in the middle of so many pages."""

    def __init__(self, pages: int) -> None:
        self.left = pages

    def __call__(self, done: int, total: int) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def test_a_stopped_build_goes_on_to_the_same_bytes(
    tiny: Model, texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("loci.survey.text_pass"), "PAGE", 128)
    place, some = tmp_path / "half", texts[:1500]
    build_atlas(tiny, lambda: iter(some), tmp_path / "whole", source="a sample")
    with pytest.raises(KeyboardInterrupt):
        build_atlas(tiny, lambda: iter(some), place, source="a sample", progress=Stop(2))
    assert not place.exists(), "before the first checkpoint there is nothing to keep"
    with pytest.raises(KeyboardInterrupt):
        build_atlas(tiny, lambda: iter(some), place, source="a sample", progress=Stop(7))
    assert contents(place).keys() == {SOURCE, CHECKPOINT}
    before = contents(place)
    with pytest.raises(OutputError, match=r"another text is in it \(a sample\)"):
        build_atlas(tiny, lambda: iter(some), place, source="another sample")
    with pytest.raises(OutputError, match="other files"):
        (place / "mine").touch()
        build_atlas(tiny, lambda: iter(some), place, source="a sample")
    (place / "mine").unlink()
    assert contents(place) == before
    build_atlas(tiny, lambda: iter(some), place, source="a sample")
    assert contents(place) == contents(tmp_path / "whole")
    with pytest.raises(OutputError, match="finished atlas"):
        build_atlas(tiny, lambda: iter(some), place, source="a sample")
    (place / SOURCE).write_text("a sample")
    build_atlas(tiny, lambda: iter(some), place, source="a sample")
    assert contents(place) == contents(tmp_path / "whole"), "killed behind its last file"


def test_another_text_of_the_same_name_is_not_gone_on_with(
    tiny: Model, texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("loci.survey.text_pass"), "PAGE", 128)
    place, some = tmp_path / "half", texts[:700]
    other = [*some[:100], some[100][::-1], *some[101:]]
    with pytest.raises(KeyboardInterrupt):
        build_atlas(tiny, lambda: iter(some), place, source="a sample", progress=Stop(6))
    for text in (other, some[:50]):
        with pytest.raises(ModelError, match="another text"):
            build_atlas(tiny, lambda text=text: iter(text), place, source="a sample")
    streams = iter([some, other])
    with pytest.raises(ModelError, match="has changed while it was read"):
        build_atlas(tiny, lambda: iter(next(streams)), place, source="a sample")


def test_two_builds_in_one_folder(tiny: Model, texts: list[str], tmp_path: Path) -> None:
    def second(done: int, total: int) -> None:
        with pytest.raises(OutputError, match="another process is building an atlas there"):
            build_atlas(tiny, lambda: iter(texts[:50]), tmp_path / "a", source="x")

    build_atlas(tiny, lambda: iter(texts[:50]), tmp_path / "a", source="x", progress=second)
    assert open_atlas(tmp_path / "a").provenance["texts"] == 50
    assert not list((tmp_path / "a").glob(".*"))


def test_broken_and_foreign_atlases(folder: Path, tiny: Model, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no atlas"):
        open_atlas(tmp_path)
    with pytest.raises(ModelError, match="other weights"):
        open_atlas(folder, tiny.fingerprint)
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "values.parquet").write_bytes(b"PAR1nothing")
    with pytest.raises(ModelError, match=r"values\.parquet: the table is broken"):
        open_atlas(broken)
    (broken / "values.parquet").unlink()
    with pytest.raises(ModelError, match=r"lacks values\.parquet"):
        open_atlas(broken)
    (broken / PROVENANCE).write_text(json.dumps({"schema": "other"}))
    with pytest.raises(ModelError, match="not that of an atlas"):
        open_atlas(broken)
    (broken / PROVENANCE).rename(broken / CHECKPOINT)
    with pytest.raises(ModelError, match="half-built"):
        open_atlas(broken)
    with pytest.raises(OutputError, match="other files"):
        build_atlas(tiny, lambda: ["x"], tmp_path, source="x")


@pytest.mark.parametrize("hashed", [True, False])
@pytest.mark.parametrize("table", TABLES)
def test_garbage_in_a_table_is_one_line(
    folder: Path, tmp_path: Path, table: str, hashed: bool
) -> None:
    """Where a table is too large to be hashed, or the atlas older, every question still answers or
    fails in one line.
    """
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    path = broken / f"{table}.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 3 + 2000] = bytes(range(250)) * 8
    path.write_bytes(data)
    if hashed:
        with pytest.raises(ModelError, match=rf"{table}\.parquet: the table is broken"):
            open_atlas(broken)
        return
    said = json.loads((broken / PROVENANCE).read_text())
    (broken / PROVENANCE).write_text(json.dumps({k: v for k, v in said.items() if k != "files"}))
    for ask in (
        lambda atlas: atlas.find("basketball"),
        lambda atlas: atlas.kind("eraser"),
        lambda atlas: atlas.card("L1N37"),
        lambda atlas: atlas.to_dict(),
        lambda atlas: atlas.scatter(),
        lambda atlas: atlas.query(f"SELECT * FROM {table}"),
    ):
        try:
            ask(open_atlas(broken))
        except ModelError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("layers", ...), ("layers", -1), ("layers", 0), ("layers", 10**12), ("layers", "6"),
        ("layers", 6.0), ("layers", None),
        ("d_mlp", ...), ("d_mlp", -5), ("d_mlp", 10**30), ("d_mlp", True), ("tokens", ...),
        ("tokens", 0), ("tokens", "x"),
        ("weights", ...), ("weights", 3), ("model", None), ("model", ["x"]), ("bos", ...),
        ("bos", "yes"), ("text", 5),
        ("triggers", {}), ("files", []), ("files", {}), ("files", {"neurons": 3}), ("schema", 3),
        ("schema", ...),
    ],
)  # fmt: skip
def test_a_provenance_that_is_none(folder: Path, tmp_path: Path, name: str, value: object) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    said = {**json.loads((broken / PROVENANCE).read_text()), name: value}
    (broken / PROVENANCE).write_text(json.dumps({k: v for k, v in said.items() if v is not ...}))
    with pytest.raises(ModelError, match=f"{name}|not that of an atlas") as error:
        open_atlas(broken)
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    "document", ["", "null", "[]", "{", "[" * 10**5, '{"schema": "loci.atlas/1"}']
)
def test_a_provenance_that_is_no_record(folder: Path, tmp_path: Path, document: str) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / PROVENANCE).write_text(document)
    with pytest.raises(ModelError, match=PROVENANCE):
        open_atlas(broken)


def test_tables_of_other_columns(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    said = json.loads((broken / PROVENANCE).read_text())
    (broken / PROVENANCE).write_text(json.dumps({k: v for k, v in said.items() if k != "files"}))
    table = pq.read_table(folder / "values.parquet")
    pq.write_table(table.drop(["word"]), broken / "values.parquet")
    with pytest.raises(ModelError, match=r"values\.parquet: word: expected text, not there"):
        open_atlas(broken).find("basketball")
    pq.write_table(table.set_column(0, "word", table["rank"]), broken / "values.parquet")
    with pytest.raises(ModelError, match=r"values\.parquet: word: expected text, of type"):
        open_atlas(broken).find("basketball")


def test_tables_that_do_not_fit_the_disk(tmp_path: Path) -> None:
    tables, usual = Tables(), resource.getrlimit(resource.RLIMIT_FSIZE)
    tables.add("neurons", {"x": torch.randn(50_000, dtype=torch.float64).tolist()})
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, usual[1]))
    try:
        with pytest.raises(OutputError, match=r"neurons\.parquet: cannot be written"):
            tables.write("neurons", tmp_path / "neurons.parquet")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert list(tmp_path.iterdir()) == []


def test_nearest_neurons(demo: Model) -> None:
    rows = torch.nn.functional.normalize(demo.W_down(2).T, dim=1)
    cosines = rows @ rows[5]
    cosines[5] = -2
    found = nearest(demo, 2, 5, 3)
    assert [i for i, _ in found] == cosines.topk(3).indices.tolist()
    assert [c for _, c in found] == pytest.approx(cosines.topk(3).values.tolist(), abs=1e-5)


def test_neuronpedias_form(demo: Model, texts: list[str], folder: Path, tmp_path: Path) -> None:
    """The limits that Neuronpedia's upload route sets, and the activations against plain runs."""
    written = export_neuronpedia(open_atlas(folder), demo, tmp_path, model_id="Demo", layers=[1])
    indices: list[int] = []
    for path in written:
        batch = json.loads(path.read_text(encoding="utf-8"))
        assert set(batch) == {"modelId", "source", "features"}
        assert batch["modelId"] == "demo" and batch["source"] == "1-mlp"
        assert 1 <= len(batch["features"]) <= 128
        for feature in batch["features"]:
            indices.append(feature["index"])
            assert len(feature["topLogits"]) <= 20 and {"token", "value"} == set(
                feature["topLogits"][0]
            )
            assert feature["activations"]
            for activation in feature["activations"]:
                assert len(activation["tokens"]) == len(activation["values"]) <= 1024
    assert len(indices) == len(set(indices))
    first = json.loads(written[0].read_text())["features"][0]
    shown = first["activations"][0]
    text = next(text for text in texts if [*demo.tokenize(text).labels[1:]] == shown["tokens"])
    act = demo.read(demo.ids([demo.tokenize(text).ids]), "mlp_act.1")["mlp_act.1"][
        0, 1:, first["index"]
    ]
    assert shown["values"] == pytest.approx(act.tolist(), abs=1e-4)
    alive = (
        open_atlas(folder)
        .query("SELECT count(DISTINCT neuron) FROM triggers WHERE layer = 1")
        .rows[0][0]
    )
    assert len(indices) == alive


def test_exports_of_others_are_refused(
    demo: Model, tiny: Model, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="other weights"):
        export_neuronpedia(open_atlas(folder), tiny, tmp_path, model_id="demo")
    with pytest.raises(ModelError, match="layers 0 … 5"):
        export_neuronpedia(open_atlas(folder), demo, tmp_path, model_id="demo", layers=[6])
    bare = open_model("demo", bos=False)
    with pytest.raises(ModelError, match="another BOS"):
        export_neuronpedia(open_atlas(folder), bare, tmp_path, model_id="demo", layers=[0])


def test_exports_into_what_is_full_are_refused_and_those_that_were_stopped_go_on(
    demo: Model, folder: Path, tmp_path: Path
) -> None:
    for place in (folder, folder / "features"):
        with pytest.raises(OutputError, match="is in the atlas"):
            check_export(open_atlas(folder), place)
    whole, again = tmp_path / "whole", tmp_path / "again"
    export_neuronpedia(open_atlas(folder), demo, whole, model_id="demo", layers=[0])
    again.mkdir()
    for path in sorted(whole.iterdir())[:2]:
        shutil.copy(path, again)
    export_neuronpedia(open_atlas(folder), demo, again, model_id="demo", layers=[0])
    assert contents(again) == contents(whole)
    (again / "mine.txt").touch()
    with pytest.raises(OutputError, match=r"other files in it \(mine.txt\)"):
        export_neuronpedia(open_atlas(folder), demo, again, model_id="demo", layers=[0])


@torch.no_grad()
def test_texts_longer_than_the_context_are_exported_by_windows(tiny: Model, tmp_path: Path) -> None:
    """A trigger far back in a long text: its window's activations, run by themselves."""
    text = " ".join(
        ["Michael Jordan plays the sport of basketball."] * 12 + ["Osaka is in Japan."] * 9
    )
    atlas = open_atlas(
        build_atlas(tiny, lambda: [text], tmp_path / "atlas", source="one long text")
    )
    exported = export_neuronpedia(atlas, tiny, tmp_path / "out", model_id="tiny", layers=[1])
    pieces = {window.labels: window for window in windows(tiny, [(0, text)])}
    assert len(pieces) > 1
    for feature in json.loads(exported[0].read_text(encoding="utf-8"))["features"][:20]:
        [shown] = [found for found in feature["activations"] if max(found["values"]) > 0][:1]
        ids = pieces[tuple(shown["tokens"])].ids
        act = tiny.read(tiny.ids([ids]), "mlp_act.1")["mlp_act.1"][0, 1:, feature["index"]]
        assert shown["values"] == pytest.approx(act.tolist(), abs=1e-4)


def test_kinds_against_plain_parquet(folder: Path) -> None:
    atlas, rows = open_atlas(folder), pq.read_table(folder / "neurons.parquet").to_pylist()
    rules = {
        "eraser": lambda r: r["cosine"] <= ERASES,
        "dead": lambda r: r["max"] <= 0,
        "always-on": lambda r: r["min"] > 0,
    }
    for kind, rule in rules.items():
        expected = {f"L{r['layer']}N{r['neuron']}" for r in rows if rule(r)}
        found = atlas.kind(kind, top=10**6)
        assert {row["name"] for row in found.neurons} == expected and found.count == len(
            expected
        ), kind
        some = atlas.kind(kind, top=3, layer=5, cosine=(-1, 0))
        assert (
            all(row["layer"] == 5 and row["cosine"] <= 0 for row in some.neurons)
            and len(some.neurons) <= 3
        )
    assert atlas.kind("eraser").count and atlas.kind("dead").count
    with pytest.raises(ModelError, match="kinds are eraser, dead, always-on"):
        atlas.kind("sleepy")


def test_summary_and_figure(demo: Model, folder: Path) -> None:
    atlas, rows = open_atlas(folder), pq.read_table(folder / "neurons.parquet").to_pylist()
    layer = [row for row in rows if row["layer"] == 3]
    found = atlas.by_layer()[3]
    assert found["neurons"] == len(layer) == demo.d_mlp
    assert found["erasers"] == pytest.approx(
        sum(row["cosine"] <= ERASES for row in layer) / len(layer)
    )
    assert found["dead"] == pytest.approx(sum(row["max"] <= 0 for row in layer) / len(layer))
    assert atlas.to_dict()["by_layer"][3] == found
    points, *bars = atlas_figure(atlas).data
    assert len(points.x) == len(rows) / 2, "6,144 neurons, every second one"
    assert list(bars[0].y) == [row["dead"] for row in atlas.by_layer()]
    assert bars[-1].y[3] == pytest.approx(statistics.median(row["max"] for row in layer))


def test_cards_from_tables_name_the_nearest(demo: Model, folder: Path) -> None:
    card = open_atlas(folder).card("L2N5")
    weights = read_weights(demo, "L2N5")
    assert [name for name, _ in card.nearest] == [name for name, _ in weights.nearest]
    assert [f"L2N{i}" for i, _ in nearest(demo, 2, 5)] == [name for name, _ in weights.nearest]
    assert weights.to_dict()["nearest"][0] == {
        "name": weights.nearest[0][0],
        "cosine": weights.nearest[0][1],
    }
