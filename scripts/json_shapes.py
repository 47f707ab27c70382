"""The shape of JSON documents as rows of a table: field, type, meaning.

A shape is read off documents; what a field means off the class whose `to_dict` makes them: the
sentence below the field, that of the function that returns the class (`Args:`), or a word that
is common to many results (`COMMON`).
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from json_words import COMMON

SRC = Path(__file__).parents[1] / "src" / "loci"
SCHEMA = re.compile(r"loci\.[a-z_-]+/\d+")
ESTIMATE = {"value", "low", "high", "n"}
FACT = {"subject", "prompt", "answer"}
FACT_TOO = {"new_answer", "relation", "paraphrases", "neighbours", "held_out", "questions"}
GIVEN = {"model", "facts", "fact", "prompt", "layers", "patch", "text", "texts", "method"}
"""Arguments whose meaning in a call is not that of the field of this name."""
PLAIN = re.compile(r"[a-z_][a-z0-9_]*\Z")


@dataclass
class Sources:
    """What the code says about fields: of each class, and of each schema."""

    bases: dict[str, list[str]] = field(default_factory=dict)
    told: dict[str, dict[str, str]] = field(default_factory=dict)
    types: dict[str, dict[str, str]] = field(default_factory=dict)
    about: dict[str, str] = field(default_factory=dict)
    makers: dict[str, str] = field(default_factory=dict)
    """The class whose document a schema names."""

    def field_of(self, kind: str, name: str) -> tuple[str, str]:
        """(meaning, annotation) of a class's field; empty where the code does not say."""
        for one in self._line(kind):
            if name in self.types.get(one, {}) or name in self.told.get(one, {}):
                said = next((self.told[k][name] for k in self._line(kind)
                             if name in self.told.get(k, {})), "")  # fmt: skip
                return said, self.types.get(one, {}).get(name, "")
        return "", ""

    def _line(self, kind: str) -> Iterator[str]:
        yield kind
        for base in self.bases.get(kind, []):
            yield from self._line(base)


def schemas() -> dict[str, Path]:
    """All schema names in the code, with a file that emits or reads it."""
    found: dict[str, Path] = {}
    for path in sorted(SRC.rglob("*.py")):
        for name in SCHEMA.findall(path.read_text(encoding="utf-8")):
            found.setdefault(name, path)
    return found


@cache
def sources() -> Sources:
    """Read all classes and functions of the code."""
    result = Sources()
    arguments: dict[str, dict[str, str]] = {}
    for path in sorted(SRC.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                _class(node, result, tree)
            elif isinstance(node, ast.FunctionDef) and isinstance(node.returns, ast.Name):
                said = _arguments(ast.get_docstring(node) or "")
                arguments.setdefault(node.returns.id, {}).update(said)
    for kind, said in arguments.items():
        for name, text in said.items():
            if name in GIVEN:
                continue
            result.told.setdefault(kind, {}).setdefault(name, text)
    return result


def _class(node: ast.ClassDef, result: Sources, tree: ast.Module) -> None:
    result.bases[node.name] = [base.id for base in node.bases if isinstance(base, ast.Name)]
    result.about[node.name] = first_sentence(ast.get_docstring(node) or "")
    told = result.told.setdefault(node.name, {})
    types = result.types.setdefault(node.name, {})
    for one, after in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(one, ast.AnnAssign) or not isinstance(one.target, ast.Name):
            continue
        types[one.target.id] = ast.unparse(one.annotation)
        said = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if said and isinstance(after.value.value, str):
            told[one.target.id] = first_sentence(after.value.value)
    constants = {
        one.targets[0].id: one.value.value
        for one in tree.body
        if isinstance(one, ast.Assign)
        and isinstance(one.targets[0], ast.Name)
        and isinstance(one.value, ast.Constant)
    }
    for one in ast.walk(node):
        if not isinstance(one, ast.Dict):
            continue
        for key, value in zip(one.keys, one.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == "schema":
                name = value.value if isinstance(value, ast.Constant) else None
                name = constants.get(value.id) if isinstance(value, ast.Name) else name
                if isinstance(name, str):
                    result.makers.setdefault(name, node.name)


def _arguments(text: str) -> dict[str, str]:
    """What a docstring's `Args:` say, by name."""
    _, _, after = text.partition("Args:\n")
    found: dict[str, str] = {}
    block, *_ = re.split(r"\n\s*\n|\n(?=\S)", after)
    for part in re.split(r"\n(?= {4}\w+(?:, \w+)*:)", "\n" + block):
        names, colon, said = " ".join(part.split()).partition(": ")
        if colon:
            found.update({name: first_sentence(said) for name in names.split(", ")})
    return found


def first_sentence(text: str) -> str:
    """The first sentence of a text, on one line."""
    flat = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=[.?]) (?=[A-Z])", flat)[0].rstrip(".")


@dataclass
class Row:
    """A field of a document."""

    place: str
    kind: str
    meaning: str


def rows(documents: list[Any], known: Sources, kind: str) -> list[Row]:
    """All fields of documents of one schema, in their order."""
    return list(_object("", documents, known, kind))


def _object(place: str, found: list[dict[str, Any]], known: Sources, kind: str) -> Iterator[Row]:
    names = dict.fromkeys(name for one in found for name in one)
    for name in names:
        here = f"{place}.{name}".removeprefix(".")
        values = [one[name] for one in found if name in one]
        if name == "schema":
            continue
        said, annotation = known.field_of(kind, name)
        often = len(values) == len(found)
        yield from _value(
            here, values, known, said or COMMON.get(name, ""), annotation, optional=not often
        )


def _value(
    place: str,
    values: list[Any],
    known: Sources,
    said: str,
    annotation: str,
    *,
    optional: bool = False,
) -> Iterator[Row]:
    """A field with all its values: one row, and those of what it holds."""
    more = " (not always there)" if optional else ""
    null = " or null" if any(value is None for value in values) else ""
    there = [value for value in values if value is not None]
    if not there:
        yield Row(place, _annotated(annotation) + more, said)
    elif all(isinstance(value, dict) for value in there):
        yield from _dictionary(place, there, known, said, annotation, null + more)
    elif all(isinstance(value, list) for value in there):
        yield from _list(place, there, known, said, annotation, null + more)
    else:
        yield Row(place, _scalars(there) + null + more, said)


def _dictionary(
    place: str, found: list[dict[str, Any]], known: Sources, said: str, annotation: str, more: str
) -> Iterator[Row]:
    special = _special(found)
    if special:
        yield Row(place, special + more, said)
        return
    inner = [value for one in found for value in one.values()]
    if _is_table(found, annotation):
        keys = "by " + _keys(found)
        special = _special(inner)
        if special or not any(isinstance(value, dict) for value in inner):
            kind = special or next(_value("", inner, known, "", "")).kind if inner else "object"
            if not any(isinstance(v, list) and v and isinstance(v[0], dict) for v in inner):
                yield Row(place, f"object {keys}: {kind}{more}", said)
                return
        yield Row(place, f"object {keys}{more}", said)
        yield from _value(f"{place}.*", inner, known, "", annotation)
        return
    kinds = _kinds(annotation, known)
    about = said or known.about.get(kinds, "")
    yield Row(place, f"object{more}", about)
    yield from _object(place, found, known, kinds)


def _list(
    place: str, found: list[list[Any]], known: Sources, said: str, annotation: str, more: str
) -> Iterator[Row]:
    depth, inner = 1, [value for one in found for value in one]
    while inner and all(isinstance(value, list) for value in inner):
        depth, inner = depth + 1, [value for one in inner for value in one]
    axes = re.search(r"Tensor, ['\"]([\w ]+)['\"]", annotation)
    shape = ", ".join(axes[1].split()) if axes and len(axes[1].split()) == depth else ""
    of = f"list [{shape}] of " if shape else "list of " * depth
    there = [value for value in inner if value is not None]
    null = " or null" if len(there) < len(inner) else ""
    special = _special([value for value in there if isinstance(value, dict)])
    if special and len(there) == len([v for v in there if isinstance(v, dict)]):
        yield Row(place, f"{of}{special}{null}{more}", said)
    elif there and all(isinstance(value, dict) for value in there):
        kind = _kinds(annotation, known)
        yield Row(place, f"{of}objects{more}", said or known.about.get(kind, ""))
        yield from _object(place + "[]" * depth, there, known, kind)
    else:
        kinds = _scalars(there) if there else "values"
        yield Row(place, f"{of}{kinds}{null}{more}", said)


def _special(found: list[Any]) -> str:
    """Shapes that stand at many places, and are told once."""
    there = [value for value in found if value is not None]
    if not there or not all(isinstance(value, dict) for value in there):
        return ""
    null = " or null" if len(there) < len(found) else ""
    if all(set(value) == ESTIMATE for value in there):
        return f"[estimate](#estimate){null}"
    known = FACT | FACT_TOO | {"aliases", "new_aliases"}
    if all(FACT <= set(value) <= known for value in there):
        return f"[fact](#fact){null}"
    return ""


def _is_table(found: list[dict[str, Any]], annotation: str) -> bool:
    """Whether keys are data (a layer, a head, a relation) and not names of fields."""
    if re.match(r"(dict|Mapping)\[", annotation):
        values = annotation.split(",", 1)[-1].strip().rstrip("]")
        if values != "Any":
            return True
    keys = [key for one in found for key in one]
    values = [value for one in found for value in one.values()]
    if len(keys) > 2 and all(isinstance(v, dict) and set(v) == ESTIMATE for v in values):
        return True
    return any(not PLAIN.match(key) for key in keys)


def _keys(found: list[dict[str, Any]]) -> str:
    keys = list(dict.fromkeys(key for one in found for key in one))
    if keys and all(re.fullmatch(r"\d+", key) for key in keys):
        return "number"
    if keys and all(re.fullmatch(r"L\d+H\d+", key) for key in keys):
        return "head"
    if keys and all(re.fullmatch(r"L\d+N\d+", key) for key in keys):
        return "neuron"
    shown = ", ".join(f"`{key}`" for key in keys[:14])
    return f"name ({shown}{', …' if len(keys) > 14 else ''})" if keys else "name"


def _kinds(annotation: str, known: Sources) -> str:
    """The class of the code that an annotation names."""
    return next((word for word in re.findall(r"\w+", annotation) if word in known.about), "")


def _scalars(values: list[Any]) -> str:
    names = {bool: "true or false", int: "integer", float: "number", str: "text"}
    kinds = {names.get(type(v), "object" if isinstance(v, dict) else "list") for v in values}
    if kinds == {"integer", "number"}:
        kinds = {"number"}
    return " or ".join(sorted(kinds))


def _annotated(annotation: str) -> str:
    """A type of the code in the words of this page, for a field that is null in every example."""
    words = {"str": "text", "int": "integer", "float": "number", "bool": "true or false"}
    found = [words[word] for word in re.findall(r"\w+", annotation) if word in words]
    return " or ".join([*dict.fromkeys(found), "null"])
