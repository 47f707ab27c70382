"""Parts of animated pictures as SVG: text, bars that move, what is shown for a while."""

from collections.abc import Iterable
from html import escape

BLUE, ORANGE, GREY, INK = "#1f4690", "#d1662c", "#d9dde3", "#1f2430"


def svg(width: int, height: int, title: str, parts: Iterable[str]) -> str:
    """A whole picture on white, with its title as text for screen readers."""
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" fill="{INK}" role="img">\n'
        f"<title>{escape(title)}</title>\n"
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


def text(x: float, y: float, words: str, size: int = 13, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}"'
        f' text-anchor="{anchor}">{escape(words)}</text>'
    )


def appears(at: float) -> str:
    """An animation that shows its parent from a time on."""
    return (
        f'<set attributeName="opacity" to="0" begin="0s" end="{at:.2f}s"/><animate'
        f' attributeName="opacity" from="0" to="1" begin="{at:.2f}s" dur="0.25s" fill="freeze"/>'
    )


def colour(value: float, most: float) -> str:
    """White to blue for effects that bring the answer back, to orange for the opposite."""
    share = min(1.0, abs(value) / most) if most else 0.0
    end = BLUE if value > 0 else ORANGE
    mixed = (round(255 + share * (int(end[i : i + 2], 16) - 255)) for i in (1, 3, 5))
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def during(begin: float, end: float | None, drawn: str) -> str:
    """What is shown from a time on, and until another; without an end it stays."""
    if end is None:
        return f'<g><set attributeName="opacity" to="0" begin="0s" end="{begin:.2f}s"/>{drawn}</g>'
    shows = f'<set attributeName="opacity" to="1" begin="{begin:.2f}s" end="{end:.2f}s"/>'
    return f'<g opacity="0">{shows}{drawn}</g>'


def bar(
    x: float, width: int, base: float, heights: list[float], fill: str, seconds: float
) -> list[str]:
    """A bar that moves through its heights, downwards where they are below 0."""
    tall = ";".join(f"{abs(h):.1f}" for h in heights)
    tops = ";".join(f"{base - max(0.0, h):.1f}" for h in heights)
    moves = "".join(
        f'<animate attributeName="{name}" values="{values}" dur="{seconds}s" begin="0s"'
        ' fill="freeze"/>'
        for name, values in (("height", tall), ("y", tops))
    )
    last = heights[-1]
    return [
        f'<rect x="{x}" y="{base - max(0.0, last):.1f}" width="{width}" height="{abs(last):.1f}"'
        f' fill="{fill}">{moves}</rect>'
    ]
