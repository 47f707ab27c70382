"""`show(result)`: a result on a terminal, by its type, as `loci.plot` draws it."""

from functools import singledispatch

from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from loci.auditing import Recall, Scorecard, Sweep
from loci.cli.common import console
from loci.locating import (
    Attribution,
    AverageTrace,
    Change,
    KnowledgeNeurons,
    Lens,
    Located,
    Lookup,
    NeuronTrace,
    Probe,
    Routes,
    Trace,
)
from loci.locating.average import ROLES
from loci.locating.knowledge import FACTORS
from loci.locating.lens import Word
from loci.model import Census, Diagnosis
from loci.patches import Patch, short
from loci.reading import Atlas, Found, Memories, NeuronCard, Rows
from loci.report import Story
from loci.report.words import audit_words, edit_words, neuron_words, trace_words, undo_words
from loci.stats import Estimate

SHADES = ("grey50", "bright_black", "blue", "bold blue", "bold white on blue")


@singledispatch
def show(result: object) -> None:
    """Print a result."""
    raise TypeError(f"{type(result).__name__} has no form on a terminal")


@show.register
def show_story(story: Story) -> None:
    """The whole story, in the words of the report."""
    fact = story.fact
    console.rule(f"[bold]{escape(fact.text)}[/] [strike]{escape(fact.answer)}[/] [bold blue]{escape(fact.new_answer or '')}[/]")
    _chapter("Where is it?", trace_words(story.trace))
    _grid(story.trace)
    _chapter("Which neurons hold it?", neuron_words(story))
    for card in story.cards:
        writes = ", ".join(token.strip() for token, _ in card.promotes[:6])
        fires = "; ".join((t.before + t.token)[-34:].strip() for t in card.triggers[:2])
        console.print(f"  [bold]{card.name}[/]  writes: {escape(writes)}\n         fires on: …{escape(fires)}")
    _chapter("Change it", edit_words(story))
    _ladder(story)
    _chapter("What else did that touch?", audit_words(story))
    _metrics(story.more)
    _chapter("Undo it", undo_words(story))


@show.register
def show_trace(trace: Trace) -> None:
    console.print(f"[bold]{escape(trace.prompt)}[/] → [bold blue]{escape(trace.answer)}[/]\n")
    console.print(escape(trace_words(trace)) + "\n")
    _grid(trace)


@show.register
def show_attribution(found: Attribution) -> None:
    console.print(
        f"[bold]{escape(found.prompt)}[/] → [bold blue]{escape(found.answer)}[/], effects estimated by {found.method} gradients\n"
    )
    _grid(found)
    for kind, rho in found.agreement.items():
        console.print(f"{kind:6} rank correlation to exact tracing {rho:+.2f}")


@show.register
def show_average(average: AverageTrace) -> None:
    console.print(f"[bold]Average indirect effect over {average.n} facts[/] ({average.unknown} unknown to the model, left out)\n")
    for kind, rows in average.effects.items():
        table = Table(kind, *(f"{layer}" for layer in range(len(rows))), box=None, header_style="dim")
        limit = max(cell.value for row in rows for cell in row if cell.n) or 1.0
        for i, role in enumerate(ROLES):
            cells = [row[i] for row in rows]
            if cells[0].n:
                table.add_row(f"{role} (n = {cells[0].n})", *(_shade(cell.value, limit) for cell in cells))
        console.print(table)
        best, layer, role = max((row[i], layer, role) for layer, row in enumerate(rows) for i, role in enumerate(ROLES) if row[i].n)
        console.print(f"[dim]largest: {best.value:.3f} [{best.low:.3f}, {best.high:.3f}] at layer {layer}, {role} token[/]\n")
    console.print("[dim]hundredths of P(answer) given back, by layer[/]")


@show.register
def show_located(found: Located) -> None:
    console.print(f"[bold]{escape(found.prompt)}[/] → [bold blue]{escape(found.answer)}[/]\n")
    for site, rows in found.profiles.items():
        table = Table(site, *map(str, range(len(next(iter(rows.values()))))), box=None, header_style="dim")
        for name, profile in rows.items():
            largest = max(map(abs, profile)) or 1.0
            table.add_row(name, *(_shade(value / largest, 1.0) for value in profile))
        console.print(table)
        console.print()
    console.print(escape(found.words))
    console.print("\n[dim]by layer, in hundredths of each row's largest[/]")


@show.register
def show_lookup(found: Lookup) -> None:
    console.print(f"[bold]Fact finding on {escape(found.relation)}[/], {escape(found.model)}\n")
    if found.two_tokens:
        row = next(iter(found.two_tokens.accuracy.values()))
        table = Table("held-out accuracy, after layer", "start", *map(str, range(len(row) - 1)), box=None, header_style="dim")
        for condition, estimates in found.two_tokens.accuracy.items():
            table.add_row(condition, *(_shade(e.value, 1.0) for e in estimates))
        console.print(table)
        console.print()
    console.print(escape(found.words))


@show.register
def show_sweep(found: Sweep) -> None:
    console.print(f"[bold]{found.edits} facts edited at every layer[/] ({found.failed} edits refused)\n")
    table = Table("layer", "efficacy", "95 % interval", "traced effect", "95 % interval", box=None, header_style="dim")
    for layer, (done, effect) in enumerate(zip(found.efficacy, found.effect, strict=True)):
        table.add_row(
            str(layer),
            f"{done.value:.0%}",
            f"{done.low:.0%} … {done.high:.0%}",
            f"{effect.value:.3f}",
            f"{effect.low:.3f} … {effect.high:.3f}",
        )
    console.print(table)
    console.print(
        f"\nrank correlation of success and effect over layers, mean over {found.correlation.n} facts: {found.correlation}"
    )


@show.register
def show_probe(found: Probe) -> None:
    console.print(
        f"[bold]{escape(found.relation or 'answers')}[/] at the last subject token: {found.subjects} subjects, {len(found.answers)} answers\n"
    )
    table = Table("after layer", "held-out accuracy", "95 % interval", "shuffled answers", box=None, header_style="dim")
    for name, hit, chance in zip(("embeddings", *map(str, range(99))), found.accuracy, found.shuffled, strict=False):
        table.add_row(name, f"{hit.value:.1%}", f"{hit.low:.1%} … {hit.high:.1%}", f"{chance.value:.1%}")
    console.print(table)
    left = f"; {found.left_out} subjects left out, whose answers are too rare" if found.left_out else ""
    console.print(f"\n[dim]the commonest answer alone: {found.commonest.value:.1%}{left}[/]")


@show.register
def show_routes(found: Routes) -> None:
    console.print(f"[bold]P(answer) lost by cutting, over {found.n} facts[/] ({found.unknown} unknown, left out)\n")
    layers = range(len(found.by_layer["mlp"]))
    table = Table("", *map(str, layers), "all layers", box=None, header_style="dim")
    for cut, name in (("edges", "last token → subject"), ("mlp", "MLPs at the subject"), ("attn", "attention at the last token")):
        total = found.all_layers[cut]
        cells = (_shade(estimate.value, 1.0) for estimate in found.by_layer[cut])
        table.add_row(name, *cells, f"{total.value:.0%} [{total.low:.0%}, {total.high:.0%}]")
    console.print(table)
    console.print("\n[dim]hundredths of P(answer), by layer; a fact needs both routes, so the shares do not sum to 1[/]")


@show.register
def show_knowledge(found: KnowledgeNeurons) -> None:
    console.print(f"[bold]{escape(found.prompt)}[/] → [bold blue]{escape(found.answer)}[/]: {len(found.cells)} shared neurons\n")
    for layer, neuron, score in found.cells[:15]:
        console.print(f"  L{layer}N{neuron:<6} {score:+.4f}")
    table = Table("", "P(answer)", "changed by", "random neurons", "as active ones", box=None, header_style="dim")
    for name in FACTORS:
        change: Change = getattr(found, name)
        table.add_row(
            name, f"{change.before:.3f} → {change.after:.3f}", f"{change.change:+.3f}", str(change.random), str(change.active)
        )
    console.print()
    console.print(table)
    total, expected = found.completeness
    console.print(
        f"\n[dim]{found.known} of {found.phrasings} phrasings known; attributions of the first sum to {total:.3f}, as they should to "
        f"{expected:.3f}; controls: mean change with 95 % interval[/]"
    )


@show.register
def show_neuron_trace(found: NeuronTrace) -> None:
    console.print(
        f"[bold]{escape(found.prompt)}[/] → [bold blue]{escape(found.answer)}[/], layer {found.layer}, token {found.token}\n"
    )
    table = Table("neuron", "effect", box=None, header_style="dim")
    for i, effect in found.top(15):
        table.add_row(f"L{found.layer}N{i}", f"{effect:+.4f}")
    console.print(table)
    single = float(found.effects.sum())
    console.print(
        f"\n[dim]P(answer) {found.clean:.3f} clean, {found.corrupted:.3f} corrupted; all {len(found.effects)} neurons together give back "
        f"{found.together:+.4f}, one by one they sum to {single:+.4f}[/]"
    )


@show.register
def show_lens(lens: Lens) -> None:
    console.print(
        f"[bold]{escape(lens.prompt)}[/] → [bold blue]{escape(lens.answer)}[/]{f' against {escape(lens.against)}' if lens.against else ''}\n"
    )
    table = Table(
        "layer", "P(answer)", "attention", "MLP", "what it would say", "dominant sub-updates", box=None, header_style="dim"
    )
    table.add_row("–", "", "", f"{lens.embedding:+.2f}", escape(_said(lens.start)), "[dim]embedding[/]")
    for rung in lens.layers:
        updates = ", ".join(f"{update.name} {update.score:+.2f}" for update in rung.updates[:3])
        table.add_row(
            str(rung.layer), f"{rung.prob:.3f}", f"{rung.attn:+.2f}", f"{rung.mlp:+.2f}", escape(_said(rung.top)), updates
        )
    console.print(table)
    console.print(
        f"\n[dim]columns attention, MLP: what they add to the score {lens.score:.2f} (biases {lens.constant:+.2f}); "
        f"all parts sum to it within {lens.sum_error:.0e}[/]"
    )


def _said(words: tuple[Word, ...]) -> str:
    return ", ".join(f"{word.token.strip() or repr(word.token)} {word.prob:.2f}" for word in words[:3])


@show.register
def show_recall(recall: Recall) -> None:
    table = Table("", "recall", "95 % interval", "facts", box=None, header_style="dim")
    _row(table, "trained phrasings", recall.trained)
    _row(table, "held-out phrasings", recall.held_out)
    table.add_section()
    for name, estimate in recall.by_relation.items():
        _row(table, name, estimate)
    console.print(table)
    if recall.missed:
        console.print(f"\n[dim]missed, for example:[/] {escape('; '.join(recall.missed[:5]))}")


@show.register
def show_card(card: NeuronCard) -> None:
    console.rule(f"[bold]{card.name}[/]")
    console.print(
        f"fires at: {card.fires} · key·value cosine {card.cosine:+.2f} · "
        f"‖key‖ {card.key_norm:.2f} · ‖value‖ {card.value_norm:.2f} · threshold {card.threshold:+.2f}\n"
    )
    if card.firing_rate is not None:
        console.print("[dim]key: what it looks for[/]")
    for trigger in card.triggers:
        marked = f"{escape(trigger.before)}[bold black on yellow]{escape(trigger.token)}[/][dim]{escape(trigger.after)}[/]"
        console.print(f"  {trigger.activation:6.2f}  {marked}")
    if card.firing_rate == 0:
        console.print("  it never fires in this text")
    console.print(f"{'' if card.firing_rate is None else chr(10)}[dim]value: what it writes[/]")
    console.print("  promotes    " + escape(", ".join(token.strip() or repr(token) for token, _ in card.promotes)))
    console.print("  suppresses  " + escape(", ".join(token.strip() or repr(token) for token, _ in card.suppresses)))


@show.register
def show_atlas(atlas: Atlas) -> None:
    said = atlas.provenance
    console.print(
        f"[bold]{escape(str(atlas.folder))}[/]: {said['layers'] * said['d_mlp']:,} neurons of {escape(said['model'])} {short(said['weights'])}, over "
        f"{said['tokens']:,} tokens of {escape(said['text'])}\n"
    )
    show(
        atlas.query(
            "SELECT layer, avg(firing_rate) AS firing, avg(dead::INT) AS dead, avg(always_on::INT) AS always_on, "
            "median(cosine) AS cosine, avg(agrees::INT) AS agrees FROM neurons GROUP BY layer ORDER BY layer"
        )
    )
    console.print("\n[dim]agrees: the value's first token is the one that followed its first trigger[/]")


@show.register
def show_memories(found: Memories) -> None:
    console.print(f"[bold]Keys and values of {escape(found.model)}[/], {found.neurons} neurons a layer, {found.tokens:,} tokens\n")
    table = Table(
        "layer",
        *(f"{kind} dropped" for kind in found.dropped),
        "agreement",
        "chance",
        "composed",
        "active",
        box=None,
        header_style="dim",
    )
    for layer in range(len(found.active)):
        rows = (
            *(row[layer] for row in found.dropped.values()),
            *(getattr(found, name)[layer] for name in ("agreement", "chance", "composed", "active")),
        )
        table.add_row(str(layer), *(f"{e.value:+.0%}" if i < len(found.dropped) else f"{e.value:.1%}" for i, e in enumerate(rows)))
    console.print(table)
    console.print(
        "\n[dim]dropped: change of activation at top triggers without that token; agreement: the value's first token is what followed; "
        "composed: tokens at which no active memory says what the layer says[/]"
    )


@show.register
def show_found(found: Found) -> None:
    console.print(f"[bold]{escape(found.word)}[/] in {escape(found.model)}\n")
    for title, rows in (("promoted by", found.promoted_by), ("fires", found.fires)):
        table = Table(
            title,
            *(name for name in (rows[0] if rows else {}) if name not in ("name", "layer", "neuron")),
            box=None,
            header_style="dim",
        )
        for row in rows:
            table.add_row(row["name"], *(_cell(value) for name, value in row.items() if name not in ("name", "layer", "neuron")))
        console.print(table if rows else f"[dim]{title}: none[/]")
        console.print()


@show.register
def show_rows(found: Rows) -> None:
    table = Table(*found.columns, box=None, header_style="dim")
    for row in found.rows[:200]:
        table.add_row(*(escape(_cell(value)) for value in row))
    console.print(table)
    if len(found.rows) > 200:
        console.print(f"[dim]… and {len(found.rows) - 200:,} more; --json has them all[/]")


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@show.register
def show_patch(patch: Patch) -> None:
    document = patch.to_dict()
    console.print(f"[bold]patch {patch.id}[/] · {patch.method} · {len(patch.facts)} fact{'s' * (len(patch.facts) != 1)}")
    console.print(f"base   {escape(patch.base_name)} {short(patch.base)}")
    for name, weight in document["weights"].items():
        console.print(
            f"change {name} {weight['shape'][0]} × {weight['shape'][1]}, rank {weight['rank']}, norm {weight['norm']:.3g}"
        )
    for fact in patch.facts[:20]:
        console.print(f"       {escape(fact.text)} [strike]{escape(fact.answer)}[/] → [bold]{escape(fact.new_answer or '')}[/]")
    if len(patch.facts) > 20:
        console.print(f"       [dim]… and {len(patch.facts) - 20} more[/]")


@show.register
def show_scorecard(card: Scorecard) -> None:
    console.print(f"[bold]{card.edits} {card.method} edit{'s' * (card.edits != 1)}[/], layer {', '.join(map(str, card.layers))}\n")
    _metrics(card)
    changed = [line for case in card.cases for line in case.changed]
    if changed:
        console.print(f"\n[dim]{len(changed)} other answers changed, for example:[/]")
        for line in changed[:5]:
            console.print(f"  {escape(line)}")


@show.register
def show_census(census: Census) -> None:
    console.print(f"[bold]{escape(census.model)}[/] · {census.family} · [bold]{census.total:,}[/] {census.unit}\n")
    table = Table("", "", "share", "", box=None, header_style="dim")
    for name, count in census.exclusive.items():
        share = count / census.total
        table.add_row(name, f"{count:,}", f"{share:.1%}", "█" * round(40 * share) or "▏")
    console.print(table)
    flops, memory = census.flops_per_token, census.memory
    said = {
        "MLP weights": f"{census.parts['mlp_weights']:,}, {census.mlp_share:.2%} of all; with biases {census.parts['mlp']:,}",
        "shapes": ", ".join(f"{name} {'×'.join(f'{n:,}' for n in shape)}" for name, shape in census.shapes.items()),
        "questions": f"{census.questions:,} in each of {census.layers} layers, asked of every token",
        "FLOPs a token": f"{flops['matrices']:.3g} in matrices, {flops['attending']:.3g} attending over a full context",
        "memory": ", ".join(f"{name} {decimal(size)}" for name, size in memory.items()),
    }
    for name, text in said.items():
        console.print(f"[dim]{name:14}[/] {text}")
    if census.tied:
        console.print("[dim]The unembedding is the embedding, counted once.[/]")


@show.register
def show_diagnosis(diagnosis: Diagnosis) -> None:
    signs = {True: "[green]✓[/]", False: "[bold red]✗[/]", None: "[dim]–[/]"}
    console.print(f"[bold]{escape(diagnosis.model)}[/] · {diagnosis.family} · {diagnosis.dtype} on {diagnosis.device}\n")
    table = Table("", "claim", "error", "allowed", "", box=None, header_style="dim")
    for check in diagnosis.checks:
        error = "" if check.error is None else f"{check.error:.1e}" if check.error else "0"
        allowed = f"{check.allowed:.0e}" if check.allowed else "0"
        table.add_row(signs[check.passed], escape(check.name), error, allowed, f"[dim]{escape(check.note)}[/]")
    console.print(table)
    passed, failed = (sum(check.passed is value for check in diagnosis.checks) for value in (True, False))
    console.print(
        f"\n{passed} hold, [{'bold red' if failed else 'dim'}]{failed} fail[/], {len(diagnosis.checks) - passed - failed} do not apply"
    )


def _chapter(title: str, words: str) -> None:
    console.print(f"\n[bold]{title}[/]\n{escape(words)}\n")


def _metrics(card: Scorecard) -> None:
    table = Table("", "value", "95 % interval", "n", box=None, header_style="dim")
    for name, estimate in card.metrics.items():
        _row(table, name, estimate, percent=name != "drift_kl")
    console.print(table)


def _row(table: Table, name: str, estimate: Estimate, *, percent: bool = True) -> None:
    form = "{:.1%}" if percent else "{:.4f}"
    value, low, high = (form.format(x) for x in estimate[:3])
    table.add_row(name, value if estimate.n else "–", f"{low} … {high}" if estimate.n else "", str(estimate.n))


def _grid(trace: Trace | Attribution) -> None:
    """Indirect effects in hundredths: the kinds side by side where the terminal is wide enough, else one below the other."""
    limit = max(float(grid.max()) for grid in trace.grids.values()) or 1.0
    start, end = trace.subject_span
    labels = [_short(token) + "*" * (start <= i < end) for i, token in enumerate(trace.tokens)]
    width = max(map(len, labels))
    layers = len(next(iter(trace.grids.values())))
    step = -(-4 * layers // max(4, console.width - width - 2))
    shown = range(0, layers, step)
    fits = width + len(trace.grids) * (4 * len(shown) + 3) <= console.width
    for kinds in [list(trace.grids)] if fits else [[kind] for kind in trace.grids]:
        blocks = {"": "   ".join(f"{kind}, layer:".ljust(4 * len(shown)) for kind in kinds)}
        blocks[" "] = "   ".join("".join(f"{layer:4}" for layer in shown) for _ in kinds)
        for head, text in blocks.items():
            console.print(f"[dim]{head.ljust(width + 2)}{text}[/]", no_wrap=True)
        for i, label in enumerate(labels):
            rows = ("".join(_shade(float(trace.grids[kind][layer, i]), limit) for layer in shown) for kind in kinds)
            console.print(f"{escape(label.ljust(width))}  {'   '.join(rows)}", no_wrap=True)
        console.print()
    console.print("[dim]hundredths of P(answer) given back by restoring it; * subject[/]")


def _short(token: str, width: int = 12) -> str:
    token = token.strip() or repr(token)
    return token if len(token) <= width else token[: width - 1] + "…"


def _shade(effect: float, limit: float) -> str:
    level = min(len(SHADES) - 1, max(0, int(effect / limit * len(SHADES))))
    return f"[{SHADES[level]}]{100 * effect:4.0f}[/]"


def _ladder(story: Story) -> None:
    states = story.ladder.states
    best = sorted({t for s in states.values() for t in s}, key=lambda t: -max(s.get(t, 0) for s in states.values()))[:5]
    table = Table("next token", *states, box=None, header_style="dim")
    for token in best:
        table.add_row(escape(token.strip() or repr(token)), *(f"{s.get(token, 0.0):.3f}" for s in states.values()))
    console.print(table)
