"""Steering: what adding a direction to the residual stream changes in the next token.

    resid_post.L ← resid_post.L + strength · d

Control: random directions of equal norm. Source: Turner et al. 2023.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import FactError, ModelError
from loci.model import Model, by_length
from loci.model.answers import finite
from loci.model.hooks import add_at
from loci.progress import Progress, silent
from loci.reading.text_vectors import DRAWS, random_like, word_ids
from loci.reading.value_projections import Scored
from loci.result import About, Result
from loci.stats import Estimate, mean
from loci.tables import Table, columns


@dataclass(frozen=True)
class SteeringTarget:
    """Mean probability of a word's first token as the next one."""

    word: str
    before: Estimate
    after: Estimate
    random: Estimate

    def to_dict(self) -> dict[str, Any]:
        return {
            "word": self.word,
            **{name: getattr(self, name).to_dict() for name in ("before", "after", "random")},
        }


@dataclass(frozen=True)
class Steered(Result):
    """The change that a direction added to the residual stream makes in the next token, beside
    random directions of equal norm."""

    about: ClassVar[About] = About(
        "steering",
        "What does adding a direction do to what is said?",
        "Probabilities before and after, beside a random direction of the same length.",
        "directions.steered_figure",
    )

    model: str
    bos: bool
    layer: int
    strength: float
    everywhere: bool
    """Whether it was added at all tokens of the prompts, or at the last one alone."""
    relative: Estimate
    """Norm of what was added over that of the stream at the last token."""
    prompts: tuple[str, ...]
    before: tuple[Scored, ...]
    """The likeliest next tokens of each prompt."""
    after: tuple[Scored, ...]
    kl: Estimate
    """KL(before ‖ after) in nats, mean over prompts."""
    random_kl: Estimate
    targets: tuple[SteeringTarget, ...]
    seed: int

    def title(self) -> str:
        where = "all tokens" if self.everywhere else "the last token"
        return f"{self.strength:g} · direction after layer {self.layer} at {where}"

    def summary(self) -> tuple[str, ...]:
        return (f"KL(before ‖ after) {self.kl} nats, random directions {self.random_kl}.",)

    def tables(self) -> tuple[Table, ...]:
        rows = tuple(
            (
                prompt,
                *(", ".join(f"{t.strip() or repr(t)} {p:.3f}" for t, p in top[:5]) for top in both),
            )
            for prompt, *both in zip(self.prompts, self.before, self.after, strict=True)
        )
        targets = tuple((own.word, own.before, own.after, own.random) for own in self.targets)
        heads = columns("P(first token)", "before|.4f", "after|.4f", "random directions|.4f")
        plural = "s" * (len(self.prompts) > 1)
        note = (
            f"{len(self.prompts)} prompt{plural}; what was added has {self.relative.value:.2g} of"
            " the stream's norm"
        )
        return (
            Table("Next tokens", columns("prompt", "before", "after"), rows, note=note, shown=5),
            *([Table("Words", heads, targets)] if targets else []),
        )

    def to_dict(self) -> dict[str, Any]:
        names = ("model", "bos", "layer", "strength", "everywhere", "seed")
        tops = zip(self.prompts, self.before, self.after, strict=True)
        return {
            "schema": "loci.steered/1",
            **{name: getattr(self, name) for name in names},
            **{name: getattr(self, name).to_dict() for name in ("relative", "kl", "random_kl")},
            "prompts": [
                {"prompt": prompt, "before": _listed(old), "after": _listed(new)}
                for prompt, old, new in tops
            ],
            "targets": [target.to_dict() for target in self.targets],
        }


@torch.no_grad()
def steer(
    model: Model,
    prompts: Sequence[str],
    direction: Float[Tensor, " d_model"],
    layer: int,
    strength: float = 1.0,
    *,
    everywhere: bool = False,
    targets: Sequence[str] = (),
    top: int = 5,
    seed: int = 0,
    progress: Progress = silent,
) -> Steered:
    """Add strength · direction to the residual stream after a layer, and compare the next tokens.

    Args:
        model: an open model; it is left as it was.
        prompts: at least one.
        direction: [d_model].
        layer: the stream is changed behind it.
        strength: factor of the direction.
        everywhere: at all tokens but BOS; without, at the last token alone.
        targets: words whose probability is reported.
        top: next tokens listed.
        seed: seed of every random draw.
        progress: called with (steps done, steps in all).

    Returns: `Steered`: KL, next tokens and targets, beside `DRAWS` random directions of equal norm.
    Raises: `FactError` without a prompt, `ModelError` for a layer that is not there or a direction
        of another width.
    Cost: 12 runs of the prompts.
    """
    if not prompts:
        raise FactError("steering needs a prompt")
    if direction.shape != (model.d_model,) or not bool((strength * direction).isfinite().all()):
        raise ModelError(
            f"a direction has {model.d_model} finite numbers, not {strength:g} times one of shape "
            f"{list(direction.shape)}"
        )
    point = f"resid_post.{layer}"
    model.place(point)
    chosen = [word_ids(model, word)[1][0] for word in targets]
    added = strength * direction.double().cpu()
    generator = torch.Generator().manual_seed(seed)
    steps = [added, *(random_like(added, generator) for _ in range(DRAWS))]
    rows = _run(model, prompts, point, steps, everywhere, progress)
    kl = [(row["before"].exp() * (row["before"] - row["runs"])).sum(-1) for row in rows]
    return Steered(
        model=model.name,
        bos=model.with_bos,
        layer=layer,
        strength=strength,
        everywhere=everywhere,
        relative=mean([float(added.norm() / row["stream"]) for row in rows]),
        prompts=tuple(prompts),
        before=tuple(_likeliest(model, row["before"], top) for row in rows),
        after=tuple(_likeliest(model, row["runs"][0], top) for row in rows),
        kl=mean([float(row[0]) for row in kl]),
        random_kl=mean([float(row[1:].mean()) for row in kl]),
        targets=tuple(
            _target(word, token, rows) for word, token in zip(targets, chosen, strict=True)
        ),
        seed=seed,
    )


def _run(
    model: Model,
    prompts: Sequence[str],
    point: str,
    steps: Sequence[Tensor],
    everywhere: bool,
    progress: Progress,
) -> list[dict[str, Tensor]]:
    """Run each prompt as it is and with each step added at a point.

    Returns: by prompt `stream` (the norm at the last token), `before` [d_vocab] and `runs`
        [step, d_vocab]: log-probabilities of the next token.
    """
    tokenized = [model.tokenize(prompt) for prompt in prompts]
    by_prompt: dict[int, dict[str, Tensor]] = {}
    for batch in by_length(tokenized, len, 4096):
        ids = model.ids([tokenized[i].ids for i in batch])
        where = slice(tokenized[batch[0]].special if everywhere else ids.shape[1] - 1, None)
        stream = model.read(ids, point)[point][:, -1].double().norm(dim=-1).cpu()
        before = _next_token(model, ids)
        runs = []
        for step in steps:
            with model.patched({point: add_at(step, slice(None), where)}):
                runs.append(_next_token(model, ids))
        for row, i in enumerate(batch):
            of_prompt = torch.stack([run[row] for run in runs])
            by_prompt[i] = {"stream": stream[row], "before": before[row], "runs": of_prompt}
        progress(len(batch), len(tokenized))
    return [by_prompt[i] for i in range(len(tokenized))]


def _next_token(model: Model, ids: Tensor) -> Float[Tensor, "prompt d_vocab"]:
    """Log-probabilities of the next token."""
    logprobs: Tensor = finite(model(ids, last=1), model)[:, -1].double().log_softmax(-1)
    return logprobs.cpu()


def _likeliest(model: Model, logprobs: Float[Tensor, " d_vocab"], top: int) -> Scored:
    best = logprobs.exp().topk(top)
    return tuple(
        (model.token_text(i), p)
        for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    )


def _target(word: str, token: int, rows: Sequence[dict[str, Tensor]]) -> SteeringTarget:
    before = mean([float(row["before"][token].exp()) for row in rows])
    after = mean([float(row["runs"][0, token].exp()) for row in rows])
    random = mean([float(row["runs"][1:, token].exp().mean()) for row in rows])
    return SteeringTarget(word, before, after, random)


def _listed(scored: Scored) -> list[dict[str, Any]]:
    return [{"token": token, "probability": probability} for token, probability in scored]
