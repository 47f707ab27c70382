"""Methods of editing: each a frozen dataclass of its settings with one `fit`.

    update = MEMIT(layers=(0, 1), lam=0.1).fit(model, EditData.of(model, facts))
    patch = update.patch(model, data)

A new method is one file and one line in `METHODS`.
"""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, Protocol

from loci.editing.data import EditData, WeightUpdate
from loci.editing.joint_settings import JointSettings
from loci.editing.methods.alphaedit import AlphaEdit
from loci.editing.methods.closed_form import ClosedForm, default_layer
from loci.editing.methods.emmet import EMMET
from loci.editing.methods.memit import MEMIT
from loci.editing.methods.rome import ROME
from loci.editing.methods.together import FineTune, Joint
from loci.editing.targets import TargetSettings
from loci.errors import EditError
from loci.model import Model


class EditMethod(Protocol):
    """A way to make an edit."""

    @property
    def name(self) -> str:
        """As in `METHODS`."""
        ...

    def fit(self, model: Model, data: EditData) -> WeightUpdate:
        """The change of the weights. Raises `EditError` where there is none."""
        ...


METHODS: dict[str, type[Any]] = {
    one.name: one for one in (Joint, ROME, EMMET, MEMIT, AlphaEdit, FineTune)
}
"""By name."""
TOGETHER = ("joint", "finetune")
"""Methods that search all layers together, and take `JointSettings`."""
Settings = EditMethod | TargetSettings | JointSettings


def method_for(
    facts: int, name: str | None, settings: Settings | None, *, again: bool, **said: Any
) -> Any:
    """The method that is meant by a name, by settings, or by neither: ROME for one fact, Joint for
    several.

    Args:
        facts: how many are edited.
        name: of a method.
        settings: a method with its settings, or the settings of its search alone.
        again: whether an earlier patch is edited further.
        said: further settings by name, None where they are not said.

    Raises: `EditError` for an unknown name, and for a setting that the method does not use.
    """
    if name is not None and name not in METHODS:
        raise EditError(f"there is no method {name!r}: expected one of {', '.join(METHODS)}")
    if settings is None or isinstance(settings, (TargetSettings, JointSettings)):
        name = name or _default(facts, settings, again)
        _check_search(name, settings)
        method = METHODS[name](search=settings)
    else:
        method = settings
        if name is not None and method.name != name:
            raise EditError(f"{name} takes {METHODS[name].__name__}, not {type(method).__name__}")
    return _with(method, {key: value for key, value in said.items() if value is not None})


def _default(facts: int, settings: TargetSettings | JointSettings | None, again: bool) -> str:
    if isinstance(settings, TargetSettings):
        return "rome" if facts == 1 else "memit"
    return "rome" if facts == 1 and not again and settings is None else "joint"


def _check_search(name: str, settings: TargetSettings | JointSettings | None) -> None:
    takes = JointSettings if name in TOGETHER else TargetSettings
    if settings is not None and not isinstance(settings, takes):
        raise EditError(f"{name} takes {takes.__name__}, not {type(settings).__name__}")


def _with(method: Any, said: dict[str, Any]) -> Any:
    has = {field.name for field in fields(method)}
    for key in said:
        if key not in has:
            raise EditError(f"{method.name} uses no {key}: it takes {', '.join(sorted(has))}")
    layers: Sequence[int] | None = said.get("layers")
    return replace(method, **said | ({"layers": tuple(layers)} if layers is not None else {}))


__all__ = [
    "EMMET",
    "MEMIT",
    "METHODS",
    "ROME",
    "TOGETHER",
    "AlphaEdit",
    "ClosedForm",
    "EditMethod",
    "FineTune",
    "Joint",
    "Settings",
    "default_layer",
    "method_for",
]
