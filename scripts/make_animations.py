"""Draw the moving pictures of the docs from real numbers of the embedded model.

    python scripts/make_animations.py            docs/images/moving-trace.svg, moving-edit.svg, moving-mlp.svg

They are animated SVG: a few kilobytes, no player, no other host; a printed page shows the end.
"""

from collections.abc import Iterable
from html import escape
from pathlib import Path

import torch

import loci

IMAGES = Path(__file__).parents[1] / "docs" / "images"
PROMPT = "Michael Jordan plays the sport of"
BLUE, ORANGE, GREY, INK = "#1f4690", "#d1662c", "#d9dde3", "#1f2430"
STEP = 0.12
"""Seconds between two cells of the trace."""


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


def trace_filling(trace: loci.Result) -> str:
    """The grid of a trace, one restored state after another."""
    grid, tokens = trace.grids["state"], trace.tokens
    layers, most = grid.shape[0], float(grid.abs().max())
    left, top, cell = 130, 70, 44
    subject = range(*trace.subject_span)
    parts = [
        text(16, 28, f"{trace.prompt} → {trace.answer}", 16),
        text(
            16,
            48,
            f"clean P {trace.clean:.2f}, name hidden {trace.corrupted:.2f}; one state restored at a"
            " time",
            12,
        ),
    ]
    at = 0.5
    for row, token in enumerate(tokens):
        y = top + row * cell
        parts.append(
            text(left - 10, y + cell / 2 + 5, token + ("*" if row in subject else ""), 13, "end")
        )
        for layer in range(layers):
            value = float(grid[layer, row])
            parts.append(
                f'<rect x="{left + layer * cell}" y="{y}" width="{cell - 2}" height="{cell - 2}" '
                f'fill="{colour(value, most)}" stroke="{GREY}">{appears(at)}'
                f"<title>layer {layer}, {escape(token)}: {value:+.3f}</title></rect>"
            )
            at += STEP
    bottom = top + len(tokens) * cell
    parts += [
        text(left + (i + 0.5) * cell - 1, bottom + 16, str(i), 12, "middle") for i in range(layers)
    ]
    parts.append(text(left + layers * cell / 2, bottom + 36, "layer", 13, "middle"))
    return svg(left + layers * cell + 30, bottom + 50, f"Causal trace of {trace.prompt}", parts)


def edit_moving(model: loci.Model, steps: int = 16) -> str:
    """P of the old and the new answer while an edit is put into the weights bit by bit."""
    fact = loci.Fact("Michael Jordan", "{} plays the sport of", "basketball", "baseball")
    patch = loci.edit(model, fact, method="rome", report=False)
    (name, factors), ids = (
        next(iter(patch.factors.items())),
        model.ids([model.tokenize(fact.text).ids]),
    )
    weight, delta = model.weight(name), factors.delta.float()
    words = (fact.answer, fact.new_answer or "")
    chosen = [model.tokenize(" " + word).ids[-1] for word in words]
    before, heights = weight.detach().clone(), []
    with torch.no_grad():
        for step in range(steps + 1):
            weight.copy_(before + step / steps * delta)
            heights.append(model(ids)[0, -1].softmax(-1)[chosen].tolist())
        weight.copy_(before)
    base, scale, seconds = 230, 160, 5
    parts = [
        text(16, 28, fact.text + " …", 16),
        text(16, 48, f"W + α Δ, Δ of rank {factors.rank} in {name}; α from 0 to 1", 12),
        f'<line x1="40" y1="{base}" x2="360" y2="{base}" stroke="{INK}"/>',
    ]
    for index, (word, fill) in enumerate(zip(words, (BLUE, ORANGE), strict=True)):
        series = [row[index] for row in heights]
        tall = ";".join(f"{scale * p:.1f}" for p in series)
        tops = ";".join(f"{base - scale * p:.1f}" for p in series)
        x = 80 + index * 150
        parts.append(
            f'<rect x="{x}" width="90" y="{base - scale * series[-1]:.1f}"'
            f' height="{scale * series[-1]:.1f}" fill="{fill}"><animate attributeName="height"'
            f' values="{tall}" dur="{seconds}s" begin="0s" fill="freeze"/><animate'
            f' attributeName="y" values="{tops}" dur="{seconds}s" begin="0s" fill="freeze"/></rect>'
        )
        parts.append(text(x + 45, base + 20, word, 14, "middle"))
        parts.append(text(x + 45, base + 38, f"{series[0]:.3f} → {series[-1]:.3f}", 12, "middle"))
    parts.append(
        f'<rect x="40" y="62" height="4" width="320" fill="{INK}"><animate attributeName="width"'
        f' from="0" to="320" begin="0s" dur="{seconds}s" fill="freeze"/></rect>'
    )
    return svg(400, 285, "An edit moves an answer", parts)


def mlp_flowing(model: loci.Model, layer: int = 1, shown: int = 24) -> str:
    """A vector through an MLP: questions, ReLU, values, and what is added."""
    ids = model.ids([model.tokenize(PROMPT).ids])
    points = [f"{stem}.{layer}" for stem in ("mlp_pre", "mlp_act", "mlp_out")]
    pre, act, out = (model.read(ids, *points)[point][0, -1].detach() for point in points)
    order = act.topk(shown // 2).indices.tolist()
    order += [i for i in pre.argsort().tolist() if i not in order][: shown - len(order)]
    values = model.W_down(layer).detach()
    parts = [
        text(16, 28, f"{PROMPT} …: the MLP of layer {layer} at the last token", 16),
        text(
            16,
            48,
            f"{int((act > 0).sum())} of {len(act):,} neurons are active; {shown} are shown (blue:"
            " above 0, orange: below)",
            12,
        ),
    ]
    columns = ((60, "question  W_up x + b", pre), (240, "ReLU", act))
    most = float(pre.abs().max())
    for at, (x, name, numbers) in enumerate(columns):
        parts.append(text(x, 76, name, 13))
        for row, neuron in enumerate(order):
            value = float(numbers[neuron])
            if not value:
                continue  # answered no: nothing is written
            wide = 130 * min(1.0, abs(value) / most)
            parts.append(
                f'<rect x="{x}" y="{86 + row * 13}" height="10" width="{max(wide, 0.5):.1f}"'
                f' fill="{BLUE if value > 0 else ORANGE}"'
                f' opacity="1">{appears(0.5 + 2.4 * at + row * 0.07)}</rect>'
            )
    added, running = torch.zeros_like(out), []
    for neuron in act.topk(10).indices.tolist():
        added = added + act[neuron] * values[:, neuron]
        best = (model.W_U @ (added - added.mean())).argmax()
        running.append(
            (neuron, float(added.norm() / out.norm()), model.token_text(int(best)).strip())
        )
    parts.append(text(420, 76, "values added: ‖sum‖ / ‖Δx‖, first token of W_U · sum", 13))
    for row, (neuron, share, word) in enumerate(running):
        y = 96 + row * 24
        parts.append(
            f'<g opacity="1">{appears(5.0 + row * 0.4)}'
            + text(420, y + 6, f"+ L{layer}N{neuron}", 12)
        )
        parts.append(
            f'<rect x="500" y="{y - 5}" height="12" width="{120 * share:.1f}" fill="{BLUE}"/>'
        )
        parts.append(text(640, y + 6, f"{share:.2f}  {word}", 12) + "</g>")
    return svg(760, 410, "A vector through an MLP", parts)


def main() -> None:
    model = loci.open("demo")
    made = {
        "moving-trace.svg": trace_filling(loci.trace(model, PROMPT)),
        "moving-edit.svg": edit_moving(model),
        "moving-mlp.svg": mlp_flowing(model),
    }
    for name, drawn in made.items():
        (IMAGES / name).write_text(drawn, encoding="utf-8")
        print(f"{name}: {len(drawn) / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
