"""The command line, called in the test's own process and folder."""

import json
from pathlib import Path

import pytest

from loci.cli.app import main
from loci.cli.opening import Opening
from loci.model import Model


@pytest.fixture(autouse=True)
def opened_once(monkeypatch: pytest.MonkeyPatch, demo: Model) -> None:
    """The embedded model is opened once for all commands; other sources are opened as ever."""
    real = Opening.open
    monkeypatch.setattr(Opening, "open", lambda self: demo if self == Opening() else real(self))


@pytest.fixture
def loci(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Call with words; the exit status, what came on stdout and on stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["loci", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
            raise SystemExit(0)
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


@pytest.fixture
def document(loci):
    """Call with words and --json; the one document on stdout."""

    def call(*words: object) -> dict:
        status, out, err = loci(*words, "--json")
        assert status == 0, err
        assert out.count("\n") == 1, "exactly one document on stdout"
        return json.loads(out)

    return call
