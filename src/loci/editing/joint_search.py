"""The running joint search: what is drawn for a step, and its gradients."""

import math
import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from loci.editing.changes import Changes, making
from loci.editing.curvature import output_curvature, whitening
from loci.editing.descent import AdamDescent, Descent, PolyakDescent
from loci.editing.joint_batches import TEXT, padded_batches, text_prompts
from loci.editing.joint_settings import JointSettings, LayerChange, Weighted
from loci.editing.neighbours import asked
from loci.editing.objective import token_losses
from loci.editing.prompts import TrainingPrompt
from loci.editing.vocabulary import WHOLE, Vocabulary
from loci.errors import EditError
from loci.model import Model
from loci.model.hooks import StopForward

SAMPLE = 2_000
"""Texts whose tokens are told apart, of a large vocabulary."""

OUT = -1e4
"""Log weight of what is left out."""

PACE = 1.03
"""By how much a weight that follows its KL changes from step to step."""

TERMS = {"edit": "wanted", "retain": "kept", "neighbours": "near", "text": "text"}
"""The terms of the objective that prompts make, and their names in a patch's numbers."""


class JointSearch:
    """The running search: what is drawn for a step, and how the text's weight follows its drift."""

    def __init__(
        self,
        model: Model,
        new: Sequence[Sequence[TrainingPrompt]],
        earlier: Sequence[Sequence[TrainingPrompt]],
        near: Sequence[TrainingPrompt],
        texts: Sequence[str],
        parts: dict[int, LayerChange],
        settings: JointSettings,
    ) -> None:
        self.model, self.parts, self.settings = model, parts, settings
        self.new, self.earlier, self.near, self.texts = new, earlier, near, texts
        prompts = [prompt for own in (*new, *earlier, near) for prompt in own]
        some = (
            random.Random(settings.seed).sample(list(texts), min(len(texts), SAMPLE))
            if model.d_vocab > WHOLE
            else []
        )
        self.vocabulary = Vocabulary.of(
            model, prompts, [tokens.ids for tokens in model.tokenize_all(some)]
        )
        self.streams: dict[TrainingPrompt, Tensor] = {}
        self.descent: Descent = AdamDescent(self._variables(), self._lr())
        self.random = random.Random(settings.seed)
        self.objective = settings.objective
        self.seen = dict.fromkeys(TERMS, 0.0)

    def _variables(self) -> list[Tensor]:
        return [part.R for part in self.parts.values()]

    def _lr(self) -> float:
        """Adam's, in units of the layers' outputs."""
        typical = sum(part.size for part in self.parts.values()) / len(self.parts)
        entries = self.model.d_model * max(part.R.shape[1] for part in self.parts.values())
        return float(self.settings.lr * self._share**0.5 * typical / entries**0.5)

    @property
    def _share(self) -> float:
        """Of the new facts among all."""
        return len(self.new) / (len(self.new) + len(self.earlier))

    def whiten(self) -> None:
        """Go on in coordinates in which every direction costs text and retain prompts alike, by
        Polyak's steps. Cost: a forward and a backward pass over `curvature_tokens` and the retain
        prompts.
        """
        settings, layers = self.settings, list(self.parts)
        texts = text_prompts(self.model, self.texts, settings.curvature_tokens)
        text, near = (
            output_curvature(
                self.model,
                layers,
                padded_batches(prompts, lambda prompt: prompt, self.vocabulary.rows),
                self._logprobs,
                each=each,
                seed=settings.seed,
            )
            for prompts, each in ((texts, "position"), (self.near, "prompt"))
        )
        self.parts = {
            layer: part.whitened(whitening(text[layer] + near[layer], settings.damping))
            for layer, part in self.parts.items()
        }
        self.descent = PolyakDescent(self._variables(), settings.max_step * self._share**0.5)

    def step(self, pace: float) -> None:
        """One step at a share of its longest."""
        settings = self.settings
        wanted, kept = self._drawn()
        drawn = self.random.sample(
            self.texts,
            min(len(self.texts), settings.texts, 16 + 2 * (len(self.new) + len(self.earlier))),
        )
        texts = text_prompts(self.model, drawn, settings.text_tokens * len(drawn))
        near = self.random.sample(self.near, min(len(self.near), settings.near))
        terms = {"edit": wanted, "retain": kept, "neighbours": near, "text": texts}
        self.counts = {term: len(prompts) for term, prompts in terms.items()}
        weighted = [
            (prompt, term, getattr(self.objective, term) / len(prompts))
            for term, prompts in terms.items()
            for prompt in prompts
        ]
        self.seen = dict.fromkeys(self.seen, 0.0)
        for batch in self._batches(weighted):
            for term, total in self._backward(batch).items():
                self.seen[term] += total
        size = torch.stack([(part.R.norm() / part.size) ** 2 for part in self.parts.values()]).sum()
        self.objective(size=size).backward()
        loss = float(self.objective(**self.seen, size=float(size.detach())))
        if not math.isfinite(loss):
            raise EditError("the search diverged: shorter steps, or fewer edits, may hold")
        self.descent.step(loss, pace)
        self.objective = replace(
            self.objective, neighbours=self._followed("neighbours"), text=self._followed("text")
        )

    def _followed(self, term: str) -> float:
        """The weight of a term for the next step: more while its KL is above `drift`."""
        pace = PACE if self.seen[term] > self.settings.drift else 1 / PACE
        return min(100.0, max(1.0, float(getattr(self.objective, term)) * pace))

    def _logprobs(
        self, streams: Float[Tensor, "position d_model"], prompts: Sequence[TrainingPrompt]
    ) -> Float[Tensor, "position token"]:
        return self.vocabulary.logprobs(streams, self._rest(prompts))

    def numbers(self) -> dict[str, Any]:
        return {
            "text_weight": self.objective.text,
            "retain_weight": self.objective.neighbours,
            "retain_prompts": len(self.near),
            "retained": asked(self.model, self.near),
            **{f"last_{TERMS[term]}": value for term, value in self.seen.items()},
        }

    def _drawn(self) -> tuple[list[TrainingPrompt], list[TrainingPrompt]]:
        """Edit and retain prompts of some facts, at least half of them new."""
        most = self.settings.facts
        new = self.random.sample(
            self.new, min(len(self.new), max(most // 2, most - len(self.earlier)))
        )
        drawn = new + self.random.sample(self.earlier, min(len(self.earlier), most - len(new)))
        return [prompt for own in drawn for prompt in self._edit_prompts(own)], [
            prompt for own in drawn for prompt in self._retain_prompts(own)
        ]

    def _edit_prompts(self, prompts: Sequence[TrainingPrompt]) -> list[TrainingPrompt]:
        """Some of the prompt, bare or behind a context, and as many own phrasings."""
        found = [prompt for prompt in prompts if prompt.answer]
        prompts, own = found[: self.settings.contexts + 1], found[self.settings.contexts + 1 :]
        phrased = self.random.sample(own, min(len(own), self.settings.prompts // 2))
        return phrased + self.random.sample(
            prompts, min(len(prompts), self.settings.prompts - len(phrased))
        )

    def _retain_prompts(self, prompts: Sequence[TrainingPrompt]) -> list[TrainingPrompt]:
        found = [prompt for prompt in prompts if not prompt.answer]
        return self.random.sample(found, min(len(found), self.settings.prompts))

    def _batches(self, prompts: Sequence[Weighted]) -> Iterator[list[Weighted]]:
        return padded_batches(prompts, lambda item: item[0], self.vocabulary.rows)

    @torch.enable_grad()
    def _backward(self, batch: Sequence[Weighted]) -> dict[str, float]:
        """Add the gradients of one batch, each prompt with the mean over its positions and its
        weight.

        Returns each term's share of its mean, unweighted.
        """
        prompts, device = [prompt for prompt, _, _ in batch], self.model.device
        rest = self._rest(prompts)
        streams = self._streams(
            prompts, {layer: (part.Q, part.left) for layer, part in self.parts.items()}
        )
        after = self.vocabulary.logprobs(streams, rest)
        tokens = [
            self.vocabulary.place(token)
            for prompt in prompts
            for token in prompt.answer or [-1] * len(prompt.positions)
        ]
        target = torch.tensor(tokens, device=device)
        kept, before = target < 0, after[:0]
        if bool(kept.any()):
            before = self.vocabulary.logprobs(
                self._remembered([prompt for prompt in prompts if not prompt.answer]), rest[kept]
            )
        losses = token_losses(after, target, before)
        weights = torch.tensor(
            [
                weight / len(prompt.positions)
                for prompt, _, weight in batch
                for _ in prompt.positions
            ],
            device=device,
        )
        (losses * weights).sum().backward()
        totals = dict[str, float]()
        means = [
            part.mean()
            for part in losses.detach().split([len(prompt.positions) for prompt in prompts])
        ]
        for (_, term, _), value in zip(batch, torch.stack(means).tolist(), strict=True):
            totals[term] = totals.get(term, 0.0) + value / self.counts[term]
        return totals

    @torch.no_grad()
    def _remembered(self, prompts: Sequence[TrainingPrompt]) -> Float[Tensor, "position d_model"]:
        """The streams of the model as it is, which are the same in every step."""
        new = [prompt for prompt in prompts if prompt not in self.streams]
        if new:
            found = self._streams(new, {}).split([len(prompt.positions) for prompt in new])
            self.streams |= dict(zip(new, found, strict=True))
        return torch.cat([self.streams[prompt] for prompt in prompts])

    def _streams(
        self, prompts: Sequence[TrainingPrompt], changes: Changes
    ) -> Float[Tensor, "position d_model"]:
        """The last residual stream where prompts are read, with the changes in place.

        Shorter prompts are padded on the right, which nothing that is read attends to.
        """
        found: list[Tensor] = []

        def stop(resid: Tensor) -> None:
            found.append(resid)
            raise StopForward

        with (
            self.model.patched({**making(changes), f"resid_post.{self.model.n_layers - 1}": stop}),
            suppress(StopForward),
        ):
            self.model(self.model.padded([prompt.ids for prompt in prompts])[0])
        rows = [row for row, prompt in enumerate(prompts) for _ in prompt.positions]
        return found[0][rows, [p for prompt in prompts for p in prompt.positions]]

    def _rest(self, prompts: Sequence[TrainingPrompt]) -> Float[Tensor, " position"]:
        """The joint logit of the tokens without a column at each position (`Vocabulary.rest`);
        `OUT` for background text, which is compared on the columns alone.
        """
        rests = [
            torch.full((len(prompt.positions),), OUT, device=self.model.device)
            for prompt in prompts
        ]
        asked = [i for i, prompt in enumerate(prompts) if prompt.fact != TEXT]
        found = (
            self.vocabulary.rest([prompts[i] for i in asked]).split(
                [len(prompts[i].positions) for i in asked]
            )
            if asked
            else ()
        )
        for i, rest in zip(asked, found, strict=True):
            rests[i] = rest
        return torch.cat(rests)
