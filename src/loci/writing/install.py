"""New facts into a real transformer, by neurons added to one MLP; no gradient step on the model.

    key_i     what enters the MLP of layer L at the last token of subject i, the mean over its phrasings
    row_i     C⁻¹ key_i / (key_iᵀ C⁻¹ key_i),  C the second moment of that point over text: 1 at the key, as small as can be elsewhere
    fire_i    clamp((row_i · x − low_i) / (high_i − low_i), 0, 1): two ReLU neurons; low_i the largest row_i · x over text and other subjects,
              high_i the smallest over the subject's own phrasings
    value_i   m + 3 (m − u) − s: m the mean state after L of known subjects with the same answer, u that of all subjects of the relation,
              s the new subject's own

So a subject that the model has never seen continues as a known one does that has its answer, and no other input finds the neurons active, as far as the
text shows. The neurons stand behind the model's own in a wider MLP (other layers are padded with neurons of zeros); other weights stay as they are.
"""

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import FactError, WriteError
from loci.facts import Fact, FactSet, known_facts
from loci.model import Model, at_subjects, by_length, score_answers
from loci.progress import Progress, silent
from loci.stats import Estimate, share
from loci.survey import sample_text
from loci.writing.keys import subject_keys
from loci.writing.mlp import MLP

TOKENS = 20_000
RIDGE = 1e-3
WIDTHS = ("n_inner", "intermediate_size", "ffn_dim")
GAP = 0.02
EMPHASIS = 3.0
DONORS = 8


@dataclass(frozen=True)
class Installed:
    """A wider model that knows new facts, and what became of these and of all others."""

    model: Model
    layer: int
    facts: tuple[Fact, ...]
    neurons: int
    recall: Estimate
    """Of the new facts, on their prompts: the greedy answer is the new one."""
    held_out: Estimate
    """The same on held-out phrasings."""
    kept: Estimate
    """Facts that the model knew and still knows, in their own prompts."""
    crowded: int
    """New subjects that text or other subjects come nearer to than their own phrasings: they are installed, but not kept apart."""

    def to_dict(self) -> dict[str, Any]:
        estimates = {name: getattr(self, name).to_dict() for name in ("recall", "held_out", "kept")}
        plain = {"layer": self.layer, "facts": len(self.facts), "neurons": self.neurons, "crowded": self.crowded}
        return {"schema": "loci.installed/1", "model": self.model.name, **plain, **estimates}


@torch.no_grad()
def install(
    model: Model, facts: Sequence[Fact], layer: int = 1, *, known: FactSet | None = None, progress: Progress = silent
) -> Installed:
    """Install facts about subjects that `known` facts of the same relations are not about. The model itself is untouched.

    Raises `WriteError` for a layer or an MLP that cannot be widened, `FactError` where no known subject has an answer that a new one shall have.
    """
    if not facts:
        raise WriteError("there are no facts to install")
    if not 0 <= layer < model.n_layers:
        raise WriteError(f"layers are 0 … {model.n_layers - 1}, not {layer}")
    if model.gated or str(model.config.to_dict().get("activation_function", model.config.to_dict().get("hidden_act"))) != "relu":
        raise WriteError(
            f"neurons are added to plain ReLU MLPs, and {model.name!r} has others: compile a store and replace its MLP"
        )
    known = known_facts() if known is None else known
    mlp, crowded = _gates(model, facts, layer, known)
    progress(1, 3)
    wide = widened(model, layer, mlp)
    progress(1, 3)
    before = score_answers(model, [(fact.text, fact.answer) for fact in known])
    knew = [fact for fact, score in zip(known, before, strict=True) if score.greedy]
    result = Installed(
        model=wide,
        layer=layer,
        facts=tuple(facts),
        neurons=mlp.size,
        recall=_recall(wide, [(fact.text, fact.answer) for fact in facts]),
        held_out=_recall(wide, [(fact.fill(text), fact.answer) for fact in facts for text in fact.held_out]),
        kept=_recall(wide, [(fact.text, fact.answer) for fact in knew]),
        crowded=crowded,
    )
    progress(1, 3)
    return result


def new_facts(known: FactSet, count: int, seed: int = 0) -> list[Fact]:
    """Facts about people whom nobody knows: first and last names of known subjects of a relation in new pairs, with answers of that relation.

    Only answers that `DONORS` known subjects have; the last phrasing of each is held out. Raises `FactError` where there are too few names.
    """
    draw, taken, made = Random(seed), set(known.subjects), list[Fact]()
    pools = {}
    for relation, facts in known.relations.items():
        count_of = Counter(fact.answer for fact in facts)
        common = [fact for fact in facts if count_of[fact.answer] >= DONORS]
        pairs = [fact for fact in common if len(fact.subject.split()) == 2 and fact.subject.istitle() and fact.paraphrases]
        if len(pairs) >= 20:
            pools[relation] = pairs
    for _ in range(100 * count):
        if len(made) == count:
            return made
        pool = pools[draw.choice(sorted(pools, key=str))] if pools else []
        if not pool:
            break
        one, other, like = draw.choice(pool), draw.choice(pool), draw.choice(pool)
        subject = f"{one.subject.split()[0]} {other.subject.split()[1]}"
        if subject not in taken:
            taken.add(subject)
            *shown, last = like.paraphrases
            made.append(replace(like, subject=subject, paraphrases=tuple(shown), held_out=(last,), neighbours=()))
    raise FactError(f"{len(made)} new subjects can be made of the known names, and {count} are asked for")


@torch.no_grad()
def widened(model: Model, layer: int, mlp: MLP) -> Model:
    """A copy of a model with the neurons of an MLP behind those of one layer; the other layers get neurons of zeros.

    Cost: a copy of the weights. Raises `WriteError` where the configuration has no one width for all layers.
    """
    config = copy.deepcopy(model.hf.config)
    field = next((name for name in WIDTHS if hasattr(config, name)), None)
    if field is None or (model.layout.gate and model.layout.gate == model.layout.up):
        raise WriteError(f"{model.name!r} ({model.layout.family}): no width in its configuration that could be made larger")
    setattr(config, field, model.d_mlp + mlp.size)
    hf = type(model.hf)(config).to(model.device, model.dtype)
    old = dict(model.hf.named_parameters())
    for name, parameter in hf.named_parameters():
        parameter.zero_()
        parameter[tuple(slice(size) for size in old[name].shape)] = old[name]
    wide = Model(hf, model.tokenizer, f"{model.name} + {mlp.size} neurons", model.layout, bos=model.bos)
    added = slice(model.d_mlp, None)
    wide.W_up(layer)[added], wide.W_down(layer)[:, added] = mlp.W_up.to(wide.dtype), mlp.W_down.to(wide.dtype)
    if mlp.bias is not None:
        wide.b_up(layer)[added] = mlp.bias.to(wide.dtype)
    return wide


def _recall(model: Model, asked: list[tuple[str, str]]) -> Estimate:
    return share([float(score.greedy) for score in score_answers(model, asked)]) if asked else share([])


def _gates(model: Model, facts: Sequence[Fact], layer: int, known: FactSet) -> tuple[MLP, int]:
    """Two neurons a fact, and how many facts could not be kept apart."""
    phrased = [[fact, *(replace(fact, prompt=text) for text in fact.paraphrases)] for fact in facts]
    own = [subject_keys(model, some, layer).double() for some in phrased]
    keys = torch.stack([rows.mean(0) for rows in own])
    away = torch.cat([_over_text(model, layer), subject_keys(model, list(known), layer)]).double()
    C = away.T @ away / len(away)
    C.diagonal().add_(RIDGE * C.diagonal().mean())
    rows = torch.linalg.solve(C, keys.T).T
    rows = rows / (rows * keys).sum(1, keepdim=True)
    high = torch.stack([(mine @ row).min() for mine, row in zip(own, rows, strict=True)])
    others = (rows @ keys.T).fill_diagonal_(-torch.inf).amax(1) if len(rows) > 1 else torch.full_like(high, -torch.inf)
    low = torch.maximum((rows @ away.T).amax(1), others).clamp_min(0)
    crowded = int((low > high - GAP).sum())
    low = torch.minimum(low, high - GAP)
    slope = 1 / (high - low)
    values = _values(model, facts, layer, known)
    up = torch.cat([rows, rows]) * torch.cat([slope, slope])[:, None]
    bias = -torch.cat([low, high]) * torch.cat([slope, slope])
    return MLP("relu", up.float(), torch.cat([values, -values]).T.float(), bias.float()), crowded


def _values(model: Model, facts: Sequence[Fact], layer: int, known: FactSet) -> Float[Tensor, "fact d_model"]:
    """From each new subject's state to that of known ones with its answer."""
    donors = {}
    for relation, answer in {(fact.relation, fact.answer) for fact in facts}:
        like = [fact for fact in known.relations.get(relation, ()) if fact.answer == answer]
        if not like:
            raise FactError(f"no known subject of {relation!r} has the answer {answer!r}: there is none to learn its state from")
        mean = _states(model, like, layer).mean(0)
        usual = _states(model, known.relations[relation], layer).mean(0)
        donors[relation, answer] = mean + EMPHASIS * (mean - usual)
    states = _states(model, facts, layer)
    return torch.stack([donors[fact.relation, fact.answer] for fact in facts]).double() - states.double()


def _states(model: Model, facts: Sequence[Fact], layer: int) -> Float[Tensor, "fact d_model"]:
    """The stream behind a layer at the last token of each fact's subject, in float32."""
    return at_subjects(model, facts, f"resid_post.{layer}")[f"resid_post.{layer}"].float()


def _over_text(model: Model, layer: int) -> Float[Tensor, "token d_model"]:
    """What enters the MLP at every token of plain text."""
    texts = [model.tokenize(text) for text in sample_text(model, TOKENS)]
    parts = []
    for rows in by_length(texts, len, 4096):
        parts.append(model.read(model.ids([texts[row].ids for row in rows]), f"mlp_in.{layer}")[f"mlp_in.{layer}"].flatten(0, 1))
    return torch.cat(parts).float().cpu()
