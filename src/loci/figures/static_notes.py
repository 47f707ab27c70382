"""Annotations and shapes of a figure, drawn by matplotlib."""

from collections.abc import Iterator
from typing import Any

from loci.figures.static_words import plain, rgba


def annotate(page: Any, axes: dict[tuple[str, str], Any], layout: dict[str, Any]) -> None:
    """Annotations and shapes, on the axes or on the area of all of them."""
    from matplotlib.transforms import blended_transform_factory

    if not axes:
        return
    places = [ax.get_position() for ax in axes.values()]
    left, right = min(p.x0 for p in places), max(p.x1 for p in places)
    low, high = min(p.y0 for p in places), max(p.y1 for p in places)
    for note in layout.get("annotations") or ():
        if note.get("visible") is False or not note.get("text"):
            continue
        size = (note.get("font") or {}).get("size", 12) * 0.72
        ink = rgba((note.get("font") or {}).get("color", "#1f2430"))
        look: dict[str, Any] = {
            "fontsize": size,
            "color": ink,
            "ha": {"left": "left", "right": "right"}.get(note.get("xanchor"), "center"),
            "va": {"top": "top", "bottom": "bottom"}.get(note.get("yanchor"), "center"),
        }
        if note.get("xref", "x") == "paper" and note.get("yref", "y") == "paper":
            x, y = left + note["x"] * (right - left), low + note["y"] * (high - low)
            page.text(x, y, plain(note["text"]), **look)
            continue
        ax = _of(axes, note)
        if ax is not None:
            across, up = _transforms(ax, note)
            ax.text(
                note["x"],
                note["y"],
                plain(note["text"]),
                **look,
                transform=blended_transform_factory(across, up),
            )
    for shape in layout.get("shapes") or ():
        _shape(_of(axes, shape), shape)


def _of(axes: dict[tuple[str, str], Any], item: dict[str, Any]) -> Any:
    """The axes that an annotation or a shape names; the first where it names none."""
    wanted = [str(item.get(f"{way}ref", way)).split()[0] for way in "xy"]
    for pair, ax in axes.items():
        if all(name in (own, "paper") for name, own in zip(wanted, pair, strict=True)):
            return ax
    return None


def _transforms(ax: Any, item: dict[str, Any]) -> Iterator[Any]:
    for way in "xy":
        inside = str(item.get(f"{way}ref", way))
        yield ax.transAxes if inside == "paper" or inside.endswith("domain") else ax.transData


def _shape(ax: Any, shape: dict[str, Any]) -> None:
    """A line or a rectangle, in data or in shares of the axes."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle
    from matplotlib.transforms import blended_transform_factory

    if ax is None:
        return
    across, up = _transforms(ax, shape)
    look: dict[str, Any] = {"transform": blended_transform_factory(across, up), "clip_on": True}
    x0, x1, y0, y1 = (shape[name] for name in ("x0", "x1", "y0", "y1"))
    line = shape.get("line") or {}
    if shape.get("type") == "rect":
        ax.add_artist(
            Rectangle(
                (x0, y0),
                x1 - x0,
                y1 - y0,
                zorder=0,
                linewidth=line.get("width", 0) * 0.72,
                facecolor=rgba(shape.get("fillcolor", "#b8bdc9"), shape.get("opacity", 1)),
                edgecolor=rgba(line.get("color", "#b8bdc9")),
                **look,
            )
        )
        return
    dashes: dict[str, Any] = {"dot": ":", "dash": "--", "dashdot": "-."}
    ax.add_artist(
        Line2D(
            (x0, x1),
            (y0, y1),
            linewidth=line.get("width", 1) * 0.72,
            color=rgba(line.get("color", "#8a90a0")),
            linestyle=dashes.get(line.get("dash", ""), "-"),
            **look,
        )
    )
