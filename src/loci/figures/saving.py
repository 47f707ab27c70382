"""Figures and tables written to files, refused before the work where they cannot be."""

import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import plotly.io

from loci.errors import OutputError
from loci.figures.dispatch import plot
from loci.figures.tables import write_parquet
from loci.files import write_aside

IMAGES = (".png", ".svg")


def save(result: Any, path: str | Path) -> None:
    """Write a result by the ending of `path`: .json or .parquet its numbers; .html, .png or .svg
    its figure (.html needs no network).

    .parquet is one long table (see `tables`) and needs the extra `tables`; .png and .svg need the
    extra `images`: a Chrome or Chromium draws them where one answers, matplotlib elsewhere.
    """
    path = Path(path)
    check_ending(path)
    with write_aside(path) as aside:
        if path.suffix == ".json":
            aside.write_text(json.dumps(result.to_dict(), ensure_ascii=False), encoding="utf-8")
        elif path.suffix == ".parquet":
            write_parquet(result.to_dict(), aside)
        elif path.suffix == ".html":
            aside.write_text(
                plotly.io.to_html(plot(result), include_plotlyjs=True), encoding="utf-8"
            )
        else:
            _save_image(plot(result), aside)


def check_ending(path: Path) -> None:
    """Raise `OutputError` for an ending that says nothing, or whose library is not there."""
    if path.suffix not in (".json", ".parquet", ".html", *IMAGES):
        raise OutputError(
            f"{path}: the ending says what is written: .json, .parquet, .html, .png or .svg"
        )
    if path.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise OutputError(f"{path}: .parquet needs loci-lm[tables]")


def check_image(path: Path) -> None:
    """Raise `OutputError` where `path` is an image and none can be made here: a small one is tried,
    once in a process (seconds).
    """
    if path.suffix in IMAGES and _no_browser() and find_spec("matplotlib") is None:
        raise OutputError(
            f"{path}: an image needs Chrome or Chromium, or matplotlib: pip install"
            " 'loci-lm[images]'; .html needs neither"
        )


@cache
def _no_browser() -> str | None:
    """Why no browser draws images on this machine, or nothing."""
    try:
        go.Figure().to_image("png", width=20, height=20)
    except Exception as error:  # noqa: BLE001 kaleido's own, choreographer's, the browser's
        return " ".join(str(error).split()).partition(". ")[0][:160] or type(error).__name__
    return None


def _save_image(figure: go.Figure, path: Path) -> None:
    """By a browser, or without one by matplotlib."""
    ending = path.suffix[1:]
    try:
        if _no_browser() is None:
            image = figure.to_image(ending, width=figure.layout.width or 1000, scale=2)
        else:
            from loci.figures.static import static_image

            image = static_image(figure, ending)
    except Exception as error:
        why = " ".join(str(error).split())[:160] or type(error).__name__
        raise OutputError(f"{path.name}: cannot be drawn ({why}); .html can") from error
    path.write_bytes(image)
