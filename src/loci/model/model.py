"""A transformer whose parts have names: the Hugging Face module, wrapped in place, never copied or
changed.

    model = loci.open("demo")
    with model.watch("mlp_act.3") as reads, model.patched({"mlp_out.1": lambda out: out * 0}):
        logits = model(ids)                       # [batch, position, d_vocab]
    run = model.record(ids)                       # once, then from layer L on as often as needed:
    logits = run.replay(L, resid)                 # nothing below L is computed again

Batches hold texts of equal length (`by_length`), of about one length (`by_near_length`), or of any
length with a mask (`padded`).
"""

from typing import Any, Literal

from torch import nn

from loci.errors import ModelError, UseError
from loci.model.answers import complete
from loci.model.families import candidates
from loci.model.layout_check import hold
from loci.model.layouts import Layout
from loci.model.running import RunningModel
from loci.model.tokens import check_tokenizer

JOINS: dict[str | None, str | None] = {None: None, "space": " ", "nothing": ""}


class Model(RunningModel):
    """A causal language model of Hugging Face with named points, weights as views, and runs that
    replay.
    """

    def __init__(
        self,
        hf: nn.Module,
        tokenizer: Any,
        name: str,
        layout: Layout | None = None,
        *,
        bos: bool | None = None,
        join: Literal["space", "nothing"] | None = None,
    ) -> None:
        """Wrap a module. Without a `layout`, the first row of the table that fits and adds up;
        without `bos`, BOS by `tokenize`'s rule; without `join`, answers join their prompts as
        `loci.model.joins` finds.
        """
        if join not in JOINS:
            raise ModelError(f"an answer joins its prompt by 'space' or 'nothing', not {join!r}")
        self.bos, self.join = bos, JOINS[join]
        self.leads: dict[int, str | None] = {}
        self._rows: dict[int, int] = {}
        refused: list[str] = []
        for row in [layout] if layout else candidates(hf):
            super().__init__(hf.eval(), name, row, tokenizer)
            reason = hold(self)
            if reason is None:
                break
            refused.append(reason)
        else:
            raise ModelError(refused[0])
        check_tokenizer(tokenizer, self.rows, bos)

    def __repr__(self) -> str:
        experts = f" in each of {self.n_experts} experts" if self.n_experts else ""
        return (
            f"Model({self.name!r}, {self.family}, {self.n_layers} layers × {self.d_model},"
            f" {self.d_mlp} neurons a layer{experts})"
        )

    def generate(self, prompt: str, tokens: int = 20) -> str:
        """The greedy continuation of a prompt by at most so many tokens, without the prompt."""
        if not isinstance(prompt, str):
            raise UseError(f"generate goes on with one text, not {prompt!r:.60}")
        return complete(self, [prompt], tokens)[0]
