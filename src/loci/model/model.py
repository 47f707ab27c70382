"""A transformer whose parts have names: the Hugging Face module, wrapped in place, never copied or changed.

    model = loci.open("demo")
    with model.watch("mlp_act.3") as reads, model.patched({"mlp_out.1": lambda out: out * 0}):
        logits = model(ids)                       # [batch, position, d_vocab]
    run = model.record(ids)                       # once, then from layer L on as often as needed:
    logits = run.replay(L, resid)                 # nothing below L is computed again

Inputs are batches of equal length, so that no padding is ever needed; `by_length` groups texts for that.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from loci.errors import ModelError
from loci.model.check import check
from loci.model.fingerprint import fingerprint
from loci.model.hooks import Edit, Enough, attached
from loci.model.layouts import Layout, find_layout, part
from loci.model.points import parse_point
from loci.model.tokens import Tokens, tokenize

T = TypeVar("T")
Logits = Float[Tensor, "batch position d_vocab"]
Ids = Int[Tensor, "batch position"]


class Model:
    """A causal language model of Hugging Face with named points, weights as views, and runs that replay."""

    def __init__(self, hf: nn.Module, tokenizer: Any, name: str, layout: Layout | None = None) -> None:
        self.hf = hf.eval()
        self.tokenizer = tokenizer
        self.name = name
        self.layout = layout or find_layout(hf)
        self.blocks: Sequence[nn.Module] = list(_part(hf, self.layout.blocks).children())
        check(self)

    def __repr__(self) -> str:
        return f"Model({self.name!r}, {self.layout.family}, {self.n_layers} layers × {self.d_model}, {self.d_mlp} neurons a layer)"

    # sizes -----------------------------------------------------------------------------------------------------------

    @property
    def n_layers(self) -> int:
        return len(self.blocks)

    @property
    def d_vocab(self) -> int:
        return self.W_U.shape[0]

    @property
    def d_model(self) -> int:
        return self.W_U.shape[1]

    @property
    def d_mlp(self) -> int:
        return self.W_up(0).shape[0]

    @property
    def n_ctx(self) -> int:
        return int(self.config.max_position_embeddings)

    @property
    def config(self) -> Any:
        return self.hf.config

    @property
    def device(self) -> torch.device:
        return self.W_U.device

    @property
    def dtype(self) -> torch.dtype:
        return self.W_U.dtype

    # weights as views of the real parameters -------------------------------------------------------------------------

    @property
    def W_U(self) -> Float[Tensor, "d_vocab d_model"]:
        """Unembedding: one row a token."""
        return _weight(_part(self.hf, self.layout.unembed))

    @property
    def W_E(self) -> Float[Tensor, "d_vocab d_model"]:
        """Embedding: one row a token."""
        return _weight(_part(self.hf, self.layout.embed))

    def W_up(self, layer: int) -> Float[Tensor, "d_mlp d_model"]:
        """Up projection: row i is what neuron i looks for (in a gated MLP: what scales it)."""
        return _matrix(self.module("up", layer))

    def W_key(self, layer: int) -> Float[Tensor, "d_mlp d_model"]:
        """Keys: row i decides whether neuron i fires. The gate's rows in a gated MLP, the up projection's elsewhere."""
        return _matrix(self.module("key", layer))

    def W_down(self, layer: int) -> Float[Tensor, "d_model d_mlp"]:
        """Values: column i is what neuron i writes."""
        return _matrix(self.module("down", layer))

    def b_key(self, layer: int) -> Float[Tensor, " d_mlp"]:
        """Biases of the keys, minus the neurons' thresholds; zeros where the family has none."""
        bias = getattr(self.module("key", layer), "bias", None)
        return bias.detach() if isinstance(bias, Tensor) else torch.zeros_like(self.W_key(layer)[:, 0])

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all weights as they are now; see `loci.model.fingerprint`."""
        return fingerprint(self.hf.named_parameters())

    def weight(self, name: str) -> Float[Tensor, "out in"]:
        """A weight that a patch may change, by its name: `W_up.3` or `W_down.3`. A view: what is written to it, the model has."""
        stem, _, layer = name.partition(".")
        if stem not in ("W_up", "W_down") or not layer.isdecimal() or int(layer) >= self.n_layers:
            raise ModelError(f"there is no weight {name!r}: expected W_up.L or W_down.L, with L below {self.n_layers}")
        view: Tensor = getattr(self, stem)(int(layer))
        return view

    # text ------------------------------------------------------------------------------------------------------------

    def tokenize(self, text: str) -> Tokens:
        """Tokens with their characters, behind one BOS. Raises `ModelError` if empty or longer than the context."""
        return tokenize(self.tokenizer, text, self.n_ctx)

    def ids(self, tokens: Sequence[Sequence[int]]) -> Ids:
        """A batch of equally long token lists on the model's device."""
        return torch.tensor(tokens, dtype=torch.long, device=self.device)

    def decode(self, ids: Iterable[int]) -> str:
        return str(self.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))

    def token_text(self, token: int) -> str:
        """One token as it reads, its leading space included where the tokenizer keeps it."""
        return self.decode([token])

    # runs ------------------------------------------------------------------------------------------------------------

    def __call__(self, ids: Ids) -> Logits:
        """Logits of a batch of equal length, with gradients if they are enabled."""
        self.hf.eval()
        logits: Tensor = self.hf(input_ids=ids, use_cache=False).logits
        return logits

    @torch.no_grad()
    def read(self, ids: Ids, *points: str) -> dict[str, Tensor]:
        """The tensors at some points; the run stops above the last of them."""
        missing = len(points)
        reads: dict[str, Tensor] = {}

        def reader(name: str) -> Edit:
            def keep(tensor: Tensor) -> None:
                nonlocal missing
                reads[name] = tensor
                missing -= 1
                if not missing:
                    raise Enough

            return keep

        with self.patched({name: reader(name) for name in points}), suppress(Enough):
            self(ids)
        return reads

    @contextmanager
    def watch(self, *points: str) -> Iterator[dict[str, Tensor]]:
        """Inside the block, every run leaves the tensors of these points in the dictionary (attached to the graph, not copied)."""
        reads: dict[str, Tensor] = {}
        with self.patched({name: partial(reads.__setitem__, name) for name in points}):
            yield reads

    def patched(self, edits: Mapping[str, Edit]) -> AbstractContextManager[None]:
        """Inside the block, each point's tensor passes through its function; a tensor that it returns replaces the old one."""
        by_place: dict[tuple[nn.Module, str], list[Edit]] = {}
        for name, edit in edits.items():
            by_place.setdefault(self.place(name), []).append(edit)
        return attached(by_place)

    def place(self, name: str) -> tuple[nn.Module, str]:
        """The module at which a point lives, and the side: "in" or "out"."""
        point, layer = parse_point(name, self.n_layers)
        return self.module(point.part, layer), point.side

    def module(self, name: str, layer: int | None = None) -> nn.Module:
        """A part of the layout: of the model, or of the block at `layer`."""
        if name == "block" and layer is not None:
            return self.blocks[layer]
        if name == "key":
            name = "gate" if self.layout.gate else "up"
        return _part(self.hf if layer is None else self.blocks[layer], getattr(self.layout, name))

    def unembed(self, resid: Float[Tensor, "*any d_model"]) -> Float[Tensor, "*any d_vocab"]:
        """Final norm and unembedding of residual vectors: what the model would say if it stopped here (the logit lens)."""
        logits: Tensor = self.module("unembed")(self.module("final_norm")(resid))
        return logits

    def record(self, ids: Ids) -> "Recording":
        """Run once without gradients, keeping what each block was called with."""
        calls: list[Call] = []

        def keep(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            calls.append(Call(args, kwargs))

        handles = [block.register_forward_pre_hook(keep, with_kwargs=True) for block in self.blocks]
        try:
            with torch.no_grad():
                logits = self(ids)
        finally:
            for handle in handles:
                handle.remove()
        return Recording(self, tuple(calls), logits)


@dataclass(frozen=True)
class Call:
    """What a block was called with; the first argument is the residual stream."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def resid(self) -> Float[Tensor, "batch position d_model"]:
        resid: Tensor = self.args[0] if self.args else self.kwargs["hidden_states"]
        return resid

    def with_resid(self, resid: Tensor) -> "Call":
        """The same call with another residual stream, in its batch size.

        Rows are of one length and unpadded, so masks and positions are the same for all of them: one row stands for any number.
        """
        rows = len(self.resid)
        same = len(resid) == rows
        args, kwargs = (self.args, self.kwargs) if same else (_one_row(self.args, rows), _one_row(self.kwargs, rows))
        if args:
            return Call((resid, *args[1:]), kwargs)
        return Call((), {**kwargs, "hidden_states": resid})


@dataclass(frozen=True)
class Recording:
    """A run that can be continued from any layer with another residual stream, in another batch size, with gradients."""

    model: Model
    calls: tuple[Call, ...]
    logits: Logits

    def resid_pre(self, layer: int) -> Float[Tensor, "batch position d_model"]:
        return self.calls[layer].resid

    def replay(self, layer: int, resid: Float[Tensor, "batch position d_model"], last: int | None = None) -> Logits:
        """Logits when block `layer` finds `resid`; only the `last` positions are unembedded where that is said.

        Batch size may differ from the recording's. Hooks of `watch` and `patched` act as in a full run.
        Cost: the blocks from `layer` on, and the unembedding of `last` positions.
        """
        for call, block in zip(self.calls[layer:], self.model.blocks[layer:], strict=True):
            call = call.with_resid(resid)
            out = block(*call.args, **call.kwargs)
            resid = out[0] if isinstance(out, tuple) else out
        return self.model.unembed(resid if last is None else resid[:, -last:])


def _one_row(value: Any, rows: int) -> Any:
    """Tensors with a row for each of the batch cut to the first, wherever they stand in a call's arguments."""
    if isinstance(value, Tensor):
        return value[:1] if value.ndim > 1 and len(value) == rows else value
    if isinstance(value, dict):
        return {key: _one_row(item, rows) for key, item in value.items()}
    return tuple(_one_row(item, rows) for item in value) if isinstance(value, tuple) else value


def by_length(items: Sequence[T], length: Callable[[T], int], budget: int) -> Iterator[list[int]]:
    """Batches of indices of equally long items, at most `budget` tokens each (one item at least)."""
    groups: dict[int, list[int]] = {}
    for index, item in enumerate(items):
        groups.setdefault(length(item), []).append(index)
    for size, indices in sorted(groups.items()):
        step = max(1, budget // max(1, size))
        yield from (indices[i : i + step] for i in range(0, len(indices), step))


def _part(module: nn.Module, path: str) -> nn.Module:
    found = part(module, path)
    if found is None:
        raise ModelError(f"{type(module).__name__} has no part at {path!r}")
    return found


def _is_conv1d(module: nn.Module) -> bool:
    """GPT-2's projections keep their weight as [in, out]."""
    return not isinstance(module, nn.Linear) and hasattr(module, "nf")


def _matrix(module: nn.Module) -> Float[Tensor, "out in"]:
    """A projection's weight as [out, in], a view whatever way the module keeps it."""
    return _weight(module).T if _is_conv1d(module) else _weight(module)


def _weight(module: nn.Module) -> Tensor:
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight.detach()
