"""Write docs/json.md: the fields of every JSON document that a command prints, as they are printed.

    python scripts/make_json_reference.py            runs every command on the embedded model (10 min)

Each line of STEPS is run with `--json` in one folder, top to bottom. The document's shape is
written down: names, types, lists, tables. What no command prints is not on the page.
"""

import json
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "json.md"
JORDAN = '"Michael Jordan plays the sport of"'
STEPS = f"""
ask {JORDAN}
recall --facts capitals.jsonl
facts "Michael Jordan"
facts discover --facts capitals.jsonl -o known.jsonl
trace {JORDAN}
locate {JORDAN}
neurons {JORDAN}
routes {JORDAN}
lens {JORDAN}
lookup athlete_sport --top 4
probe athlete_sport
read L1N37
memories
directions "woman,man" "queen,king" "girl,boy"
concepts "Michael Jordan" "Michael Jackson" -c Michael -c Jordan
sparsity
census
doctor
edit -s "Michael Jordan" -p "{{}} plays the sport of" -a baseball -o jordan.safetensors
edit -s "Japan" -p "The capital of {{}} is" -a Paris -o capitals.safetensors
audit --patch jordan.safetensors
patch show jordan.safetensors
patch diff jordan.safetensors capitals.safetensors
patch merge jordan.safetensors capitals.safetensors -o both.safetensors
patch compress both.safetensors --rank 1 -o small.safetensors
patch apply jordan.safetensors -m demo -o edited
patch revert jordan.safetensors -m edited -o restored
patch export jordan.safetensors --format peft -o adapter
forensics demo ./edited
sweep --edits 2
atlas build -o demo-atlas --tokens 2000
atlas find demo-atlas basketball
atlas find demo-atlas --kind eraser
atlas query demo-atlas "select layer, neuron from neurons limit 3"
atlas show demo-atlas L1N37
atlas summary demo-atlas
atlas export demo-atlas -o features --model-id demo --layer 3
dictionaries show demo:mlp_out.3
dictionaries read demo:mlp_out.3 120
dictionaries judge demo:mlp_out.3
dictionaries graph {JORDAN}
dictionaries train --point mlp_out.3 --tokens 4000 --save tiny.safetensors
dictionaries convert tiny.safetensors copy.safetensors
circuits heads
circuits attention {JORDAN}
circuits compose
circuits fact {JORDAN}
circuits induction
circuits paths {JORDAN} --against baseball
circuits small bigrams
circuits tokens L0H5
circuits train --layers 1 --steps 20 --out one
write gate
write store --dim 16 --facts 64 --neurons 20
write capacity --dim 16 --facts 64
write fullness
write install --count 10
write planted --kind superposed --save planted
superposition bounds --dim 12288 --angle 89
superposition pack --dim 64 --count 100
superposition video --count 200
superposition toy --steps 200
superposition interference
superposition weights
superposition attack
superposition computation
superposition correlated
superposition geometry
superposition phase
survey plan -o pass.json --tokens 2000
survey run pass.json -o states
survey merge states -o moments
cache show
cache clear
lessons
"""
INTRO = """<!-- Written by scripts/make_json_reference.py from what the commands print; do not edit. -->

# JSON of the commands

`--json` prints one document on stdout. Its first field, `schema`, names the form and its version.
A version only gains fields; a field that changes its meaning gets a new version.
Below is the form of each command's document on the embedded model.

* `number?` may be null or absent. `[T]` is a list. `{*: T}` is a table whose keys are data.
* Probabilities are between 0 and 1. Angles say their unit in the name.
* `low` and `high` are the ends of a 95 % interval and `n` is the number of cases.
* Errors go to stderr as one line; stdout is then empty, and the exit status is 2.

"""
MOST_FIELDS = 40
"""A table with more keys than this is keyed by data."""


def shape(value: Any) -> Any:
    """The form of a JSON value: a type's name, [form] or {name: form}."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    if isinstance(value, Mapping):
        fields = {str(name): shape(each) for name, each in value.items()}
        if all(map(_named, fields)) and len(fields) <= MOST_FIELDS:
            return fields
        return {"*": merged(fields.values())}
    if isinstance(value, Sequence):
        return [merged(map(shape, value))]
    return None


def merged(shapes: Any) -> Any:
    """One form for several: fields that some lack, and null beside a type, are marked by `?`."""
    forms: list[Any] = []
    for form in shapes:
        if form not in forms:
            forms.append(form)
    if not forms:
        return "nothing"
    plain = [form for form in forms if form is not None]
    doubt = len(plain) < len(forms) or any(str(f).endswith("?") for f in plain if _word(f))
    joined = _joined([f.removesuffix("?") if _word(f) else f for f in plain])
    return f"{joined}?" if doubt and _word(joined) else joined


def _joined(forms: list[Any]) -> Any:
    forms = [form for i, form in enumerate(forms) if form not in forms[:i] and form != "nothing"]
    if not forms:
        return None
    if len(forms) == 1:
        return forms[0]
    if all(isinstance(form, dict) for form in forms):
        names = list(dict.fromkeys(name for form in forms for name in form))
        parts = {name: [form.get(name) for form in forms] for name in names}
        return {name: merged(part) for name, part in parts.items()}
    if all(isinstance(form, list) for form in forms):
        return [merged(form[0] for form in forms)]
    if set(map(str, forms)) == {"integer", "number"}:
        return "number"
    return " | ".join(sorted(form if _word(form) else "object" for form in forms))


def _word(form: Any) -> bool:
    return isinstance(form, str)


def _named(name: str) -> bool:
    return re.fullmatch(r"[a-z_][a-zA-Z0-9_]*", name) is not None


def lines(form: Any, indent: str = "") -> Iterator[str]:
    """A form as text, one field a line."""
    for name, part in form.items():
        yield from _field(name, part, indent)


def _field(name: str, part: Any, indent: str) -> Iterator[str]:
    brackets = ""
    while isinstance(part, list):
        part, brackets = part[0], brackets + "[]"
    if isinstance(part, dict):
        yield f"{indent}{name}{brackets}:"
        yield from lines(part, indent + "  ")
        return
    told = "null" if part is None else part
    yield f"{indent}{name}: {'[' * (len(brackets) // 2)}{told}{']' * (len(brackets) // 2)}"


def document(step: str) -> Any:
    """What one command prints with --json: (status, its document or its error)."""
    from typer.testing import CliRunner

    from loci.cli.app import app

    ran = CliRunner().invoke(app, [*shlex.split(step), "--json", "--quiet"])
    if not ran.stdout.strip():
        raise SystemExit(f"loci {step}: status {ran.exit_code}: {ran.stderr} {ran.exception}")
    return json.loads(ran.stdout)


def name_of(step: str) -> str:
    """The command of a step, without its arguments."""
    first, second = [*shlex.split(step), "", ""][:2]
    groups = {"patch", "atlas", "dictionaries", "circuits", "write", "superposition", "survey"}
    two = first in groups | {"cache"} or (first, second) == ("facts", "discover")
    return f"{first} {second}" if two else first


def section(step: str, form: Any) -> str:
    """A command's part of the page."""
    text = "\n".join(lines(form))
    return (
        f"## loci {name_of(step)}\n\n```sh skip\nloci {step} --json\n```\n\n```text\n{text}\n```\n"
    )


def steps() -> list[str]:
    """The commands of the page, in order."""
    return [step for step in STEPS.splitlines() if step]


def main() -> None:
    """Run all, write the page."""
    sections: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        known = '{"subject": "Japan", "prompt": "The capital of {} is", "answer": "Tokyo"}\n'
        Path("capitals.jsonl").write_text(known, encoding="utf-8")
        for step in steps():
            print(step, file=sys.stderr, flush=True)
            sections.setdefault(name_of(step), section(step, shape(document(step))))
        os.chdir(ROOT)
    PAGE.write_text(INTRO + "\n".join(sections[name] for name in sorted(sections)), "utf-8")


if __name__ == "__main__":
    main()
