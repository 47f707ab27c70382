"""Fact files: CSV and JSONL of our own, with the columns

    subject, prompt (with {}), answer  and optionally  new_answer, relation, paraphrases,
                                       neighbours, held_out, aliases, new_aliases

and the published sets (`loci.facts.published`), JSON or JSONL. The last five columns hold several
texts: a list in JSONL, separated by `|` in CSV. `questions` are in JSONL only: objects with prompt,
answers and kind. Where there is a new answer, the old one may be left out: it is what the model
says.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from loci.errors import FactError
from loci.facts.cleaning import repaired
from loci.facts.fact import LISTS, REQUIRED, SINGLE, Fact
from loci.facts.fact_set import FactSet, conflicts
from loci.facts.published import Reader, form_of, recognise
from loci.files import write_aside
from loci.result import About, Result
from loci.tables import Table, columns
from loci.validate import DATA, files_below, is_folder, named, one_line, parse_json, read_text

Entry = tuple[str, Reader]
"""Where a record stands, for people, and what reads its facts."""


@dataclass(frozen=True)
class FactFile(Result):
    """The contents of a fact file: its facts, its format, and the rows that were skipped."""

    about: ClassVar[About] = About(
        "a fact file",
        "What does a file of facts hold?",
    )

    path: str
    format: str
    facts: FactSet
    skipped: tuple[str, ...]
    """The rows that could not be used, each with the reason."""

    def title(self) -> str:
        return f"{self.path} · {self.format}"

    def tables(self) -> "tuple[Table, ...]":
        counts = tuple((name.replace("_", " "), count) for name, count in self.counts.items())
        facts = tuple(
            (own.relation or "", f"{own.text} {own.answer}", own.new_answer or "")
            for own in self.facts
        )
        left_out = tuple((line,) for line in self.skipped)
        heads = columns("relation", "prompt and answer", "new answer")
        return (
            Table("Counts", columns("what", "count"), counts),
            *([Table("Left out", columns("why"), left_out, shown=5)] if left_out else []),
            Table("Facts", heads, facts, shown=10),
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.facts/1",
            "path": self.path,
            "format": self.format,
            "counts": self.counts,
            "skipped": list(self.skipped),
            "facts": [fact.to_dict() for fact in self.facts],
        }

    @property
    def counts(self) -> dict[str, int]:
        """How many of what: facts, subjects, relations, edits and those that conflict, prompts by
        their use, questions by their kind.
        """
        lists = Counter(
            {name: sum(len(getattr(fact, name)) for fact in self.facts) for name in LISTS}
        )
        asked = Counter(
            f"{question.kind} questions" for fact in self.facts for question in fact.questions
        )
        return {
            "facts": len(self.facts),
            "subjects": len(self.facts.subjects),
            "relations": len([name for name in self.facts.relations if name is not None]),
            "edits": sum(fact.new_answer is not None for fact in self.facts),
            "conflicts": len(conflicts(self.facts)),
            **{name: n for name, n in (lists + asked).items() if n},
        }


def load_facts(path: str | Path) -> FactSet:
    """Read a fact file, .csv or .jsonl, a published set, .json, or a folder of such sets.

        loci.load_facts("corrections.csv")[0]

    Raises `FactError` with the line or the record of what is wrong; `read_facts` leaves out what
    cannot be used instead.
    """
    file = read_facts(path)
    if file.skipped:
        more = (
            f" (and {len(file.skipped) - 1} more of {len(file.skipped) + len(file.facts)})"
            if file.skipped[1:]
            else ""
        )
        raise FactError(
            f"{file.skipped[0]}{more}; `loci facts FILE -o GOOD.jsonl` writes those that can be"
            " used"
        )
    return file.facts


def read_facts(path: str | Path) -> FactFile:
    """Read what `load_facts` reads, and say of each record that cannot be used why. Raises
    `FactError` where none can.
    """
    path = Path(path)
    if is_folder(path):
        return _folder(path)
    readers = {".csv": _csv, ".jsonl": _jsonl, ".json": _published}
    if path.suffix not in readers:
        raise FactError(f"{path}: a fact file ends in .csv or .jsonl, a published set in .json")
    name, entries = readers[path.suffix](read_text(path, FactError, DATA), path)
    facts, skipped = [], []
    for where, read in entries:
        try:
            facts += read()
        except FactError as error:
            skipped.append(f"{path}, {where}: {error}")
    if not facts:
        raise FactError(skipped[0] if skipped else f"{path}: no facts in it")
    return FactFile(str(path), name, FactSet(facts), tuple(skipped))


def _folder(path: Path) -> FactFile:
    """All sets below a folder, in the order of their paths."""
    contents = [read_facts(file) for file in files_below(path, (".json",), FactError)]
    if not contents:
        raise FactError(f"{path}: no .json file in it")
    names = ", ".join(dict.fromkeys(file.format for file in contents))
    return FactFile(
        str(path),
        names,
        FactSet(fact for file in contents for fact in file.facts),
        tuple(line for file in contents for line in file.skipped),
    )


def save_facts(facts: Iterable[Fact], path: str | Path) -> None:
    """Write a fact file by its ending (.csv or .jsonl); `load_facts` gives the same facts back.

        loci.save_facts(facts, "facts.csv")

    Raises `FactError` for another ending, and for what a .csv cannot hold (a "|" in a list).
    """
    path = Path(path)
    if path.suffix == ".jsonl":
        text = "".join(json.dumps(fact.to_dict(), ensure_ascii=False) + "\n" for fact in facts)
    elif path.suffix == ".csv":
        text = _to_csv(facts, path)
    else:
        raise FactError(f"{path}: a fact file ends in .csv or .jsonl")
    with write_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def _csv(text: str, path: Path) -> tuple[str, Iterator[Entry]]:
    return "CSV", ((f"line {line}", _reader(row)) for line, row in _csv_rows(text, path))


def _jsonl(text: str, path: Path) -> tuple[str, Iterator[Entry]]:
    """Our own columns, or a published set's records, a line each: the first says which."""
    rows = _jsonl_rows(text, path)
    form = form_of(repaired(rows[0][1])) if rows else None
    if form is not None and form.name != "Loci" and _missing(rows[0][1]):
        name, readers = recognise([repaired(row) for _, row in rows])
        return f"{name}, JSONL", (
            (f"line {line}", read) for (line, _), read in zip(rows, readers, strict=True)
        )
    for line, row in rows:
        missing = _missing(row)
        if missing:
            raise FactError(f"{path}, line {line}: no column {', '.join(missing)}")
    return "JSONL", ((f"line {line}", _reader(row)) for line, row in rows)


def _published(text: str, path: Path) -> tuple[str, Iterator[Entry]]:
    document = parse_json(text, named(path), FactError, infinite=True)
    try:
        name, facts = recognise(repaired(document))
    except FactError as error:
        raise FactError(f"{path}: {error}") from None
    return name, ((f"record {number}", read) for number, read in enumerate(facts, start=1))


def _reader(row: dict[str, Any]) -> Reader:
    return lambda: [Fact.from_dict(row)]


def _csv_rows(text: str, path: Path) -> list[tuple[int, dict[str, Any]]]:
    table = csv.DictReader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    rows: list[tuple[int, dict[str, Any]]] = []
    try:
        names = _header(table, path)
        for row in table:
            if None in row or None in row.values():
                raise FactError(f"{path}, line {table.line_num}: expected {len(names)} columns")
            rows.append(
                (
                    table.line_num,
                    {k: v.split("|") if k in LISTS and v else v for k, v in row.items()},
                )
            )
    except csv.Error as error:
        line = table.reader.line_num if "end of data" not in str(error) else _opened(text)
        what = "a quote is opened and never closed" if "end of data" in str(error) else error
        raise FactError(f"{path}, line {line}: {what}") from None
    return rows


def _header(table: "csv.DictReader[str]", path: Path) -> list[str]:
    """The names of the columns, each once, those that are needed among them."""
    names = table.fieldnames = [name.strip() for name in table.fieldnames or ()]
    missing = _missing(names)
    if missing:
        raise FactError(
            f"{path}, line 1: no column {', '.join(missing)} (found:"
            f" {one_line(', '.join(names)) or 'none'})"
        )
    twice = [
        name for name, count in Counter(names).items() if count > 1 and name in (*SINGLE, *LISTS)
    ]
    if twice:
        raise FactError(f"{path}, line 1: two columns are called {twice[0]}")
    return names


def _opened(text: str) -> int:
    """The line of the last quote that opens: an even number of quotes stand before it,
    none behind.
    """
    return text[: text.rfind('"')].count("\n") + 1


def _missing(names: Collection[str]) -> list[str]:
    """The required fields that a row lacks; a row with a new answer needs no old one."""
    return [
        name
        for name in REQUIRED
        if name not in names and not (name == "answer" and "new_answer" in names)
    ]


def _jsonl_rows(text: str, path: Path) -> list[tuple[int, dict[str, Any]]]:
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        row = parse_json(line, f"{named(path)}, line {number}", FactError, infinite=True)
        if not isinstance(row, dict):
            raise FactError(f"{path}, line {number}: expected an object with {', '.join(REQUIRED)}")
        rows.append((number, row))
    return rows


def _to_csv(facts: Iterable[Fact], path: Path) -> str:
    out = io.StringIO()
    rows = [fact.to_dict() for fact in facts]
    names = [
        name for name in (*SINGLE, *LISTS) if name in REQUIRED or any(name in row for row in rows)
    ]
    writer = csv.DictWriter(out, names, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        if "questions" in row:
            raise FactError(
                f"{path}: {row['subject']!r} has questions, which CSV has no room for: write .jsonl"
            )
        if any("|" in prompt for name in LISTS for prompt in row.get(name, ())):
            raise FactError(
                f"{path}: a prompt of {row['subject']!r} holds a '|', which separates prompts in"
                " CSV: write .jsonl"
            )
        writer.writerow({k: "|".join(v) if k in LISTS else v for k, v in row.items()})
    return out.getvalue()
