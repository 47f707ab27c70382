"""The house: floors, light imports, a public face that holds what it promises."""

import subprocess
import sys
from importlib import import_module
from pkgutil import iter_modules

import pytest

import loci


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_floors() -> None:
    found = run(sys.executable, "-c", "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())")
    assert found.returncode == 0, found.stdout


def test_import_is_light() -> None:
    code = "import loci, sys; print([m for m in ('torch', 'transformers', 'plotly', 'rich', 'numpy') if m in sys.modules])"
    assert run(sys.executable, "-c", code).stdout.strip() == "[]"


def test_help_needs_nothing_heavy() -> None:
    """What keeps it quick; seconds themselves depend on what else the machine does."""
    code = (
        "import sys\nfrom loci.cli.app import app\ntry: app(['--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('torch', 'transformers', 'plotly', 'numpy') if m in sys.modules], file=sys.stderr)"
    )
    found = run(sys.executable, "-c", code)
    assert found.returncode == 0
    assert found.stderr.strip() == "[]"


def test_public_face() -> None:
    for name in loci.__all__:
        assert getattr(loci, name) is not None, name
    assert callable(loci.edit)
    assert callable(loci.open)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        loci.nothing  # noqa: B018


@pytest.mark.parametrize("room", ["circuits", "studies.attention_only", "studies.superposition", "writing", "reading", "auditing"])
def test_no_function_hides_its_module(room: str) -> None:
    package = import_module(f"loci.{room}")
    modules = {module.name for module in iter_modules(package.__path__)}
    assert modules and not modules & set(package.__all__)
