"""Every causal family of transformers as a tiny random model, made from its own default
configuration, and what becomes of it here:

    healthy     it opens, and the doctor finds nothing
    refused     it does not open, and the reason is one line
    unbuilt     no tiny model could be made of it
    unhealthy, traceback    faults of Loci's

`python -m benchmarks.families` walks them all.
"""

from contextlib import suppress
from typing import Any, NamedTuple

import torch
import transformers as t
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as NAMES

from loci.errors import LociError
from loci.model import Model, doctor

LARGEST = 60_000_000
SIZES: dict[str, Any] = {
    **dict.fromkeys(
        (
            "hidden_size",
            "n_embd",
            "d_model",
            "word_embed_proj_dim",
            "embedding_size",
            "lm_head_hidden",
        ),
        32,
    ),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "n_inner", "d_ff", "ffn_hidden_size"), 48),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 48),
    **dict.fromkeys(
        (
            "num_hidden_layers",
            "n_layer",
            "num_layers",
            "n_layers",
            "decoder_layers",
            "encoder_layers",
        ),
        3,
    ),
    **dict.fromkeys(("num_attention_heads", "n_head", "num_heads", "n_heads"), 4),
    **dict.fromkeys(("decoder_attention_heads", "encoder_attention_heads"), 4),
    **dict.fromkeys(("num_key_value_heads",), 2),
    **dict.fromkeys(
        (
            "head_dim",
            "d_kv",
            "qk_rope_head_dim",
            "qk_nope_head_dim",
            "v_head_dim",
            "state_size",
            "mamba_d_state",
        ),
        8,
    ),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"), 64),
    **dict.fromkeys(
        ("moe_intermediate_size", "shared_expert_intermediate_size", "expert_ffn_hidden_size"), 24
    ),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_topk"), 2),
    **dict.fromkeys(("n_shared_experts", "n_group", "topk_group", "first_k_dense_replace"), 1),
    **dict.fromkeys(("kv_lora_rank", "q_lora_rank", "hidden_size_per_layer_input"), 16),
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input"), 4096),
    **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), 0),
    "rotary_dim": 4,
    "sliding_window": 4,
    "mamba_n_heads": 8,
    "mamba_d_head": 8,
    "n_mamba_heads": 8,
}
OF_LAYERS = (
    "layer_types",
    "mlp_layer_types",
    "moe_layers",
    "layers_block_type",
    "block_types",
    "hybrid_layer_ids",
)
"""Fields with an entry for each layer: the defaults are made for other numbers of layers."""
SPECIAL: dict[str, dict[str, Any]] = {
    "gpt_neo": {
        "attention_types": [[["global", "local"], 2]],
        "num_layers": 4,
        "num_hidden_layers": 4,
    },
    "falcon_h1": {"mamba_d_ssm": 64},
    "nemotron": {"num_key_value_heads": 2, "head_dim": 8},
    "gemma4_assistant": {"hidden_size_per_layer_input": 0},
    "gemma4_unified_assistant": {"hidden_size_per_layer_input": 0},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "gemma3n": {"num_kv_shared_layers": 0},
    "gemma3n_text": {"num_kv_shared_layers": 0},
    "zaya": {"num_experts_per_tok": 1},
    "reformer": {"is_decoder": True},
    "mamba2": {"num_heads": 8, "head_dim": 8},
}


class Verdict(NamedTuple):
    """What became of one family."""

    family: str
    verdict: str
    note: str = ""


def tiny(name: str, **further: Any) -> t.PreTrainedModel:
    """A family's causal model of three small layers, its weights away from their usual starts.
    Raises what transformers raises.
    """
    torch.manual_seed(0)
    made = t.CONFIG_MAPPING[name]
    with suppress(Exception):
        made = type(made().get_text_config(decoder=True))
    error: Exception = ValueError("no configuration")
    for sizes in _attempts(made, SPECIAL.get(name, {}) | further):
        try:
            config = made(**sizes)
            with torch.device("meta"):
                count = sum(p.numel() for p in _class(name, config)(config).parameters())
            if count > LARGEST:
                raise ValueError(f"{count:,} parameters")
            hf = _class(name, config)(config).eval()
            with torch.no_grad():
                for parameter in hf.parameters():
                    parameter.add_(0.1 * torch.randn_like(parameter))
            return hf
        except Exception as found:  # noqa: BLE001 - whatever it is, it is counted
            error = found
    raise error


def _class(name: str, config: t.PretrainedConfig) -> type[t.PreTrainedModel]:
    known = t.AutoModelForCausalLM._model_mapping
    if type(config) in known:
        found = known[type(config)]
        return found[0] if isinstance(found, tuple) else found
    classes = NAMES[name]
    return getattr(t, classes if isinstance(classes, str) else classes[0])


def _attempts(made: type[t.PretrainedConfig], special: dict[str, Any]) -> list[dict[str, Any]]:
    """Sizes to try, with fewer and fewer of them said."""
    try:
        default = made()
        known = {name for name in SIZES if _value(default, name) is not None}
        empty = {
            name for name in SIZES if hasattr(type(default), name) or name in vars(default)
        } - known
    except Exception:  # noqa: BLE001 - whatever it is, it is counted
        known, empty = set(SIZES), set()
    latent = {"num_key_value_heads": 4} if "kv_lora_rank" in known else {}
    plain = {name: SIZES[name] for name in SIZES if name in known} | latent
    rest = ("head_dim", "num_key_value_heads", "sliding_window", "q_lora_rank")
    tries = [plain, plain | {name: SIZES[name] for name in empty}]
    tries += [{name: value for name, value in plain.items() if name != left} for left in rest]
    return [sizes | special for sizes in tries]


def _value(config: t.PretrainedConfig, name: str) -> Any:
    try:
        return getattr(config, name, None)
    except Exception:  # noqa: BLE001 - whatever it is, it is counted
        return 0


def judged(name: str, tokenizer: Any, hf: t.PreTrainedModel | None = None) -> Verdict:
    """What becomes of a family: its tiny model is opened and examined."""
    try:
        hf = tiny(name) if hf is None else hf
    except Exception as error:  # noqa: BLE001 - whatever it is, it is counted
        return Verdict(name, "unbuilt", _line(error))
    try:
        model = Model(hf, tokenizer, name)
    except LociError as error:
        return Verdict(name, "refused" if "\n" not in str(error) else "several lines", str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is counted
        return Verdict(name, "traceback", f"opening: {_line(error)}")
    try:
        diagnosis = doctor(model)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is counted
        return Verdict(name, "traceback", f"doctor: {_line(error)}")
    wrong = "; ".join(
        f"{check.name}: {check.error}" for check in diagnosis.checks if check.passed is False
    )
    return Verdict(
        name, "unhealthy" if wrong else "healthy", f"{model.layout.family} {wrong}".strip()
    )


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
