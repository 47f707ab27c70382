"""How a fact comes from the subject to the answer: which heads carry it, and what they carry.

    u = the answer's first token through the final norm held (less `against`'s, where one is said)
    head h, direct        Σ_{p in subject} A_h[last, p] u · W_OV x_p
            what it writes for the answer, read at the subject
    head h, lost          1 − P(cut) / P, the last token blind to the subject in that head alone
    neuron i at p, via h  act_i(p) · A_h[last, p] u · W_OV v_i
            virtual weight of its value through the head

Directs and virtual weights are paths (see `path_expansion`): exact parts of the answer's score with
patterns and norms as they were, through one head each. The loss is causal: it has what further
layers make of the head's output, and what they make up for. So the two may differ, and heads with a
large direct part need not be needed. Cost: one run, one pullback a layer, one replay of n_heads
rows a layer.
Sources: Geva et al. 2023 (attribute extraction); Elhage et al. 2021 (virtual weights).
"""

from collections.abc import Sequence

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from loci.circuits.attention_patterns import patterns_on
from loci.circuits.fact_circuit_results import FactCircuit, FactHead, ValueRole
from loci.circuits.frozen_run import FrozenRun, freeze
from loci.errors import CircuitError
from loci.facts import Fact
from loci.model import Model
from loci.model.answers import answer_row, with_answer
from loci.model.frozen_norm import FrozenNorm
from loci.model.hooks import hiding
from loci.model.names import head_name, neuron_name, parse_head

NEURONS, SHOWN = 12, 4


@torch.no_grad()
def fact_circuit(
    model: Model,
    fact: Fact,
    *,
    against: str | None = None,
    neurons: int = NEURONS,
    shown: int = SHOWN,
) -> FactCircuit:
    """Which heads move a fact from its subject to the last token, and what they move.

    Args:
        model: an open model; it is left as it was.
        fact: known to the model or not.
        against: an answer whose first token's logit is subtracted.
        neurons: neurons at the subject that are listed.
        shown: heads whose patterns are kept and that are cut together.

    Returns: `FactCircuit`.
    Raises: `ModelError` where patterns cannot be seen, `CircuitError` for a model without heads.
    Cost: One run, one pullback a layer, and one replay of n_heads rows a layer.
    Source: Geva et al. 2023; Elhage et al. 2021.
    """
    if not model.n_layers:
        raise CircuitError(
            f"{model.name!r} has no heads: nothing is carried from one token to another"
        )
    tokens, (start, _) = with_answer(model, fact.text, fact.answer)
    span = tokens.span(fact.subject_span)
    ids = model.ids([tokens.ids[:start]])
    frozen, row = freeze(model, ids), answer_row(model, fact.text, fact.answer, against)
    end = frozen.asked(row)
    backs = [layer.back(end)[:, 0] for layer in frozen.layers]
    target = tokens.ids[start]
    probability = float(frozen.logits[0, -1].softmax(-1)[target])
    carriers = _carriers(frozen, backs, span, _losses(model, ids, target, span, probability))
    best = [parse_head(carrier.head, model) for carrier in carriers[:shown]]
    return FactCircuit(
        model=model.name,
        bos=model.with_bos,
        prompt=fact.text,
        subject=fact.subject,
        answer=fact.answer,
        against=against,
        tokens=tokens.labels[:start],
        subject_span=span,
        probability=probability,
        score=float(row @ frozen.logits[0, -1]),
        heads=carriers,
        writers=_writers(frozen, backs, best, span),
        neurons=_neurons(model, ids, backs, best, span, neurons),
        together=_together(model, ids, target, span, best, probability),
        patterns=patterns_on(model, fact.text, tokens.ids[:start], tokens.labels[:start], best),
    )


def _carriers(
    frozen: FrozenRun,
    backs: Sequence[Tensor],
    span: tuple[int, int],
    lost: Sequence[Sequence[float]],
) -> tuple[FactHead, ...]:
    """All heads, the strongest direct parts first."""
    heads, subject = [], slice(*span)
    for index, (layer, back) in enumerate(zip(frozen.layers, backs, strict=True)):
        for h, parts in enumerate(einsum(back, layer.stream[0], "h p d, p d -> h p")):
            attention, direct = (
                float(layer.patterns[0, h, -1, subject].sum()),
                float(parts[subject].sum()),
            )
            heads.append(
                FactHead(
                    head_name(index, h),
                    attention,
                    direct,
                    float(parts.sum()) - direct,
                    lost[index][h],
                )
            )
    return tuple(sorted(heads, key=lambda carrier: -abs(carrier.direct)))


def _losses(
    model: Model, ids: Tensor, target: int, span: tuple[int, int], whole: float
) -> list[list[float]]:
    """[layer][head] 1 − P(cut) / P; all heads of a layer as rows of one replay."""
    with model.eager():
        run = model.record(ids, logits=False)
    each = torch.arange(model.n_heads)
    losses = []
    for layer in range(model.n_layers):
        with model.patched({f"attn_scores.{layer}": hiding(each, each, -1, slice(*span))}):
            logits = run.replay(layer, run.resid_pre(layer).expand(model.n_heads, -1, -1), last=1)
        losses.append((1 - logits[:, -1].float().softmax(-1)[:, target] / whole).tolist())
    return losses


def _together(
    model: Model,
    ids: Tensor,
    target: int,
    span: tuple[int, int],
    heads: Sequence[tuple[int, int]],
    whole: float,
) -> float:
    """1 − P(cut) / P with all these heads cut in one run."""
    by_layer: dict[int, list[int]] = {}
    for layer, h in heads:
        by_layer.setdefault(layer, []).append(h)
    blind = {
        f"attn_scores.{layer}": hiding(slice(None), chosen, -1, slice(*span))
        for layer, chosen in by_layer.items()
    }
    with model.eager(), model.patched(blind):
        return 1 - float(model(ids, last=1)[0, -1].float().softmax(-1)[target]) / whole


def _writers(
    frozen: FrozenRun,
    backs: Sequence[Tensor],
    heads: Sequence[tuple[int, int]],
    span: tuple[int, int],
) -> dict[str, dict[str, float]]:
    """Each start's contribution at the subject through single heads."""
    starts = {"embedding": frozen.start[0]} | {
        f"L{index}MLP": layer.mlp[0] for index, layer in enumerate(frozen.layers)
    }
    where = slice(*span)
    by_start: dict[str, dict[str, float]] = {}
    for below, (name, stream) in enumerate(starts.items()):
        for layer, h in heads:
            if layer >= below:
                by_start.setdefault(name, {})[head_name(layer, h)] = float(
                    (backs[layer][h, where] * stream[where]).sum()
                )
    return by_start


def _neurons(
    model: Model,
    ids: Tensor,
    backs: Sequence[Tensor],
    heads: Sequence[tuple[int, int]],
    span: tuple[int, int],
    count: int,
) -> tuple[ValueRole, ...]:
    """The neurons at the subject whose values add most through the heads above them."""
    if not model.has("mlp_act"):
        return ()
    stems = ["mlp_act"] + ["mlp_raw"] * bool(model.layout.mlp_post)
    reads = {name: read[0].float() for name, read in model.read(ids, *model.names(*stems)).items()}
    roles = []
    above = torch.zeros_like(backs[0][0])
    for layer in reversed(range(model.n_layers)):
        act = reads[f"mlp_act.{layer}"]
        after = FrozenNorm(model, "mlp_post", layer, reads.get(f"mlp_raw.{layer}", above))
        values = model.W_down(layer).float()

        def weights(
            g: Tensor, after: FrozenNorm = after, values: Tensor = values
        ) -> Float[Tensor, "position d_mlp"]:
            return after.read(g) @ values

        totals = (act * weights(above))[slice(*span)]
        for place in totals.abs().flatten().topk(min(count, totals.numel())).indices.tolist():
            token, neuron = divmod(place, totals.shape[1])
            p = span[0] + token
            through = {
                head_name(later, h): float(act[p, neuron] * weights(backs[later][h])[p, neuron])
                for later, h in heads
                if later > layer
            }
            roles.append(
                ValueRole(
                    neuron_name(layer, neuron),
                    p,
                    float(act[p, neuron]),
                    through,
                    float(totals[token, neuron]),
                )
            )
        above = above + backs[layer].sum(0)
    return tuple(sorted(roles, key=lambda role: -abs(role.total))[:count])
