"""Texts from files: every format gives the same ones, and what is broken is named."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loci.errors import ModelError
from loci.model import Model
from loci.text import own_texts, read_texts

TEXTS = ["Osaka is in Japan.", "Zürich “liegt” in der Schweiz.", "a\tb"]


def test_every_format_gives_the_same_texts(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(["", *TEXTS, "", " "]), encoding="utf-8")
    (tmp_path / "a.jsonl").write_text(
        "\n".join(json.dumps({"text": t, "n": 1}) for t in [*TEXTS, ""]), encoding="utf-8"
    )
    table = pa.table({"n": [1, 2, 3, 4], "text": [*TEXTS, None]})
    pq.write_table(table, tmp_path / "a.parquet")
    (tmp_path / "dataset").mkdir()
    for i, part in enumerate((table.slice(0, 2), table.slice(2))):
        with pa.ipc.new_stream(
            tmp_path / "dataset" / f"data-{i:05}-of-00002.arrow", part.schema
        ) as stream:
            stream.write_table(part)
    for name in ("a.txt", "a.jsonl", "a.parquet", "dataset"):
        assert list(read_texts(tmp_path / name)) == TEXTS, name


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"\n \n", "no text"),
        ("a.txt", b"\xff\xfe", "UTF-8"),
        ("a.jsonl", b'{"text": "x"}\n{"body": "y"}', "line 2"),
        ("a.jsonl", b'["x"]', "line 1"),
        ("a.parquet", b"PAR1", "cannot|no column"),
        ("a.pdf", b"x", "text ends in"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=said):
        list(read_texts(tmp_path / name))


def test_missing_files_and_columns(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        read_texts(tmp_path / "none.txt")
    pq.write_table(pa.table({"body": ["x"]}), tmp_path / "b.parquet")
    with pytest.raises(ModelError, match='no column "text"'):
        read_texts(tmp_path / "b.parquet")
    with pytest.raises(ModelError, match="no text"):
        read_texts(tmp_path / "empty") if (tmp_path / "empty").mkdir() is None else None


def test_texts_that_the_model_samples_itself(demo: Model) -> None:
    texts = own_texts(demo, 5, length=12, seed=3)
    assert texts == own_texts(demo, 5, length=12, seed=3) != own_texts(demo, 5, length=12, seed=4)
    assert len(texts) == 5 and all(len(demo.tokenize(text)) <= 14 for text in texts if text.strip())
