"""The house: floors, light imports, a public face that holds what it promises."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from importlib import import_module
from inspect import ismodule
from pathlib import Path
from pkgutil import iter_modules, walk_packages

import pytest

import loci
from loci.model import Model


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_floors() -> None:
    found = run(
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())",
    )
    assert found.returncode == 0, found.stdout


def test_import_is_light() -> None:
    code = (
        "import loci, sys; print([m for m in ('torch', 'transformers', 'plotly', 'rich', 'numpy')"
        " if m in sys.modules])"
    )
    assert run(sys.executable, "-c", code).stdout.strip() == "[]"


def test_help_needs_nothing_heavy() -> None:
    """What keeps it quick; seconds themselves depend on what else the machine does."""
    code = (
        "import sys\nfrom loci.cli.app import app\ntry: app(['--help'])\nexcept SystemExit:"
        " pass\nprint([m for m in ('torch', 'transformers', 'plotly', 'numpy') if m in"
        " sys.modules], file=sys.stderr)"
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


SOURCE = Path(loci.__path__[0])
FILES = [path for path in SOURCE.rglob("*.py") if path.parent.name != "notebooks"]
"""All but the lessons, each of which is one notebook."""


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


ROOMS = [
    module.name
    for module in walk_packages(loci.__path__, "loci.")
    if module.ispkg and "notebooks" not in module.name
]


@pytest.mark.parametrize("room", [room for room in ROOMS if room != "loci.superposition"])
def test_no_function_hides_its_module(room: str) -> None:
    """`import loci.editing.edit as E` gives a module. (`loci.superposition` is an old place, which
    warns.)
    """
    package = import_module(room)
    modules = {module.name for module in iter_modules(package.__path__)}
    for name in modules & set(vars(package)):
        assert ismodule(getattr(package, name)), name


def test_no_class_has_two_owners() -> None:
    """Of one name there is one class, private ones aside that are of one file."""
    owners: dict[str, list[str]] = {}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                owners.setdefault(node.name, []).append(path.name)
    assert not {name: files for name, files in owners.items() if len(files) > 1}


def test_a_file_is_read_in_one_sitting() -> None:
    """At most 300 lines."""
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert not {str(path.relative_to(SOURCE)): n for path, n in lines.items() if n > 300}


def test_a_function_fits_on_a_screen() -> None:
    """At most 60 lines from `def` to its end, the docstring not counted."""
    long = {}
    for path in FILES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first, last = node.body[0], node.end_lineno or 0
                told = 1 + (first.end_lineno or 0) - first.lineno if ast.get_docstring(node) else 0
                lines = 1 + last - node.lineno - told
                if lines > 60:
                    long[f"{path.relative_to(SOURCE)}: {node.name}"] = lines
    assert not long


def imported(path: Path, modules: set[str]) -> set[str]:
    """Modules of Loci that a file imports when it runs, inside functions too; not for types
    alone.
    """
    for_types = {
        id(inner)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree(path)):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in modules else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & modules


def test_no_circles_between_modules() -> None:
    """Imports that hide in functions count."""
    parts = {path: path.relative_to(SOURCE.parent).with_suffix("").parts for path in FILES}
    modules = {".".join(name).removesuffix(".__init__"): path for path, name in parts.items()}
    graph = {name: imported(path, set(modules)) - {name} for name, path in modules.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_a_module_that_was_hidden_may_be_called_as_before(demo: Model) -> None:
    import loci.editing.edit as module

    assert ismodule(module)
    with pytest.warns(DeprecationWarning, match="now loci.edit"), pytest.raises(loci.LociError):
        module(demo, [])  # type: ignore[operator]
