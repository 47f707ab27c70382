"""Words, colours, tables and flows of a figure, for matplotlib."""

import re
from html import unescape
from typing import Any

import numpy as np


def plain(text: str) -> str:
    """A label without its markup, lines broken where it breaks them."""
    return unescape(re.sub(r"<[^>]+>", "", re.sub(r"<br\s*/?>", "\n", str(text)))).replace(
        "$", r"\$"
    )


def rgba(ink: Any, opacity: float = 1.0) -> Any:
    """A colour as matplotlib takes it: names, #rrggbb, rgb(…), rgba(…)."""
    from matplotlib.colors import to_rgba

    found = re.fullmatch(r"rgba?\(([^)]*)\)", str(ink).replace(" ", ""))
    if found:
        parts = [float(part) for part in found[1].split(",")]
        alpha = parts[3] if len(parts) > 3 else 1.0
        return (*(part / 255 for part in parts[:3]), alpha * opacity)
    own = to_rgba(ink)
    return (*own[:3], own[3] * opacity)


def table(ax: Any, trace: dict[str, Any]) -> None:
    """Words in columns, lines between the rows."""
    header = [plain(value) for value in trace["header"]["values"]]
    columns = [[plain(value) for value in column] for column in trace["cells"]["values"]]
    rows = list(zip(*columns, strict=True))
    wide = trace.get("columnwidth") or [1] * len(header)
    made = ax.table(
        [list(row) for row in rows], colLabels=header, loc="upper left", cellLoc="left",
        edges="horizontal", colWidths=[one / sum(wide) for one in wide],
    )  # fmt: skip
    made.auto_set_font_size(False)
    made.set_fontsize(8.5)
    for cell in made.get_celld().values():
        cell.set_edgecolor("#b8bdc9")


def flow(ax: Any, trace: dict[str, Any]) -> None:
    """A flow as columns of names and lines as wide as what flows."""
    node, link = trace["node"], trace["link"]
    count = len(node["label"])
    depth = [0] * count
    for _ in range(count):
        for a, b in zip(link["source"], link["target"], strict=True):
            depth[b] = max(depth[b], min(depth[a] + 1, count))
    last = max(depth, default=0) or 1
    columns = [[i for i in range(count) if depth[i] == level] for level in range(last + 1)]
    at = {
        i: (level / last, 1 - (place + 0.5) / len(own))
        for level, own in enumerate(columns)
        for place, i in enumerate(own)
    }
    most = max(link["value"], default=1) or 1
    for a, b, value, ink in zip(
        link["source"], link["target"], link["value"], link["color"], strict=True
    ):
        (x0, y0), (x1, y1) = at[a], at[b]
        t = np.linspace(0, 1, 30)
        ax.plot(
            x0 + t * (x1 - x0), y0 + (3 * t**2 - 2 * t**3) * (y1 - y0), color=rgba(ink),
            linewidth=0.4 + 9 * value / most, solid_capstyle="butt",
        )  # fmt: skip
    for i, (x, y) in at.items():
        ax.plot([x], [y], "s", color=rgba(node["color"][i]), markersize=6)
        ax.annotate(
            node["label"][i], (x, y), (6 if x < 1 else -6, 0), textcoords="offset points",
            va="center", ha="left" if x < 1 else "right", fontsize=8.5,
        )  # fmt: skip
    ax.set_xlim(-0.02, 1.02)
    ax.set_ylim(-0.02, 1.02)
