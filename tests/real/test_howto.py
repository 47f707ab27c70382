"""docs/howto_ollama.md command for command, on Gemma as Ollama would hold it."""

import hashlib
import json
import shlex
import sys
from pathlib import Path

import pytest

from loci.cli.app import main
from loci.model.gguf.sources import gguf_parts
from tests.real.conftest import opened

PAGE = Path(__file__).parents[2] / "docs" / "howto_ollama.md"
MEDIA = "application/vnd.ollama.image.model"


def call(line: str) -> int:
    """The status of a command."""
    sys.argv = shlex.split(line)
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The page's own commands, in a folder where Ollama has Gemma under the page's name."""
    opened("gemma3-270m")
    text = PAGE.read_text(encoding="utf-8")
    shown = [line.strip() for line in text.splitlines() if line.startswith("loci ")]
    (name,) = {word for line in shown for word in shlex.split(line) if word.startswith("ollama:")}
    content = b"".join(part.read_bytes() for part in gguf_parts("gemma3-270m"))
    digest = hashlib.sha256(content).hexdigest()
    (tmp_path / "ollama" / "blobs").mkdir(parents=True)
    (tmp_path / "ollama" / "blobs" / f"sha256-{digest}").write_bytes(content)
    place = tmp_path / "ollama/manifests/registry.ollama.ai/library" / name.partition(":")[2]
    place.mkdir(parents=True)
    layer = {"mediaType": MEDIA, "digest": f"sha256:{digest}", "size": len(content)}
    (place / "latest").write_text(json.dumps({"schemaVersion": 2, "layers": [layer]}))
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "ollama"))
    monkeypatch.setattr("sys.argv", ["loci"])
    monkeypatch.chdir(tmp_path)
    return shown


def test_every_command_of_the_page_does_its_work(lines: list[str], tmp_path: Path) -> None:
    assert len(lines) == 6
    for line in lines:
        assert call(line) == 0, line
    base = next((tmp_path / "ollama" / "blobs").iterdir()).read_bytes()
    assert (tmp_path / "restored.gguf").read_bytes() == base
    assert (tmp_path / "edited.gguf").read_bytes() != base
    modelfile = (tmp_path / "Modelfile").read_text(encoding="utf-8")
    assert "FROM llama3.2" in modelfile and "ADAPTER ./adapter.gguf" in modelfile
