"""Strings of a result are text in a figure, and never markup.

Plotly reads titles, labels and hovers as a small HTML: a subject `<a href=…>` would be a live link,
`<b>` bold. So figures are drawn from a result in which every string is escaped; their own markup
stands in the figures' code and stays markup.
"""

import copy
from dataclasses import is_dataclass
from html import escape
from typing import Any


def as_text(value: Any) -> Any:
    """The value with all its strings escaped; what holds none that needs it is given back as it is.
    Results are not changed.
    """
    if isinstance(value, str):
        return escape(value, quote=False) if "<" in value or ">" in value or "&" in value else value
    if isinstance(value, dict):
        return _same(value, {as_text(key): as_text(item) for key, item in value.items()})
    if isinstance(value, tuple):
        items = [as_text(item) for item in value]
        if all(new is old for new, old in zip(items, value, strict=True)):
            return value
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    if isinstance(value, list):
        return _same(value, [as_text(item) for item in value])
    if is_dataclass(value) and not isinstance(value, type) and hasattr(value, "__dict__"):
        return _record(value)
    return value


def _same(old: Any, new: Any) -> Any:
    """The old container, where nothing in it is new."""
    pairs = (
        zip(old.items(), new.items(), strict=False)
        if isinstance(old, dict)
        else zip(old, new, strict=False)
    )
    if isinstance(old, dict):
        return old if all(a[0] is b[0] and a[1] is b[1] for a, b in pairs) else new
    return old if all(a is b for a, b in pairs) else new


def _record(value: Any) -> Any:
    fields = {name: (item, as_text(item)) for name, item in vars(value).items()}
    if all(new is old for old, new in fields.values()):
        return value
    record = copy.copy(value)
    for name, (_, new) in fields.items():
        object.__setattr__(record, name, new)
    return record
