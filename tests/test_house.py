"""The house: floors, light imports, a public face that holds what it promises."""

import subprocess
import sys
import time

import pytest

import loci


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def seconds(*command: str) -> float:
    """The best of three: what the machine can do when nothing else runs."""

    def once() -> float:
        start = time.perf_counter()
        assert run(*command).returncode == 0
        return time.perf_counter() - start

    return min(once() for _ in range(3))


def test_floors() -> None:
    found = run(sys.executable, "-c", "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())")
    assert found.returncode == 0, found.stdout


def test_import_is_light() -> None:
    code = "import loci, sys; print([m for m in ('torch', 'transformers', 'plotly', 'rich', 'numpy') if m in sys.modules])"
    assert run(sys.executable, "-c", code).stdout.strip() == "[]"
    bare = seconds(sys.executable, "-c", "pass")
    assert seconds(sys.executable, "-c", "import loci") - bare < 0.3


def test_help_is_quick_and_needs_no_torch() -> None:
    code = (
        "import sys; from loci.cli.app import app\ntry: app(['--help'])\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    )
    assert run(sys.executable, "-c", code).returncode == 0
    assert seconds(sys.executable, "-m", "loci", "--help") < 0.5


def test_public_face() -> None:
    for name in loci.__all__:
        assert getattr(loci, name) is not None, name
    assert callable(loci.edit)
    assert callable(loci.open)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        loci.nothing  # noqa: B018
