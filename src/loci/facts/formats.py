"""Fact files: CSV and JSONL, with the columns

    subject, prompt (with {}), answer      and optionally  new_answer, relation, paraphrases, neighbours, held_out

The last three hold several prompts: a list in JSONL, separated by `|` in CSV.
"""

import csv
import io
import json
from pathlib import Path
from typing import Any

from loci.errors import FactError
from loci.facts.fact import Fact, FactSet
from loci.files import write_aside

REQUIRED = ("subject", "prompt", "answer")
SINGLE = (*REQUIRED, "new_answer", "relation")
LISTS = ("paraphrases", "neighbours", "held_out")


def load_facts(path: str | Path) -> FactSet:
    """Read a fact file by its ending (.csv or .jsonl). Raises `FactError` with the line number of what is wrong."""
    path = Path(path)
    readers = {".csv": _csv_rows, ".jsonl": _jsonl_rows}
    if path.suffix not in readers:
        raise FactError(f"{path}: a fact file ends in .csv or .jsonl")
    facts = []
    for line, row in readers[path.suffix](_decode(path), path):
        try:
            facts.append(_fact(row))
        except FactError as error:
            raise FactError(f"{path}, line {line}: {error}") from None
    if not facts:
        raise FactError(f"{path}: no facts in it")
    return FactSet(facts)


def save_facts(facts: FactSet, path: str | Path) -> None:
    """Write a fact file by its ending (.csv or .jsonl); `load_facts` gives the same facts back."""
    path = Path(path)
    if path.suffix == ".jsonl":
        text = "".join(json.dumps(fact.to_dict(), ensure_ascii=False) + "\n" for fact in facts)
    elif path.suffix == ".csv":
        text = _to_csv(facts, path)
    else:
        raise FactError(f"{path}: a fact file ends in .csv or .jsonl")
    with write_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def _decode(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FactError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise FactError(f"{path}, line {line}: not UTF-8 (byte 0x{data[error.start]:02x})") from None


def _csv_rows(text: str, path: Path) -> list[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    missing = [name for name in REQUIRED if name not in (reader.fieldnames or ())]
    if missing:
        raise FactError(f"{path}, line 1: no column {', '.join(missing)} (found: {', '.join(reader.fieldnames or ()) or 'none'})")
    rows: list[tuple[int, dict[str, Any]]] = []
    try:
        for row in reader:
            if None in row or None in row.values():
                raise FactError(f"{path}, line {reader.line_num}: expected {len(reader.fieldnames or ())} columns")
            rows.append((reader.line_num, {k: v.split("|") if k in LISTS and v else v for k, v in row.items()}))
    except csv.Error as error:
        raise FactError(f"{path}, line {reader.line_num}: {error}") from None
    return rows


def _jsonl_rows(text: str, path: Path) -> list[tuple[int, dict[str, Any]]]:
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise FactError(f"{path}, line {number}: not JSON ({error.msg})") from None
        if not isinstance(row, dict):
            raise FactError(f"{path}, line {number}: expected an object with {', '.join(REQUIRED)}")
        missing = [name for name in REQUIRED if name not in row]
        if missing:
            raise FactError(f"{path}, line {number}: no column {', '.join(missing)}")
        rows.append((number, row))
    return rows


def _fact(row: dict[str, Any]) -> Fact:
    wrong = [name for name in SINGLE if not isinstance(row.get(name) or "", str)]
    wrong += [n for n in LISTS if not isinstance(row.get(n) or [], list) or not all(isinstance(x, str) for x in row.get(n) or [])]
    if wrong:
        raise FactError(f"{', '.join(wrong)}: expected text")
    fields: dict[str, Any] = {name: row.get(name) or "" for name in REQUIRED}
    fields |= {name: row.get(name) or None for name in ("new_answer", "relation")}
    fields |= {name: tuple(row.get(name) or ()) for name in LISTS}
    return Fact(**fields)


def _to_csv(facts: FactSet, path: Path) -> str:
    out = io.StringIO()
    rows = [fact.to_dict() for fact in facts]
    names = [name for name in (*SINGLE, *LISTS) if name in REQUIRED or any(name in row for row in rows)]
    writer = csv.DictWriter(out, names, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        if any("|" in prompt for name in LISTS for prompt in row.get(name, ())):
            raise FactError(f"{path}: a prompt of {row['subject']!r} holds a '|', which separates prompts in CSV: write .jsonl")
        writer.writerow({k: "|".join(v) if k in LISTS else v for k, v in row.items()})
    return out.getvalue()
