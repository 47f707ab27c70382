"""The doctor passes every family's tiny model, and finds what is broken on purpose."""

from collections.abc import Callable

import pytest
import torch

from loci.model import Model
from loci.model.health import Diagnosis, doctor
from tests.model.families import MIXTURES, PARALLEL, SUPPORTED, make

LOOSE = ("attention step by step = the model's own", "W_U with the final norm folded in = logits")


def failed(diagnosis: Diagnosis) -> list[str]:
    return [check.name for check in diagnosis.checks if check.passed is False]


@pytest.mark.parametrize("name", SUPPORTED)
def test_every_family_is_healthy(name: str, demo: Model) -> None:
    diagnosis = doctor(make(name, demo))
    assert diagnosis.healthy, failed(diagnosis)
    assert all(
        check.error is None or check.error <= 1e-5
        for check in diagnosis.checks
        if check.name not in LOOSE
    )
    absent = {check.name for check in diagnosis.checks if check.passed is None}
    assert ("resid_pre + attn_out = resid_mid" in absent) == (name in PARALLEL)
    assert ("W_down · mlp_act + b_down = mlp_raw" in absent) == (name in MIXTURES)
    assert ("Σ attn_probs · v = z" in absent) == (name == "falcon-rw")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype, demo: Model) -> None:
    for name in ("gpt2", "gemma2", "falcon-40b"):
        model = make(name, demo)
        model.hf.to(dtype)
        assert failed(doctor(model)) == []


def _nan(model: Model) -> None:
    model.W_down(2)[3, 5] = torch.nan


def _wrong_values(model: Model) -> None:
    model.W_down = lambda layer: type(model).W_down(model, layer) * (1 + 1e-3 * (layer == 1))


def _wrong_heads(model: Model) -> None:
    model._fetch_heads = model.W_V
    model.W_V = lambda layer, *, expand=True: model._fetch_heads(layer, expand=expand).flip(0)


def _deaf_to_masks(model: Model) -> None:
    forward = model.hf.forward
    model.hf.forward = lambda *args, attention_mask=None, **kwargs: forward(*args, **kwargs)


def _remembers(model: Model) -> None:
    """A block that gives something else each time it is run."""
    state = {"runs": 0}

    def drift(_, args, output):
        state["runs"] += 1
        return (output[0] if isinstance(output, tuple) else output) + 1e-3 * state["runs"]

    model.blocks[1].register_forward_hook(drift)


def _offsets(model: Model) -> None:
    class Shifted(type(model.tokenizer)):
        def __call__(self, *args, **kwargs):
            encoded = super().__call__(*args, **kwargs)
            encoded["offset_mapping"] = [
                [(a and a + 1, b and b + 1) for a, b in row] for row in encoded["offset_mapping"]
            ]
            return encoded

    tokenizer = Shifted.__new__(Shifted)
    tokenizer.__dict__ = model.tokenizer.__dict__
    model.tokenizer = tokenizer


BROKEN = {
    "weights are finite": _nan,
    "W_down · mlp_act + b_down = mlp_raw": _wrong_values,
    "W_V · attn_in + b_V = v": _wrong_heads,
    "a batch padded on the left = its texts alone": _deaf_to_masks,
    "logits, all points read = plain Hugging Face": _remembers,
    "tokens know their characters": _offsets,
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_found(name: str, demo: Model) -> None:
    model = make("llama", demo)
    breaks: Callable[[Model], None] = BROKEN[name]
    breaks(model)
    diagnosis = doctor(model)
    assert name in failed(diagnosis)
    assert not diagnosis.healthy


FRESH = (
    "gpt2", "gpt-neo", "gpt-j", "pythia", "opt", "bloom", "falcon-40b", "llama", "qwen2", "gemma",
    "gemma2", "olmo2", "phi", "phi3",
    "stablelm",
)  # fmt: skip


def fresh(
    name: str, demo: Model, seed: int, scale: float, dtype: torch.dtype = torch.float32
) -> Model:
    """A model as transformers initialises it, its matrices times a number."""
    torch.manual_seed(seed)
    hf = SUPPORTED[name]().to(dtype)
    with torch.no_grad():
        for parameter in hf.parameters():
            if parameter.ndim > 1:
                parameter.mul_(scale)
    return Model(hf, demo.tokenizer, name)


@pytest.mark.numerical
@pytest.mark.parametrize("name", FRESH)
def test_no_fresh_model_is_called_ill(name: str, demo: Model) -> None:
    """With small weights the norm's ε outweighs the stream; with large ones rounding is carried
    far.
    """
    for seed, scale in ((7, 1.0), (0, 1e-3), (1, 1e3)):
        assert failed(doctor(fresh(name, demo, seed, scale))) == [], (seed, scale)


@pytest.mark.numerical
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_no_fresh_model_in_half_precision_is_called_ill(dtype: torch.dtype, demo: Model) -> None:
    for name, scale in (("gpt2", 1.0), ("llama", 1e-3), ("falcon-rw", 30.0), ("gemma2", 1.0)):
        assert failed(doctor(fresh(name, demo, 0, scale, dtype))) == [], (name, scale)


@pytest.mark.numerical
def test_epsilon_of_norms_is_found(demo: Model) -> None:
    model = make("gpt2", demo)
    for eps in (1e-12, 1e-6, 1e-5, 1e-2):
        model.hf.transformer.ln_f = torch.nn.LayerNorm(model.d_model, eps=eps)
        torch.nn.init.normal_(
            model.hf.transformer.ln_f.weight, generator=torch.Generator().manual_seed(0)
        )
        assert model.norm_epsilon("final_norm") == pytest.approx(eps, rel=1e-3, abs=1e-14)
    assert make("llama", demo).norm_epsilon("mlp_norm", 1) == pytest.approx(1e-6, rel=1e-3)


def test_a_fold_that_is_wrong_is_found_in_small_models_too(demo: Model) -> None:
    model = fresh("llama", demo, 0, 1e-3)
    model.folded = lambda name: (
        type(model)
        .folded(model, name)
        ._replace(weight=1.01 * type(model).folded(model, name).weight)
    )
    assert failed(doctor(model)) == ["W_U with the final norm folded in = logits"]
