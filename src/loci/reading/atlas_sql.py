"""A question in SQL: every type becomes what JSON can hold, and Ctrl-C stops it at once."""

import threading
from decimal import Decimal
from typing import Any

from loci.errors import ModelError
from loci.reading.atlas_answers import QueryRows

MOST = 1_000_000
"""Rows of one answer: what is more belongs into a file, or into a smaller question."""
CHUNK = 10_000
PATIENCE = 100
AS_THEY_ARE = {
    *(
        "BOOLEAN",
        "TINYINT",
        "SMALLINT",
        "INTEGER",
        "BIGINT",
        "HUGEINT",
        "UTINYINT",
        "USMALLINT",
        "UINTEGER",
        "UBIGINT",
        "UHUGEINT",
    ),
    *("FLOAT", "DOUBLE", "VARCHAR"),
}
NESTED = ("STRUCT", "MAP", "UNION")


def ask(database: Any, sql: str) -> QueryRows:
    """The rows of one statement.

    Dates, times, intervals, UUIDs and bytes are DuckDB's text of them; decimals are numbers where a
    float holds them, else text. Raises `ModelError` for too many rows, and what DuckDB raises.
    """
    columns, types = _described(database, sql)
    easy = [kind in AS_THEY_ARE or kind.startswith("DECIMAL") for kind in types]
    nested = [kind.startswith(NESTED) or kind.endswith("]") for kind in types]
    try:
        rows = _run(
            database, _as_text(sql, [not (a or b) for a, b in zip(easy, nested, strict=True)])
        )
    except (
        OverflowError,
        ValueError,
    ):  # what stands in lists and structs may be beyond Python's dates
        rows = _run(database, _as_text(sql, [not a for a in easy]))
    return QueryRows(columns, tuple(tuple(map(_cell, row)) for row in rows))


def _described(database: Any, sql: str) -> tuple[tuple[str, ...], list[str]]:
    """Names and types of the columns, without running the question."""
    rows = database.execute(f"DESCRIBE {sql}").fetchall()
    return tuple(row[0] for row in rows), [str(row[1]) for row in rows]


def _as_text(sql: str, texts: list[bool]) -> str:
    """The question with some columns as text."""
    if not any(texts):
        return sql
    names = [f"c{i}" for i in range(len(texts))]
    chosen = (
        f"CAST({name} AS VARCHAR)" if text else name
        for name, text in zip(names, texts, strict=True)
    )
    return f"SELECT {', '.join(chosen)} FROM ({sql}\n) AS asked({', '.join(names)})"


def _run(database: Any, sql: str) -> list[tuple[Any, ...]]:
    """Run in a thread of its own: DuckDB does not hear Ctrl-C, but can be told to stop."""
    rows: list[tuple[Any, ...]] = []
    failed: list[BaseException] = []
    ended = threading.Event()

    def work() -> None:
        try:
            answer = database.execute(sql)
            while len(rows) <= MOST and (more := answer.fetchmany(CHUNK)):
                rows.extend(more)
        except BaseException as error:  # noqa: BLE001 it is raised where it was asked for
            failed.append(error)
        finally:
            ended.set()

    threading.Thread(target=work, daemon=True).start()
    try:
        while not ended.wait(0.05):
            pass
    except BaseException:
        for _ in range(PATIENCE):  # it may have begun only after the first
            database.interrupt()
            if ended.wait(0.1):
                break
        raise
    if failed:
        raise failed[0]
    if len(rows) > MOST:
        raise ModelError(
            f"the answer has more than {MOST:,} rows: ask for less, as with LIMIT {MOST}"
        )
    return rows


def _cell(value: Any) -> Any:
    """A value as JSON can hold it."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Decimal):
        number = float(value)
        return number if Decimal(repr(number)) == value else str(value)
    if isinstance(value, dict):
        return {str(key): _cell(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cell(item) for item in value]
    return value.hex() if isinstance(value, (bytes, bytearray)) else str(value)
