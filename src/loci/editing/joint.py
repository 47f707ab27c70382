"""The joint search: what every layer should write for every fact, sought together, in the running
model.

    W_down.l ← W_down.l + U_l R_l Q_l    Q_l [n, d_mlp]: rows in the span of the facts' keys,
                                         orthonormal in C_l + N_l: keys over text, and of prompts
                                         that are to stay
                                         U_l [d_model, d_model]: whitens the output (`curvature`)

    min over R   mean −log P(new answer)                over edit prompts
               + kl · mean KL(before ‖ after)           over retain prompts
               + neighbours · mean KL(before ‖ after)   over the questions about other subjects
               + text · mean KL(before ‖ after)         over text: the other facts, and all else
               + decay · Σ_l ‖R_l‖²                     about twice the KL on text, while small

ROME and MEMIT search a residual for one fact at one token, and hope that many of them get along.
Here keys are fixed as there, by facts, metric and layer, and the residuals are searched with all
changes in place, so that facts, layers and text make room for each other. Keys are those of the
last subject token in the lower half of the layers, where subjects are enriched, and of the
answering token in the upper half, where subject and question meet: there an edit can tell the
subject's relations apart. ‖R‖ costs text about the same in every direction, so R goes down the
slope by Polyak's steps (`descent`). Fine-tuning, the baseline, has U = 1, all of the weights' rows,
and Adam.

`text` is found on the way: it grows while the text's KL is above `drift`, and falls below it.
Cost: `steps` forward and backward passes over at most `facts` · 2 · `prompts` prompts and `texts`
texts. Memory: one batch, and the last stream at every place that is kept, text's too.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from loci.editing.joint_search import JointSearch
from loci.editing.joint_settings import JointChange, JointSettings, LayerChange, Moments
from loci.editing.neighbours import (
    other_phrasings,
    retain_prompts,
    special_moments,
    with_own_answers,
)
from loci.editing.prompts import (
    TrainingPrompt,
    mean_reads,
    training_prompts,
)
from loci.editing.solver import Covariance
from loci.facts import Fact
from loci.linalg import orthonormal
from loci.model import Model
from loci.patches import Factors
from loci.progress import Progress, silent
from loci.text import BackgroundText

PartsOf = Callable[
    [
        Model,
        Sequence[TrainingPrompt],
        Sequence[TrainingPrompt],
        int,
        Moments,
        float,
        Mapping[str, Factors],
    ],
    "dict[int, LayerChange]",
]


def find_jointly(
    model: Model,
    facts: Sequence[Fact],
    moments: Moments,
    texts: Sequence[str],
    settings: JointSettings,
    parts_of: PartsOf,
    *,
    background: BackgroundText,
    whiten: bool = True,
    earlier: Sequence[Fact] = (),
    start: Mapping[str, Factors] | None = None,
    progress: Progress = silent,
) -> JointChange:
    """Changes of the down projections of the layers in `moments`. `texts` is what should stay.

    After other edits, `start` is their change, from which the search goes on, and `earlier` those
    of them that are to hold: they are asked again like the new ones, so that all may give way to
    each other. Raises `EditError`.
    """
    prompts = training_prompts(model, [*facts, *earlier], settings, background)
    near = retain_prompts(
        model,
        [*facts, *earlier],
        background,
        most=settings.retained,
        seed=settings.seed,
        forms=other_phrasings(model, [*facts, *earlier], prompts),
    )
    new, old = prompts[: len(facts)], prompts[len(facts) :]
    parts = parts_of(
        model,
        [prompt for own in new for prompt in own],
        near,
        len(facts),
        moments,
        settings.ridge,
        start or {},
    )
    near = with_own_answers(model, near)
    search = JointSearch(model, new, old, near, texts, parts, settings.among(len(prompts)))
    if whiten:
        search.whiten()
    steps = settings.steps_for(len(facts))
    for step in range(steps):
        with model.frozen():
            search.step(min(1.0, (steps - step) / (0.4 * steps)))
        progress(1, steps)
    factors = {
        f"W_down.{layer}": Factors(part.left.detach().cpu(), part.Q.cpu())
        for layer, part in search.parts.items()
    }
    change = {
        layer: float(part.left.detach().norm() / parts[layer].size)
        for layer, part in search.parts.items()
    }
    return JointChange(factors, {"steps": steps, "output_change": change, **search.numbers()})


def joint_parts(
    model: Model,
    prompts: Sequence[TrainingPrompt],
    near: Sequence[TrainingPrompt],
    facts: int,
    moments: Moments,
    ridge: float,
    start: Mapping[str, Factors],
) -> dict[int, LayerChange]:
    """Rows in the span of the facts' keys and of the change before; orthonormal in C + N = F Fᵀ.

    N is the second moment of the retain prompts' keys: what all subjects of a question have in
    common costs too much to use; and of those of special tokens (`special_moments`).
    """
    special = special_moments(model, list(moments))
    keys = _keys(model, [prompt for prompt in prompts if prompt.answer], facts, list(moments))
    others = (
        _keys(
            model,
            [prompt._replace(fact=i) for i, prompt in enumerate(near)],
            len(near),
            list(moments),
        )
        if near
        else {}
    )
    parts = {}
    for layer, C in moments.items():
        shared = others[layer].double() if near else torch.zeros(1, len(C), dtype=torch.float64)
        N = shared.T @ shared / len(shared) + special[layer]
        F = Covariance.of(C.double() + N, ridge).factor
        before = start.get(f"W_down.{layer}")
        white = [torch.linalg.solve_triangular(F, keys[layer].double().T, upper=False)]
        if before is not None:
            white.append((before.right.double() @ F).T)
        basis = orthonormal(torch.cat(white, 1), f"the facts' keys in layer {layer}")[0]
        parts[layer] = LayerChange.of(
            model, layer, C, torch.linalg.solve_triangular(F.T, basis, upper=True).T, before
        )
    return parts


def finetune_parts(
    model: Model,
    prompts: Sequence[TrainingPrompt],
    near: Sequence[TrainingPrompt],
    facts: int,
    moments: Moments,
    ridge: float,
    start: Mapping[str, Factors],
) -> dict[int, LayerChange]:
    """All entries of the weights alike."""
    parts = {}
    for layer, C in moments.items():
        Q = torch.eye(len(C), dtype=torch.float64) / C.diagonal().mean().sqrt()
        parts[layer] = LayerChange.of(model, layer, C, Q, start.get(f"W_down.{layer}"))
    return parts


def _keys(
    model: Model, prompts: Sequence[TrainingPrompt], facts: int, layers: Sequence[int]
) -> dict[int, Float[Tensor, "fact d_mlp"]]:
    """Keys of each fact: at the subject below the middle of the model, at the answering token
    above.
    """

    def place(layer: int) -> Callable[[TrainingPrompt], int]:
        lower = 2 * layer < model.n_layers
        return lambda prompt: prompt.subject if lower else prompt.positions[0]

    places = {f"mlp_act.{layer}": place(layer) for layer in layers}
    reads = mean_reads(model, prompts, facts, places)
    return {layer: reads[f"mlp_act.{layer}"] for layer in layers}
