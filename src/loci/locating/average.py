"""Average traces over many facts, by the role of the token: which layers and which tokens matter on the whole.

Roles: first, middle and last subject token, first further token, further tokens, last token (Meng et al. 2022, figure 1).
Facts that the model does not know are left out and counted.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import FactError
from loci.facts import Fact
from loci.files import check_writable, write_aside
from loci.locating.asking import known_of
from loci.locating.carry import BATCH_TOKENS
from loci.locating.corruption import How
from loci.locating.runs import KINDS, Kind
from loci.locating.trace import Trace, trace
from loci.model import Model
from loci.model.given import facts_given
from loci.progress import Progress, silent
from loci.result import Result
from loci.stats import Estimate, mean

ROLES = ("first subject", "middle subject", "last subject", "first further", "further", "last")


@dataclass(frozen=True)
class AverageTrace(Result):
    """Average indirect effects: by kind, [layer, role] with n and intervals."""

    model: str
    bos: bool
    n: int
    unknown: int
    """Facts left out because the model does not answer them."""
    samples: int
    effects: dict[str, list[list[Estimate]]]

    def grid(self, kind: str) -> Float[Tensor, "layer role"]:
        return torch.tensor([[cell.value for cell in row] for row in self.effects[kind]])

    def to_dict(self) -> dict[str, Any]:
        cells = {kind: [[cell.to_dict() for cell in row] for row in rows] for kind, rows in self.effects.items()}
        plain = {
            "model": self.model,
            "bos": self.bos,
            "n": self.n,
            "unknown": self.unknown,
            "samples": self.samples,
            "roles": list(ROLES),
        }
        return {"schema": "loci.average_trace/1", **plain, "effects": cells}


def roles(one: Trace) -> dict[str, list[int]]:
    """The tokens of each role; a role that a prompt does not have is left out."""
    start, end = one.subject_span
    last = len(one.tokens) - 1
    found = {
        "first subject": [start] if end - start > 1 else [],
        "middle subject": list(range(start + 1, end - 1)),
        "last subject": [end - 1],
        "first further": [end] if end < last else [],
        "further": list(range(end + 1, last)),
        "last": [last] if last >= end else [],
    }
    return {role: tokens for role, tokens in found.items() if tokens}


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
    """Trace every fact that the model knows and average by role and layer, with bootstrap intervals over the facts.

    With `resume`, every traced fact is a line of that file as soon as it is done, and what stands there already is not traced again.
    Raises `FactError` where the model knows none of the facts, or the file belongs to another model or other settings.
    """
    facts = facts_given(facts)
    known = known_of(model, facts)
    settings: dict[str, Any] = {"kinds": kinds, "samples": samples, "noise": noise, "corruption": corruption, "window": window}
    settings["seed"] = seed
    done = _Done(None if resume is None else Path(resume), {"weights": model.fingerprint, "bos": model.with_bos, **settings})
    cells: dict[tuple[Kind, int, str], list[float]] = {}
    for fact in known:
        found = done.get(fact)
        if found is None:
            one = trace(model, fact, **settings, budget=budget)
            found = {kind: {role: one.grids[kind][:, at].mean(1).tolist() for role, at in roles(one).items()} for kind in kinds}
            done.add(fact, found)
        for kind in kinds:
            for role, effects in found[kind].items():
                for layer, effect in enumerate(effects):
                    cells.setdefault((kind, layer, role), []).append(effect)
        progress(1, len(known))
    averages: dict[str, list[list[Estimate]]] = {
        kind: [[mean(cells.get((kind, layer, role), ())) for role in ROLES] for layer in range(model.n_layers)] for kind in kinds
    }
    return AverageTrace(model.name, model.with_bos, len(known), len(facts) - len(known), samples, averages)


Effects = dict[str, dict[str, list[float]]]


class _Done:
    """Traced facts, a line of JSON each behind a line with the settings; a last line that was cut off is traced again."""

    def __init__(self, path: Path | None, settings: dict[str, Any]) -> None:
        self.path = path
        self._found: dict[tuple[str, str], Effects] = {}
        if path is None:
            return
        head = json.dumps({"schema": "loci.traces/1", **settings}, sort_keys=True)
        check_writable(path)
        try:
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        except (OSError, UnicodeDecodeError) as error:
            raise FactError(f"{path}: cannot be read ({error})") from None
        if lines and lines[0] != head:
            raise FactError(f"{path} holds traces of another model or with other settings: name another file")
        whole = [line for line in lines[1:] if _whole(line)]
        for entry in map(json.loads, whole):
            self._found[entry["prompt"], entry["answer"]] = entry["effects"]
        with write_aside(path) as aside:
            aside.write_text("".join(f"{line}\n" for line in (head, *whole)), encoding="utf-8")

    def get(self, fact: Fact) -> Effects | None:
        return self._found.get((fact.text, fact.answer))

    def add(self, fact: Fact, effects: Effects) -> None:
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"prompt": fact.text, "answer": fact.answer, "effects": effects}, ensure_ascii=False) + "\n")


def _whole(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
