"""Parts of one MLP's output exchanged between two subjects."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from loci.dictionaries.dictionary import MLP_OUTPUTS, Dictionary, mlp_output
from loci.facts import Fact, token_span
from loci.linalg import random_rotation, solve_positive, svd
from loci.model import Edit, Model, by_length
from loci.model.joins import first_token

Selection = tuple[str, Tensor]
"""A subspace to set: "units" and a mask of features, "act" and a mask of neurons, or "span" and a
projection [d, d].
"""


BASES = ("features", "neurons", "probe", "random directions")
EVERYTHING = "everything"
RIDGE, FEWEST = 1e-2, 8
"""The probe's penalty, as a share of the mean variance; facts on either side of a relation."""


def probe_directions(
    y: Float[Tensor, "row d"], labels: Sequence[str]
) -> Float[Tensor, "d direction"]:
    """The span of a ridge probe for the labels: orthonormal, the strongest direction first."""
    names = sorted(set(labels))
    x = y.double() - y.double().mean(0)
    marks = torch.tensor([[float(label == name) for name in names] for label in labels]).double()
    gram = x.T @ x
    penalty = RIDGE * float(gram.diagonal().mean()) * torch.eye(len(gram), dtype=torch.double)
    weights = solve_positive(gram + penalty, x.T @ (marks - marks.mean(0)), "a probe")
    left, sizes, _ = svd(weights, "a probe")
    directions: Tensor = left[:, sizes > 1e-9 * sizes.max().clamp(min=1e-30)].float()
    return directions


@dataclass(frozen=True)
class SubjectPlace:
    """The output of one MLP at subjects' last tokens."""

    model: Model
    dictionary: Dictionary
    point: str
    target: str
    act: str

    @classmethod
    def of(cls, model: Model, d: Dictionary) -> "SubjectPlace":
        stems = () if model.n_experts else MLP_OUTPUTS  # experts have no neurons to compare
        target, layer = mlp_output(d, "attributes are changed", stems)
        return cls(model, d, d.point or target, target, f"mlp_act.{layer}")

    def read(self, facts: Sequence[Fact]) -> dict[Fact, dict[str, Tensor]]:
        """Input, output, neurons and features at each fact's last subject token."""
        activations: dict[Fact, dict[str, Tensor]] = {}
        unread = list(dict.fromkeys(facts))
        tokens = self.model.tokenize_all([fact.text for fact in unread], self.model.n_ctx)
        for batch in by_length(tokens, len, 4096):
            ids = self.model.ids([tokens[i].ids for i in batch])
            at = self.model.read(ids, *{self.point, self.target, self.act})
            for row, i in enumerate(batch):
                end = token_span(tokens[i].offsets, unread[i].subject_span)[1] - 1
                own = {name: at[name][row, end].float() for name in at}
                own["features"] = self.dictionary.encode(own[self.point])
                activations[unread[i]] = own
        return activations

    def selection(
        self,
        basis: str,
        count: int,
        relation: str,
        explained: dict[str, dict[str, Tensor]],
        reads: dict[Fact, dict[str, Tensor]],
        train: Sequence[Fact],
        seed: int,
    ) -> Selection:
        """The subspace that is set for one attribute."""
        d = self.dictionary.d_out
        if basis == EVERYTHING:
            return "span", torch.eye(d)
        if basis in BASES[:2]:
            own = explained[relation][basis]
            rest = [e[basis] for name, e in explained.items() if name != relation]
            scores = own - (torch.stack(rest).mean(0) if rest else 0.0)
            mask = torch.zeros(len(own))
            mask[scores.topk(min(count, len(own))).indices] = 1.0
            return ("units" if basis == "features" else "act"), mask
        if basis == "probe":
            directions = probe_directions(
                torch.stack([reads[f][self.target] for f in train]), [f.answer for f in train]
            )[:, :count]
        else:
            directions = random_rotation(d, seed=seed).float()[:, :count]
        return "span", directions @ directions.T

    def answers(self, chosen: Selection, asked: Sequence[tuple[Fact, Fact, Fact]]) -> list[bool]:
        """For each (fact asked, source, fact whose answer counts): whether that answer is said."""
        sources = self.read([source for _, source, _ in asked])
        tokens = self.model.tokenize_all([fact.text for fact, _, _ in asked], self.model.n_ctx)
        right = [False] * len(asked)
        for batch in by_length(tokens, len, 4096):
            ends = torch.tensor(
                [token_span(tokens[i].offsets, asked[i][0].subject_span)[1] - 1 for i in batch]
            )
            values = {
                name: torch.stack([sources[asked[i][1]][name] for i in batch])
                for name in (self.target, self.act, "features")
            }
            with self.model.patched(self._edits(chosen, torch.arange(len(batch)), ends, values)):
                ids = self.model.ids([tokens[i].ids for i in batch])
                said = self.model(ids, last=1)[:, -1].argmax(-1).tolist()
            for i, s in zip(batch, said, strict=True):
                right[i] = s == first_token(self.model, asked[i][0].text, asked[i][2].answer)
        return right

    def _edits(
        self, chosen: Selection, rows: Tensor, ends: Tensor, values: dict[str, Tensor]
    ) -> dict[str, Edit]:
        kind, what = chosen
        if kind == "act":

            def set_neurons(old: Tensor) -> Tensor:
                new = old.clone()
                own = new[rows, ends]
                new[rows, ends] = torch.where(what.bool(), values[self.act].to(own), own)
                return new

            return {self.act: set_neurons}
        if kind == "span":

            def project(old: Tensor) -> Tensor:
                new = old.clone()
                own = new[rows, ends]
                new[rows, ends] = own + (values[self.target].to(own) - own) @ what.to(own)
                return new

            return {self.target: project}
        seen: list[Tensor] = []

        def keep(x: Tensor) -> None:
            seen[:] = [x[rows, ends].float()]

        def set_features(old: Tensor) -> Tensor:
            new = old.clone()
            x = seen[0] if self.point != self.target else old[rows, ends].float()
            change = (values["features"] - self.dictionary.encode(x)) * what
            new[rows, ends] += (change @ self.dictionary.W_dec).to(new)
            return new

        own: dict[str, Edit] = {self.target: set_features}
        return own if self.point == self.target else {self.point: keep, **own}
