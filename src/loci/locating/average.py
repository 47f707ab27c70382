"""Average traces over many facts, by the role of the token: which layers and which tokens matter on
the whole.

Roles: first, middle and last subject token, first further token, further tokens, last token (Meng
et al. 2022, figure 1). Facts that the model does not know are left out and counted.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import TypedDict

from loci.errors import FactError
from loci.facts import Fact
from loci.files import append_line, check_writable, write_aside
from loci.locating.asking import known_of
from loci.locating.causal_trace import Trace, trace
from loci.locating.corruption import How
from loci.locating.patched_runs import BATCH_TOKENS
from loci.locating.runs import KINDS, Kind
from loci.model import Model
from loci.model.given import facts_given
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.stats import Estimate, mean
from loci.tables import Column, Table
from loci.validate import DATA, brief, is_there, named, parse_json, read_text, typed

ROLES = ("first subject", "middle subject", "last subject", "first further", "further", "last")


@dataclass(frozen=True)
class AverageTrace(Result):
    """Average indirect effects: by kind, [layer, role] with n and intervals."""

    about: ClassVar[About] = About(
        "an average trace",
        "Causal traces of many facts, averaged by the role of the token.",
        "Rows are tokens (* the subject), columns are layers; the darker the blue, the "
        "more of P(answer) that one clean state brings back.",
        "trace.average_figure",
    )

    model: str
    bos: bool
    n: int
    unknown: int
    """Facts left out because the model does not answer them."""
    samples: int
    effects: dict[str, list[list[Estimate]]]

    def grid(self, kind: str) -> Float[Tensor, "layer role"]:
        return torch.tensor([[cell.value for cell in row] for row in self.effects[kind]])

    def summary(self) -> tuple[str, ...]:
        parts = []
        for kind, rows in self.effects.items():
            from loci.locating.average import ROLES

            cells = [
                (row[i], layer, role)
                for layer, row in enumerate(rows)
                for i, role in enumerate(ROLES)
                if row[i].n
            ]
            inner = [
                cell
                for cell in cells
                if kind != "state" or not cell[2].startswith("last") or cell[2] == "last subject"
            ]
            best, layer, role = max(inner or cells, key=lambda cell: cell[0].value)
            parts.append(f"{kind} at layer {layer}, {role} token: {best.told('.2f')}")
        return (f"Largest on the average over {self.n} facts: " + "; ".join(parts) + ".",)

    def title(self) -> str:
        return (
            f"Average indirect effect over {self.n} facts ({self.unknown} unknown to the model,"
            " left out)"
        )

    def tables(self) -> tuple[Table, ...]:
        return tuple(map(self._table, self.effects))

    def _table(self, kind: str) -> Table:
        rows = self.effects[kind]
        roles = [i for i in range(len(ROLES)) if rows[0][i].n]
        values = [[row[i] for row in rows] for i in roles]
        best, layer, role = max(
            (own, layer, ROLES[i])
            for i, row in zip(roles, values, strict=True)
            for layer, own in enumerate(row)
        )
        last = kind == list(self.effects)[-1]
        return Table(
            kind,
            (Column("token"), *(Column(str(layer), "+.3f") for layer in range(len(rows)))),
            tuple(
                (f"{ROLES[i]} (n = {own[0].n})", *own) for i, own in zip(roles, values, strict=True)
            ),
            note=f"largest: {best.told('.3f')} at layer {layer}, {role} token"
            + "; hundredths of P(answer) given back, by layer" * last,
            heat=best.value or 1.0,
        )

    def to_dict(self) -> dict[str, Any]:
        cells = {
            kind: [[cell.to_dict() for cell in row] for row in rows]
            for kind, rows in self.effects.items()
        }
        plain = {
            "model": self.model,
            "bos": self.bos,
            "n": self.n,
            "unknown": self.unknown,
            "samples": self.samples,
            "roles": list(ROLES),
        }
        return {"schema": "loci.average_trace/1", **plain, "effects": cells}


def roles(trace: Trace) -> dict[str, list[int]]:
    """The tokens of each role; a role that a prompt does not have is left out."""
    start, end = trace.subject_span
    last = len(trace.tokens) - 1
    positions = {
        "first subject": [start] if end - start > 1 else [],
        "middle subject": list(range(start + 1, end - 1)),
        "last subject": [end - 1],
        "first further": [end] if end < last else [],
        "further": list(range(end + 1, last)),
        "last": [last] if last >= end else [],
    }
    return {role: tokens for role, tokens in positions.items() if tokens}


def average_trace(
    model: Model,
    facts: Fact | Sequence[Fact],
    *,
    kinds: tuple[Kind, ...] = KINDS,
    samples: int = 10,
    noise: float = 3.0,
    corruption: How = "noise",
    window: int = 1,
    seed: int = 0,
    budget: int = BATCH_TOKENS,
    resume: str | Path | None = None,
    progress: Progress = silent,
) -> AverageTrace:
    """Trace every fact that the model knows and average by role and layer, with bootstrap intervals
    over the facts.

        loci.average_trace(model, facts, samples=5, resume="traces.jsonl")

    With `resume`, every traced fact is a line of that file as soon as it is done, and what stands
    there already is not traced again.
    Raises `FactError` where the model knows none of the facts, or the file belongs to another model
    or other settings.
    """
    facts = facts_given(facts)
    known = known_of(model, facts)
    settings: dict[str, Any] = {
        "kinds": kinds,
        "samples": samples,
        "noise": noise,
        "corruption": corruption,
        "window": window,
    }
    settings["seed"] = seed
    done = _Done(
        None if resume is None else Path(resume),
        {"weights": model.fingerprint, "bos": model.with_bos, **settings},
        model.n_layers,
    )
    cells: dict[tuple[Kind, int, str], list[float]] = {}
    for fact in known:
        by_kind = done.get(fact)
        if by_kind is None:
            traced = trace(model, fact, **settings, budget=budget)
            by_kind = {
                kind: {
                    role: traced.grids[kind][:, positions].mean(1).tolist()
                    for role, positions in roles(traced).items()
                }
                for kind in kinds
            }
            done.add(fact, by_kind)
        for kind in kinds:
            for role, effects in by_kind[kind].items():
                for layer, effect in enumerate(effects):
                    cells.setdefault((kind, layer, role), []).append(effect)
        progress(1, len(known))
    averages: dict[str, list[list[Estimate]]] = {
        kind: [
            [mean(cells.get((kind, layer, role), ())) for role in ROLES]
            for layer in range(model.n_layers)
        ]
        for kind in kinds
    }
    return AverageTrace(
        model.name, model.with_bos, len(known), len(facts) - len(known), samples, averages
    )


Effects = dict[str, dict[str, list[float]]]


class TracedFact(TypedDict):
    """A traced fact, as a line of a file."""

    prompt: str
    subject: str
    answer: str
    effects: Effects


class _Done:
    """Traced facts, a line of JSON each behind a line with the settings; a line that was cut off is
    traced again.
    """

    def __init__(self, path: Path | None, settings: dict[str, Any], layers: int) -> None:
        self.path = path
        self._found: dict[tuple[str, str, str], Effects] = {}
        if path is None:
            return
        head = json.dumps({"schema": "loci.traces/1", **settings}, sort_keys=True)
        check_writable(path)
        lines = read_text(path, FactError, DATA).splitlines() if is_there(path) else []
        if lines and lines[0] != head:
            raise FactError(
                f"{named(path)} holds traces of another model or with other settings: name another"
                " file"
            )
        whole = [(number, line) for number, line in enumerate(lines[1:], start=2) if _whole(line)]
        for number, line in whole:
            where = f"{named(path)}, line {number}"
            entry = typed(
                TracedFact, parse_json(line, where, FactError, infinite=True), where, FactError
            )
            _check_effects(entry["effects"], settings["kinds"], layers, where)
            self._found[entry["prompt"], entry["subject"], entry["answer"]] = entry["effects"]
        with write_aside(path) as aside:
            aside.write_text(
                "".join(f"{line}\n" for line in (head, *(line for _, line in whole))),
                encoding="utf-8",
            )

    def get(self, fact: Fact) -> Effects | None:
        return self._found.get((fact.text, fact.subject, fact.answer))

    def add(self, fact: Fact, effects: Effects) -> None:
        if self.path is not None:
            entry: TracedFact = {
                "prompt": fact.text,
                "subject": fact.subject,
                "answer": fact.answer,
                "effects": effects,
            }
            append_line(self.path, json.dumps(entry, ensure_ascii=False))


def _whole(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _check_effects(effects: Effects, kinds: Sequence[str], layers: int, where: str) -> None:
    """Raise `FactError` where there is not an effect for every kind, of known roles, with a number
    for each layer.
    """
    if set(effects) != set(kinds):
        raise FactError(
            f"{where}: effects: expected {', '.join(kinds)}, found {brief(list(effects))}"
        )
    for kind, roles_ in effects.items():
        for role, values in roles_.items():
            if role not in ROLES or len(values) != layers:
                raise FactError(
                    f"{where}: effects.{kind}: expected {layers} numbers for a role, found"
                    f" {len(values)} of {brief(role)}"
                )
