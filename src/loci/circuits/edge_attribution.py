"""Edges between parts: what a later part would do if an earlier one had told it, and it alone,
what it says in another prompt.

    δ_s     = what sender s writes in the corrupted run − in the clean run
    patched = score(clean run, where receiver r finds x + δ_s) − score(clean run)
            path patching
    estimate = Σ_positions δ_s · ∂score/∂(what r finds)
            edge attribution, all edges at once

Senders: `embed`, heads, MLPs. Receivers: queries, keys and values of heads (L1H3.q), MLPs,
`logits`. The path goes through the stream from s to r alone, whatever stands between them says what
it says in the clean run; behind r everything runs on. Shared keys and values belong to their group:
a path into one is a path into all its heads. score: logit of the answer's first token, less that of
`against`, or the mean logit. Both prompts must have the same number of tokens. Cost: two runs and
one backward pass for all estimates; one replay of the layers from r on for each sender patched.
Sources: Wang et al. 2022 and Goldowsky-Dill et al. 2023 (path patching); Syed et al. 2023
(attribution).
"""

from collections.abc import Callable, Sequence
from functools import cached_property, partial

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from loci.circuits.edge_scores import EdgeAttribution, EdgeScore
from loci.circuits.nodes import (
    SIDES,
    Node,
    before,
    check_top,
    normed,
    own_projection,
    parse_node,
    parse_receiver,
    senders_and_receivers,
    written,
)
from loci.errors import CircuitError
from loci.model import Edit, Model, Recording
from loci.model.answers import answer_row, finite, with_answer
from loci.model.hooks import put_at


def edges(
    model: Model,
    prompt: str,
    corrupted: str,
    answer: str,
    *,
    against: str | None = None,
    top: int = 20,
) -> EdgeAttribution:
    """Estimate the effect of every edge between two prompts, and path-patch the strongest.

    Args:
        model: an open model; it is left as it was.
        prompt: the clean prompt.
        corrupted: a prompt of as many tokens, whose activations are sent.
        answer: its first token is scored.
        against: an answer whose first token's logit is subtracted; None: the mean logit.
        top: edges that are patched one by one.

    Returns: `EdgeAttribution`: estimates as [sender, receiver], and exact effects of the `top`.
    Raises: `CircuitError` for prompts of different lengths, `FactError` for answers that begin
        alike.
    Cost: Two runs, one backward pass, and a replay of the layers above for each patched edge.
    Source: Wang et al. 2022; Syed et al. 2023.
    """
    check_top(top)
    return PromptPair(model, prompt, corrupted, answer, against).strongest(top)


class PromptPair:
    """Two prompts of equal length, run, and what every part writes in each."""

    def __init__(
        self, model: Model, prompt: str, corrupted: str, answer: str, against: str | None = None
    ) -> None:
        if not model.n_layers:
            raise CircuitError(
                f"{model.name!r} has no layers: its only path is from the embedding to the logits, "
                "as `paths` says"
            )
        self.model, self.prompt, self.corrupted, self.answer, self.against = (
            model,
            prompt,
            corrupted,
            answer,
            against,
        )
        if prompt == corrupted:
            raise CircuitError(
                "the corrupted prompt is the prompt itself: nothing that it says is different"
            )
        tokens, (start, _) = with_answer(model, prompt, answer)
        others, (other_start, _) = with_answer(model, corrupted, answer)
        if start != other_start:
            raise CircuitError(
                f"the prompts must have equally many tokens, and have {start} and {other_start}: "
                "path patching compares position by position"
            )
        self.ids, self.corrupted_ids = (
            model.ids([tokens.ids[:start]]),
            model.ids([others.ids[:start]]),
        )
        self.row = answer_row(model, prompt, answer, against) - (
            1 / model.d_vocab if against is None else 0
        )

    def score(self, logits: Float[Tensor, "row position d_vocab"]) -> Float[Tensor, " row"]:
        """Of the answer at the last position."""
        return logits[:, -1].float() @ self.row

    @cached_property
    def run(self) -> Recording:
        with self.model.eager():
            return self.model.record(self.ids, last=1)

    @cached_property
    def clean_score(self) -> float:
        return float(self.score(finite(self.run.logits, self.model)))

    @cached_property
    def corrupt_score(self) -> float:
        with torch.no_grad():
            return float(self.score(finite(self.model(self.corrupted_ids, last=1), self.model)))

    @cached_property
    def clean(self) -> dict[str, Tensor]:
        return self._reads(self.ids)

    @cached_property
    def deltas(self) -> dict[str, Float[Tensor, "position d_model"]]:
        """Each sender's output in the corrupted run less that in the clean run."""
        corrupted, senders = self._reads(self.corrupted_ids), senders_and_receivers(self.model)[0]
        clean, other = (written(self.model, reads, senders) for reads in (self.clean, corrupted))
        return {name: other[name] - clean[name] for name in clean}

    @torch.no_grad()
    def _reads(self, ids: Int[Tensor, "one position"]) -> dict[str, Tensor]:
        stems = ["resid_pre", "resid_post", "z", "mlp_out"] + ["attn_raw"] * bool(
            self.model.layout.attn_post
        )
        stems += [] if self.model.layout.parallel else ["resid_mid"]
        return {
            name: tensor[0]
            for name, tensor in self.model.read(ids, *self.model.names(*stems)).items()
        }

    def reads(self, receiver: Node) -> Float[Tensor, "position d_model"]:
        """The stream as a receiver finds it in the clean run."""
        if receiver.name == "logits":
            return self.clean[f"resid_post.{self.model.n_layers - 1}"]
        middle = receiver.head is None and not self.model.layout.parallel
        return self.clean[f"{'resid_mid' if middle else 'resid_pre'}.{receiver.layer}"]

    def edge(self, sender: str, receiver: str) -> EdgeAttribution:
        """One edge alone, estimated and patched.

        Raises `CircuitError` where no path leads there.
        """
        effect = self.patch(sender, receiver)
        s, r = parse_node(sender, self.model), parse_node(receiver, self.model)
        estimates = self.attribution([s], [r])
        return self.result(
            [s], [r], estimates, [EdgeScore(sender, receiver, float(estimates), effect)]
        )

    def strongest(self, count: int) -> EdgeAttribution:
        """All edges estimated, and so many of them patched."""
        senders, receivers = senders_and_receivers(self.model)
        estimates = self.attribution(senders, receivers)
        exact = []
        for place in (
            estimates.nan_to_num().abs().flatten().argsort(descending=True)[:count].tolist()
        ):
            s, r = senders[place // len(receivers)].name, receivers[place % len(receivers)].name
            exact.append(EdgeScore(s, r, float(estimates.flatten()[place]), self.patch(s, r)))
        return self.result(senders, receivers, estimates, exact)

    def result(
        self,
        senders: Sequence[Node],
        receivers: Sequence[Node],
        estimates: Tensor,
        top: Sequence[EdgeScore],
    ) -> EdgeAttribution:
        return EdgeAttribution(
            model=self.model.name,
            bos=self.model.with_bos,
            prompt=self.prompt,
            corrupted=self.corrupted,
            answer=self.answer,
            against=self.against,
            clean=self.clean_score,
            corrupt=self.corrupt_score,
            senders=tuple(part.name for part in senders),
            receivers=tuple(part.name for part in receivers),
            estimates=estimates,
            top=tuple(top),
        )

    @torch.no_grad()
    def patch(self, sender: str, receiver: str) -> float:
        """The exact effect of one path on the score.

        Raises `CircuitError` where the sender does not stand before the receiver, and for a head
        without the input by which it reads.
        """
        s, r = parse_node(sender, self.model), parse_receiver(receiver, self.model)
        if s.name not in self.deltas or not before(self.model, s, r):
            raise CircuitError(f"{sender} does not stand before {receiver}: no path leads there")
        return float(self.patched(r, self.deltas[s.name][None])) - self.clean_score

    @torch.no_grad()
    def patched(
        self, r: Node, deltas: Float[Tensor, "row position d_model"]
    ) -> Float[Tensor, " row"]:
        """Scores where a receiver finds the clean stream and each of these besides, one a row."""
        x = (self.reads(r) + deltas).to(self.model.dtype)
        if r.name == "logits":
            return self.score(self.model.unembed(x[:, -1:]))
        run = self.run  # made before anything is patched
        with self.model.patched(self._instead(r, x)):
            return self.score(
                run.replay(r.layer, run.resid_pre(r.layer).expand(len(x), -1, -1), last=1)
            )

    def _instead(self, r: Node, x: Tensor) -> dict[str, Edit]:
        """A receiver's output on another stream, in the place of its own."""
        if r.head is None:
            return {f"mlp_in.{r.layer}": lambda _: normed(self.model, "mlp_norm", r.layer, x)}
        side, slot = (
            str(r.side),
            r.head if r.side == "q" else r.head // (self.model.n_heads // self.model.n_kv_heads),
        )
        W, b = own_projection(self.model, side, r.layer)
        made = normed(self.model, "attn_norm", r.layer, x) @ W[slot].T + b[slot]
        return {f"{side}.{r.layer}": put_at(made, slice(None), slice(None), slot)}

    def attribution(
        self, senders: Sequence[Node], receivers: Sequence[Node]
    ) -> Float[Tensor, "sender receiver"]:
        """Estimates of all edges, from one backward pass."""
        gradients = self.gradients(receivers)
        deltas = torch.stack([self.deltas[part.name] for part in senders])
        estimates = einsum(
            deltas, torch.stack([gradients[part.name] for part in receivers]), "s p d, r p d -> s r"
        ).cpu()
        apart = torch.tensor([[not before(self.model, s, r) for r in receivers] for s in senders])
        return estimates.masked_fill(apart, torch.nan)

    def gradients(self, receivers: Sequence[Node]) -> dict[str, Float[Tensor, "position d_model"]]:
        """∂score/∂(what each receiver finds), through its norm and its projection."""
        model, held = self.model, {}

        def keep(name: str, tensor: Tensor) -> Tensor:
            held[name] = tensor.clone()
            return held[name]

        points = model.names(*SIDES, "mlp_in")
        with (
            torch.enable_grad(),
            model.patched({name: partial(keep, name) for name in [*points, "final"]}),
        ):
            score = self.score(model(self.ids, last=1))
            slopes = dict(
                zip(held, torch.autograd.grad(score.sum(), list(held.values())), strict=True)
            )
        return {r.name: self._gradient(r, slopes) for r in receivers}

    def _gradient(self, r: Node, slopes: dict[str, Tensor]) -> Float[Tensor, "position d_model"]:
        x = self.reads(r)
        if r.name == "logits":
            return pulled(
                lambda y: normed(self.model, "final_norm", None, y), x, slopes["final"][0]
            )
        if r.head is None:
            return pulled(
                lambda y: normed(self.model, "mlp_norm", r.layer, y),
                x,
                slopes[f"mlp_in.{r.layer}"][0],
            )
        slot = r.head if r.side == "q" else r.head // (self.model.n_heads // self.model.n_kv_heads)
        W, _ = own_projection(self.model, str(r.side), r.layer)
        back = slopes[f"{r.side}.{r.layer}"][0, :, slot] @ W[slot]
        return pulled(lambda y: normed(self.model, "attn_norm", r.layer, y), x, back)


def pulled(function: Callable[[Tensor], Tensor], x: Tensor, slope: Tensor) -> Tensor:
    """slope · ∂function/∂x at x."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (pulled_back,) = torch.autograd.grad(function(x), x, slope)
    return pulled_back.float()
