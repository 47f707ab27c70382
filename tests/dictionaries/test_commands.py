"""The commands on the embedded model: one document each, and one line for what is wrong."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from loci.cli.app import app


def call(*words: str) -> str:
    found = CliRunner().invoke(app, ["dictionaries", *words])
    if found.exception and not isinstance(found.exception, SystemExit):
        raise found.exception
    assert found.exit_code == 0, found.output
    return found.stdout


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from loci.text import corpus_texts

    path = tmp_path_factory.mktemp("text") / "some.txt"
    path.write_text("\n".join(corpus_texts()[:250]))
    return path


def test_train_show_convert(text: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.safetensors"
    said = ("--steps", "12", "--batch", "256", "--width", "2", "--k", "8", "--text", str(text))
    made = json.loads(
        call("train", "--point", "mlp_out.1", *said, "--save", str(own), "--json", "--quiet")
    )
    assert (
        made["schema"] == "loci.dictionary_training/1"
        and made["features"] == 512
        and made["l0"] == 8
    )
    shown = json.loads(call("show", str(own), "--text", str(text), "--json"))
    assert shown["schema"] == "loci.dictionary_opened/1" and shown["point"] == "mlp_out.1"
    assert 0 < shown["fvu"] < 1
    call("convert", str(own), str(tmp_path / "for-sparsify"), "--format", "sparsify")
    again = json.loads(
        call(
            "show",
            str(tmp_path / "for-sparsify"),
            "--point",
            "mlp_out.1",
            "--text",
            str(text),
            "--json",
        )
    )
    assert again["fvu"] == pytest.approx(shown["fvu"], rel=1e-4) and again["format"] == "sparsify"
    words = call("show", str(own), "--text", str(text))
    assert "512 features of mlp_out.1" in words and "FVU" in words


def test_wrong_is_one_line(text: Path, tmp_path: Path) -> None:
    from loci.errors import LociError

    for words, said in (
        (("train", "--point", "mlp_out.99", "--text", str(text)), r"mlp_out\.0 … mlp_out\.5"),
        (("train", "--point", "mlp_out.1", "--k", "9000", "--text", str(text)), "9,000"),
        (("show", str(tmp_path / "no.safetensors")), "no such file"),
    ):
        with pytest.raises(LociError, match=said) as caught:
            call(*words)
        assert "\n" not in str(caught.value)
