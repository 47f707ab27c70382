"""Edit facts: find keys and targets, solve once, return a patch. The model is untouched.

1. Key: the MLP's neurons at the last subject token, averaged over contexts, and the same average wherever a key is needed
   (bare prompts here and averages there make updates explode: Gupta et al. 2024, "Rebuilding ROME").
2. Target: the δ that its output should gain there, by `find_target`.
3. Change: `solve` with the second moment of the layer's keys over text. ΔK = R, so the averaged key gains exactly δ.
"""

import time
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from loci.editing.solver import solve
from loci.editing.targets import TargetSettings, find_target
from loci.errors import EditError
from loci.facts import Fact
from loci.model import Model, score_answers
from loci.patches import Patch
from loci.progress import Progress, silent
from loci.survey import SecondMoment, prefixes, sample_text, survey

TOKENS_PER_NEURON = 20
LARGEST_UPDATE = 1.0


def edit(
    model: Model,
    facts: Sequence[Fact],
    *,
    layer: int | None = None,
    covariance: Float[Tensor, "d_mlp d_mlp"] | None = None,
    settings: TargetSettings | None = None,
    ridge: float = 1e-4,
    progress: Progress = silent,
) -> Patch:
    """A patch that gives each fact its new answer: ROME for one fact, EMMET (all constraints at once) for several.

    `layer` defaults to `default_layer(model)`, `covariance` to `key_covariance(model, layer)`. Raises `EditError` where a fact has
    no new answer or has it already, and where the change would be larger than the weight itself.
    """
    started = time.perf_counter()
    check_edits(model, facts)
    layer = default_layer(model) if layer is None else layer
    if not 0 <= layer < model.n_layers:
        raise EditError(f"there is no layer {layer}: expected 0 … {model.n_layers - 1}")
    settings = settings or TargetSettings()
    C = key_covariance(model, layer) if covariance is None else covariance
    contexts = prefixes(model, settings.contexts)
    targets = []
    for fact in facts:
        targets.append(find_target(model, fact, layer, contexts, settings))
        progress(1, len(facts))
    K, R = torch.stack([t.key for t in targets], 1), torch.stack([t.delta for t in targets], 1)
    solution = solve(C, K.cpu(), R.cpu(), ridge)
    name = f"W_down.{layer}"
    share = float(solution.factors.delta.norm() / model.W_down(layer).double().norm())
    if not share <= LARGEST_UPDATE:
        raise EditError(f"the change of {name} would be {share:.1f} times the weight itself: try another layer or fewer edits")
    numbers = {
        "layer": layer,
        "bos": model.with_bos,
        "target_probability": [t.probability for t in targets],
        "target_steps": [t.steps for t in targets],
        "update_share": share,
        "condition": solution.condition,
        "residual": solution.residual,
        "seconds": time.perf_counter() - started,
    }
    method = "rome" if len(facts) == 1 else "emmet"
    return Patch(method, model.fingerprint, model.name, {name: solution.factors}, tuple(facts), numbers)


def default_layer(model: Model) -> int:
    """Below a fifth of the depth: 5 in GPT-J's 28 layers and Llama-3-8B's 32, as published; GPT-2 XL's published layer is later.

    A rule of thumb, not a finding: say `layer` where more is known of a model.
    """
    return max(0, round(model.n_layers / 5) - 1)


def key_covariance(
    model: Model, layer: int, *, tokens: int | None = None, progress: Progress = silent
) -> Float[Tensor, "d_mlp d_mlp"]:
    """Second moment of a layer's keys over the embedded text: `tokens` tokens, by default 20 for each neuron."""
    moment = SecondMoment()
    text = sample_text(model, tokens or TOKENS_PER_NEURON * model.d_mlp)
    survey(model, text, {f"mlp_act.{layer}": [moment]}, progress=progress)
    return moment.mean


def check_edits(model: Model, facts: Sequence[Fact]) -> None:
    """Raise `EditError` unless every fact has a new answer which the model does not give yet, and no two share a prompt."""
    if not facts:
        raise EditError("there are no facts to edit")
    asked = [fact.text for fact in facts]
    for fact in facts:
        if fact.new_answer is None:
            raise EditError(f"no new answer for {fact.text!r}: say fact.to(…), or fill the column new_answer")
        if asked.count(fact.text) > 1:
            raise EditError(f"two edits have the same prompt {fact.text!r}")
    scores = score_answers(model, [(fact.text, fact.new_answer or "") for fact in facts])
    for fact, score in zip(facts, scores, strict=True):
        if score.greedy:
            raise EditError(f"{model.name!r} already answers {fact.new_answer!r} to {fact.text!r}: nothing to edit")
