"""Draw the moving pictures of the docs from real numbers of the embedded model.

    python scripts/make_animations.py        docs/images/moving-{gate,mlp,directions,trace,edit}.svg

They are animated SVG: a few kilobytes, no player, no other host; a printed page shows the end.
"""

import sys
from html import escape
from pathlib import Path

import torch

import loci
from loci.model.unembedding import unembedded

sys.path.insert(0, str(Path(__file__).parent))
from svg_parts import BLUE, GREY, INK, ORANGE, appears, bar, colour, during, svg, text

IMAGES = Path(__file__).parents[1] / "docs" / "images"
PROMPT = "Michael Jordan plays the sport of"
STEP = 0.12
"""Seconds between two cells of the trace."""


def trace_filling(trace: loci.Result) -> str:
    """The grid of a trace, one restored state after another."""
    grid, tokens = trace.grids["state"], trace.tokens
    layers, most = grid.shape[0], float(grid.abs().max())
    left, top, cell = 130, 78, 44
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
        text(16, 64, "blue: it brings the answer back; orange: it takes it further away", 12),
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
        text(
            16, 48, f"P(answer) with W + α Δ, Δ of rank {factors.rank} in {name}; α from 0 to 1", 12
        ),
        f'<line x1="40" y1="{base}" x2="360" y2="{base}" stroke="{INK}"/>',
        text(30, 69, "α", 13, "end"),
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
    stems = ("mlp_pre", "mlp_act", "mlp_out", "resid_mid", "resid_post")
    points = [f"{stem}.{layer}" for stem in stems]
    reads = model.read(ids, *points)
    pre, act, out, before, after = (reads[point][0, -1].detach() for point in points)
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
    said = []
    for stream in (before, after):
        (_, logits), *_ = unembedded(model, stream[None])
        p, best = logits[0].detach().softmax(-1).max(-1)
        said.append(f"{model.token_text(int(best)).strip()} {float(p):.2f}")
    share = f"{float(out.norm() / before.norm()):.2f}"
    parts += [
        f'<g opacity="1">{appears(9.6)}'
        + text(420, 352, f"residual stream: x ← x + Δx, ‖Δx‖ / ‖x‖ = {share}", 13)
        + text(420, 374, f"likeliest word there: {said[0]} → {said[1]}", 13)
        + "</g>"
    ]
    return svg(760, 410, "A vector through an MLP", parts)


def gate_leaking(most: float = 0.5, steps: int = 20) -> str:
    """The lesson's gate while the directions of the two names come nearer, and is then mended."""
    from loci.writing.gates import step

    nearer = [step("", "relu", most * i / steps, -1.0) for i in range(steps + 1)]
    mended = [step("", "relu", most, -1.0 - most * i / steps) for i in range(steps + 1)]
    frames, seconds = nearer + mended, 8
    left, base, scale, wide = 50, 190, 60, 130
    parts = [
        text(16, 28, "A neuron for one full name: ReLU((M + J) · E + bias)", 16),
        during(0, seconds / 2, text(16, 48, f"M · J grows from 0 to {most:g}: one name leaks", 13)),
        during(seconds / 2, None, text(16, 48, f"the bias falls to −{1 + most:g}: shut again", 13)),
        text(left - 8, base + 5, "0", 12, "end"),
    ]
    for index, case in enumerate(frames[-1].cases):
        x = left + 20 + index * wide
        series = [frame.cases[index].pre for frame in frames]
        parts += bar(x, 70, base, [scale * max(0.0, v) for v in series], BLUE, seconds)
        parts += bar(x, 70, base, [scale * min(0.0, v) for v in series], GREY, seconds)
        parts.append(text(x + 35, base + 118, case.name, 13, "middle"))
        shown = [frames[i].cases[index].neuron for i in (0, steps, -1)]
        told = " → ".join(f"{value:.1f}" for value in shown)
        parts.append(text(x + 35, base + 136, told, 12, "middle"))
    end = left + 20 + 4 * wide
    parts.append(f'<line x1="{left}" y1="{base}" x2="{end}" y2="{base}" stroke="{INK}"/>')
    parts.append(text(16, base + 160, "blue: above 0, written on; grey: shut out by ReLU", 12))
    return svg(end + 20, base + 176, "A gate for one name leaks, and is mended", parts)


def directions_crowding(dim: int = 16) -> str:
    """Angles of all pairs while more and more directions are pushed apart in one space."""
    from loci.studies.superposition import pack

    counts = (16, 20, 24, 32, 48, 64, 96, 128, 192, 256)
    width, bins, left, base, tall, seconds = 17, 30, 40, 250, 170, 10
    shares, nearest = [], []
    for count in counts:
        packed = pack(dim, count, steps=300)
        lines = packed.vectors @ packed.vectors.T
        rows, columns = torch.triu_indices(count, count, 1)
        angles = lines[rows, columns].abs().clamp(max=1).arccos().rad2deg()
        counted = torch.histc(angles, bins, 0, 90)
        shares.append((counted / counted.sum()).tolist())
        nearest.append(packed.closest)
    parts = [
        text(16, 28, f"More and more directions in {dim} dimensions, pushed apart", 16),
        text(16, 48, "pairs by their angle, 0° … 90°; heights are square roots of shares", 12),
    ]
    for index in range(bins):
        heights = [tall * share[index] ** 0.5 for share in shares]
        parts += bar(left + index * width, width - 2, base, heights, BLUE, seconds)
    for at in range(0, 91, 15):
        parts.append(text(left + at * bins * width / 90, base + 18, f"{at}°", 12, "middle"))
    each = seconds / (len(counts) - 1)
    for index, (count, angle) in enumerate(zip(counts, nearest, strict=True)):
        words = text(left, 76, f"{count} directions, the nearest two {angle:.1f}° apart", 14)
        last = index == len(counts) - 1
        parts.append(during(index * each, None if last else (index + 1) * each, words))
    parts.append(
        f'<line x1="{left}" y1="{base}" x2="{left + bins * width}" y2="{base}" stroke="{INK}"/>'
    )
    return svg(left + bins * width + 30, base + 36, "Directions crowd into a space", parts)


def main() -> None:
    model = loci.open("demo")
    made = {
        "moving-gate.svg": gate_leaking(),
        "moving-directions.svg": directions_crowding(),
        "moving-trace.svg": trace_filling(loci.trace(model, PROMPT)),
        "moving-edit.svg": edit_moving(model),
        "moving-mlp.svg": mlp_flowing(model),
    }
    for name, drawn in made.items():
        (IMAGES / name).write_text(drawn, encoding="utf-8")
        print(f"{name}: {len(drawn) / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
