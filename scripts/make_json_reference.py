"""Write docs/json.md: the shape of every command's --json, from documents that are made for it.

    python scripts/make_json_reference.py                       5 min of one core
    python scripts/make_json_reference.py --documents F.json    keep the documents, or take them

The commands are in `json_commands.py`; they run on the embedded model in a folder of their own.
"""

import argparse
import contextlib
import io
import json
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from json_commands import COMMANDS, FILES, MESSAGES, VERBS
from json_fields import FIELDS, meaning_of
from json_shapes import Sources, rows, schemas, sources
from json_study_fields import STUDY_FIELDS

ROOT = Path(__file__).parents[1]
WRITES = re.compile(r" (-o|--out|--states|--save) ")
"""Commands whose files later ones read: they run again even where their document is kept."""
PAGE = ROOT / "docs" / "json.md"
INTRO = """<!-- Written by scripts/make_json_reference.py from the commands' own documents; do not edit, run it again. -->

# JSON

With `--json` a command prints one document on stdout. `-o x.json` writes the same one, where a command has it. Progress and errors go to stderr.

```sh
loci trace "Michael Jordan plays the sport of" --samples 2 --json
```

* `schema` names the shape, as in `loci.trace/1`. Its number changes where a field is removed or gets another meaning; new fields may come without that.
* NaN and infinity are `null`. Keys of objects are text, numbers too.
* Layers, tokens, neurons and heads are counted from 0. Probabilities and shares are 0 … 1, losses and KL divergences nats, angles degrees, sizes bytes, durations seconds, where the table says nothing else.
* A place such as `layers[].top[].prob` is the field `prob` of each element of `top` of each element of `layers`. `*` stands for keys that are data.

From Python, `result.to_dict()` is the document, and `Trace.load("trace.json")` is the way back (see [API](api.md)).

## Shapes that come again

### estimate

A mean with its 95 % interval.

| field | type | meaning |
|---|---|---|
| `value` | number or null | the mean; null for n = 0 |
| `low` | number or null | lower end of the interval; null where n is too small for one |
| `high` | number or null | upper end |
| `n` | integer | independent units behind it |

### fact

What a model is asked about a subject. Fields that are empty are left out.

| field | type | meaning |
|---|---|---|
| `subject` | text | whom the prompt is about |
| `prompt` | text | the question; `{}` stands for the subject |
| `answer` | text | the known answer |
| `new_answer` | text | the answer after an edit |
| `relation` | text | name of the relation |
| `paraphrases` | list of text | other ways to ask |
| `neighbours` | list of text | questions about other subjects, whose answers have to stay |
| `held_out` | list of text | ways to ask that no method learns from |
| `aliases`, `new_aliases` | list of text | other right forms of the answer, and of the new one |
| `questions` | list of objects | `prompt`, `answers` and `kind` of further questions ([fact files](patches.md#fact-files)) |

"""


def documents(kept: dict[str, Any], keep: Callable[[], None]) -> list[str]:
    """Run every command and question whose document is not kept yet; the lines that failed."""
    from loci.cli.opening import Opening

    failed: list[str] = []
    real, opened, here = Opening.open, dict[Any, Any](), Path.cwd()

    def once(opening: Opening) -> Any:
        if opening != Opening():
            return real(opening)
        if opening not in opened:
            opened[opening] = real(opening)
        return opened[opening]

    with tempfile.TemporaryDirectory() as folder:
        try:
            os.chdir(folder)
            os.environ["LOCI_CACHE"] = str(Path(folder) / "cache")  # one of them clears it
            Opening.open = once  # type: ignore[method-assign]
            _inputs()
            for line in COMMANDS.strip().splitlines():
                if line in kept and not WRITES.search(line):
                    continue
                print(line, file=sys.stderr)
                try:
                    kept[line] = said(line)
                except (RuntimeError, ValueError) as error:
                    failed.append(f"{line}: {error}")
                keep()
            for verb, given in VERBS:
                if f"explorer: {verb}" not in kept:
                    kept[f"explorer: {verb}"] = answer(Path(folder), verb, given)
                    keep()
        finally:
            os.chdir(here)
            Opening.open = real  # type: ignore[method-assign]
    return failed


def by_schema(kept: dict[str, Any]) -> dict[str, tuple[list[str], list[Any]]]:
    """Of each schema: who prints it, and the documents."""
    found: dict[str, tuple[list[str], list[Any]]] = {}
    lines = [*COMMANDS.strip().splitlines(), *(f"explorer: {verb}" for verb, _ in VERBS)]
    for line in lines:
        document = kept[line]
        who, all_of_it = found.setdefault(document["schema"], ([], []))
        who.append(line if line.startswith("explorer: ") else name_of(line))
        all_of_it.append(document)
    return found


def _inputs() -> None:
    """Small files that the commands read."""
    rows_ = (ROOT / "examples" / "corrections.csv").read_text(encoding="utf-8").splitlines()
    Path("few.csv").write_text("\n".join(rows_[:3]) + "\n", encoding="utf-8")
    Path("names.txt").write_text("Michael Jordan\nLarry Bird\n", encoding="utf-8")
    text = "Michael Jordan plays basketball.\nOsaka is a city in Japan.\n"
    Path("text.txt").write_text(text * 20, encoding="utf-8")


def said(line: str) -> Any:
    """The document that a command prints. Raises `RuntimeError` where it fails."""
    from loci.cli.app import main

    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["loci", *shlex.split(line), "--json"]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            if end.code:
                raise RuntimeError(f"{line}: {err.getvalue()[-300:]}") from None
    return json.loads(out.getvalue())


def answer(folder: Path, verb: str, given: dict[str, Any]) -> Any:
    """What a question of the explorer is answered with."""
    from loci.explorer import Settings
    from loci.explorer.arguments import parsed
    from loci.explorer.desk import Desk, Tell
    from loci.explorer.verbs import VERBS as EVERY
    from loci.result import jsonable

    desk, tell = Desk(Settings(), folder), Tell(lambda message: None, lambda: False)
    document = EVERY[verb].run(desk, parsed(EVERY[verb].arguments, given), (), tell)
    return json.loads(json.dumps(jsonable(document)))


def name_of(line: str) -> str:
    """`loci superposition toy`, without what it was given."""
    groups = getattr(_app(), "commands", {})
    first, second, *_ = [*line.split(), "", ""]
    below = getattr(groups[first], "commands", None) or {}
    two = second in below or f"{first} {second}" in groups
    return f"loci {first} {second}" if two else f"loci {first}"


@cache
def _app() -> Any:
    import typer.main

    from loci.cli.app import app

    return typer.main.get_command(app)


def section(schema: str, commands: list[str], found: list[Any], known: Sources) -> str:
    """One schema: what prints it, and its fields."""
    kind = known.makers.get(schema, "")
    by = ", ".join(f"`{name}`" for name in dict.fromkeys(commands))
    about = known.about.get(kind, "")
    lines = [f"### {schema}", "", f"{by}. {about + '.' if about else ''}".strip(), ""]
    lines += ["| field | type | meaning |", "|---|---|---|"]
    for row in rows(found, known, kind):
        said = row.meaning or meaning_of(schema, row.place, {**FIELDS, **STUDY_FIELDS})
        meaning = said[:1].lower() + said[1:] if said[1:2].islower() else said
        cells = (f"`{row.place}`", row.kind, meaning)
        lines.append("| " + " | ".join(escaped(cell) for cell in cells) + " |")
    return "\n".join([*lines, ""])


def escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("<", "&lt;")


def page(found: dict[str, tuple[list[str], list[Any]]]) -> str:
    """The whole page."""
    known = sources()
    by_command: dict[str, list[str]] = {}
    for schema, (commands, _) in found.items():
        for name in dict.fromkeys(commands):
            by_command.setdefault(name, []).append(schema)
    lines = [INTRO + "## Which command prints what", "", "| command | schema |", "|---|---|"]
    for name, own in sorted(by_command.items()):
        if not name.startswith("explorer"):
            links = ", ".join(f"[{one}](#{anchor(one)})" for one in own)
            lines.append(f"| `{name}` | {links} |")
    ours = [schema for schema, (by, _) in found.items() if by[0].startswith("explorer")]
    lines += ["", "## Documents of the commands", ""]
    lines += [section(s, *found[s], known) for s in sorted(found) if s not in ours]
    lines += ["## Documents of the explorer alone", "", EXPLORER, ""]
    lines += [section(s, *found[s], known) for s in sorted(ours)]
    return "\n".join([*lines, rest(found)])


EXPLORER = (
    "Answers of the [explorer's API](explorer_api.md) that no command gives. "
    "Its other answers are the documents above."
)


def rest(found: dict[str, tuple[list[str], list[Any]]]) -> str:
    """Schemas of files, of parts, and of what no command prints."""
    inside = {name: outer for outer, (_, all_) in found.items() for name in parts(all_)}
    lines = ["## Schemas of files, parts and messages", "", "| schema | where |", "|---|---|"]
    for name, path in sorted(schemas().items()):
        if name in FILES or name not in found:
            part = f"part of [{inside[name]}](#{anchor(inside[name])})" if name in inside else ""
            where = FILES.get(name) or part or MESSAGES.get(name, "")
            assert where, f"{name} ({path}): say in FILES or MESSAGES where it stands"
            lines.append(f"| {name} | {where} |")
    return "\n".join([*lines, ""])


def parts(value: Any, top: bool = True) -> Iterator[str]:
    """Schemas of documents that stand inside documents."""
    if isinstance(value, dict):
        if not top and isinstance(value.get("schema"), str):
            yield value["schema"]
        for one in value.values():
            yield from parts(one, False)
    elif isinstance(value, list):
        for one in value:
            yield from parts(one, top)


def anchor(title: str) -> str:
    return "".join(c for c in title.lower() if c.isalnum() or c in "-_ ").replace(" ", "-")


def main_() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--documents", type=Path, help="read or keep the documents in this file")
    given = parser.parse_args()
    place, kept = given.documents, dict[str, Any]()
    if place and place.exists():
        kept = json.loads(place.read_text(encoding="utf-8"))
    failed = documents(
        kept, lambda: place and place.write_text(json.dumps(kept), encoding="utf-8") and None
    )
    if failed:
        sys.exit("\n".join(failed))
    found = by_schema(kept)
    PAGE.write_text(page(found), encoding="utf-8")
    bare = [name for name in schemas() if name not in PAGE.read_text(encoding="utf-8")]
    print(f"written: {PAGE}; schemas: {len(found)}; left out: {bare}")


if __name__ == "__main__":
    main_()
