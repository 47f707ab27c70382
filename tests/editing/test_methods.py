"""Methods as values: their settings are typed, foreign ones are refused, and `fit` is what `edit`
does.
"""

import importlib
import inspect
from dataclasses import fields

import pytest
import torch

from loci.editing import (
    EMMET,
    MEMIT,
    METHODS,
    ROME,
    AlphaEdit,
    EditData,
    Joint,
    JointSettings,
    TargetSettings,
)
from loci.editing.edit import edit
from loci.editing.methods import method_for
from loci.editing.statistics import Moment
from loci.errors import EditError
from loci.facts import Fact
from loci.model import Model

SMALL = TargetSettings(steps=3, contexts=1, essence=1, own=0)


def test_names_settings_and_docstrings_of_all_methods() -> None:
    for name, kind in METHODS.items():
        assert kind.name == name and kind.__doc__ and kind.fit.__doc__
        assert {"search", "layers"} <= {field.name for field in fields(kind)}
        assert len(inspect.getsource(inspect.getmodule(kind)).splitlines()) <= 170
    assert inspect.ismodule(importlib.import_module("loci.editing.edit"))


def test_fit_is_what_edit_does(demo: Model, jordan: Fact, moments: dict[int, Moment]) -> None:
    method, wish = MEMIT(search=SMALL, layers=(0,), lam=0.1), jordan.to("golf")
    data = EditData.of(demo, [wish], moments=moments)
    alone = method.fit(demo, data).patch(demo, data)
    whole = edit(demo, wish, settings=method, moments=moments, report=False)
    assert (alone.method, whole.method, whole.layers) == ("memit", "memit", [0])
    torch.testing.assert_close(alone.factors["W_down.0"].delta, whole.factors["W_down.0"].delta)
    named = edit(
        demo,
        wish,
        method="memit",
        layers=[0],
        lam=0.1,
        settings=SMALL,
        moments=moments,
        report=False,
    )
    torch.testing.assert_close(named.factors["W_down.0"].delta, whole.factors["W_down.0"].delta)
    assert alone.numbers["slack"] == 0.1


def test_the_default_is_by_the_number_of_facts_and_the_search_that_is_said() -> None:
    assert method_for(1, None, None, again=False) == ROME()
    assert method_for(2, None, None, again=False) == Joint()
    assert method_for(1, None, None, again=True) == Joint()
    assert method_for(2, None, SMALL, again=False) == MEMIT(search=SMALL)
    assert method_for(1, None, AlphaEdit(share=0.2), again=False, lam=0.5) == AlphaEdit(
        share=0.2, lam=0.5
    )
    assert method_for(3, "emmet", None, again=False, layers=[2, 1]).layers == (2, 1)


@pytest.mark.parametrize(
    ("name", "settings", "said", "told"),
    [
        ("joint", None, {"lam": 0.1}, "joint uses no lam: it takes layers, search"),
        ("rome", None, {"lam": 0.1}, "rome uses no lam"),
        ("alphaedit", None, {"ridge": 1.0}, "alphaedit uses no ridge"),
        ("memit", JointSettings(), {}, "memit takes TargetSettings, not JointSettings"),
        ("joint", SMALL, {}, "joint takes JointSettings, not TargetSettings"),
        ("memit", AlphaEdit(), {}, "memit takes MEMIT, not AlphaEdit"),
        ("mend", None, {}, "there is no method 'mend'"),
    ],
)
def test_foreign_settings_are_refused(name: str, settings: object, said: dict, told: str) -> None:
    with pytest.raises(EditError, match=told):
        method_for(2, name, settings, again=False, **said)  # type: ignore[arg-type]


def test_two_facts_are_too_many_for_rome(demo: Model, jordan: Fact) -> None:
    with pytest.raises(EditError, match="one fact at a time"):
        edit(demo, [jordan.to("golf"), jordan.to("chess")], settings=ROME())
    assert EMMET().layers is None
