"""The marks of a figure, drawn by matplotlib: lines, points, bars, heat maps, tables, flows."""

from typing import Any

import numpy as np

from loci.figures.static_words import flow, plain, rgba, table

POINT = 0.72
"""Points in a pixel."""
INKS = ("#2f5fb3", "#d1662b", "#3d8f5f", "#8a90a0", "#8d5fb3", "#b39b2f")
MARKERS = {
    "circle": "o", "square": "s", "diamond": "D", "cross": "P", "x": "X", "star": "*",
    "triangle-up": "^", "triangle-down": "v", "line-ns": "|", "line-ew": "_", "circle-open": "o",
    "diamond-open": "D", "square-open": "s", "line-ns-open": "|", "x-thin": "x", "x-thin-open": "x",
}  # fmt: skip
DASHES = {"dot": ":", "dash": "--", "dashdot": "-.", "longdash": "--"}


def category(names: dict[str, list[Any]], axis: str, value: Any) -> Any:
    """Where a value stands on its axis: words in the order in which they come first."""
    if not isinstance(value, str):
        return np.nan if value is None else value
    known = names.setdefault(axis, [])
    if value not in known:
        known.append(value)
    return known.index(value)


def draw_trace(
    ax: Any,
    trace: dict[str, Any],
    layout: dict[str, Any],
    names: dict[str, list[Any]],
    pair: tuple[str, str],
) -> None:
    """One trace on its axes. `names`: the words of each axis so far, which it adds to."""
    kind = trace["type"]
    if kind in ("table", "sankey"):
        ax.set_axis_off()
        (table if kind == "table" else flow)(ax, trace)
        return
    if kind == "heatmap":
        _heat(ax, trace, names, pair)
        return
    x, y = trace.get("x"), trace.get("y")
    if x is None:
        x = range(len(() if y is None else y))
    if y is None:
        y = range(len(x))
    places = [
        np.asarray([category(names, axis, value) for value in values], dtype=float)
        for axis, values in zip(pair, (x, y), strict=True)
    ]
    draw = {"scatter": _scatter, "scattergl": _scatter, "bar": _bar, "box": _points}[kind]
    draw(ax, trace, layout, places[0], places[1])


def _label(trace: dict[str, Any]) -> str | None:
    return trace.get("name") if trace.get("showlegend", True) is not False else None


def _ink(ax: Any, said: Any) -> Any:
    """The colour that is said, else the next one of these axes."""
    if said is not None:
        return said
    ax.loci_inks = getattr(ax, "loci_inks", 0) + 1
    return INKS[(ax.loci_inks - 1) % len(INKS)]


def _scatter(ax: Any, trace: dict[str, Any], layout: dict[str, Any], x: Any, y: Any) -> None:
    mode = trace.get("mode") or ("lines+markers" if len(x) < 20 else "lines")
    line, marker = trace.get("line") or {}, trace.get("marker") or {}
    opacity = trace.get("opacity", 1)
    plain_ink = marker.get("color") if isinstance(marker.get("color"), str) else None
    ink = _ink(ax, line.get("color") or plain_ink)
    label = _label(trace)
    if trace.get("fill") in ("toself", "tozeroy", "tonexty"):
        shade = rgba(trace.get("fillcolor", ink), opacity if trace.get("fillcolor") else 0.3)
        if trace["fill"] == "toself":
            ax.fill(x, y, color=shade, linewidth=0)
        else:
            ax.fill_between(x, y, 0, color=shade, linewidth=0)
    if "lines" in mode and line.get("width", 2):
        ax.plot(
            x, y, color=rgba(ink, opacity), linewidth=line.get("width", 2) * POINT, label=label,
            linestyle=DASHES.get(line.get("dash", ""), "-"),
            drawstyle="steps-post" if line.get("shape") == "hv" else "default",
        )  # fmt: skip
        label = None
    if "markers" in mode:
        _markers(ax, marker, ink, opacity, x, y, label)
    _errors(ax, trace, ink, x, y)
    if "text" in mode:
        _texts(ax, trace, x, y)


def _markers(
    ax: Any, marker: dict[str, Any], ink: Any, opacity: float, x: Any, y: Any, label: str | None
) -> None:
    colours, sizes = marker.get("color"), marker.get("size", 6)
    opacity *= marker.get("opacity", 1) if isinstance(marker.get("opacity", 1), int | float) else 1
    symbol = marker.get("symbol", "circle")
    look: dict[str, Any] = {
        "s": (np.asarray(sizes, dtype=float) * POINT) ** 2,
        "marker": MARKERS.get(symbol if isinstance(symbol, str) else "circle", "o"),
        "label": label,
        "linewidths": 0.8 if "line" in str(symbol) or "open" in str(symbol) else 0,
        "zorder": 3,
    }
    if colours is None or isinstance(colours, str):
        inks = rgba(colours or ink, opacity)
    elif all(isinstance(colour, str) for colour in colours):
        inks = [rgba(colour, opacity) for colour in colours]
    else:
        values = np.asarray(colours, dtype=float)
        low, high = marker.get("cmin"), marker.get("cmax")
        drawn = ax.scatter(
            x, y, c=values, cmap=colour_map(marker.get("colorscale")), vmin=low, vmax=high,
            alpha=opacity, **look,
        )  # fmt: skip
        if marker.get("showscale"):
            _bar_of(ax, drawn, marker.get("colorbar") or {})
        return
    if "open" in str(symbol):
        ax.scatter(x, y, facecolors="none", edgecolors=inks, **look)
    else:
        ax.scatter(x, y, color=inks, **look)


def _errors(ax: Any, trace: dict[str, Any], ink: Any, x: Any, y: Any) -> None:
    for way in "xy":
        said = trace.get(f"error_{way}")
        if not said or said.get("array") is None:
            continue
        up = np.nan_to_num(np.asarray(said["array"], dtype=float)).clip(min=0)
        down = up if said.get("arrayminus") is None else np.asarray(said["arrayminus"], dtype=float)
        both = np.stack([np.nan_to_num(down).clip(min=0), up])
        ax.errorbar(
            x, y, **{f"{way}err": both}, fmt="none", ecolor=rgba(said.get("color", ink)),
            elinewidth=said.get("thickness", 1.5) * POINT, capsize=1.5, zorder=2,
        )  # fmt: skip


def _texts(ax: Any, trace: dict[str, Any], x: Any, y: Any) -> None:
    texts = trace.get("text")
    texts = [texts] * len(x) if isinstance(texts, str) else texts
    where = str(trace.get("textposition") or "middle center").split()
    font = trace.get("textfont") or {}
    size = font.get("size", 11)
    shift = {"top": 5, "bottom": -5}.get(where[0], 0), {"left": -5, "right": 5}.get(where[-1], 0)
    for i, text in enumerate(texts if texts is not None else ()):
        if text:
            ax.annotate(
                plain(text), (x[i], y[i]), (shift[1], shift[0]), textcoords="offset points",
                ha={"left": "right", "right": "left"}.get(where[-1], "center"),
                va={"top": "bottom", "bottom": "top"}.get(where[0], "center"),
                fontsize=(size if isinstance(size, int | float) else 11) * POINT,
                color=rgba(font["color"]) if isinstance(font.get("color"), str) else "#1f2430",
                annotation_clip=True,
            )  # fmt: skip


def _bar(ax: Any, trace: dict[str, Any], layout: dict[str, Any], x: Any, y: Any) -> None:
    """Side by side, unless the layout says otherwise; on top of each other where it says so."""
    lying = trace.get("orientation") == "h"
    places, sizes = (y, x) if lying else (x, y)
    marker = trace.get("marker") or {}
    ink = _ink(ax, marker.get("color"))
    opacity = trace.get("opacity", 1) * (marker.get("opacity") or 1)
    inks = rgba(ink, opacity) if isinstance(ink, str) else [rgba(one, opacity) for one in ink]
    mode = layout.get("barmode") or "group"
    groups = max(1, getattr(ax, "loci_groups", 1)) if mode == "group" else 1
    done = getattr(ax, "loci_bars", 0)
    ax.loci_bars = done + 1
    step = float(np.diff(np.unique(places)).min()) if len(np.unique(places)) > 1 else 1.0
    thick = trace.get("width") or (1 - layout.get("bargap", 0.2)) * step / groups
    thick = np.asarray(thick, dtype=float)
    shift = (done - (groups - 1) / 2) * float(thick.mean()) if groups > 1 else 0.0
    base = trace.get("base")
    base = np.zeros(len(places)) if base is None else np.asarray(base, dtype=float)
    if mode in ("stack", "relative"):
        base = _stacked(ax, places, sizes)
    draw = ax.barh if lying else ax.bar
    at = {"left": base} if lying else {"bottom": base}
    draw(places + shift, sizes, thick, **at, color=inks, label=_label(trace), linewidth=0)
    ends = base + sizes
    middle = (ends, places + shift) if lying else (places + shift, ends)
    _errors(ax, trace, "#1f2430", *middle)
    if trace.get("text") is not None and trace.get("textposition") != "none":
        inside = {**trace, "textposition": "middle right" if lying else "top center"}
        _texts(ax, inside, *middle)


def _stacked(ax: Any, places: Any, sizes: Any) -> Any:
    """Where the bars of a stack begin: above, or below, those before them."""
    heights: dict[tuple[float, bool], float] = ax.__dict__.setdefault("loci_heights", {})
    base = []
    for place, size in zip(places, np.nan_to_num(sizes), strict=True):
        key = (float(place), bool(size < 0))
        base.append(heights.get(key, 0.0))
        heights[key] = base[-1] + float(size)
    return np.asarray(base)


def _points(ax: Any, trace: dict[str, Any], layout: dict[str, Any], x: Any, y: Any) -> None:
    """A box of which only the points are shown, beside each other."""
    spread = np.random.default_rng(0).uniform(-0.2, 0.2, len(x))
    marker = trace.get("marker") or {}
    _markers(ax, marker, marker.get("color", INKS[0]), 1.0, x + spread, y, _label(trace))


def colour_map(scale: Any) -> Any:
    """Plotly's list of (share, colour), or a scale by name."""
    from matplotlib.colors import LinearSegmentedColormap

    if scale is None or isinstance(scale, str):
        return {"Greys": "Greys", "Blues": "Blues", "RdBu": "RdBu"}.get(scale or "", "viridis")
    return LinearSegmentedColormap.from_list("own", [(share, rgba(ink)) for share, ink in scale])


def _heat(
    ax: Any, trace: dict[str, Any], names: dict[str, list[Any]], pair: tuple[str, str]
) -> None:
    z = np.asarray([[np.nan if v is None else v for v in row] for row in trace["z"]], dtype=float)
    edges = []
    for axis, given, count in zip(
        pair, (trace.get("x"), trace.get("y")), z.shape[::-1], strict=True
    ):
        at = range(count) if given is None else [category(names, axis, value) for value in given]
        centres = np.asarray(list(at), dtype=float)
        half = np.diff(centres) / 2 if len(centres) > 1 else np.array([0.5])
        edges.append(
            np.concatenate(
                [[centres[0] - half[0]], centres[:-1] + half, [centres[-1] + half[-1]]]
                if len(centres) > 1
                else [centres - 0.5, centres + 0.5]
            )
        )
    gap = 0.8 if trace.get("xgap") else 0
    drawn = ax.pcolormesh(
        *edges, z, cmap=colour_map(trace.get("colorscale")), vmin=trace.get("zmin"),
        vmax=trace.get("zmax"), edgecolors="white", linewidth=gap,
    )  # fmt: skip
    if trace.get("ygap") and not gap:
        ax.hlines(edges[1][1:-1], edges[0][0], edges[0][-1], colors="white", linewidth=0.8)
    ax.set_xlim(edges[0][0], edges[0][-1])
    ax.set_ylim(edges[1][0], edges[1][-1])
    if trace.get("showscale", True) is not False:
        _bar_of(ax, drawn, trace.get("colorbar") or {})
    texts = trace.get("text")
    if texts is not None and trace.get("texttemplate"):
        size = (trace.get("textfont") or {}).get("size", 11)
        for i, row in enumerate(texts):
            for j, text in enumerate(row):
                x, y = edges[0][j : j + 2].mean(), edges[1][i : i + 2].mean()
                dark = np.dot(drawn.cmap(drawn.norm(z[i, j]))[:3], (0.3, 0.6, 0.1)) < 0.5
                ax.text(
                    x, y, str(text), ha="center", va="center", fontsize=size * POINT,
                    color="white" if dark else "#1f2430", clip_on=True,
                )  # fmt: skip


def _bar_of(ax: Any, drawn: Any, said: dict[str, Any]) -> None:
    """A colour bar inside the right edge of the page, beside its axes."""
    own = ax.inset_axes((1.02, 0.0, 0.025, 1.0))
    bar = ax.figure.colorbar(drawn, cax=own)
    bar.outline.set_visible(False)
    own.tick_params(labelsize=8, length=0)
    title = said.get("title") or {}
    text = title.get("text") if isinstance(title, dict) else title
    if text:
        own.set_title(str(text), fontsize=8.5, loc="left")
