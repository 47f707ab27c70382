"""Old public names: they work for one more version, with a `DeprecationWarning` that says the new
name.

    # in a room's __init__.py
    __getattr__ = renamed(__name__, {"Line": "TrainingPrompt"})
"""

import sys
import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from importlib import import_module
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def renamed(
    module: str, names: Mapping[str, str], otherwise: Callable[[str], Any] | None = None
) -> Callable[[str], Any]:
    """A module's `__getattr__` that serves old names.

    Args:
        module: `__name__` of the module.
        names: old name → new name in the same module, or "package.module:name" elsewhere.
        otherwise: what serves all other names, where the module loads them when they are asked for.
    """

    def __getattr__(name: str) -> Any:
        if name not in names:
            if otherwise is not None:
                return otherwise(name)
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home, _, new = names[name].rpartition(":")
        home = home or module
        warnings.warn(f"{module}.{name} is now {home}.{new}", DeprecationWarning, stacklevel=2)
        return getattr(import_module(home), new)

    return __getattr__


def moved(module: str, home: str) -> Callable[[str], Any]:
    """The `__getattr__` of a package that has moved: each public name warns, and comes from its new
    home.

    Args:
        module: `__name__` of the old package.
        home: the new package, as in "loci.studies.superposition".
    """

    def __getattr__(name: str) -> Any:
        if name.startswith("_"):  # `from package import *`, `copy`, `inspect` ask for such names
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        value = getattr(import_module(home), name)
        warnings.warn(f"{module} is now {home}", DeprecationWarning, stacklevel=2)
        return value

    return __getattr__


def called(module: str, function: Callable[..., Any], home: str) -> None:
    """Let a module be called as the function that hid it before: `loci.editing.edit(…)` warns, and
    is `loci.edit(…)`.

    Args:
        module: `__name__` of the module.
        function: what a call does.
        home: where the function is now.
    """

    class Called(ModuleType):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            warnings.warn(f"{module}(…) is now {home}(…)", DeprecationWarning, stacklevel=2)
            return function(*args, **kwargs)

    sys.modules[module].__class__ = Called


def renamed_arguments(**names: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """A decorator by which a function takes keyword arguments under their old names:
    `@renamed_arguments(old="new")`.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            called_as = function.__qualname__.removesuffix(".__init__")
            for old in names.keys() & kwargs.keys():
                new = names[old]
                warnings.warn(
                    f"{called_as}({old}=…) is now {new}=…", DeprecationWarning, stacklevel=2
                )
                if new in kwargs:
                    raise TypeError(f"{called_as}() takes {new}= alone: {old}= is its old name")
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call

    return decorate


def renamed_fields(**names: str) -> Callable[[type[T]], type[T]]:
    """A decorator by which a dataclass takes fields, and gives them, under their old names:
    `@renamed_fields(old="new")` above `@dataclass`.
    """

    def decorate(cls: type[T]) -> type[T]:
        cls.__init__ = renamed_arguments(**names)(cls.__init__)  # type: ignore[method-assign]

        def reader(old: str, new: str) -> property:
            def read(self: T) -> Any:
                warnings.warn(
                    f"{cls.__name__}.{old} is now .{new}", DeprecationWarning, stacklevel=2
                )
                return getattr(self, new)

            return property(read)

        for old, new in names.items():
            setattr(cls, old, reader(old, new))
        return cls

    return decorate
