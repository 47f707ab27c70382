"""The Python face: verbs at `loci.`, only public names on Tab, calls that work as one would guess,
and errors that say how.
"""

import ast
import inspect
import re
import subprocess
import sys

import pytest
import torch

import loci
from loci.cli.app import app
from loci.errors import LociError, UseError
from loci.facts import Fact, FactSet
from loci.model import Model

PROMPT = "Michael Jordan plays the sport of"


def test_every_verb_of_the_command_line_is_there() -> None:
    elsewhere = {
        "demo",
        "facts",
        "ask",
        "lessons",
        "neurons",
    }  # `loci neurons` is `loci.knowledge_neurons`
    verbs = {
        str(command.name).rpartition(" ")[2] for command in app.registered_commands
    } - elsewhere
    assert verbs <= set(dir(loci)), verbs - set(dir(loci))
    rooms = {group.name for group in app.registered_groups} & {"circuits"}
    assert rooms <= set(dir(loci))
    assert (
        loci.circuits.compose
        and loci.writing.gate
        and loci.studies.superposition.bounds
        and loci.patches.merge
    )


def test_tab_shows_public_names_alone() -> None:
    code = (
        "import loci; print([n for n in dir(loci) if n in ('Any', 'TYPE_CHECKING', 'import_module')"
        " or n.startswith('_')])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert found.strip() == "['__version__']"
    assert all(getattr(loci, name) is not None for name in dir(loci))


def test_a_prompt_stands_for_a_fact(demo: Model) -> None:
    fact = Fact("Michael Jordan", "{} plays the sport of", "basketball")
    assert loci.trace(demo, PROMPT, samples=2) == loci.trace(demo, fact, samples=2)
    assert loci.lens(demo, PROMPT) == loci.lens(demo, fact) == loci.lens(demo, PROMPT, "basketball")
    with pytest.raises(LociError, match=r"no known subject .* loci\.Fact"):
        loci.trace(demo, "Nobody plays the sport of")


def test_one_fact_stands_for_several(demo: Model, jordan: Fact) -> None:
    patch = loci.edit(demo, jordan.to("golf"), layers=[0], texts=["A ball is round."] * 300)
    assert [fact.new_answer for fact in patch.facts] == ["golf"]
    card = loci.audit(demo, patch, [jordan], controls=())
    assert card == loci.audit(demo, patch, FactSet([jordan]), controls=())
    assert loci.recall(demo, jordan).facts == 1


@pytest.mark.parametrize(
    ("call", "advice"),
    [
        (lambda model, fact: loci.trace("demo", fact), r"loci\.open\('demo'\)"),
        (lambda model, fact: loci.trace(model, 3), "a prompt or a loci.Fact"),
        (lambda model, fact: loci.trace(model, [fact]), "one fact at a time"),
        (lambda model, fact: loci.trace(fact, model), "the first argument is a model"),
        (lambda model, fact: loci.edit(model, "facts.csv"), "loci.load_facts"),
        (lambda model, fact: loci.edit(model, [fact, "x"]), "not str 'x'"),
        (lambda model, fact: loci.edit(model, None), "not None"),
        (lambda model, fact: loci.audit(model, "x.safetensors", [fact]), "loci.load_patch"),
        (lambda model, fact: loci.memories(model, 3), "expected texts"),
        (lambda model, fact: loci.plot(fact), "no figure for Fact"),
        (lambda model, fact: model(3), "a model runs on texts"),
        (lambda model, fact: model([[1, 2]]), "model.ids"),
        (lambda model, fact: model.generate(3), "one text"),
    ],
)
def test_a_wrong_type_is_told_how(demo: Model, jordan: Fact, call, advice: str) -> None:
    with pytest.raises(UseError, match=advice) as caught:
        call(demo, jordan)
    assert isinstance(caught.value, TypeError) and "\n" not in str(caught.value)


def test_a_model_takes_text(demo: Model) -> None:
    ids = demo.ids([demo.tokenize(PROMPT).ids])
    with torch.no_grad():
        assert torch.equal(demo(PROMPT), demo(ids))
        several = demo([PROMPT, "Osaka is a city in the country of the"])
        assert torch.allclose(several[0, : ids.shape[1]], demo(ids)[0], atol=1e-4)
    assert demo.generate(PROMPT, 1).strip() == "basketball"


def test_a_card_is_compared_and_counted_by_name() -> None:
    assert loci.census("gpt3-175b").questions == 49152


def test_every_verbs_docstring_shows_a_call_that_could_be_made() -> None:
    for name in loci.__all__:
        verb = getattr(loci, name)
        if not inspect.isfunction(verb):
            continue
        shown = re.findall(rf"^    (.*loci\.{name}\(.*)$", inspect.getdoc(verb) or "", re.M)
        assert shown, name
        for line in shown:
            calls = [
                node
                for node in ast.walk(ast.parse(line.split("  #")[0]))
                if isinstance(node, ast.Call) and ast.unparse(node.func) == f"loci.{name}"
            ]
            for call in calls:
                named = {word.arg: word.value for word in call.keywords if word.arg}
                inspect.signature(verb).bind(*call.args, **named)
