"""Figures as PNG or SVG by matplotlib, where no browser answers: the same marks, axes, titles and
legends; without what only moves or answers to the mouse.

    static_image(figure, "png")    bytes

Layout follows plotly's: axes lie at their domains inside margins that are widened until every label
has room.
"""

import io
from typing import Any

import plotly.graph_objects as go

from loci.figures.static_marks import category, draw_trace
from loci.figures.static_notes import annotate
from loci.figures.static_words import plain, rgba

INCH = 100.0
"""Pixels of a figure's own size in an inch."""
WIDTH, HEIGHT = 1000, 450
LEGEND_ROW = 20.0


def static_image(figure: go.Figure, ending: str) -> bytes:
    """The figure's file. Cost: a second or less, and matplotlib's import. Raises `ImportError`
    without matplotlib.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = figure.to_dict()
    layout = shown.get("layout", {})
    width, height = layout.get("width") or WIDTH, layout.get("height") or HEIGHT
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "loci"}):
        page = Figure(figsize=(width / INCH, height / INCH), dpi=INCH)
        FigureCanvasAgg(page)
        axes = _drawn(page, shown, layout)
        _placed(page, axes, layout, width, height)
        annotate(page, axes, layout)
        file = io.BytesIO()
        page.savefig(
            file, format=ending, dpi=2 * INCH, metadata={"Date": None} if ending == "svg" else None
        )
    return file.getvalue()


def _drawn(page: Any, shown: dict[str, Any], layout: dict[str, Any]) -> dict[tuple[str, str], Any]:
    """Axes by the names of their two plotly axes, with all traces on them."""
    axes: dict[tuple[str, str], Any] = {}
    size = (layout.get("font") or {}).get("size", 13)
    names: dict[str, list[Any]] = {}
    for trace in shown.get("data", []):
        if trace.get("visible", True) is not True:
            continue
        pair = (trace.get("xaxis", "x"), trace.get("yaxis", "y"))
        if trace["type"] in ("sankey", "table"):
            pair = (f"domain {len(axes)}", trace["type"])
        if pair not in axes:
            axes[pair] = page.add_axes((0.1, 0.1, 0.8, 0.8), label=str(pair))
            axes[pair].loci_domain = trace.get("domain") or {
                way: _axis(layout, name).get("domain", (0, 1))
                for way, name in zip("xy", pair, strict=True)
            }
            _base(axes[pair], pair, layout, size)
        draw_trace(axes[pair], trace, layout, names, pair)
    for pair, ax in axes.items():
        if not pair[0].startswith("domain"):
            _scales(ax, pair, layout, names)
    return axes


def _axis(layout: dict[str, Any], name: str) -> dict[str, Any]:
    """What the layout says of the axis "x2"."""
    found: dict[str, Any] = layout.get(f"{name[0]}axis{name[1:]}") or {}
    return found


def _base(ax: Any, pair: tuple[str, str], layout: dict[str, Any], size: float) -> None:
    ax.set_facecolor("none")
    ax.tick_params(labelsize=size * 0.66, length=0, pad=3)
    for side, spine in ax.spines.items():
        spine.set_visible(False)
        spine.set_color("#b8bdc9")
        shows = _axis(layout, pair[side in ("left", "right")]) if len(pair) == 2 else {}
        spine.set_visible(bool(shows.get("showline")) and side in ("left", "bottom"))


def _scales(
    ax: Any, pair: tuple[str, str], layout: dict[str, Any], names: dict[str, list[Any]]
) -> None:
    """Ranges, ticks, titles and lines of both axes."""
    for way, name in zip("xy", pair, strict=True):
        said, own = _axis(layout, name), getattr(ax, f"{way}axis")
        size = (layout.get("font") or {}).get("size", 13) * 0.72
        if said.get("type") == "log":
            getattr(ax, f"set_{way}scale")("log")
        if name in names:
            _category_ticks(own, names[name], said)
        _ticks(own, said, names.get(name))
        if said.get("range"):
            low, high = (category(names, name, end) for end in said["range"])
            if said.get("type") == "log":
                low, high = 10.0**low, 10.0**high
            getattr(ax, f"set_{way}lim")(low, high)
        if said.get("autorange") == "reversed" and not own.get_inverted():
            own.set_inverted(True)
        title = said.get("title") or {}
        text = title.get("text") if isinstance(title, dict) else title
        if text:
            getattr(ax, f"set_{way}label")(plain(text), fontsize=size)
        if said.get("gridcolor"):
            own.grid(True, color=rgba(said["gridcolor"]), linewidth=0.5)
            ax.set_axisbelow(True)
        if said.get("zeroline"):
            (ax.axvline if way == "x" else ax.axhline)(0, color="#b8bdc9", linewidth=0.8, zorder=0)
        if said.get("visible") is False or said.get("showticklabels") is False:
            own.set_tick_params(labelbottom=False, labelleft=False)
        if said.get("scaleanchor"):
            ax.set_aspect("equal", adjustable="datalim")
        if said.get("side") in ("right", "top"):
            (own.tick_right if way == "y" else own.tick_top)()


def _category_ticks(own: Any, kinds: list[Any], said: dict[str, Any]) -> None:
    shown = dict(zip(said.get("tickvals") or (), said.get("ticktext") or (), strict=False))
    step = max(1, round(said["dtick"])) if said.get("dtick") else max(1, len(kinds) // 80)
    places = range(0, len(kinds), step)
    own.set_ticks(list(places), [plain(shown.get(kinds[i], kinds[i])) for i in places])


def _ticks(own: Any, said: dict[str, Any], kinds: list[Any] | None) -> None:
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    if kinds is None and said.get("tickvals") is not None:
        labels = said.get("ticktext") or said["tickvals"]
        own.set_ticks(list(said["tickvals"]), [plain(label) for label in labels])
    elif kinds is None and isinstance(said.get("dtick"), int | float) and said.get("type") != "log":
        own.set_major_locator(MultipleLocator(said["dtick"]))
    form = said.get("tickformat")
    if kinds is None and form and said.get("tickvals") is None:
        spec = form.replace("~", "").lstrip("$")
        spec = spec[:-1] + "g" if spec.endswith("s") else spec
        own.set_major_formatter(FuncFormatter(lambda value, _: format(value, spec)))


def _placed(
    page: Any, axes: dict[tuple[str, str], Any], layout: dict[str, Any], width: float, height: float
) -> None:
    """Axes at their domains, between margins that leave room for labels, title and legend."""
    margin = {"l": 10, "r": 10, "t": 70, "b": 40, **(layout.get("margin") or {})}
    rows = _legend(page, axes, layout)
    bottom = margin["b"] + (rows if (layout.get("legend") or {}).get("orientation") == "h" else 0)
    sides = {"l": margin["l"], "r": margin["r"], "t": margin["t"], "b": bottom}
    for _ in range(2):
        for ax in axes.values():
            (x0, x1), (y0, y1) = ax.loci_domain["x"], ax.loci_domain["y"]
            wide = max(50.0, width - sides["l"] - sides["r"])
            high = max(40.0, height - sides["t"] - sides["b"])
            ax.set_position(
                (
                    (sides["l"] + x0 * wide) / width,
                    (sides["b"] + y0 * high) / height,
                    (x1 - x0) * wide / width,
                    (y1 - y0) * high / height,
                )
            )
        boxes = [box for ax in axes.values() if (box := ax.get_tightbbox())]
        for side, over in (
            ("l", 4 - min((box.x0 for box in boxes), default=4)),
            ("r", max((box.x1 for box in boxes), default=0) - width + 4),
            ("b", rows + 4 - min((box.y0 for box in boxes), default=rows + 4)),
        ):
            sides[side] += max(0.0, over)
    title = layout.get("title") or {}
    lines = (title.get("text") or "").split("<br>")
    inks = ("#1f2430", "#6b7080")
    top = height - 14.0
    for i, line in enumerate(lines):
        page.text(
            8 / width,
            top / height,
            plain(line),
            va="top",
            fontsize=11 if i == 0 else 8.5,
            color=inks[i > 0],
        )
        top -= 24 if i == 0 else 16


def _legend(page: Any, axes: dict[tuple[str, str], Any], layout: dict[str, Any]) -> float:
    """The legend at the foot of the page, and how high it is in pixels."""
    if layout.get("showlegend") is False:
        return 0.0
    handles: dict[str, Any] = {}
    for ax in axes.values():
        for handle, name in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, handle)
    if not handles or (len(handles) == 1 and not layout.get("showlegend")):
        return 0.0
    longest = max(map(len, handles))
    columns = max(1, min(len(handles), int(page.get_figwidth() * INCH // (30 + 6.2 * longest))))
    page.legend(
        list(handles.values()),
        [plain(name) for name in handles],
        loc="lower left",
        ncols=columns,
        frameon=False,
        fontsize=8.5,
    )
    return LEGEND_ROW * -(-len(handles) // columns) + 6
