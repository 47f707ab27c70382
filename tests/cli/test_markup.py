"""What comes from outside is no markup: in every file that prints, names from outside pass `escape`
or `plain`.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import loci.cli

OUTSIDE = set(
    "model model_id base base_name edited first second prompt text texts corrupted subject answer"
    " new_answer relation word target title path out folder report file name source family device"
    " dtype part line why note neuron head tokens before after reader writer sender receiver method"
    " kind concept point".split()
)
OWN = {
    "kind", "method", "name", "title", "part", "head", "neuron", "reader", "writer", "sender",
    "receiver", "point", "before", "after", "new", "old",
    "first", "second", "device", "dtype", "line", "source", "tokens", "texts",
}  # fmt: skip
"""Names that are Loci's own words in most places; where a name from outside is called so, it is
escaped by hand.
"""
FILES = sorted(Path(loci.cli.__file__).parent.rglob("*.py"))


def unescaped(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Values put into what is printed as they are."""
    for call in ast.walk(tree):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
            continue
        printing = call.func.attr in ("add_row", "rule") or (
            call.func.attr == "print" and "console" in ast.unparse(call.func.value)
        )
        if not printing:
            continue
        for argument in call.args:
            for value in _values(argument):
                name = (
                    value.attr
                    if isinstance(value, ast.Attribute)
                    else value.id
                    if isinstance(value, ast.Name)
                    else ""
                )
                if name in OUTSIDE - OWN and ast.unparse(value) != "text":
                    yield call.lineno, ast.unparse(value)


def _values(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.JoinedStr):
        for part in node.values:
            if isinstance(part, ast.FormattedValue) and part.format_spec is None:
                yield part.value
            elif isinstance(part, ast.FormattedValue):
                name = part.value.attr if isinstance(part.value, ast.Attribute) else ""
                if name in ("subject", "answer", "relation", "model", "prompt"):
                    yield part.value
    elif isinstance(node, (ast.Attribute, ast.Name)):
        yield node
    elif isinstance(node, ast.BinOp):
        yield from _values(node.left)
        yield from _values(node.right)
    elif isinstance(node, ast.IfExp):
        yield from _values(node.body)
        yield from _values(node.orelse)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_names_from_outside_are_escaped_where_they_are_printed(file: Path) -> None:
    found = list(unescaped(ast.parse(file.read_text(encoding="utf-8"))))
    assert not found, f"{file.name}: {found}"
