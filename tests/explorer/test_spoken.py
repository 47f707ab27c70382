"""What the page says to copy, and what its API says of its answers: commands are understood and
print the same document, Python is Python, schemas stand in the docs.
"""

import json
import shlex
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main
from starlette.testclient import TestClient

from loci.cli.app import app
from loci.explorer import Settings
from loci.explorer.answers import ANSWERS
from loci.explorer.arguments import parsed
from loci.explorer.desk import Desk
from loci.explorer.spoken import COMMANDS, command
from loci.explorer.spoken_python import PYTHON, python
from loci.explorer.verbs import VERBS
from loci.model import Model
from loci.result import jsonable
from tests.cli.conftest import document, opened_once
from tests.cli.conftest import loci as call
from tests.explorer.test_verbs import PROMPT, done

__all__ = ["call", "document", "opened_once"]
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import make_explorer_api as made

ID, OTHER = "0123456789ab", "ba9876543210"
ASKED: dict[str, dict[str, Any]] = {
    "ask": {"prompt": "it's"},
    "lens": {"prompt": PROMPT, "answer": "it's"},
    "trace": {"prompt": PROMPT, "subject": "Michael Jordan", "severed": True, "window": 3},
    "neurons": {"prompt": PROMPT, "answer": "tennis"},
    "trace_neurons": {"prompt": PROMPT, "layer": 0, "token": 2, "corruption": "mean"},
    "read": {"neuron": "L0N21"},
    "edit": {"prompt": PROMPT, "subject": "Michael Jordan", "answer": "-x", "method": "rome"},
    "audit": {"patch": ID, "seed": 4},
    "merge": {"patches": [ID, OTHER], "keep": "last"},
    "adapter": {"patch": ID},
    "card": {"neuron": "L0N21"},
    "atlas": {},
    "find": {"word": "it's"},
    "sql": {"sql": "SELECT 1"},
    "forensics": {"base": "a", "edited": "b", "seed": 2},
    "attention": {"text": PROMPT, "heads": ["L0H1", "L1H0"]},
    "bounds": {},
    "compose": {},
    "fact_circuit": {"prompt": PROMPT, "subject": "Michael Jordan"},
    "feature": {"layer": 1, "feature": 3},
    "graph": {"prompt": PROMPT, "features": True},
    "toy": {"relu": False},
    "heads": {},
    "lens_grid": {"prompt": PROMPT, "end": 60},
    "histogram": {"neuron": "L0N21"},
    "firing": {"neuron": "L0N21", "text": PROMPT},
    "promoting": {"word": "it's"},
    "attention_top": {"text": PROMPT, "layer": 0},
    "labels": {"neuron": "L0N21"},
    "feature_labels": {"layer": 1, "feature": 3},
    "pair": {"head": "L0H1", "source": "a", "destination": "b"},
    "planted": {},
}


@cache
def whole() -> Any:
    """All commands, made once."""
    return typer.main.get_command(app)


@pytest.fixture(name="loci")
def _loci(call: Any) -> Any:
    return call


def understood(line: str) -> None:
    """Let the command line read a command without doing it."""
    at, words = whole(), shlex.split(line)[1:]
    context: Any = None
    while True:
        context = at.make_context(words[0] if words else "loci", words, parent=context)
        if not hasattr(at, "resolve_command"):
            return
        _, at, words = at.resolve_command(context, [*context._protected_args, *context.args])
        assert at is not None


def test_every_command_is_understood_and_every_line_is_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(ASKED) == {*COMMANDS, *PYTHON}
    monkeypatch.chdir(tmp_path)
    for name in (f"{ID}.safetensors", f"{OTHER}.safetensors"):
        Path(name).touch()
    for name in ("atlas", "a", "b", "m"):
        Path(name).mkdir()
    for verb, given in ASKED.items():
        args = parsed(VERBS[verb].arguments, given)
        for how in (Settings(), Settings("./m", {"dtype": "bfloat16", "bos": False})):
            for on in ((), (ID,), (ID, OTHER)):
                if (line := command(verb, args, on, how)) is not None:
                    understood(line)
                if (code := python(verb, args, on, how)) is not None:
                    compile(code, verb, "exec")


def test_what_comes_of_patches_and_of_an_atlas_is_the_same_too(
    desk: Desk, document: Any, demo: Model
) -> None:
    """The page's patches and its atlas lie where the commands look for them."""
    one = done(desk, "scale", {"neuron": "L0N21", "factor": 0})["patch"]
    two = done(desk, "scale", {"neuron": "L0N22", "factor": 2})["patch"]
    asked: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
        ("ask", {"prompt": PROMPT, "tokens": 2}, (one,)),
        ("merge", {"patches": [one, two]}, ()),
        ("card", {"neuron": "L0N21", "top": 3}, ()),
        ("bounds", {"dim": 50}, ()),
        ("trace_neurons", {"prompt": PROMPT, "layer": 5, "token": 2, "samples": 1}, ()),
        ("atlas", {"tokens": 150}, ()),
        ("find", {"word": "sport", "top": 2}, ()),
        ("sql", {"sql": "SELECT count(*) FROM neurons"}, ()),
    ]
    for verb, given, on in asked:
        args, found = parsed(VERBS[verb].arguments, given), done(desk, verb, given, on)
        line = command(verb, args, on, Settings())
        assert line is not None
        if verb != "atlas":  # which is there by now
            told = document(*shlex.split(line)[1:])
            differ = {name for name in found if told.get(name) != found[name]}
            assert differ == set(), verb
        code, scope = python(verb, args, on, Settings()), dict[str, Any]()
        if code is not None:
            exec(code.replace("loci.open('demo')", "MODEL"), {"MODEL": demo}, scope)
            again = json.loads(json.dumps(jsonable(scope["result"].to_dict())))
            assert verb == "merge" or again == found, verb


def test_the_api_says_what_it_takes_and_what_it_answers_with(client: TestClient) -> None:
    told = client.get("/api/schemas").json()
    assert list(told) == list(VERBS) and set(ANSWERS) == set(VERBS)
    fields = made.fields()
    for name, own in told.items():
        assert own["arguments"]["additionalProperties"] is False, name
        assert own["answer"] == ANSWERS[name] and fields[own["answer"]], name
    assert made.page() == made.PAGE.read_text(encoding="utf-8"), (
        "python scripts/make_explorer_api.py"
    )
    assert "`replies` list of objects" in fields["loci.ask/1"]


def test_opening_options_are_said_again() -> None:
    how = Settings(
        "./m", {"device": "cpu", "dtype": "bfloat16", "bos": False, "join": None, "pickle": True}
    )
    args = parsed(VERBS["ask"].arguments, {"prompt": "it's"})
    assert (
        command("ask", args, (), how)
        == "loci ask 'it'\"'\"'s' --tokens 12 --top 10 -m ./m --dtype bfloat16 --pickle --no-bos"
    )
    assert "loci.open('./m', dtype='bfloat16', bos=False, pickle=True)" in (
        python("ask", args, (), how) or ""
    )
