"""Facts written into MLPs, on a terminal."""

from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from loci.auditing import GroundTruth
from loci.cli.console import console
from loci.cli.show.base import estimate_row, narrow, show
from loci.stats import Estimate
from loci.writing import (
    Capacity,
    CapacityCurve,
    Fullness,
    FullSize,
    Gate,
    Installation,
    PlantedModel,
    StoredTables,
)


@show.register
def show_gate(gate: Gate) -> None:
    for step in gate.steps:
        console.print(f"[bold]{escape(step.title)}[/] [dim]{step.act}, bias {step.bias:+.2f}[/]")
        table = Table(
            "",
            "M·E",
            "J·E",
            "row·E + bias",
            "neuron",
            *step.cases[0].writes,
            box=None,
            header_style="dim",
        )
        for case in step.cases:
            writes = (f"{value:+.2f}" for value in case.writes.values())
            table.add_row(
                case.name,
                str(case.first),
                str(case.last),
                f"{case.pre:+.2f}",
                f"{case.neuron:+.2f}",
                *writes,
            )
        console.print(table)
        console.print(
            "[dim]an AND: only the full name writes[/]\n"
            if step.clean
            else "[dim]no clean AND[/]\n"
        )
    for many in gate.many:
        console.print(
            f"{many.facts} facts, one neuron each, in {many.dim} dimensions (largest cosine of two"
            f" names {many.cosine:.2f}), bias {many.bias:+.2f}: recall {many.recall.value:.1%},"
            f" {many.active.value:.2%} of the neurons active, largest leak {many.leaks:.2f}"
        )
    console.print(
        "\n[dim]An existence proof: real models do not store facts one a neuron. Ask yours: loci"
        " lookup RELATION[/]"
    )


@show.register
def show_full_size(block: FullSize) -> None:
    console.print(
        f"[bold]{block.facts:,} facts, one a neuron[/] · {block.size}: {block.facts:,} ×"
        f" {block.d_model:,}, bfloat16\n"
    )
    table = Table("", "value", "95 %", "n", box=None, header_style="dim")
    estimate_row(table, "full names answered", block.recall)
    estimate_row(table, "first names alone that open a gate", block.single)
    console.print(table)
    console.print(
        f"\n{block.active.value:.5%} of the neurons are active at a name; only those are read in"
        f" the down projection\nbuilt in {block.build_seconds:.1f} s, asked in {block.seconds:.1f}"
        f" s; weights {decimal(block.weights_bytes)}, the process at most"
        f" {decimal(block.peak_bytes)}"
    )


@show.register
def show_stores(found: StoredTables) -> None:
    first = found.stores[0]
    console.print(
        f"[bold]{first.facts:,} facts, {found.neurons} neurons[/] · {first.dim} dimensions,"
        f" {first.values:,} values\n"
    )
    noises = (f"noise\n{size:g}" for size in first.noise)
    table = narrow(
        "", "recall", *noises, "smallest\nmargin", "steepest\nslope ≥", "bits/\nparam.", "seconds"
    )
    for store in found.stores:
        table.add_row(
            f"[bold]{store.method}[/]" if store is found.best else store.method,
            f"{store.recall:.1%}",
            *(f"{estimate.value:.1%}" for estimate in store.noise.values()),
            f"{store.margin:.3g}",
            f"{store.lipschitz:.3g}",
            f"{store.bits_per_parameter:.3f}",
            f"{store.seconds:.2f}",
        )
    console.print(table)
    console.print(f"\n{found.best.method}: {found.best.words}")


@show.register
def show_capacity(found: Capacity) -> None:
    console.print(
        f"[bold]{found.facts:,} facts in {found.dim} dimensions[/]: fewest neurons that hold them"
        " all\n"
    )
    table = Table(
        "",
        "neurons",
        "parameters",
        "bits/parameter",
        "recall",
        "seconds",
        box=None,
        header_style="dim",
    )
    for row in found.rows:
        table.add_row(
            row.method,
            f"{row.neurons:,}" if row.recall == 1 else f"> {row.neurons:,}",
            f"{row.parameters:,}",
            f"{row.bits_per_parameter:.3f}",
            f"{row.recall:.1%}",
            f"{row.seconds:.2f}",
        )
    console.print(table)


@show.register
def show_curve(curve: CapacityCurve) -> None:
    for case in curve.cases:
        show_capacity(case)
        console.print()


@show.register
def show_planted(made: PlantedModel) -> None:
    shared = "a neuron of its own each" if made.kind == "one-per-fact" else "in shared neurons"
    console.print(f"[bold]{made.model.name}[/]: {len(made.facts)} facts, {shared}\n")
    table = Table("prompt", "answer", "layer", "neurons", box=None, header_style="dim")
    for fact, place in list(zip(made.facts, made.places, strict=True))[
        :: max(1, len(made.facts) // 8)
    ]:
        neurons = ", ".join(map(str, place.neurons))
        table.add_row(escape(fact.text), escape(fact.answer), str(place.layer), neurons)
    console.print(table)
    console.print("\n[dim]at the subject's last token; all other neurons are decoys[/]")


@show.register
def show_ground_truth(truth: GroundTruth) -> None:
    name = f"{truth.model}, {truth.kind}"
    console.print(f"[bold]Locating against the truth[/]: {truth.facts} facts of {name}\n")
    table = Table(
        "", "layer", "token", "precision", "recall", "s a fact", box=None, header_style="dim"
    )
    for row in truth.rows:
        shares = (
            _percent(getattr(row, what)) for what in ("layer", "token", "precision", "recall")
        )
        table.add_row(
            row.method + (f" ({row.gave_up} gave up)" if row.gave_up else ""),
            *shares,
            f"{row.seconds:.2f}",
        )
    console.print(table)
    console.print(
        "\n[dim]share of facts at the right layer and token; of the neurons named, those that hold"
        " the fact, and the reverse; 95 % intervals[/]"
    )


def _percent(estimate: Estimate) -> str:
    return estimate.told(".0%")


@show.register
def show_installed(made: Installation) -> None:
    console.print(
        f"[bold]{len(made.facts)} new facts[/] in {made.neurons} neurons added to layer"
        f" {made.layer} of {escape(made.patch.base_name)}\n"
    )
    table = Table("", "value", "95 %", "n", box=None, header_style="dim")
    estimate_row(table, "new facts answered before", made.before)
    estimate_row(table, "new facts answered", made.recall)
    estimate_row(table, "on held-out phrasings", made.held_out)
    estimate_row(table, "other facts kept", made.kept)
    console.print(table)
    console.print(
        f"\ndrift on {made.drift.n} control sentences: KL {made.drift.value:.1e} nats a token"
    )
    if made.crowded:
        console.print(
            f"\n[dim]{made.crowded} subjects are not kept apart from text or from each other at"
            " this layer[/]"
        )


@show.register
def show_fullness(found: Fullness) -> None:
    console.print(
        f"[bold]How full is an MLP?[/] {found.neurons} neurons at the inputs of layer {found.layer}"
        f" of {escape(found.model)}, {found.answers} answers, {found.method}\n"
    )
    table = Table(
        "facts", "facts a neuron", "recall", "95 %", "bits/parameter", box=None, header_style="dim"
    )
    for rung in found.rungs:
        recall = rung.recall.interval(".1%")
        table.add_row(
            f"{rung.facts:,}",
            f"{rung.per_neuron:.1f}",
            f"{rung.recall.value:.1%}",
            recall,
            f"{rung.bits_per_parameter:.3f}",
        )
    console.print(table)
    console.print(f"\n{found.words[0].upper()}{found.words[1:]}")
