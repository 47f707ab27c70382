"""The cheap methods together on one prompt: where each sees the fact, layer by layer, and where
they agree.

    at the subject    estimated effect of the MLP there  ·  what is lost when it writes its mean
    at the last token estimated effect of attention there ·  what it adds to the answer's score ·
    what is lost without the subject's edges

Profiles of one site are compared by rank correlation over the layers. Agreement does not make an
answer true; disagreement says that the question matters. Cost: a few runs forward and back, and two
runs for each layer.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar

from loci.facts import Fact, Span
from loci.locating.attribution import attribute
from loci.locating.logit_lens import lens
from loci.locating.severed_routes import losses
from loci.model import Model, score_answers
from loci.model.given import fact_given
from loci.model.joins import with_answer
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.stats import rank_correlation
from loci.tables import Column, Table


@dataclass(frozen=True)
class Located(Result):
    """Profiles over the layers by site and method, and how they agree."""

    about: ClassVar[About] = About(
        "several methods, one fact",
        "Do cheap methods of locating agree where a fact is?",
        "Each strip is one method over the layers, scaled to its own largest; darker is"
        " more. Columns that are dark in all strips of a site are where the methods "
        "agree.",
        "locating.located_figure",
    )

    model: str
    bos: bool
    prompt: str
    subject: str
    answer: str
    known: bool
    """Whether the answer is the model's own."""
    tokens: tuple[str, ...]
    subject_span: Span
    readable: int | None
    """First layer after which the answer is the likeliest word, and stays it; None where it never
    is.
    """
    profiles: dict[str, dict[str, list[float]]]

    @property
    def peaks(self) -> dict[str, dict[str, int]]:
        """The layer where each profile is largest."""
        return {
            site: {name: max(range(len(p)), key=p.__getitem__) for name, p in rows.items()}
            for site, rows in self.profiles.items()
        }

    @property
    def agreement(self) -> dict[str, float]:
        """The smallest rank correlation of two methods at a site."""
        return {
            site: min(rank_correlation(a, b) for a, b in combinations(rows.values(), 2))
            for site, rows in self.profiles.items()
        }

    @property
    def words(self) -> str:
        """Agreements and disagreements of the methods, in sentences."""
        sentences = (
            []
            if self.known
            else [
                f"The model does not answer “{self.answer}” by itself, so take what follows with"
                " care."
            ]
        )
        for site, peaks in self.peaks.items():
            layers = sorted(set(peaks.values()))
            rho = self.agreement[site]
            if len(layers) == 1:
                sentences.append(
                    f"{site[0].upper()}{site[1:]}:"
                    f" {'both' if len(peaks) == 2 else f'all {len(peaks)}'} methods point at layer"
                    f" {layers[0]} (rank correlation over layers at least {rho:.2f})."
                )
            else:
                where = ", ".join(f"{name} at layer {layer}" for name, layer in peaks.items())
                sentences.append(
                    f"{site[0].upper()}{site[1:]}: the methods differ ({where}; smallest rank"
                    f" correlation {rho:.2f})."
                )
        sentences.append(
            "Read off the last token, the answer is never the likeliest word."
            if self.readable is None
            else (
                "Read off the last token, the answer is the likeliest word from layer"
                f" {self.readable} on."
            )
        )
        return " ".join(sentences)

    def summary(self) -> tuple[str, ...]:
        return (self.words,)

    def title(self) -> str:
        return f"{self.prompt} → {self.answer}"

    def tables(self) -> tuple[Table, ...]:
        return tuple(
            Table(
                site,
                (
                    Column("method"),
                    *(
                        Column(str(layer), "+.2f")
                        for layer in range(len(next(iter(rows.values()))))
                    ),
                ),
                tuple(
                    (name, *(value / (max(map(abs, own)) or 1.0) for value in own))
                    for name, own in rows.items()
                ),
                note="by layer, in hundredths of each row's largest",
                heat=1.0,
            )
            for site, rows in self.profiles.items()
        )

    def to_dict(self) -> dict[str, Any]:
        plain = (
            "model",
            "bos",
            "prompt",
            "subject",
            "answer",
            "known",
            "readable",
            "profiles",
            "peaks",
            "agreement",
            "words",
        )
        lists = {"tokens": list(self.tokens), "subject_span": list(self.subject_span)}
        return {"schema": "loci.locate/1", **{name: getattr(self, name) for name in plain}, **lists}


def locate(
    model: Model, fact: Fact | str, *, seed: int = 0, progress: Progress = silent
) -> Located:
    """The cheap methods together: estimate, read and cut; one prompt, all layers.

        print(loci.locate(model, "Michael Jordan plays the sport of").words)

    Returns: `Located`: `profiles[site][method]` by layer, `peaks`, `agreement` (smallest rank
    correlation at a site), `readable` (first layer after which the answer is the likeliest word),
    `words`. Cost: a few runs, and two a layer. Raises as `attribute`, `lens` and `routes` do.
    """
    fact = fact_given(model, fact)
    attribution = attribute(model, fact, compare=False, seed=seed)
    progress(1, 3)
    ladder = lens(model, fact.text, fact.answer)
    progress(1, 3)
    cut = losses(model, fact)
    progress(1, 3)
    start, end = attribution.subject_span
    profiles: dict[str, dict[str, list[float]]] = {
        "MLPs at the subject": {
            "estimated effect": attribution.grids["mlp"][:, start:end].sum(1).tolist(),
            "lost when cut": cut["mlp"],
        },
        "attention at the last token": {
            "estimated effect": attribution.grids["attn"][:, -1].tolist(),
            "added to the score": [rung.attn for rung in ladder.layers],
            "lost when cut": cut["edges"],
        },
    }
    joined, (first, _) = with_answer(model, fact.text, fact.answer)
    ahead = [rung.top[0].token == model.token_text(joined.ids[first]) for rung in ladder.layers]
    readable = next((layer for layer in range(len(ahead)) if all(ahead[layer:])), None)
    return Located(
        model=model.name,
        bos=model.with_bos,
        prompt=fact.text,
        subject=fact.subject,
        answer=fact.answer,
        known=score_answers(model, [(fact.text, fact.answer)])[0].said,
        tokens=attribution.tokens,
        subject_span=attribution.subject_span,
        readable=readable,
        profiles=profiles,
    )
