"""Loci against TransformerLens: logits, residual streams and weights of one model, through two
independent implementations.

    make oracle  an environment of its own, with transformer-lens below 4 (which took
                 HookedTransformer out), then this file

Tiny random configurations of every family that HookedTransformer takes from a configuration;
nothing is downloaded. TransformerLens is built without folding, centring or rewriting of any
weight. Llama with biases is left out, as TransformerLens drops them. Status 1 where an error
exceeds what float32 explains.
"""

import logging
import sys
import tempfile
import warnings
from collections.abc import Iterator

import torch
from tests.model.families import SUPPORTED, make
from torch import Tensor
from transformer_lens import HookedTransformer, loading_from_pretrained

from loci.model import Model, open_model
from loci.model.rounding import difference

FAMILIES = (
    "gpt2", "gpt-neo", "gpt-j", "pythia", "opt", "bloom", "llama", "mistral", "qwen2", "qwen3",
    "phi", "phi3", "mixtral",
)  # fmt: skip
ALLOWED = 1e-4
POINTS = (
    "resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "q", "k", "v", "z", "attn_probs",
    "mlp_pre", "mlp_act",
)  # fmt: skip


def lens_of(model: Model) -> HookedTransformer:
    """The same weights in TransformerLens's own modules."""
    with tempfile.TemporaryDirectory() as folder:
        settings = model.hf.config
        settings.architectures, settings.n_ctx = [type(model.hf).__name__], model.n_ctx
        if "partial_rotary_factor" in (
            getattr(settings, "rope_parameters", None) or {}
        ):  # where TransformerLens looks for it
            type(settings).partial_rotary_factor = settings.rope_parameters["partial_rotary_factor"]
        settings.save_pretrained(folder)
        config = loading_from_pretrained.get_pretrained_model_config(
            folder, fold_ln=False, device="cpu"
        )
        state = loading_from_pretrained.get_pretrained_state_dict(
            folder, config, model.hf, dtype=torch.float32
        )
    lens = HookedTransformer(config, tokenizer=model.tokenizer, move_to_device=False)
    lens.load_and_process_state_dict(
        state,
        fold_ln=False,
        center_writing_weights=False,
        center_unembed=False,
        fold_value_biases=False,
        refactor_factored_attn_matrices=False,
    )
    return lens.eval()


@torch.no_grad()
def compared(model: Model, lens: HookedTransformer) -> Iterator[tuple[str, Tensor, Tensor]]:
    """What both say of one thing: its name, Loci's, TransformerLens's."""
    ids = torch.arange(24).view(2, 12) * 7 % model.d_vocab
    names = [
        f"{point}.{layer}"
        for point in POINTS
        if point in model.points()
        for layer in range(model.n_layers)
    ]
    with model.watch(*names) as ours:
        logits = model(ids)
    lens_logits, theirs = lens.run_with_cache(ids)
    yield "logits", logits, lens_logits
    for name in names:
        point, _, layer = name.partition(".")
        alias = next(a for a in model_aliases(point) if a.format(layer) in theirs)
        found, expected = ours[name], theirs[alias.format(layer)]
        if point == "attn_probs":
            expected = expected.to(found.dtype)
        yield point, found, expected
    yield "W_U", model.W_U.T, lens.W_U
    yield "W_E", model.W_E * model.embed_scale, lens.W_E
    for layer, block in enumerate(lens.blocks):
        for name in "QKV":
            yield (
                f"W_{name}",
                getattr(model, f"W_{name}")(layer).mT,
                getattr(block.attn, f"W_{name}"),
            )
            yield f"b_{name}", getattr(model, f"b_{name}")(layer), getattr(block.attn, f"b_{name}")
        yield "W_O", model.W_O(layer).mT, block.attn.W_O
        yield "b_O", model.b_O(layer), block.attn.b_O
        if not model.n_experts:
            yield "W_up", model.W_up(layer).T, block.mlp.W_in
            yield "W_down", model.W_down(layer).T, block.mlp.W_out
            if model.gated:
                yield "W_gate", model.W_gate(layer).T, block.mlp.W_gate


def model_aliases(point: str) -> tuple[str, ...]:
    from loci.model.points import BY_NAME

    return BY_NAME[point].transformer_lens


def main() -> int:
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    demo = open_model("demo")
    models = [("demo", demo), *((name, make(name, demo)) for name in FAMILIES)]
    worst = 0.0
    for name, model in models:
        errors: dict[str, float] = {}
        for what, ours, theirs in compared(model, lens_of(model)):
            errors[what] = max(
                errors.get(what, 0.0),
                difference(ours, theirs) if ours.shape == theirs.shape else float("inf"),
            )
        largest = max(errors, key=lambda what: errors[what])
        worst = max(worst, errors[largest])
        print(
            f"{name:13} logits {errors['logits']:.1e}   {len(errors):2} tensors, largest error"
            f" {errors[largest]:.1e} ({largest})"
        )
        wrong = {what: f"{error:.1e}" for what, error in errors.items() if error > ALLOWED}
        if wrong:
            print(f"{'':13} {wrong}")
    print(f"not compared: {', '.join(sorted(set(SUPPORTED) - set(FAMILIES)))}")
    return int(worst > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
