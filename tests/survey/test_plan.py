"""Plans: what they say before any weight is loaded, what their shards read,
and what is set aside.
"""

import json
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import urlopen

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors import SafetensorError
from tests.conftest import tiny_gpt2

from loci.errors import ModelError, OutputError
from loci.facts import corpus
from loci.model import Model, open_empty
from loci.patches import save_model
from loci.survey.costs import costs
from loci.survey.driver import Told
from loci.survey.metrics import served
from loci.survey.outcomes import merge_states, outcome, summary
from loci.survey.plan import Plan, make_plan
from loci.survey.plan_document import ModelSource
from loci.survey.question import Kind, SurveyQuestion, keys_question, neurons_question
from loci.survey.shards import done, run_shard, run_task, state_path
from loci.survey.states import DamagedState, State, checksum, tensors_of
from loci.survey.text_pass import survey
from loci.survey.tree import MergeNode, nodes, root
from loci.survey.worker import opened
from loci.text import read_texts
from loci.text.ranges import Given, cut, read_range

SHARD_TOKENS = 600


class Small(NamedTuple):
    """A small model in a folder, a text, a plan of some twenty shards, and what it gives
    undisturbed.
    """

    root: Path
    model: Model
    text: Path
    plan: Plan
    whole: str


def in_place(plan: Plan, folder: Path, model: Model) -> State:
    """All of a plan, one task after the other, in this process."""
    for node in nodes(len(plan.pieces)):
        run_task(plan, node, folder, model)
    return outcome(plan, folder)


@pytest.fixture(scope="module")
def small(demo: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    place = tmp_path_factory.mktemp("small")
    (place / "model").mkdir()
    model = tiny_gpt2(demo)
    save_model(model, place / "model")
    text = place / "t.txt"
    text.write_text("\n".join(corpus()[:1200]))
    plan = make_plan(
        ModelSource(str(place / "model")), neurons_question([0, 2]), text, shard_tokens=SHARD_TOKENS
    )
    whole = checksum(tensors_of(in_place(plan, place / "whole", model).gathered))
    yield Small(place, model, text, plan, whole)


def test_a_plan_loads_no_weights(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says the same again; its numbers against those counted by hand."""
    monkeypatch.setattr(import_module("loci.survey.plan_document"), "open_model", None)
    plan = make_plan(
        ModelSource(str(small.root / "model")),
        neurons_question([0, 2]),
        small.text,
        shard_tokens=SHARD_TOKENS,
    )
    assert plan.ids == small.plan.ids
    document = plan.to_dict()
    for name in ("schema", "tokens", "flops", "state_bytes", "worker_bytes", "shards", "seconds"):
        assert name in document
    state = outcome(small.plan, small.root / "whole")
    assert document["state_bytes"] == sum(
        t.numel() * t.element_size() for t in tensors_of(state.gathered).values()
    )
    assert abs(document["tokens"] / state.tokens - 1) < 0.05
    d, d_mlp, layers = 32, 128, 3
    block = 2 * (4 * d * d + 2 * d * d_mlp) + 2 * d * 64
    updates = 2 * (3 + 8 + 2 + 8 + 2) * d_mlp
    assert document["flops"] == document["tokens"] * (layers * block + updates)
    assert document["shared_bytes"] == 4 * sum(p.numel() for p in small.model.hf.parameters())
    assert document["seconds"] > 0 and document["worker_bytes"] > 2 * document["state_bytes"]
    assert len(plan.pieces) == document["shards"] > 16


def test_a_plan_comes_back(small: Small, tmp_path: Path) -> None:
    small.plan.write(tmp_path / "p.json")
    assert Plan.read(tmp_path / "p.json") == small.plan
    document = json.loads((tmp_path / "p.json").read_text())
    for change, words in (
        ({"schema": "loci.atlas/1"}, "no plan of a survey"),
        ({"loci": "0.0.9"}, "the plan of Loci 0.0.9, this is"),
        ({"pieces": []}, "pieces: expected"),
        ({"pieces": [[1, 2]]}, r"pieces: expected \[start"),
        ({"question": {"mlp_act.0": [["Mean", {}]]}}, "question: expected"),
        ({"pieces": [[0, -1, 0, 1, 1, "x"]]}, r"pieces: expected \[start"),
        ({"threads": "2"}, "threads: expected"),
        ({"threads": 0}, "threads: expected"),
        ({"batch_tokens": -5}, "batch_tokens: expected"),
        ({"disk_bytes": -1}, "disk_bytes: expected"),
    ):
        (tmp_path / "q.json").write_text(json.dumps(document | change))
        with pytest.raises(ModelError, match=words):
            Plan.read(tmp_path / "q.json")


def test_names_say_what_numbers_depend_on(small: Small) -> None:
    """Another model, question, precision or batch is another state; a longer text shares the shards
    before.
    """
    longer = small.root / "longer.txt"
    longer.write_text(small.text.read_text() + "\nOne more sentence.\n" * 400)
    opening = ModelSource(str(small.root / "model"))

    def ids(text: Path = small.text, **more: object) -> set[str]:
        asked = {"opening": opening, "question": neurons_question([0, 2])} | more
        return set(make_plan(text=text, shard_tokens=SHARD_TOKENS, **asked).ids.values())  # type: ignore[arg-type]

    here = ids()
    assert len(here & ids(longer)) >= len(small.plan.pieces) - 1
    for other in (
        ids(opening=ModelSource("demo")),
        ids(opening=ModelSource(str(small.root / "model"), dtype="float64")),
        ids(question=neurons_question([0, 1])),
        ids(batch_tokens=512),
        ids(threads=2),
    ):
        assert not here & other


def test_points_that_no_model_has(small: Small) -> None:
    for point, words in (
        ("mlp_act.9", "expected mlp_act.0"),
        ("mlp_up.0", "not gated"),
        ("z.0", "one vector a token"),
        ("mlp.0", "no point"),
    ):
        with pytest.raises(ModelError, match=words):
            make_plan(
                ModelSource(str(small.root / "model")),
                SurveyQuestion({point: (Kind("Moments"),)}),
                small.text,
            )


def test_a_sharded_pass_is_one_pass(small: Small) -> None:
    """Counts and places are the same numbers; sums of floats are, but for their order."""
    gathered = neurons_question([0, 2]).accumulators()
    seen = survey(small.model, read_texts(small.text), gathered)
    state = outcome(small.plan, small.root / "whole")
    assert (seen.texts, seen.tokens) == (state.texts, state.tokens)
    ours, theirs = tensors_of(state.gathered), tensors_of(gathered)
    for name, tensor in theirs.items():
        if name.endswith("keys"):
            continue  # bits of floats, which other batches round differently
        exact = not tensor.is_floating_point()
        torch.testing.assert_close(
            ours[name], tensor, rtol=0 if exact else 2e-5, atol=0 if exact else 2e-5, msg=name
        )


@pytest.mark.parametrize("size", [1, 40, 10**6])
def test_pieces_are_the_whole_text(tmp_path: Path, size: int) -> None:
    texts = ["a", "two words", " ", "ünïcode ☃", "carriage\rreturn", "", "b" * 300] * 5
    (tmp_path / "t.txt").write_bytes("\r\n".join(texts).encode())
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    pq.write_table(pa.table({"text": texts}), tmp_path / "t.parquet")
    for name in ("t.txt", "t.jsonl", "t.parquet"):
        pieces = list(cut(tmp_path / name, size))
        parts = [read_range(tmp_path / name, piece) for piece in pieces]
        assert [one.text for part in parts for one in part] == list(read_texts(tmp_path / name)), (
            name
        )
        assert [piece.first for piece in pieces] == [
            sum(map(len, parts[:i])) for i in range(len(parts))
        ]
    assert [
        one.text for piece in cut(None, size * 2000) for one in read_range(None, piece)
    ] == corpus()


def test_a_text_that_has_changed(small: Small, tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("One.\nTwo.\nThree.\n")
    first, *_ = cut(path, 4)
    path.write_text("One!\nTwo.\nThree.\n")
    with pytest.raises(ModelError, match="the text has changed since the plan was made"):
        read_range(path, first)


def test_poison_is_set_aside_with_its_place(small: Small, tmp_path: Path) -> None:
    """Lines that are no text, and texts at which tokenizer or model fail; the sums are those of the
    others.
    """
    good = corpus()[:40]
    lines = [json.dumps({"text": text}) for text in good]
    path = tmp_path / "t.jsonl"
    path.write_text(
        "\n".join([*lines[:7], "{", '{"text": "half \\ud800"}', *lines[7:], '{"words": 3}'])
    )
    plan = make_plan(ModelSource(str(small.root / "model")), keys_question([1]), path)
    state = in_place(plan, tmp_path / "states", small.model)
    said = [(one.text, one.place.rpartition(", ")[2], one.reason) for one in state.set_aside]
    assert [(text, place) for text, place, _ in said] == [
        (7, "line 8"),
        (8, "line 9"),
        (42, "line 43"),
    ]
    assert (
        "not JSON" in said[0][2]
        and "half a character" in said[1][2]
        and 'an object with a "text"' in said[2][2]
    )
    (tmp_path / "good.txt").write_text("\n".join(good))
    clean = in_place(
        make_plan(
            ModelSource(str(small.root / "model")), keys_question([1]), tmp_path / "good.txt"
        ),
        tmp_path / "clean",
        small.model,
    )
    assert (state.texts, state.tokens) == (43, clean.tokens)
    torch.testing.assert_close(tensors_of(state.gathered), tensors_of(clean.gathered))


def test_texts_at_which_the_model_fails(demo: Model) -> None:
    """Found among the others by halves; NaN is a failure too; where all fail,
    it is not the text.
    """
    model = tiny_gpt2(demo)
    texts = [(i, Given(text, f"text {i}")) for i, text in enumerate(corpus()[:30])]
    clean = run_shard(
        model, keys_question([1]), [one for one in texts if one[0] not in (4, 17)], 512
    )
    poison, nan = "a zebra crossing", "Zzyzx"
    texts[4], texts[17] = (4, Given(poison, "text 4")), (17, Given(nan, "text 17"))
    bad, worse = model.tokenize(poison).ids, model.tokenize(nan).ids
    assert bad[-1] not in {
        token
        for _, one in texts
        if one.text not in (poison, nan)
        for token in model.tokenize(one.text).ids
    }

    def fails(module: object, args: tuple[object, ...], kwargs: dict[str, torch.Tensor]) -> None:
        ids = kwargs["input_ids"]
        if any(
            ids[:, i : i + len(bad)].eq(torch.tensor(bad)).all(1).any()
            for i in range(ids.shape[1] - len(bad) + 1)
        ):
            raise RuntimeError("CUDA error:\n device-side assert")

    with torch.no_grad():
        rare = worse[-1]
        weight = model.module("embed").weight
        before = weight[rare].clone()
        weight[rare] = torch.nan
    hook = model.hf.register_forward_pre_hook(fails, with_kwargs=True)
    try:
        state = run_shard(model, keys_question([1]), texts, 512)
        with pytest.raises(
            ModelError, match=r"takes none of the texts from text 4 on: RuntimeError: CUDA error"
        ):
            run_shard(model, keys_question([1]), [texts[4], (5, Given(poison, "again"))], 512)
    finally:
        hook.remove()
        with torch.no_grad():
            weight[rare] = before
    assert [(one.text, one.reason) for one in state.set_aside] == [
        (4, "RuntimeError: CUDA error: device-side assert"),
        (17, "not finite in the model"),
    ]
    assert state.texts == 30
    torch.testing.assert_close(tensors_of(state.gathered), tensors_of(clean.gathered))


def test_damaged_states_are_made_again_and_duplicates_change_nothing(
    small: Small, tmp_path: Path
) -> None:
    """A damaged state is found when it is joined; what is there is not made again."""
    plan, count = small.plan, len(small.plan.pieces)
    for number in range(count):
        run_task(
            plan,
            MergeNode(0, number),
            tmp_path,
            None if number in done(plan, tmp_path) else small.model,
        )
    path = state_path(plan, MergeNode(0, 3), tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[:-100] + bytes(100))
    with pytest.raises(DamagedState, match="checksum"):
        run_task(plan, MergeNode(1, 0), tmp_path, None)
    assert not path.exists()
    run_task(plan, MergeNode(0, 3), tmp_path, small.model)
    assert path.read_bytes() == data
    for node in nodes(count):
        run_task(plan, node, tmp_path, None if node.level else small.model)
    assert done(plan, tmp_path) == {root(count)}, "what is joined goes"
    run_task(
        plan, MergeNode(0, 5), tmp_path, small.model
    )  # by a worker that everybody thought dead
    run_task(plan, root(count), tmp_path, None)
    assert checksum(tensors_of(outcome(plan, tmp_path).gathered)) == small.whole


def test_a_full_disk(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, and nothing half is left."""

    def full(*given: object, **more: object) -> None:
        raise SafetensorError(
            "Error while serializing: I/O error: No space left on device (os error 28)"
        )

    monkeypatch.setattr(import_module("loci.survey.states"), "save_file", full)
    with pytest.raises(OutputError, match=r"cannot be written .*No space left"):
        run_task(small.plan, MergeNode(0, 0), tmp_path, small.model)
    assert not list(tmp_path.iterdir())


def test_states_of_several_machines(small: Small, tmp_path: Path) -> None:
    plan, count = small.plan, len(small.plan.pieces)
    left, right, out = tmp_path / "left", tmp_path / "right", tmp_path / "out"
    for number in range(count):
        if number < 12:
            run_task(plan, MergeNode(0, number), left, small.model)
        if 10 <= number < count - 1:
            run_task(plan, MergeNode(0, number), right, small.model)
    with pytest.raises(
        ModelError,
        match=f"1 of {count} shards are in none of the folders .the first is shard {count - 1}",
    ):
        merge_states(plan, [left, right], out)
    run_task(plan, MergeNode(0, count - 1), right, small.model)
    state = merge_states(plan, [right, left], out)
    assert checksum(tensors_of(state.gathered)) == small.whole
    assert summary(plan, state) == summary(plan, outcome(plan, small.root / "whole"))
    assert len(done(plan, left)) == 12, "what is merged stays where it was"


def test_states_of_others_are_refused(small: Small, tmp_path: Path) -> None:
    plan = small.plan
    opening = ModelSource(str(small.root / "model"))
    others = {
        "the state of another model": make_plan(
            ModelSource("demo"), neurons_question([0, 2]), small.text, shard_tokens=SHARD_TOKENS
        ),
        "the state of another question": make_plan(
            opening, keys_question([0]), small.text, shard_tokens=SHARD_TOKENS
        ),
        "a state with batch_tokens 512, where the plan has 4096": make_plan(
            opening,
            neurons_question([0, 2]),
            small.text,
            shard_tokens=SHARD_TOKENS,
            batch_tokens=512,
        ),
        "the state of another text": make_plan(
            opening, neurons_question([0, 2]), None, limit=2000, shard_tokens=SHARD_TOKENS
        ),
    }
    for i, (words, other) in enumerate(others.items()):
        folder = tmp_path / str(i)
        run_task(other, MergeNode(0, 0), folder, small.model)
        with pytest.raises(ModelError, match=words):
            merge_states(plan, [folder], tmp_path / "out")
    with pytest.raises(ModelError, match="no such folder"):
        merge_states(plan, [tmp_path / "nowhere"], tmp_path / "out")
    with pytest.raises(
        ModelError, match=f"{len(plan.pieces)} of {len(plan.pieces)} shards are missing"
    ):
        outcome(plan, tmp_path / "out")


def test_weights_that_stay_in_their_files(small: Small, tmp_path: Path) -> None:
    """Another memory, the same plan and the same bytes."""
    opening = ModelSource(str(small.root / "model"), device_map="disk")
    plan = make_plan(opening, small.plan.question, small.text, shard_tokens=SHARD_TOKENS)
    plan.write(tmp_path / "plan.json")
    model = opened(Plan.read(tmp_path / "plan.json"))
    assert model.mapping is not None and plan.id == small.plan.id
    node = MergeNode(0, 1)
    for name, each in (("memory", small.model), ("files", model)):
        run_task(plan, node, tmp_path / name, each)
    states = [state_path(plan, node, tmp_path / name).read_bytes() for name in ("memory", "files")]
    assert states[0] == states[1]
    shape = open_empty("gpt2")
    held, light = (
        costs(shape, small.plan.question, 10, 1, 10, 1, "cpu", stays=stays)
        for stays in (False, True)
    )
    blocks = sum(p.numel() for block in shape.blocks for p in block.parameters())
    streams = 4 * 10 * shape.d_model
    assert held.worker_bytes - light.worker_bytes == pytest.approx(4 * blocks * 11 / 12, rel=0.05)
    assert light.worker_bytes > 4 * blocks / 12 + streams


def test_planned_seconds_are_about_those_of_the_pass(
    demo: Model, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In CPU seconds, which do not depend on what else the machine does; of a model whose products
    take longer than the calls around them.
    """
    monkeypatch.setattr("time.perf_counter", time.process_time)
    plan = make_plan(ModelSource(), keys_question([3]), small.text, limit=4000, shard_tokens=4000)
    run_task(plan, MergeNode(0, 0), tmp_path / "warm", demo)
    started = time.process_time()
    run_task(plan, MergeNode(0, 0), tmp_path / "timed", demo)
    took = time.process_time() - started
    assert took / 5 < plan.seconds / len(plan.pieces) < 5 * took


def test_metrics_of_a_run(small: Small) -> None:
    told = Told(tokens=600, seconds=2.0, shards_left=5, shares={0: 200, 1: 400}, deaths=1)
    with served(small.plan, 0) as at:
        at.tell(told)
        with urlopen(f"http://127.0.0.1:{at.port}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        with pytest.raises(HTTPError, match="404"):
            urlopen(f"http://127.0.0.1:{at.port}/")
        with pytest.raises(ModelError, match="--metrics-port"), served(small.plan, at.port):
            pass
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert float(values["loci_survey_tokens_per_second"]) == 300
    assert values['loci_survey_worker_tokens_total{worker="1"}'] == "400"
    left = small.plan.tokens * 5 / len(small.plan.pieces) / 300
    assert float(values["loci_survey_seconds_left"]) == pytest.approx(left)
    assert lines[:2] == [
        "# HELP loci_survey_tokens_total tokens read in this run",
        "# TYPE loci_survey_tokens_total counter",
    ]
