"""What the verbs give is what the command line prints and what the library returns; the model is as
before after each.
"""

import json
import random
import shlex
import zipfile
from typing import Any

import pytest

import loci
from loci.errors import DictionaryError, PatchError, UseError
from loci.explorer import Settings
from loci.explorer.answers import ANSWERS
from loci.explorer.arguments import parsed
from loci.explorer.desk import Desk, Stopped, Tell
from loci.explorer.spoken import command
from loci.explorer.spoken_python import python
from loci.explorer.verbs import VERBS
from loci.facts import known_facts
from loci.model import Model
from loci.result import jsonable
from tests.cli.conftest import document, opened_once
from tests.cli.conftest import loci as call

__all__ = ["call", "document", "opened_once"]
PROMPT = "Michael Jordan plays the sport of"


def done(desk: Desk, verb: str, given: dict[str, Any], ids: tuple[str, ...] = ()) -> dict[str, Any]:
    tell = Tell(lambda message: None, lambda: False)
    found = VERBS[verb].run(desk, parsed(VERBS[verb].arguments, given), ids, tell)
    assert found["schema"] == ANSWERS[verb]
    return json.loads(json.dumps(jsonable(found), allow_nan=False))


@pytest.fixture(name="loci")
def _loci(call: Any) -> Any:
    return call


@pytest.mark.parametrize(
    ("verb", "given"),
    [
        ("ask", {"prompt": PROMPT, "top": 3}),
        ("trace", {"prompt": PROMPT, "samples": 2, "seed": 3, "corruption": "resample"}),
        (
            "trace",
            {
                "prompt": "Osaka is a city in the country of",
                "subject": "Osaka",
                "answer": "China",
                "samples": 1,
                "severed": True,
            },
        ),
        ("lens", {"prompt": PROMPT, "against": "baseball", "top": 2}),
        ("read", {"neuron": "L0N21", "tokens": 500, "top": 3}),
        ("attention", {"text": PROMPT, "heads": ["L0H1"]}),
        ("compose", {}),
        ("fact_circuit", {"prompt": PROMPT, "answer": "tennis"}),
        ("feature", {"layer": 3, "feature": 1, "tokens": 300, "top": 3}),
        ("graph", {"prompt": PROMPT, "features": True, "tested": 1}),
        ("toy", {"features": 3, "steps": 20, "relu": False}),
    ],
)
def test_the_json_is_that_of_the_command_and_of_python(
    desk: Desk, document: Any, demo: Model, verb: str, given: dict[str, Any]
) -> None:
    before = demo.fingerprint
    found, args = done(desk, verb, given), parsed(VERBS[verb].arguments, given)
    line = command(verb, args, (), Settings())
    assert line is not None
    assert document(*shlex.split(line)[1:]) == found
    code = python(verb, args, (), Settings())
    assert code is not None
    scope: dict[str, Any] = {}
    if verb != "trace":  # which costs most, and has no severed paths there
        exec(code.replace("loci.open('demo')", "MODEL"), {"MODEL": demo}, scope)
    if scope:
        assert json.loads(json.dumps(jsonable(scope["result"].to_dict()))) == found
    assert demo.fingerprint == before


@pytest.mark.parametrize(
    ("verb", "given"),
    [
        ("lens_grid", {"prompt": PROMPT, "top": 2}),
        ("firing", {"neuron": "L0N21", "text": PROMPT}),
        ("histogram", {"neuron": "L0N21", "tokens": 300}),
        ("promoting", {"word": "basketball", "top": 2}),
        ("attention_top", {"text": PROMPT, "layer": 1, "most": 2}),
        ("labels", {"neuron": "L0N21", "facts": 600, "top": 2}),
        ("feature_labels", {"layer": 3, "feature": 120, "facts": 600, "top": 2}),
    ],
)
def test_the_pages_own_measures_in_python(
    desk: Desk, demo: Model, verb: str, given: dict[str, Any]
) -> None:
    code = python(verb, parsed(VERBS[verb].arguments, given), (), Settings())
    assert code is not None
    scope: dict[str, Any] = {}
    exec(code.replace("loci.open('demo')", "MODEL"), {"MODEL": demo}, scope)
    assert json.loads(json.dumps(jsonable(scope["result"]))) == done(desk, verb, given)


def test_the_lens_grid_ends_in_what_the_model_says(desk: Desk) -> None:
    grid = done(desk, "lens_grid", {"prompt": PROMPT, "top": 2})
    asked = done(desk, "ask", {"prompt": PROMPT, "top": 2})["replies"][0]["next"]
    assert [one["token"] for one in grid["rows"][-1][-1]] == [one["token"] for one in asked]
    assert [one["prob"] for one in grid["rows"][-1][-1]] == pytest.approx(
        [one["probability"] for one in asked], rel=1e-4
    )
    ladder = done(desk, "lens", {"prompt": PROMPT, "top": 2})["layers"]
    for row, rung in zip(grid["rows"][1:], ladder, strict=True):
        assert row[-1][0]["token"] == rung["top"][0]["token"]


def test_a_scaled_neuron_is_its_activation_scaled(desk: Desk, demo: Model) -> None:
    """The patch of the weights against the hook on the activation, which it stands for."""
    patch = done(desk, "scale", {"neuron": "L0N21", "factor": 0})["patch"]
    ids = demo.ids([demo.tokenize(PROMPT).ids])

    def silenced(act: Any) -> Any:
        act = act.clone()
        act[..., 21] = 0
        return act

    with demo.patched({"mlp_act.0": silenced}):
        wanted = demo(ids, last=1).softmax(-1)
    before = demo.fingerprint
    with desk.patched([patch]) as model:
        assert (model(ids, last=1).softmax(-1) - wanted).abs().max() < 1e-5
        assert model.fingerprint != before
    assert demo.fingerprint == before
    doubled = done(desk, "scale", {"neuron": "L0N21", "factor": 2})["patch"]
    with desk.patched([patch, doubled]) as model:  # 1 − 1 + 1 of it
        assert (model(ids, last=1) - demo_logits(demo, ids, desk, before)).abs().max() < 1e-3


def demo_logits(demo: Model, ids: Any, desk: Desk, before: str) -> Any:
    """The base's logits, from a copy of the one weight that is patched."""
    patch = desk.patch(next(key for key in desk._patches if len(key) == 2))
    assert patch is not None
    patch.add_to(demo, -1)
    try:
        return demo(ids, last=1)
    finally:
        patch.add_to(demo)


def test_firing_and_histogram_agree_with_the_model(desk: Desk, demo: Model) -> None:
    fired = done(desk, "firing", {"neuron": "L0N21", "text": PROMPT})
    ids = demo.ids([demo.tokenize(PROMPT).ids])
    with demo.watch("mlp_act.0") as reads:
        demo(ids, last=1)
    assert fired["activations"] == pytest.approx(reads["mlp_act.0"][0, :, 21].tolist(), abs=1e-6)
    spread = done(desk, "histogram", {"neuron": "L0N21", "tokens": 500})
    assert sum(one["count"] for one in spread["bins"]) == spread["tokens"]


def test_sparse_attention_is_the_largest_of_the_whole(desk: Desk) -> None:
    whole = done(desk, "attention", {"text": PROMPT, "heads": ["L1H2"]})
    few = done(desk, "attention_top", {"text": PROMPT, "layer": 1, "most": 3})["heads"]["L1H2"]
    for q, keys in enumerate(few["keys"]):
        assert (
            few["plain"][q]
            == [whole["plain"]["L1H2"][q][k] for k in keys]
            == sorted(whole["plain"]["L1H2"][q], reverse=True)[:3]
        )
        assert few["weighted"][q] == [whole["weighted"]["L1H2"][q][k] for k in keys]


def test_bounds_and_cards_are_those_of_the_library(desk: Desk, demo: Model) -> None:
    assert done(desk, "bounds", {"dim": 100, "angle": 85}) == jsonable(
        loci.studies.superposition.bounds(100, 85.0).to_dict()
    )
    card = jsonable(loci.reading.read_weights(demo, "L1N126", top=4).to_dict())
    assert done(desk, "card", {"neuron": "L1N126", "top": 4}) == json.loads(json.dumps(card))


def test_labels_are_judged_on_facts_that_were_not_chosen_on(desk: Desk, demo: Model) -> None:
    """Precision and recall counted again, prompt by prompt."""
    found = done(desk, "labels", {"neuron": "L1N126", "facts": 300, "top": 3})
    label = found["labels"][0]
    facts = random.Random(0).sample(list(known_facts()), 300)
    order = list(range(300))
    random.Random(0).shuffle(order)
    said, true = [], []
    for fact in (facts[i] for i in order[150:]):
        tokens = demo.tokenize(fact.text)
        at = tokens.span(fact.subject_span)[1] - 1 if label["at"] == "subject" else -1
        act = demo.read(demo.ids([tokens.ids]), "mlp_act.1")["mlp_act.1"][0, at, 126]
        said.append(float(act) > label["threshold"])
        true.append(label["label"] in (f"relation {fact.relation}", f"answer {fact.answer}"))
    hits = sum(a and b for a, b in zip(said, true, strict=True))
    assert label["precision"]["n"] == sum(said) and label["recall"]["n"] == sum(true)
    assert label["precision"]["value"] == pytest.approx(hits / sum(said))
    assert label["recall"]["value"] == pytest.approx(hits / sum(true))


def test_a_word_is_taken_as_one_token(desk: Desk, demo: Model) -> None:
    found = done(desk, "pair", {"head": "L0H1", "source": "basketball", "destination": "of"})
    assert found["source"] == " basketball"
    assert found["own"] == pytest.approx(
        loci.circuits.token_pair(demo, "L0H1", " basketball", " of").own, rel=1e-4
    )


def test_the_lab_shows_models_while_they_learn_and_whether_a_method_is_right(desk: Desk) -> None:
    parts: list[dict[str, Any]] = []
    tell = Tell(lambda said: parts.append(said["part"]) if "part" in said else None, lambda: False)
    VERBS["toy"].run(desk, parsed(VERBS["toy"].arguments, {"steps": 60}), (), tell)
    assert [part["step"] for part in parts] == list(range(1, 61))
    assert parts[0]["W"] != parts[-1]["W"]
    asked = {"subjects": 3, "fact": 1}
    good = done(desk, "planted", {**asked, "method": "neurons: corrupted"})
    assert good["guess"]["layer"] == good["place"]["layer"]
    assert good["guess"]["neurons"][0] == [good["place"]["layer"], *good["place"]["neurons"]]
    with pytest.raises(UseError, match="no method 'x': trace: state"):
        done(desk, "planted", {**asked, "method": "x"})


def test_a_dictionary_that_is_not_loaded_is_said(desk: Desk) -> None:
    with pytest.raises(DictionaryError, match=r"mlp_out\.3"):
        done(desk, "feature", {"layer": 2, "feature": 0})


def test_an_adapter_and_a_folder_are_made_of_a_patch(desk: Desk, demo: Model) -> None:
    patch = done(desk, "scale", {"neuron": "L0N2", "factor": 3})["patch"]
    archive = desk.folder / done(desk, "adapter", {"patch": patch})["file"]
    assert {"adapter_model.safetensors", "adapter_config.json"} <= set(
        zipfile.ZipFile(archive).namelist()
    )
    folder = done(desk, "folder", {}, (patch,))["folder"]
    written, whole = loci.open(folder).W_down(0), demo.W_down(0)
    assert (written[:, 2] - 3 * whole[:, 2]).abs().max() < 1e-2 * whole[
        :, 2
    ].abs().max()  # as rounded as the base is stored
    assert (written[:, 3:] == whole[:, 3:]).all()
    with pytest.raises(PatchError, match="no patch is on"):
        done(desk, "folder", {})


def test_neurons_that_write_a_word_are_those_whose_cards_say_so(desk: Desk) -> None:
    found = done(desk, "promoting", {"word": "basketball", "top": 3})
    assert found["token"] == " basketball"
    for one in found["neurons"][:2]:
        card = done(desk, "card", {"neuron": one["name"], "top": 10})
        scores = {pair["token"]: pair["score"] for pair in card["promotes"]}
        if " basketball" in scores:
            assert scores[" basketball"] == pytest.approx(one["score"], rel=1e-4)


def test_a_strange_subject_is_text(desk: Desk) -> None:
    """Markup, emoji, right to left: a subject as any other."""
    subject = "<script>🦊"
    found = done(
        desk,
        "trace",
        {"prompt": f"{subject} plays", "subject": subject, "answer": "x", "samples": 1},
    )
    assert found["subject"] == subject


def test_patches_of_another_run_are_refused(desk: Desk) -> None:
    with pytest.raises(PatchError, match="not of this run"):
        done(desk, "ask", {"prompt": PROMPT}, ("0" * 12,))


def test_a_cancelled_job_stops_at_its_next_step_and_leaves_the_model(
    desk: Desk, demo: Model
) -> None:
    before = demo.fingerprint
    tell = Tell(lambda message: None, lambda: True)
    patch = done(desk, "scale", {"neuron": "L0N1", "factor": 3})["patch"]
    with pytest.raises(Stopped):
        VERBS["trace"].run(
            desk, parsed(VERBS["trace"].arguments, {"prompt": PROMPT}), (patch,), tell
        )
    assert demo.fingerprint == before
