"""ROME, MEMIT, AlphaEdit and constrained fine-tuning as published: plain implementations of the
procedures, for comparison alone.

Nothing of Loci's editors is used but the second moments C = E[k kᵀ], which all methods take of the
same text, and the patch as the form of a result. Settings are the papers' for GPT-J; layers are
moved to the same share of the depth. Prefixes of prompts are texts that the model samples, as
published. MEMIT and AlphaEdit have the same targets there, which are searched once for both. Where
a norm stands behind the MLP (Gemma), W_down does not write into the stream, and what they spread
over layers would be lost in the norms: δ is then sought in the MLP's own output, with ROME's limit,
and written at the last of the layers.

    v*   Adam, lr .5, 20 (ROME) or 25 steps, δ at the last subject token, from 0, in the MLP's
         output (ROME) or the block's (MEMIT, AlphaEdit), ‖δ‖ ≤ 4 ‖h‖ or .75 ‖h‖,
         loss: −log P(new answer) over prefixes + .0625 KL at "{subject} is a" + .5 ‖δ‖ / ‖h‖²
    ROME       one layer:  Δ = (v* − W k) (C⁻¹k)ᵀ / (kᵀ C⁻¹ k)
    MEMIT      layers l:   Δ = R Kᵀ (λ C + K Kᵀ)⁻¹,  λ = 15,000, R shared among the layers that are
               left
    AlphaEdit  layers l:   Δ = R Kᵀ P (K Kᵀ P + 10)⁻¹,  P onto the directions of C with eigenvalue
               below .02
    FT-L       one layer:  Adam on W_down, lr 5e-4, 25 steps, |Δ| ≤ 5e-5 in every entry

Sources: Meng et al. 2022 and 2023, Fang et al. 2025, and the hyperparameter files of their
repositories.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div

from loci.editing import key_moments
from loci.facts import Fact
from loci.model import Model
from loci.patches import Factors, Patch

DEPTHS = {
    "rome": (5 / 28,),
    "memit": tuple(x / 28 for x in range(3, 9)),
    "alphaedit": tuple(x / 28 for x in range(3, 9)),
    "ft-l": (5 / 28,),
}
PUBLISHED = tuple(DEPTHS)
PREFIXES = 5


class Prompt(NamedTuple):
    """A prompt with its new answer, as tokens."""

    ids: list[int]
    subject: int
    """Position of the last subject token."""
    answer: list[int]


def layers_of(model: Model, method: str) -> list[int]:
    """The published layers at the same share of the depth; the last of them alone where a norm
    stands behind the MLP.
    """
    layers = sorted(
        {min(model.n_layers - 1, round(share * model.n_layers)) for share in DEPTHS[method]}
    )
    return layers[-1:] if model.layout.mlp_post else layers


def prompt_of(model: Model, text: str, subject: str, answer: str) -> Prompt:
    tokens, start = model.tokenize(text), text.rindex(subject)
    last = tokens.span((start, start + len(subject)))[1] - 1
    whole = list(model.tokenize(f"{text} {answer}").ids)
    return Prompt(list(tokens.ids), last, whole[len(tokens.ids) :])


def prompts_of(model: Model, fact: Fact, prefixes: Sequence[str]) -> list[Prompt]:
    texts = [fact.text, *(f"{prefix} {fact.text}" for prefix in prefixes)]
    return [prompt_of(model, text, fact.subject, fact.new_answer or "") for text in texts]


def bare_prompts(model: Model, facts: Sequence[Fact]) -> list[Prompt]:
    return [prompt_of(model, fact.text, fact.subject, fact.new_answer or "") for fact in facts]


def answers_in(prompts: Sequence[Prompt]) -> Tensor:
    """Row, column and token of each answer token, [3, token]; the column is the one before it."""
    return torch.tensor(
        [(i, len(p.ids) - 1 + j, t) for i, p in enumerate(prompts) for j, t in enumerate(p.answer)]
    ).T


def padded(model: Model, rows: Sequence[Sequence[int]]) -> Tensor:
    width = max(map(len, rows))
    return model.ids([[*row, *[model.pad] * (width - len(row))] for row in rows])


def run(
    model: Model, ids: Tensor, module: torch.nn.Module, hook: Callable[..., Tensor | None]
) -> Tensor:
    """Last hidden states, normed, with a hook on one module."""
    handle = module.register_forward_hook(hook)
    try:
        base: torch.nn.Module = model.hf.get_submodule(model.hf.base_model_prefix)
        states: Tensor = base(input_ids=ids, use_cache=False).last_hidden_state
        return states
    finally:
        handle.remove()


def logits(model: Model, states: Tensor) -> Tensor:
    head = model.module("unembed")
    found: Tensor = head(states)
    return model.capped(found)


def value_for(
    model: Model,
    fact: Fact,
    prompts: Sequence[Prompt],
    layer: int,
    *,
    block: bool,
    steps: int,
    clamp: float,
) -> Tensor:
    """δ at the last subject token, by the published search."""
    module = model.blocks[layer] if block else model.module("down", layer)
    essence = prompt_of(model, f"{fact.subject} is a", fact.subject, "")
    rows = [*([*p.ids, *p.answer] for p in prompts), essence.ids]
    at = torch.tensor([*(p.subject for p in prompts), essence.subject])
    ids, delta = padded(model, rows), torch.zeros(model.d_model, requires_grad=True)
    seen: list[float] = []

    def add(_: object, __: object, out: Tensor | tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
        here = out[0] if isinstance(out, tuple) else out
        if not seen:
            seen.append(float(here[0, at[0]].norm()))
        moved = here.index_put(
            (torch.arange(len(rows)), at), here[torch.arange(len(rows)), at] + delta
        )
        return (moved, *out[1:]) if isinstance(out, tuple) else moved

    optimiser, before = torch.optim.Adam([delta], lr=0.5), None
    row, column, target = answers_in(prompts)
    for _ in range(steps):
        states = run(model, ids, module, add)
        said = logits(model, states[-1, len(essence.ids) - 1]).log_softmax(-1)
        before = said.detach() if before is None else before
        loss = cross_entropy(logits(model, states[row, column]), target)
        size = 0.5 * delta.norm() / seen[0] ** 2
        total = loss + 0.0625 * kl_div(before, said, log_target=True, reduction="sum") + size
        if float(loss.detach()) < 5e-2:
            break
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        with torch.no_grad():
            delta *= min(1.0, clamp * seen[0] / max(float(delta.norm()), 1e-9))
    return delta.detach()


@torch.no_grad()
def reads(
    model: Model, facts: Sequence[Sequence[Prompt]], layer: int, last: int
) -> tuple[Tensor, Tensor]:
    """Mean keys at a layer and mean streams behind another one, at the subjects: [d_mlp, fact] and
    [d_model, fact].
    """
    keys, streams = [], []
    for prompts in facts:
        ids = padded(model, [p.ids for p in prompts])
        with model.watch(f"mlp_act.{layer}", f"resid_post.{last}") as seen:
            model.visit(ids, {f"resid_post.{max(layer, last)}": lambda _: None})
        at = torch.tensor([p.subject for p in prompts])
        keys.append(seen[f"mlp_act.{layer}"][torch.arange(len(prompts)), at].mean(0))
        streams.append(seen[f"resid_post.{last}"][torch.arange(len(prompts)), at].mean(0))
    return torch.stack(keys, 1).double(), torch.stack(streams, 1).double()


def published(
    model: Model,
    facts: Sequence[Fact],
    method: str,
    prefixes: Sequence[str],
    targets: dict[int, list[Tensor]] | None = None,
) -> Patch:
    """A patch by one of the published procedures. Several facts of ROME are edited one after the
    other. `targets` keeps δ by layer, for MEMIT and AlphaEdit of the same facts.
    """
    layers = layers_of(model, method)
    with model.frozen():
        if method == "ft-l":
            factors = fine_tuned(model, facts, layers[0])
        elif method == "rome":
            factors = rome(model, facts, layers[0], prefixes)
        else:
            factors = spread(
                model, facts, layers, method, prefixes, {} if targets is None else targets
            )
    return Patch(method, model.fingerprint, model.name, factors, tuple(facts), {"layers": layers})


def rome(
    model: Model, facts: Sequence[Fact], layer: int, prefixes: Sequence[str]
) -> dict[str, Factors]:
    C = key_moments(model, [layer])[layer].double()
    C = C + 1e-6 * C.diagonal().mean() * torch.eye(len(C), dtype=C.dtype)
    W, name = model.weight(f"W_down.{layer}"), f"W_down.{layer}"
    before, parts = W.clone(), []
    for fact in facts:
        prompts = prompts_of(model, fact, prefixes)
        delta = value_for(model, fact, prompts, layer, block=False, steps=20, clamp=4.0).double()
        k = reads(model, [prompts], layer, layer)[0]
        u = torch.linalg.solve(C, k)
        parts.append(Factors(delta[:, None].float(), (u / (k * u).sum()).T.float()))
        with torch.no_grad():
            W += parts[-1].delta.to(W.dtype)
    with torch.no_grad():
        W.copy_(before)
    return {
        name: Factors(torch.cat([p.left for p in parts], 1), torch.cat([p.right for p in parts]))
    }


def spread(
    model: Model,
    facts: Sequence[Fact],
    layers: Sequence[int],
    method: str,
    prefixes: Sequence[str],
    targets: dict[int, list[Tensor]],
) -> dict[str, Factors]:
    """MEMIT and AlphaEdit: targets at the last layer, met a share at a time."""
    moments = key_moments(model, layers)
    prompts = [prompts_of(model, fact, prefixes) for fact in facts]
    last, found, inside = layers[-1], dict[str, Factors](), model.layout.mlp_post
    if last not in targets:
        targets[last] = [
            value_for(model, f, p, last, block=not inside, steps=25, clamp=4.0 if inside else 0.75)
            for f, p in zip(facts, prompts, strict=True)
        ]
    wished = torch.stack(targets[last], 1).double() + reads(model, prompts, last, last)[1]
    before = {layer: model.weight(f"W_down.{layer}").clone() for layer in layers}
    for done, layer in enumerate(layers):
        K, stands = reads(model, prompts, layer, last)
        R, C = (wished - stands) / (len(layers) - done), moments[layer].double()
        if method == "memit":
            right = torch.linalg.solve(
                15_000 * C + K @ K.T + 1e-6 * torch.eye(len(C), dtype=C.dtype), K
            ).T
        else:
            values, vectors = torch.linalg.eigh(C)
            P = vectors[:, values < 0.02] @ vectors[:, values < 0.02].T
            right = torch.linalg.solve(P @ K @ K.T + 10 * torch.eye(len(C), dtype=C.dtype), P @ K).T
        found[f"W_down.{layer}"] = Factors(R.float(), right.float())
        with torch.no_grad():
            model.weight(f"W_down.{layer}").add_((R @ right).float())
    with torch.no_grad():
        for layer, weight in before.items():
            model.weight(f"W_down.{layer}").copy_(weight)
    return found


def fine_tuned(model: Model, facts: Sequence[Fact], layer: int) -> dict[str, Factors]:
    """FT-L on the bare prompts."""
    prompts = bare_prompts(model, facts)
    ids = padded(model, [[*p.ids, *p.answer] for p in prompts])
    row, column, target = answers_in(prompts)
    change = torch.zeros(model.weight(f"W_down.{layer}").shape, requires_grad=True)
    optimiser = torch.optim.Adam([change], lr=5e-4)

    def add(module: torch.nn.Module, args: tuple[Tensor, ...], out: Tensor) -> Tensor:
        return out + args[0] @ change.T

    for _ in range(25):
        states = run(model, ids, model.module("down", layer), add)
        loss = cross_entropy(logits(model, states[row, column]), target)
        if float(loss.detach()) < 1e-2:
            break
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            change.clamp_(-5e-5, 5e-5)
    return {f"W_down.{layer}": Factors(torch.eye(len(change)), change.detach())}
