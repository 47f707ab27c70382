"""Questions in SQL: every type is something that JSON holds, and Ctrl-C stops them."""

import json
import os
import signal
import threading
import time
from typing import Any

import pytest

from loci.errors import ModelError
from loci.reading import atlas_sql as sql

duckdb = pytest.importorskip("duckdb")


@pytest.fixture
def database() -> Any:
    return duckdb.connect()


@pytest.mark.parametrize(
    ("question", "row"),
    [
        ("SELECT 0.3", [0.3]),
        ("SELECT 1234567890123456789.123456789", ["1234567890123456789.123456789"]),
        ("SELECT sum(i) FROM range(3) t(i)", [3]),
        (
            "SELECT DATE '2024-01-31', TIME '12:00:01', TIMESTAMP '2024-01-31 12:00:00'",
            ["2024-01-31", "12:00:01", "2024-01-31 12:00:00"],
        ),
        ("SELECT 'infinity'::DATE, DATE '290000-01-01'", ["infinity", "290000-01-01"]),
        ("SELECT INTERVAL 5000000 YEARS, INTERVAL 1 MONTH", ["5000000 years", "1 month"]),
        (
            "SELECT '388d3110-bb84-44ab-ae10-53c39a23745a'::UUID",
            ["388d3110-bb84-44ab-ae10-53c39a23745a"],
        ),
        ("SELECT '\\xFFa'::BLOB, '101'::BIT", ["\\xFFa", "101"]),
        (
            "SELECT [1, 2], {'a': 0.5, 'b': [true, NULL]}, MAP {1: 'x'}",
            [[1, 2], {"a": 0.5, "b": [True, None]}, {"1": "x"}],
        ),
        ("SELECT [DATE '2024-01-01']", [["2024-01-01"]]),
        ("SELECT {'a': INTERVAL 5000000 YEARS}", ["{'a': 5000000 years}"]),
        ("SELECT 1 AS a, DATE '2024-01-01' AS a -- twice", [1, "2024-01-01"]),
        ("SELECT NULL, 'x'::ENUM('x', 'y')", [None, "x"]),
    ],
)
def test_every_type_is_what_json_holds(database: Any, question: str, row: list[Any]) -> None:
    found = sql.ask(database, question).to_dict()
    assert found["rows"] == [row]
    assert json.loads(json.dumps(found)) == found


def test_rows_keep_their_order_where_some_are_text(database: Any) -> None:
    found = sql.ask(
        database, "SELECT i, DATE '2024-01-01' + i::INT FROM range(100) t(i) ORDER BY i DESC"
    )
    assert [row[0] for row in found.rows] == list(range(99, -1, -1))


def test_too_many_rows_are_refused(database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "MOST", 50)
    assert len(sql.ask(database, "FROM range(50)").rows) == 50
    with pytest.raises(ModelError, match="more than 50 rows"):
        sql.ask(database, "FROM range(1000000000)")


def test_one_ctrl_c_stops_a_question(database: Any) -> None:
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        sql.ask(
            database,
            "SELECT count(*) FROM range(1000000) a, range(1000000) b, range(1000000) c WHERE"
            " a.range + b.range < c.range",
        )
    assert time.monotonic() - started < 20
    assert sql.ask(database, "SELECT 1").rows == ((1,),)
