"""Editing by features, at activations: no weight changes, a subject's features are moved wherever
it is named, as `steer_linearly` moves its state.

    clamp   the features that tell most between the old and the new answer are set to a donor's
            values, another subject of the relation that has the new answer
    steer   the decoder row of the one feature that raises the new answer most is added, as little
            of it as makes the model say it

Which features tell: by gradient, Δf_j · (∂(logit new − logit old) / ∂y · W_dec[j]) at the subject's
last token. Beside them stand ROME, the same donor's whole output (`everything`), and no edit: one
examination for all. Cost: as `audit_singles`, with four more evaluations an edit.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from loci.auditing.evaluation import SAMPLES, EvalResult, Evaluation, base_drift
from loci.auditing.linear_relations import ends_of, spellings_of
from loci.auditing.method_audits import counterfactuals
from loci.auditing.metrics import short
from loci.auditing.scorecard import Metrics, plain
from loci.auditing.scorecards import measures
from loci.dictionaries import Dictionary
from loci.dictionaries.dictionary import mlp_output
from loci.editing import default_layer, key_moments
from loci.editing.edit import edit
from loci.errors import EditError
from loci.facts import Fact, FactSet
from loci.model import Model
from loci.model.hooks import add_at
from loci.model.joins import first_token
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.stats import Estimate
from loci.tables import Cell, Column, Table

CLAMPED = 8
STRENGTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Of a steered feature, in norms of the output there."""
SHOWN = ("efficacy", "paraphrase", "specificity", "same_subject", "drift_kl")
STATES = ("no edit", "rome", "clamp", "steer", "everything")


@dataclass(frozen=True)
class OutputMove:
    """An addition to one MLP's output wherever a subject's tokens stand together."""

    subject: str
    target: str
    move: Float[Tensor, " d_out"]

    @contextmanager
    def applied(self, model: Model) -> Iterator[None]:
        """Inside the block the output is moved there."""
        spelled = spellings_of(model, self.subject)
        ids: list[Tensor] = []

        def note(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
            ids[:] = [kwargs["input_ids"] if "input_ids" in kwargs else args[0]]

        def add(old: Tensor) -> Tensor:
            new = old.clone()
            for tokens in spelled:
                new[ends_of(ids[0], tokens)] += self.move.to(old)
            return new

        handle = model.hf.register_forward_pre_hook(note, with_kwargs=True)
        try:
            with model.patched({self.target: add}):
                yield
        finally:
            handle.remove()


@dataclass(frozen=True)
class FeatureEdits(Result):
    """Edits by features beside ROME, by the same questions."""

    about: ClassVar[About] = About(
        "edits by features",
        "Can a fact be edited by features instead of weights?",
        "All edits are asked the same. Features act on every text for as long as they are set.",
    )

    model: str
    target: str
    edits: int
    metrics: dict[str, Metrics]
    seed: int

    def of(self, state: str, metric: str) -> Estimate:
        return self.metrics[state][metric]

    def summary(self) -> tuple[str, ...]:
        shares = ", ".join(
            f"{state} {self.of(state, 'efficacy').value:.0%}" for state in self.metrics
        )
        return (f"The new answer is said, of {self.edits} edits in {self.model}: {shares}.",)

    def tables(self) -> tuple[Table, ...]:
        columns = [
            Column("change"),
            *(Column(short(name), ".2f") for name in SHOWN),
        ]
        rows: list[tuple[Cell, ...]] = [
            (state, *(own[name] for name in SHOWN)) for state, own in self.metrics.items()
        ]
        return (Table("Editing by features beside ROME", tuple(columns), tuple(rows)),)

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.feature_edits/1",
            "model": self.model,
            "target": self.target,
            "edits": self.edits,
            "seed": self.seed,
            "metrics": {state: plain(own) for state, own in self.metrics.items()},
        }


def audit_feature_edits(
    model: Model,
    dictionary: Dictionary,
    world: FactSet,
    edits: int = 20,
    *,
    neighbours: int = 5,
    seed: int = 0,
    samples: int = SAMPLES,
    progress: Progress = silent,
) -> FeatureEdits:
    """Audit edits by features beside ROME, each alone on the untouched base.

    Args:
        dictionary: of an MLP's output, placed (as `open_dictionary` leaves it).
        world: facts from which counterfactuals, donors and neighbours are drawn.
        edits: number of counterfactuals whose new answer a donor has.

    Raises `DictionaryError` for a dictionary that gives no MLP's output, `EditError` where no new
    answer has a donor.
    """
    target, _ = mlp_output(dictionary, "features are moved")
    wishes = [
        (wish, donor)
        for wish in counterfactuals(world, 2 * edits, seed)
        if (donor := _donor(wish, world)) is not None
    ][:edits]
    if not wishes:
        raise EditError("no new answer is that of another fact of its relation")
    layer = default_layer(model)
    moments, drift = key_moments(model, [layer]), base_drift(model, samples)
    results: dict[str, list[EvalResult]] = {state: [] for state in STATES}
    base: list[float] = []
    for wish, donor in wishes:
        evaluation = Evaluation.of(model, [wish], world, drift, neighbours=neighbours, seed=seed)
        base += evaluation.fluency
        moves = feature_moves(model, dictionary, wish, donor)
        patch = edit(model, [wish], layers=[layer], moments=moments, seed=seed, report=False)
        results["no edit"].append(evaluation.run())
        results["rome"].append(evaluation.run(patch))
        for state, move in moves.items():
            results[state].append(evaluation.run(OutputMove(wish.subject, target, move)))
        progress(1, len(wishes))
    metrics = {state: measures(runs, base) for state, runs in results.items()}
    return FeatureEdits(model.name, target, len(wishes), metrics, seed)


def _donor(wish: Fact, world: FactSet) -> Fact | None:
    others = world.relations.get(wish.relation, ())
    return next((f for f in others if f.answer == wish.new_answer), None)


def feature_moves(
    model: Model, dictionary: Dictionary, wish: Fact, donor: Fact, clamped: int = CLAMPED
) -> dict[str, Float[Tensor, " d_out"]]:
    """The vectors that "clamp", "steer" and "everything" add to the output at the subject's last
    token.
    """
    target, point = str(dictionary.target or dictionary.point), str(dictionary.point)
    ids, end, first = _asked(model, wish)
    (x, y), (x_donor, y_donor) = (_read(model, fact, (point, target)) for fact in (wish, donor))
    slope = _slope(model, ids, end, target, first)
    change = dictionary.encode(x_donor) - dictionary.encode(x)
    gains = dictionary.W_dec @ slope
    top = (change * gains).topk(min(clamped, dictionary.features)).indices
    best = int((gains / dictionary.W_dec.norm(dim=1).clamp(min=1e-12)).argmax())
    row = dictionary.W_dec[best] / dictionary.W_dec[best].norm() * y.norm()
    steered = STRENGTHS[-1] * row
    for strength in STRENGTHS:
        with torch.no_grad(), model.patched({target: add_at(strength * row, slice(None), end)}):
            if int(model(ids, last=1)[0, -1].argmax()) == first[1]:
                steered = strength * row
                break
    return {
        "clamp": change[top] @ dictionary.W_dec[top],
        "steer": steered,
        "everything": y_donor - y,
    }


def _asked(model: Model, wish: Fact) -> tuple[Tensor, int, tuple[int, int]]:
    """The prompt's tokens, its last subject token, the first tokens of the old and new answer."""
    tokens = model.tokenize(wish.text)
    old, new = (
        first_token(model, wish.text, answer) for answer in (wish.answer, str(wish.new_answer))
    )
    return model.ids([tokens.ids]), tokens.span(wish.subject_span)[1] - 1, (old, new)


@torch.no_grad()
def _read(model: Model, fact: Fact, points: Sequence[str]) -> list[Tensor]:
    tokens = model.tokenize(fact.text)
    activations = model.read(model.ids([tokens.ids]), *points)
    end = tokens.span(fact.subject_span)[1] - 1
    return [activations[point][0, end].float() for point in points]


@torch.enable_grad()
def _slope(
    model: Model, ids: Tensor, end: int, target: str, first: tuple[int, int]
) -> Float[Tensor, " d_out"]:
    """∂(logit new − logit old) / ∂y at the subject's last token."""
    moved = torch.zeros(model.d_model, requires_grad=True)

    def add(old: Tensor) -> Tensor:
        return torch.cat([old[:, :end], old[:, end : end + 1] + moved, old[:, end + 1 :]], 1)

    with model.patched({target: add}):
        logits = model(ids, last=1)[0, -1].float()
    (slope,) = torch.autograd.grad(logits[first[1]] - logits[first[0]], moved)
    return slope
