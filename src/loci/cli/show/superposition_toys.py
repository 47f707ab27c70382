"""Networks with more features than dimensions, on a terminal."""

from loci.cli.console import console
from loci.cli.show.base import show
from loci.cli.show.superposition import _table
from loci.stats import spelt
from loci.studies.superposition import (
    AbsoluteValueNetworks,
    CorrelatedFeatures,
    FeatureGeometry,
    PhaseDiagram,
    ToyModels,
    Vulnerability,
)
from loci.studies.superposition.feature_geometry import PLATEAUS


@show.register
def show_toy(found: ToyModels) -> None:
    console.print(
        f"[bold]{found.features} features in {found.dims} dimensions[/],"
        f" {'ReLU' if found.relu else 'linear'} output\n"
    )
    alone = ((found.superposition < 0.1) & (found.norms > 0.5)).sum(1).tolist()
    rows = [
        (f"{p:.3g}", f"{loss:.4g}", str(kept), str(own), f"{per:.3f}")
        for p, loss, kept, own, per in zip(
            found.densities,
            found.loss.tolist(),
            found.represented,
            alone,
            found.per_feature.tolist(),
            strict=True,
        )
    ]
    _table(("density", "loss", "features kept", "of them alone", "dimensions a feature"), rows)


@show.register
def show_geometry(found: FeatureGeometry) -> None:
    own = found.toy
    console.print(
        f"[bold]{own.features} equal features in {own.dims} dimensions[/]: share of features near"
        " each plateau\n"
    )
    near = {name: found.near(value) for name, value in PLATEAUS.items()}
    rows = [
        (f"{p:.3g}", f"{own.per_feature[i]:.3f}", *(f"{row[i].value:.0%}" for row in near.values()))
        for i, p in enumerate(own.densities)
    ]
    _table(("density", "D*", *near), rows)


@show.register
def show_phase(found: PhaseDiagram) -> None:
    console.print(
        "Training ends where the closed form says in"
        f" [bold]{spelt(found.agreement.value, '.1%')}[/] of {found.agreement.n} cells"
        f" [{found.agreement.interval('.1%')}], best of {found.runs} runs; its loss is lower by"
        f" {found.gain:.1%} at most.\nClosed form: the pair is kept for s < 4r/(2 + 5r) and s <"
        " 4/(5 + 2r), at r = 1 for s < 4/7."
    )


@show.register
def show_correlated(found: CorrelatedFeatures) -> None:
    rows = [
        (kind, str(found.partners(kind)), str(found.others(kind)), f"{found.loss[kind][0]:.4g}")
        for kind in found.W
    ]
    _table(("features of a pair come", "cosine of partners", "of others", "least loss"), rows)


@show.register
def show_computation(found: AbsoluteValueNetworks) -> None:
    neurons, features = found.W_in.shape[1:]
    console.print(
        f"[bold]|x| of {features} features by {neurons} neurons[/]; exactly it takes"
        f" {2 * features}\n"
    )
    rows = [
        (f"{p:g}", str(n), str(alone))
        for p, n, alone in zip(found.densities, found.computed, found.alone, strict=True)
    ]
    _table(("density", "features computed", "share of neurons that read one feature"), rows)


@show.register
def show_attack(found: Vulnerability) -> None:
    rows = [
        (f"{p:.3g}", f"{1 / per:.2f}", f"{times:.2f}", f"{linear:.2f}")
        for p, per, times, linear in zip(
            found.toy.densities,
            found.toy.per_feature.tolist(),
            found.relative,
            found.expected,
            strict=True,
        )
    ]
    _table(
        ("density", "features a dimension", "vulnerability, times the densest", "linear: ‖WᵀW‖²"),
        rows,
    )
