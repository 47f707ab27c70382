"""Write docs/explorer_api.md: every question that the explorer's page can ask, from the verbs.

python scripts/make_explorer_api.py
"""

import re
from pathlib import Path
from typing import Any

from loci.explorer.answers import ANSWERS
from loci.explorer.arguments import Arguments
from loci.explorer.spoken import COMMANDS
from loci.explorer.spoken_python import PYTHON
from loci.explorer.verbs import VERBS

PAGE = Path(__file__).parents[1] / "docs" / "explorer_api.md"
INTRO = """<!-- Written by scripts/make_explorer_api.py from the verbs; do not edit, run it again. -->

# The explorer's API

The [explorer](explorer.md)'s page asks its server in JSON. A question is a verb, its arguments and
the patches that are on:

```text
POST /api/jobs              {"verb": "ask", "args": {"prompt": "…"}, "patches": []}
GET  /api/jobs/ID/events    the job as it goes on: state, done, total, part, error (server-sent events)
GET  /api/results/KEY       the result, with a `schema` that names it
POST /api/jobs/ID/cancel    this page wants it no more
GET  /api/schemas           what is below, as JSON schemas, and the schema of the answer
```

A result is the document that the command of the same line prints with `--json`, where there is one;
that of `edit` has the patch's `id` and its facts besides. Verbs of the slow lane never hold up those of the quick one. The token of the address is needed for each request.

| verb | takes | answers with | lane | as a command | in Python |
|---|---|---|---|---|---|
"""
ANSWERED = """
## What they answer with

The fields of each answer; what stands inside lists and objects, and what fields mean, is told in
[JSON](json.md). `schema` is in all of them.

| answer | fields |
|---|---|
"""
JSON = PAGE.with_name("json.md")
FIELD = re.compile(r"^\| `([^`.\[]+)` \| (.+?) \| .*\|$", re.MULTILINE)
OWN = {
    "loci.adapter/1": "`file` text",
    "loci.edited_folder/1": "`folder` text; `patch` text",
}
"""Answers that only name what was written."""


def page() -> str:
    """The whole page."""
    questions = "".join(
        f"| `{name}` | {takes(verb.arguments)} | {linked(ANSWERS[name])} | {verb.lane}"
        f" | {'yes' if name in COMMANDS else ''} | {'yes' if name in PYTHON else ''} |\n"
        for name, verb in VERBS.items()
    )
    told = fields()
    answers = "".join(
        f"| {linked(schema)} | {told[schema]} |\n" for schema in sorted(set(ANSWERS.values()))
    )
    return INTRO + questions + ANSWERED + answers


def fields() -> dict[str, str]:
    """The outermost fields of each schema, with their types, as docs/json.md has them."""
    found = dict(OWN)
    for section in JSON.read_text(encoding="utf-8").split("\n### ")[1:]:
        name, _, rest = section.partition("\n")
        rows = FIELD.findall(rest.partition("\n## ")[0])
        if name not in found:
            told = "; ".join(f"`{field}` {kind}" for field, kind in rows)
            found[name] = told.replace("](#", "](json.md#")
    return found


def linked(schema: str) -> str:
    """A schema, and where its fields are told."""
    anchor = schema.replace(".", "").replace("/", "")
    return f"`{schema}`" if schema in OWN else f"[{schema}](json.md#{anchor})"


def takes(arguments: type[Arguments]) -> str:
    """Arguments with their types, bounds and defaults."""
    schema = arguments.model_json_schema()
    needed, said = schema.get("required", []), []
    for name, about in schema.get("properties", {}).items():
        default = "" if name in needed else f" = {spoken(about.get('default'))}"
        said.append(f"`{name}`{default} {kind(about)}")
    return "; ".join(said)


def spoken(value: Any) -> str:
    return (
        "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )


def kind(about: dict[str, Any]) -> str:
    """A type in words."""
    if "anyOf" in about:
        about = next(one for one in about["anyOf"] if one.get("type") != "null")
    if "enum" in about:
        return "(" + ", ".join(about["enum"]) + ")"
    low = about.get("minimum", about.get("exclusiveMinimum"))
    high = about.get("maximum", about.get("exclusiveMaximum"))
    bounds = f" {low} … {high}" if low is not None and high is not None else ""
    return f"({about.get('type', 'any')}{bounds})"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"written: {PAGE}")
