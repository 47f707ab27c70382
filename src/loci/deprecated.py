"""Old public names: they work for one more version, with a `DeprecationWarning` that says the new name.

# in a room's __init__.py
__getattr__ = renamed(__name__, {"Line": "TrainingPrompt", "examine": "loci.model.invariants:doctor"})
"""

import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def renamed(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's `__getattr__` that serves old names.

    Args:
        module: `__name__` of the module.
        names: old name → new name in the same module, or "package.module:name" elsewhere.
    """

    def __getattr__(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home, _, new = names[name].rpartition(":")
        home = home or module
        warnings.warn(f"{module}.{name} is now {home}.{new}", DeprecationWarning, stacklevel=2)
        return getattr(import_module(home), new)

    return __getattr__


def moved(module: str, home: str) -> Callable[[str], Any]:
    """The `__getattr__` of a package that has moved: each public name warns, and comes from its new home.

    Args:
        module: `__name__` of the old package.
        home: the new package, as in "loci.studies.superposition".
    """

    def __getattr__(name: str) -> Any:
        package = import_module(home)
        if name.startswith("_") or name not in package.__all__:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warnings.warn(f"{module} is now {home}", DeprecationWarning, stacklevel=2)
        return getattr(package, name)

    return __getattr__
