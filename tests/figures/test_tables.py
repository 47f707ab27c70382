"""A result as a table: nothing of it is lost."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from loci.facts import Fact
from loci.figures import save
from loci.figures.tables import rows
from loci.locating import trace
from loci.model import Model, census


def test_grids_become_rows(demo: Model, jordan: Fact, tmp_path: Path) -> None:
    found = trace(demo, jordan, samples=2)
    save(found, tmp_path / "x.parquet")
    table = pq.read_table(tmp_path / "x.parquet")
    said = json.loads(table.schema.metadata[b"loci"])
    assert said["schema"] == "loci.trace/1" and said["clean"] == found.clean
    cells = [row for row in table.to_pylist() if row["part"] == "grids.mlp"]
    assert len(cells) == found.grids["mlp"].numel()
    assert all(
        row["value"] == pytest.approx(float(found.grids["mlp"][row["i"], row["j"]]))
        for row in cells
    )


def test_estimates_records_and_counts() -> None:
    estimate = {"value": 1.5, "low": 1.0, "high": 2.0, "n": 3}
    document = {
        "schema": "x",
        "by": {"a": [estimate, estimate]},
        "all": {"a": estimate},
        "neurons": [{"layer": 1, "neuron": 7}],
        "parts": {"p": 3},
    }
    found = rows(document)
    assert found[0] == {"part": "by.a", "i": 0, **estimate}
    assert {"part": "all.a", **estimate} in found
    assert {"part": "neurons", "i": 0, "layer": 1, "neuron": 7} in found
    assert {"part": "parts.p", "value": 3.0} in found


def test_every_document_is_writable(demo: Model, tmp_path: Path) -> None:
    save(census(demo), tmp_path / "census.parquet")
    assert pq.read_table(tmp_path / "census.parquet").num_rows > 10
