"""How far a fact and a result travel: the modules with a function that is handed one.

Counted by `sys.setprofile`: at every call into Loci, whether an argument is a fact (or a sequence
that holds one), or the result.
"""

import io
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch

import loci
from loci.cli import common
from loci.cli.show import base
from loci.cli.terminal import Terminal
from loci.editing import JointSettings, TargetSettings
from loci.facts import Fact
from loci.model import Model
from loci.result import Result

ROOT = str(Path(loci.__path__[0]))


def holds(value: Any, kind: type, depth: int = 2) -> bool:
    """Whether it is one, or a list or tuple that begins with one."""
    if isinstance(value, kind):
        return True
    plain = isinstance(value, (list, tuple)) and not hasattr(value, "_fields")
    return bool(depth and plain and any(holds(part, kind, depth - 1) for part in value[:3]))


def crossed(kind: type, run: Callable[[], object]) -> set[str]:
    """The modules whose functions are handed a thing of this kind while `run` runs."""
    modules = set[str]()

    def profile(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(ROOT):
            return
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        if any(holds(frame.f_locals.get(name), kind) for name in names):
            modules.add(code.co_filename.removeprefix(ROOT))

    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(None)
    return modules


TEXTS = ["Osaka is a city in Japan.", "Seven people came to see Babe Ruth play baseball."]
FEW = {"contexts": 1, "essence": 2, "own": 1, "steps": 1}


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("rome", TargetSettings(**FEW)),
        ("joint", JointSettings(texts=8, near=8, retained=16, **FEW)),
    ],
)
def test_a_fact_crosses_at_most_12_modules_to_be_edited(
    demo: Model, jordan: Fact, method: str, settings: TargetSettings | JointSettings
) -> None:
    moments = {0: torch.eye(demo.d_mlp, dtype=torch.float64)}
    how = {
        "method": method,
        "settings": settings,
        "layers": [0],
        "moments": moments,
        "texts": TEXTS,
    }
    modules = crossed(Fact, lambda: loci.edit(demo, jordan.to("golf"), **how))
    assert "/editing/edit.py" in modules and "/facts/fact.py" in modules
    assert len(modules) <= 12, sorted(modules)


def test_a_result_crosses_at_most_4_modules_to_the_terminal(
    demo: Model, jordan: Fact, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = loci.trace(demo, jordan, samples=2)
    screen = io.StringIO()
    monkeypatch.setattr(base, "console", Terminal(file=screen, width=80, highlight=False))
    modules = crossed(Result, lambda: common.finish(found))
    assert found.answer in screen.getvalue() and "/cli/show/base.py" in modules
    assert len(modules) <= 4, sorted(modules)
