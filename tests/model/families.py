"""Tiny random configurations of every family, with the vocabulary of the embedded model's
tokenizer.
"""

from collections.abc import Callable

import torch
import transformers as t

from loci.model import Model

BASE = {
    "vocab_size": 4096,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
SIZE = {**BASE, "intermediate_size": 48, "num_hidden_layers": 3, "max_position_embeddings": 64}
GROUPED = {**SIZE, "num_key_value_heads": 2, "pad_token_id": 0}
WINDOWED = {**GROUPED, "head_dim": 16, "sliding_window": 4, "num_hidden_layers": 4}
NEO = {
    "vocab_size": 4096,
    "hidden_size": 32,
    "num_layers": 4,
    "num_heads": 4,
    "max_position_embeddings": 64,
    "window_size": 4,
}
GPT2 = {
    "vocab_size": 4096,
    "n_embd": 32,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": 64,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
FALCON = {**BASE, "num_hidden_layers": 3, "max_position_embeddings": 64}
OPT = {
    **BASE,
    "num_hidden_layers": 3,
    "ffn_dim": 48,
    "max_position_embeddings": 64,
    "word_embed_proj_dim": 32,
    "pad_token_id": 1,
}
VISION = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}

SUPPORTED: dict[str, Callable[[], t.PreTrainedModel]] = {
    "gpt2": lambda: t.GPT2LMHeadModel(t.GPT2Config(**GPT2)),
    "gpt-neo": lambda: t.GPTNeoForCausalLM(
        t.GPTNeoConfig(
            **NEO, attention_types=[[["global", "local"], 2]], bos_token_id=0, eos_token_id=0
        )
    ),
    "gpt-j": lambda: t.GPTJForCausalLM(t.GPTJConfig(**GPT2, rotary_dim=4)),
    "pythia": lambda: t.GPTNeoXForCausalLM(t.GPTNeoXConfig(**SIZE)),
    "neox-sequential": lambda: t.GPTNeoXForCausalLM(
        t.GPTNeoXConfig(**SIZE, use_parallel_residual=False)
    ),
    "opt": lambda: t.OPTForCausalLM(t.OPTConfig(**OPT)),
    "bloom": lambda: t.BloomForCausalLM(
        t.BloomConfig(
            vocab_size=4096, hidden_size=32, n_layer=3, n_head=4, bos_token_id=0, eos_token_id=0
        )
    ),
    "falcon-7b": lambda: t.FalconForCausalLM(
        t.FalconConfig(**FALCON, multi_query=True, parallel_attn=True)
    ),
    "falcon-40b": lambda: t.FalconForCausalLM(
        t.FalconConfig(**FALCON, new_decoder_architecture=True, num_kv_heads=2)
    ),
    "falcon-rw": lambda: t.FalconForCausalLM(
        t.FalconConfig(**FALCON, multi_query=False, parallel_attn=False, alibi=True, bias=True)
    ),
    "llama": lambda: t.LlamaForCausalLM(t.LlamaConfig(**GROUPED)),
    "llama-biased": lambda: t.LlamaForCausalLM(
        t.LlamaConfig(**GROUPED, mlp_bias=True, attention_bias=True)
    ),
    "mistral": lambda: t.MistralForCausalLM(t.MistralConfig(**GROUPED, sliding_window=4)),
    "qwen2": lambda: t.Qwen2ForCausalLM(t.Qwen2Config(**GROUPED)),
    "qwen3": lambda: t.Qwen3ForCausalLM(t.Qwen3Config(**GROUPED, head_dim=16)),
    "gemma": lambda: t.GemmaForCausalLM(t.GemmaConfig(**GROUPED, head_dim=16)),
    "gemma2": lambda: t.Gemma2ForCausalLM(
        t.Gemma2Config(
            **WINDOWED,
            final_logit_softcapping=2.0,
            attn_logit_softcapping=5.0,
            query_pre_attn_scalar=16,
        )
    ),
    "gemma3": lambda: t.Gemma3ForCausalLM(t.Gemma3TextConfig(**WINDOWED, sliding_window_pattern=2)),
    "gemma3-multimodal": lambda: t.Gemma3ForConditionalGeneration(
        t.Gemma3Config(text_config=dict(WINDOWED), vision_config=VISION)
    ),
    "olmo": lambda: t.OlmoForCausalLM(t.OlmoConfig(**GROUPED)),
    "olmo2": lambda: t.Olmo2ForCausalLM(t.Olmo2Config(**GROUPED)),
    "vaultgemma": lambda: t.VaultGemmaForCausalLM(t.VaultGemmaConfig(**WINDOWED)),
    "phi": lambda: t.PhiForCausalLM(t.PhiConfig(**{**GROUPED, "num_key_value_heads": 4})),
    "phi3": lambda: t.Phi3ForCausalLM(t.Phi3Config(**GROUPED, sliding_window=4)),
    "stablelm": lambda: t.StableLmForCausalLM(t.StableLmConfig(**GROUPED)),
    "stablelm-parallel": lambda: t.StableLmForCausalLM(
        t.StableLmConfig(**GROUPED, use_parallel_residual=True, qk_layernorm=True)
    ),
    "mixtral": lambda: t.MixtralForCausalLM(
        t.MixtralConfig(**GROUPED, num_local_experts=4, num_experts_per_tok=2)
    ),
    "qwen3-moe": lambda: t.Qwen3MoeForCausalLM(
        t.Qwen3MoeConfig(
            **GROUPED,
            head_dim=16,
            num_experts=4,
            num_experts_per_tok=2,
            moe_intermediate_size=24,
            norm_topk_prob=True,
        )
    ),
}
MIXTURES = ("mixtral", "qwen3-moe")
PARALLEL = ("gpt-j", "pythia", "falcon-7b", "falcon-40b", "phi", "stablelm-parallel")
CENTRED = (
    "gpt2",
    "gpt-neo",
    "gpt-j",
    "pythia",
    "neox-sequential",
    "opt",
    "bloom",
    "falcon-7b",
    "falcon-40b",
    "falcon-rw",
    "olmo",
    "phi",
    "stablelm",
    "stablelm-parallel",
)

REFUSED = {
    "opt-350m, whose stream is normalised": lambda: t.OPTForCausalLM(
        t.OPTConfig(**OPT, do_layer_norm_before=False)
    ),
    "bloom, with the norm in the stream": lambda: t.BloomForCausalLM(
        t.BloomConfig(
            vocab_size=4096,
            hidden_size=32,
            n_layer=2,
            n_head=4,
            apply_residual_connection_post_layernorm=True,
        )
    ),
    "qwen2-moe, with an expert that all share": lambda: t.Qwen2MoeForCausalLM(
        t.Qwen2MoeConfig(
            **GROUPED, num_experts=4, moe_intermediate_size=24, shared_expert_intermediate_size=24
        )
    ),
    "granite, with scaled residuals": lambda: t.GraniteForCausalLM(
        t.GraniteConfig(**GROUPED, residual_multiplier=0.5)
    ),
    "cohere, with scaled logits": lambda: t.CohereForCausalLM(
        t.CohereConfig(**GROUPED, logit_scale=0.06)
    ),
}


def make(name: str, demo: Model) -> Model:
    """A family's tiny model, its weights away from their usual starts,
    so that no part is nothing.
    """
    return Model(perturbed(SUPPORTED[name]), demo.tokenizer, name)


def perturbed(build: Callable[[], t.PreTrainedModel]) -> t.PreTrainedModel:
    torch.manual_seed(0)
    hf = build()
    with torch.no_grad():
        for parameter in hf.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return hf
