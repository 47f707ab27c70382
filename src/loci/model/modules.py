"""A decoder's modules, found by a layout, and the parameters that they hold."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from loci.errors import ModelError
from loci.model.families import LAYOUTS
from loci.model.fingerprint import KnownFingerprint, fingerprint
from loci.model.layouts import Layout, part
from loci.model.mapped import Mapping


class Source(NamedTuple):
    """Where a model was opened from, and with what leave."""

    folder: Path
    """Of a hub id, its snapshot in the local cache."""
    pickle: bool
    remote_code: bool
    unknown: tuple[str, ...] = ()
    """Names of stored tensors that the model class has no place for."""


class Modules:
    """A decoder's modules, found by a layout."""

    def __init__(self, hf: nn.Module, name: str, layout: Layout, tokenizer: Any = None) -> None:
        self.hf = hf
        self.tokenizer = tokenizer
        self.name = name
        self.layout = layout
        self.source: Source | None = None
        """Its files, where it was opened from some."""
        self.mapping: Mapping | None = None
        """Of weights that are let go after each use: see `loci.model.mapped`."""
        self.blocks: Sequence[nn.Module] = list(self.module("blocks").children())
        self.tied = self.module("embed").weight is self.module("unembed").weight
        """Whether embedding and unembedding are one parameter."""
        self.parameter_names = [
            name for name, _ in hf.named_parameters()
        ]  # kept, as offloading unties what is tied
        """Full names of all parameters; those that are tied have one."""
        self.known_fingerprint = KnownFingerprint(hf)

    @property
    def config(self) -> Any:
        """The part of the configuration that describes the decoder."""
        config: Any = self.hf.config
        return config.get_text_config()

    @property
    def n_layers(self) -> int:
        return len(self.blocks)

    @property
    def d_vocab(self) -> int:
        return self._shape("unembed")[0]

    @property
    def d_model(self) -> int:
        return self._shape("unembed")[1]

    @property
    def d_mlp(self) -> int:
        """Neurons of one MLP; in a mixture, of one expert."""
        if self.n_experts:
            return self._experts(0, "down_proj").shape[2]
        return self._shape("down", 0)[1]

    @property
    def n_heads(self) -> int:
        return int(self.config.num_attention_heads)

    @property
    def d_head(self) -> int:
        return self._shape("o", 0)[1] // self.n_heads

    @property
    def n_kv_heads(self) -> int:
        """Heads of keys and values: fewer than `n_heads` where queries share them."""
        rows = self._shape("k", 0)[0] // self.d_head
        return (rows - self.n_heads) // 2 if self.layout.q == self.layout.k else rows

    @property
    def n_experts(self) -> int:
        """Experts of a mixture; 0 where the MLP is a single one."""
        return self._experts(0, "down_proj").shape[0] if self.layout.experts else 0

    @property
    def n_ctx(self) -> int | None:
        """Positions that the model was made for, where its configuration names a number."""
        limit = getattr(self.config, "max_position_embeddings", None)
        return None if limit is None else int(limit)

    @property
    def family(self) -> str:
        """The family's name in the configuration; the layout's where it is the user's own or the
        configuration has none.
        """
        own = None if self.layout not in LAYOUTS else getattr(self.config, "model_type", None)
        return str(own or self.layout.family)

    @property
    def gated(self) -> bool:
        """Whether neurons are act(gate x) · up x rather than act(up x)."""
        return bool(self.layout.gate) or bool(self.layout.experts)

    @property
    def softcap(self) -> float | None:
        """c, where the logits are c · tanh(W_U x / c)."""
        cap = getattr(self.config, "final_logit_softcapping", None)
        return None if cap is None else float(cap)

    def capped(self, scores: Float[Tensor, "*any d_vocab"]) -> Float[Tensor, "*any d_vocab"]:
        """Logits from what the unembedding gives: the same, or c · tanh(scores / c)."""
        return scores if self.softcap is None else (scores / self.softcap).tanh() * self.softcap

    def decode(self, ids: Iterable[int]) -> str:
        return str(self.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))

    def token_text(self, token: int) -> str:
        """One token as it reads, its leading space included where the tokenizer keeps it."""
        return self.decode([token])

    def module(self, name: str, layer: int | None = None) -> nn.Module:
        """A part of the layout: of the model, or of the block at `layer`. "key" is the gate where
        there is one, else up.
        """
        if layer is not None and not 0 <= layer < self.n_layers:
            has = f"has 0 … {self.n_layers - 1}" if self.n_layers else "has no layers"
            raise ModelError(f"there is no layer {layer}: {self.name!r} {has}")
        if name == "block" and layer is not None:
            return self.blocks[layer]
        if name == "key":
            name = "gate" if self.layout.gate else "up"
        path = getattr(self.layout, name)
        child = part(self.hf if layer is None else self.blocks[layer], path) if path else None
        if child is None:
            raise ModelError(
                f"{self.name!r} ({self.layout.family}) has no part {name!r}{self._experts_note()}"
            )
        return child

    def _experts_note(self) -> str:
        if not self.layout.experts:
            return ""
        return (
            f": its MLPs are mixtures of {self.n_experts} experts, so single neurons have no"
            " meaning without an expert"
        )

    def _shape(self, name: str, layer: int | None = None) -> tuple[int, int]:
        """[out, in] of a projection, without its values."""
        module = self.module(name, layer)
        weight = module.weight
        assert isinstance(weight, Tensor)
        rows, columns = weight.shape
        return (int(columns), int(rows)) if is_conv1d(module) else (int(rows), int(columns))

    def _experts(self, layer: int, name: str) -> Tensor:
        """A mixture's weights for their shape alone."""
        weights = getattr(self.module("experts", layer), name)
        assert isinstance(weights, Tensor)
        return weights

    def tensor(self, module: nn.Module, name: str = "weight") -> Tensor:
        """A parameter; where accelerate keeps it on disk or in other memory, what it keeps there,
        and nothing else.
        """
        tensor = getattr(module, name)
        assert isinstance(tensor, Tensor)
        if tensor.is_meta:
            hook: Any = module._hf_hook
            weight: Tensor = hook.weights_map[name]
            return weight
        if self.mapping is not None:
            self.mapping.handed(tensor)
        return tensor.detach()

    def parameter(self, name: str) -> Tensor:
        """A parameter by its full name, as it is kept, and nothing else read."""
        path, _, leaf = name.rpartition(".")
        return self.tensor(self.hf.get_submodule(path), leaf)

    def matrix(self, name: str, layer: int | None = None) -> Float[Tensor, "out in"]:
        """A projection's weight as [out, in]: a view whatever way the module keeps it."""
        module = self.module(name, layer)
        weight = self.tensor(module)
        return weight.T if is_conv1d(module) else weight

    def bias(self, name: str, layer: int | None = None) -> Float[Tensor, " out"]:
        """A projection's bias; zeros where it has none."""
        module = self.module(name, layer)
        if isinstance(getattr(module, "bias", None), Tensor):
            return self.tensor(module, "bias")
        weight = self.tensor(module)
        return torch.zeros(self._shape(name, layer)[0], dtype=weight.dtype, device=weight.device)

    @property
    def device(self) -> torch.device:
        """Where inputs go and results come: of the first weight that is in memory."""
        return next((p.device for p in self.hf.parameters() if not p.is_meta), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        weight = self.module("unembed").weight
        assert isinstance(weight, Tensor)
        return weight.dtype

    @property
    def dtype_name(self) -> str:
        """As results and options say it: "float32"."""
        return str(self.dtype).removeprefix("torch.")

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all weights as they are now; see `loci.model.fingerprint`."""
        return self.known_fingerprint.of(lambda: fingerprint(self.parameter_names, self.parameter))


def is_conv1d(module: nn.Module) -> bool:
    """GPT-2's projections keep their weight as [in, out]."""
    return not isinstance(module, nn.Linear) and hasattr(module, "nf")
