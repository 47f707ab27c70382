"""A figure's panels one below the other: its layout for narrow screens.

Panels side by side cannot be read on a telephone. Only the layout changes, and the domains of what
has no axes (tables, flows), so the page keeps the numbers once and chooses the layout by its own
width.
"""

from typing import Any, NamedTuple

GAP = 92
"""Pixels between two panels: the axis title of one, the heading of the next."""
LEAST = 170
"""Pixels that a panel keeps at least."""
TOP, BOTTOM = 36, 60
LEGEND_ROW = 22

Json = dict[str, Any]


class _Panel(NamedTuple):
    x: tuple[float, float]
    y: tuple[float, float]
    axes: tuple[str, ...]
    """Its axes in the layout; none where a trace has a domain of its own."""
    trace: int | None


def stacked(figure: Json, height: float) -> tuple[Json, dict[int, Json]]:
    """The layout with all panels in one column, and the new domains by trace. `height` is what the
    panels have now, in pixels.
    """
    panels = sorted(_panels(figure), key=lambda panel: (-round(panel.y[1], 3), panel.x[0]))
    layout = {**figure["layout"]}
    domains: dict[int, Json] = {}
    sizes = [max(LEAST, height * (panel.y[1] - panel.y[0])) for panel in panels]
    whole = sum(sizes) + GAP * (len(panels) - 1)
    top = 1.0
    slots = []
    for panel, size in zip(panels, sizes, strict=True):
        slot = (max(0.0, top - size / whole), top)
        slots.append(slot)
        top = slot[0] - GAP / whole
        for axis in panel.axes:
            layout[axis] = {
                **layout[axis],
                "domain": [0, 1] if axis.startswith("x") else list(slot),
            }
            if axis.startswith("y"):
                layout[axis]["showticklabels"] = True
        if panel.trace is not None:
            domains[panel.trace] = {"x": [0, 1], "y": list(slot)}
    layout["annotations"] = [_moved(note, panels, slots) for note in layout.get("annotations", [])]
    layout["height"] = whole + TOP + BOTTOM + _below(figure, layout)
    layout["margin"] = {"l": 8, "r": 8, "t": TOP, "b": BOTTOM + _below(figure, layout)}
    _legend(layout, whole)
    return layout, domains


def _panels(figure: Json) -> list[_Panel]:
    layout, panels = figure["layout"], []
    for name, axis in layout.items():
        if name.startswith("xaxis") and "domain" in axis:
            other = "yaxis" + axis.get("anchor", "y")[1:]
            partner = layout.get(other, {})
            panels.append(
                _Panel(
                    tuple(axis["domain"]), tuple(partner.get("domain", (0, 1))), (name, other), None
                )
            )
    for index, trace in enumerate(figure["data"]):
        if "domain" in trace:
            panels.append(
                _Panel(tuple(trace["domain"]["x"]), tuple(trace["domain"]["y"]), (), index)
            )
    return panels or [
        _Panel((0, 1), (0, 1), tuple(name for name in ("xaxis", "yaxis") if name in layout), None)
    ]


def _moved(note: Json, panels: list[_Panel], slots: list[tuple[float, float]]) -> Json:
    """A panel's heading stands above it, from the left; other notes stay with their axes."""
    if note.get("xref") != "paper" or note.get("yref") != "paper":
        return note
    near = min(
        range(len(panels)),
        key=lambda i: (
            abs(note.get("y", 0) - panels[i].y[1]) + abs(note.get("x", 0) - sum(panels[i].x) / 2)
        ),
    )
    return {**note, "x": 0, "xanchor": "left", "align": "left", "y": slots[near][1]}


def _below(figure: Json, layout: Json) -> float:
    """Room for a legend under the panels: two names a row."""
    if layout.get("showlegend") is False:
        return 0
    named = {
        trace.get("name")
        for trace in figure["data"]
        if trace.get("showlegend", True) and trace.get("name")
    }
    return LEGEND_ROW * -(-len(named) // 2) if len(named) > 1 or layout.get("showlegend") else 0


def _legend(layout: Json, whole: float) -> None:
    layout["legend"] = {
        **layout.get("legend", {}),
        "orientation": "h",
        "x": 0,
        "xanchor": "left",
        "y": -(BOTTOM - 8) / whole,
        "yanchor": "top",
    }
