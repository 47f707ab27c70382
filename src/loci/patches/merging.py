"""Patches made of patches: several of one base as one, Δ = Σ Δᵢ, after a check for conflicts; and
one cut to a smaller rank.

Two edits of the same question cannot both hold, so they are refused until somebody says which wins.
The losing fact is taken out of its patch: the whole patch where it has no other, else its key k
alone,

    Δ' = L (I − P) R  with P R k = R k of the losing facts and P R k' = 0 for all others of the
                      patch

so that Δ'k = 0 and Δ'k' = Δk'. Keys come from the model; without it, a patch with other facts
cannot lose one.

Even without conflicts patches disturb each other: ‖Δᵢ Kⱼ‖ / ‖Δⱼ Kⱼ‖ is how much change i adds at
the keys of patch j, relative to what j does there (`interaction.py`). Where there is no model to
ask for keys, the cosine of the changes is all that can be said.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import PatchError
from loci.facts import Conflict, Fact, conflicts
from loci.linalg import pseudo_inverse
from loci.model import Model, at_subjects
from loci.patches.factors import Factors, cosine, distance, joined, truncated
from loci.patches.patch import Patch, lineage, short

INPUT = {"W_down": "mlp_act", "W_up": "mlp_in", "W_gate": "mlp_in"}


def keys_of(
    model: Model, facts: Sequence[Fact], names: Sequence[str]
) -> dict[str, Float[Tensor, "in n"]]:
    """The facts' keys at each of some weights (`W_down.3`), columns in the order of the facts: the
    weight's input at the subject's last token, in the bare prompt. Cost: one run of every prompt.

        k = act(W_up x)   for W_down        k = norm(resid)   for W_up and W_gate

    Edits take means of such keys over several contexts; the bare one is near them.
    """
    points = {name: f"{INPUT[name.partition('.')[0]]}.{name.partition('.')[2]}" for name in names}
    activations = at_subjects(model, facts, *points.values())
    return {name: activations[point].double().T for name, point in points.items()}


def compress(patch: Patch, rank: int) -> Patch:
    """The patch with every change cut to `rank`. `numbers["error"]`: ‖Δ − Δ'‖ / ‖Δ‖ by weight, of
    what is written (float32).
    """
    patch.check_factors_only("compressed")
    factors = {name: truncated(f, rank) for name, f in patch.factors.items()}
    numbers: dict[str, Any] = {
        "parents": lineage(patch),
        "rank": {name: f.rank for name, f in factors.items()},
        "error": {name: distance(patch.factors[name], f) for name, f in factors.items()},
    }
    return Patch("compress", patch.base, patch.base_name, factors, patch.facts, numbers)


Keep = Literal["first", "last"]
SAME = 1e-6
"""Singular values of R K below this share of the largest: keys that a patch cannot tell apart."""


def merge(
    patches: Sequence[Patch], *, keep: Keep | None = None, model: Model | None = None
) -> Patch:
    """One patch that does what all do. `keep` says whose edit wins where two ask the same; `model`,
    the base, is asked for keys.

        loci.merge([first, second], keep="last", model=model)

    Raises `PatchError` where bases differ, where edits conflict and `keep` is not said, and where a
    losing fact cannot be taken out. `numbers` of the result: parents, dropped, and interaction by
    weight, [i][j] as above.
    """
    _check(patches, model)
    clashes = [
        (i, j, c)
        for j in range(len(patches))
        for i in range(j)
        for c in conflicts(patches[i].facts, patches[j].facts)
    ]
    if clashes and keep is None:
        raise PatchError(_listed(clashes))
    lose = {(j, c.second) if keep == "first" else (i, c.first) for i, j, c in clashes}
    losers = [
        [fact for fact in patch.facts if (i, fact) in lose] for i, patch in enumerate(patches)
    ]
    kept = [_without(patch, lost, model) for patch, lost in zip(patches, losers, strict=True)]
    parts = [patch for patch in kept if patch.factors]
    names = sorted({name for patch in parts for name in patch.factors})
    numbers: dict[str, Any] = {
        "parents": lineage(*patches),
        "dropped": [fact.to_dict() for lost in losers for fact in lost],
        "interaction": {name: _interaction(name, kept, model) for name in names},
    }
    factors = {
        name: joined([patch.factors[name] for patch in parts if name in patch.factors])
        for name in names
    }
    facts = tuple(fact for patch in kept for fact in patch.facts)
    return Patch("merge", patches[0].base, patches[0].base_name, factors, facts, numbers)


def _check(patches: Sequence[Patch], model: Model | None) -> None:
    if len(patches) < 2:
        raise PatchError("a merge needs two patches or more")
    for patch in patches:
        patch.check_factors_only("merged")
    for patch in patches[1:]:
        if patch.base != patches[0].base:
            raise PatchError(
                f"patches of different bases do not merge: {patches[0].id} was made on"
                f" {patches[0].base_name!r} {short(patches[0].base)}, {patch.id} on"
                f" {patch.base_name!r} {short(patch.base)}"
            )
        for name in patch.factors.keys() & patches[0].factors.keys():
            if patch.factors[name].shape != patches[0].factors[name].shape:
                raise PatchError(
                    f"{name} is {patches[0].factors[name].shape} in one patch and"
                    f" {patch.factors[name].shape} in another"
                )
    twice = [patch.id for i, patch in enumerate(patches) if patch.id in {p.id for p in patches[:i]}]
    if twice:
        raise PatchError(f"the patch {twice[0]} stands twice among those to merge")
    if model is not None:
        patches[0].check_base(model)


def _listed(conflicts: list[tuple[int, int, Conflict]]) -> str:
    shown = "; ".join(
        f"{conflict} (patches {i + 1} and {j + 1})" for i, j, conflict in conflicts[:5]
    )
    more = f"; and {len(conflicts) - 5} more" if len(conflicts) > 5 else ""
    return (
        f"{len(conflicts)} edit{'s' * (len(conflicts) > 1)} ask the same: {shown}{more}. Say"
        " which wins:"
        " keep='first' or 'last' (--keep)"
    )


def _without(patch: Patch, lost: Sequence[Fact], model: Model | None) -> Patch:
    """The patch without some of its facts. Raises `PatchError` where it has others and there is no
    model to ask for keys.
    """
    if not lost:
        return patch
    rest = tuple(fact for fact in patch.facts if fact not in lost)
    if not rest:
        return Patch(patch.method, patch.base, patch.base_name, {}, (), patch.numbers)
    if model is None:
        raise PatchError(
            f"{len(lost)} of the {len(patch.facts)} facts of patch {patch.id} lose: to take them"
            " out and leave the others, the base is needed (--model)"
        )
    keys = keys_of(model, [*lost, *rest], list(patch.factors))
    factors = {
        name: silenced(f, keys[name][:, : len(lost)], keys[name][:, len(lost) :])
        for name, f in patch.factors.items()
    }
    return Patch(patch.method, patch.base, patch.base_name, factors, rest, patch.numbers)


def silenced(factors: Factors, lost: Float[Tensor, "in n"], kept: Float[Tensor, "in m"]) -> Factors:
    """A change that is nothing at the keys `lost` and as it was at `kept`. Raises `PatchError`
    where it cannot tell them apart.
    """
    lefts, rights = factors.left.double(), factors.right.double()
    A = rights @ torch.cat([lost, kept], 1).double()
    inverse = pseudo_inverse(A, SAME, "what the patch does at its keys")
    n = lost.shape[1]
    left = lefts - lefts @ A[:, :n] @ inverse[:n]
    reach = (lefts @ A).norm(dim=0)
    wanted = torch.cat([torch.zeros_like(A[:, :n]), A[:, n:]], 1)
    error = (left @ A - lefts @ wanted).norm(dim=0)
    if bool((error > 1e-3 * reach.max()).any()):
        raise PatchError(
            "the facts that lose share their keys with facts that stay: this patch cannot do one"
            " without the other"
        )
    return Factors(left.float(), factors.right)


def _interaction(
    name: str, patches: Sequence[Patch], model: Model | None
) -> dict[str, list[list[float]]]:
    """Matrices over the patches, [i][j]: cosine of the changes, and with a model how change i
    answers to the keys of patch j.
    """
    changes = [patch.factors.get(name) for patch in patches]
    interaction = {"cosine": [[cosine(a, b) if a and b else 0.0 for b in changes] for a in changes]}
    if model is None:
        return interaction
    keys = [keys_of(model, patch.facts, [name])[name] if patch.facts else None for patch in patches]
    interaction["response"] = [
        [_response(a, b, K) for b, K in zip(changes, keys, strict=True)] for a in changes
    ]
    return interaction


def _response(change: Factors | None, own: Factors | None, K: Tensor | None) -> float:
    """‖Δᵢ Kⱼ‖ / ‖Δⱼ Kⱼ‖; 0 where one of them changes nothing here."""
    if change is None or own is None or K is None:
        return 0.0
    there, here = (float((f.left.double() @ (f.right.double() @ K)).norm()) for f in (change, own))
    return there / here if here else 0.0
