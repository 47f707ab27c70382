"""Where a fact is, on a terminal."""

from rich.markup import escape
from rich.table import Table

from loci.cli.console import console
from loci.cli.show.base import by_layer, grid, shade, show
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
from loci.locating.knowledge_trial import FACTORS
from loci.locating.logit_lens import Word
from loci.report.words import trace_words
from loci.stats import Estimate, spelt


@show.register
def show_trace(trace: Trace) -> None:
    console.print(f"[bold]{escape(trace.prompt)}[/] → [bold #2f7fd6]{escape(trace.answer)}[/]\n")
    console.print(escape(trace_words(trace)) + "\n")
    grid(trace)


@show.register
def show_attribution(found: Attribution) -> None:
    how = "gradients" if found.method == "gradient" else f"{found.method} gradients"
    console.print(
        f"[bold]{escape(found.prompt)}[/] → [bold #2f7fd6]{escape(found.answer)}[/], effects"
        f" estimated by {how}\n"
    )
    grid(found)
    for kind, rho in found.agreement.items():
        console.print(f"{kind:6} rank correlation to exact tracing {spelt(rho, '+.2f')}")


@show.register
def show_average(average: AverageTrace) -> None:
    console.print(
        f"[bold]Average indirect effect over {average.n} facts[/] ({average.unknown} unknown to the"
        " model, left out)\n"
    )
    for kind, rows in average.effects.items():
        limit = max(cell.value for row in rows for cell in row if cell.n) or 1.0
        told = {
            f"{role} (n = {rows[0][i].n})": [shade(row[i].value, limit) for row in rows]
            for i, role in enumerate(ROLES)
            if rows[0][i].n
        }
        console.print(by_layer(kind, told))
        best, layer, role = max(
            (row[i], layer, role)
            for layer, row in enumerate(rows)
            for i, role in enumerate(ROLES)
            if row[i].n
        )
        console.print(f"[dim]largest: {best.told('.3f')} at layer {layer}, {role} token[/]\n")
    console.print("[dim]hundredths of P(answer) given back, by layer[/]")


@show.register
def show_located(found: Located) -> None:
    console.print(f"[bold]{escape(found.prompt)}[/] → [bold #2f7fd6]{escape(found.answer)}[/]\n")
    for site, rows in found.profiles.items():
        told = {
            name: [shade(value / (max(map(abs, profile)) or 1.0), 1.0) for value in profile]
            for name, profile in rows.items()
        }
        console.print(by_layer(site, told))
        console.print()
    console.print(escape(found.words))
    console.print("\n[dim]by layer, in hundredths of each row's largest[/]")


@show.register
def show_lookup(found: Lookup) -> None:
    console.print(f"[bold]Fact finding on {escape(found.relation)}[/], {escape(found.model)}\n")
    if found.two_tokens:
        told = {
            name: [shade(e.value, 1.0) for e in estimates]
            for name, estimates in found.two_tokens.accuracy.items()
        }
        console.print(by_layer("held-out accuracy after", told, "start"))
        console.print()
    console.print(escape(found.words))


@show.register
def show_probe(found: Probe) -> None:
    console.print(
        f"[bold]{escape(found.relation or 'answers')}[/] at the last subject token:"
        f" {found.subjects} subjects, {len(found.answers)} answers\n"
    )
    table = Table(
        "after layer",
        "held-out accuracy",
        "95 % interval",
        "shuffled answers",
        box=None,
        header_style="dim",
    )
    names = ("embeddings", *map(str, range(len(found.accuracy) - 1)))
    for name, hit, chance in zip(names, found.accuracy, found.shuffled, strict=True):
        table.add_row(
            name, spelt(hit.value, ".1%"), hit.interval(".1%"), spelt(chance.value, ".1%")
        )
    console.print(table)
    left = (
        f"; {found.left_out} subjects left out, whose answers are too rare"
        if found.left_out
        else ""
    )
    console.print(f"\n[dim]the commonest answer alone: {found.commonest.value:.1%}{left}[/]")


@show.register
def show_routes(found: Routes) -> None:
    console.print(
        f"[bold]P(answer) lost by cutting, over {found.n} fact{'s' * (found.n != 1)}[/]"
        f" ({found.unknown} unknown, left out)\n"
    )
    names = {
        "edges": "last token → subject",
        "mlp": "MLPs at the subject",
        "attn": "attention at the last token",
    }
    told = {
        name: [shade(estimate.value, 1.0) for estimate in found.by_layer[cut]]
        for cut, name in names.items()
    }
    whole = {name: _whole(found.all_layers[cut]) for cut, name in names.items()}
    console.print(by_layer("", told, last=whole))
    console.print(
        "\n[dim]hundredths of P(answer), by layer; a fact needs both routes, so the shares do not"
        " sum to 1[/]"
    )


def _whole(total: Estimate) -> str:
    return total.told(".0%")


@show.register
def show_knowledge(found: KnowledgeNeurons) -> None:
    console.print(
        f"[bold]{escape(found.prompt)}[/] → [bold #2f7fd6]{escape(found.answer)}[/]:"
        f" {len(found.cells)} shared neurons\n"
    )
    for layer, neuron, score in found.cells[:15]:
        console.print(f"  L{layer}N{neuron:<6} {score:+.4f}")
    table = Table(
        "",
        "P(answer)",
        "changed by",
        "random neurons",
        "as active ones",
        box=None,
        header_style="dim",
    )
    for name in FACTORS:
        change: Change = getattr(found, name)
        table.add_row(
            name,
            f"{change.before:.3f} → {change.after:.3f}",
            f"{change.change:+.3f}",
            str(change.random),
            str(change.active),
        )
    console.print()
    console.print(table)
    total, expected = found.completeness
    console.print(
        f"\n[dim]{found.known} of {found.phrasings} phrasings known; attributions of the first sum"
        f" to {total:.3f}, as they should to {expected:.3f} ({found.steps} steps); controls: mean"
        " change with 95 % interval[/]"
    )
    if found.warning:
        console.print(f"[bold]warning[/] {escape(found.warning)}")


@show.register
def show_neuron_trace(found: NeuronTrace) -> None:
    console.print(
        f"[bold]{escape(found.prompt)}[/] → [bold #2f7fd6]{escape(found.answer)}[/], layer"
        f" {found.layer}, token {found.token}\n"
    )
    table = Table("neuron", "effect", box=None, header_style="dim")
    for i, effect in found.top(15):
        table.add_row(f"L{found.layer}N{i}", f"{effect:+.4f}")
    console.print(table)
    single = float(found.effects.sum())
    console.print(
        f"\n[dim]P(answer) {found.clean:.3f} clean, {found.corrupted:.3f} corrupted; all"
        f" {len(found.effects)} neurons together give back {found.together:+.4f}, one by one they"
        f" sum to {single:+.4f}[/]"
    )


@show.register
def show_lens(lens: Lens) -> None:
    against = f" against {escape(lens.against)}" if lens.against else ""
    console.print(
        f"[bold]{escape(lens.prompt)}[/] → [bold #2f7fd6]{escape(lens.answer)}[/]{against}\n"
    )
    table = Table(
        "layer",
        "P(answer)",
        "attention",
        "MLP",
        "what it would say",
        "dominant sub-updates",
        box=None,
        header_style="dim",
    )
    shown = 3 if console.width >= 100 else 2
    table.add_row(
        "–", "", "", f"{lens.embedding:+.2f}", escape(_said(lens.start, shown)), "[dim]embedding[/]"
    )
    for rung in lens.layers:
        updates = ", ".join(
            f"{update.name} {update.score:+.2f}" for update in rung.updates[: 2 * shown - 3]
        )
        table.add_row(
            str(rung.layer),
            f"{rung.prob:.3f}",
            f"{rung.attn:+.2f}",
            f"{rung.mlp:+.2f}",
            escape(_said(rung.top, shown)),
            updates,
        )
    console.print(table)
    console.print(
        f"\n[dim]columns attention, MLP: what they add to the score {lens.score:.2f} (biases"
        f" {lens.constant:+.2f}); all parts sum to it within {lens.sum_error:.0e}[/]"
    )


def _said(words: tuple[Word, ...], count: int) -> str:
    return ", ".join(
        f"{word.token.strip() or repr(word.token)} {word.prob:.2f}" for word in words[:count]
    )
