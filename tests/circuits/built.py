"""A two-layer induction model by hand: one-hot tokens and positions, one previous-token head, one
head that looks for it.

    stream:  token (32) | position (64) | token before (32)
    L0H0     looks at position i − 1, copies the token there into "token before"
    L1H0     looks where "token before" is the present token, copies the token there into "token"

All vectors of one layer have equally many ones, so the norms are one and the same scaling
everywhere, and a shift that rows of mean 0 do not see.
"""

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from loci.model import Model

WORDS, POSITIONS = 32, 64
TOKEN, POSITION, BEFORE = slice(0, 32), slice(32, 96), slice(96, 128)
SHARP = 40.0


def word_tokenizer(words: int = WORDS) -> PreTrainedTokenizerFast:
    inner = Tokenizer(
        WordLevel(
            {"<s>": 0, **{f"w{i}": i for i in range(1, words - 1)}, "<unk>": words - 1},
            unk_token="<unk>",
        )
    )
    inner.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="<s>", unk_token="<unk>"
    )


def reading(where: slice, to: int = 0, shift: int = 0) -> torch.Tensor:
    """[128, 64]: one-hot entries of a part of the stream as entries of a head, less their mean, so
    that a constant reads as 0.
    """
    width = where.stop - where.start
    matrix = torch.zeros(128, 64)
    matrix[where, to : to + width] = torch.eye(width).roll(shift, 1)
    if shift:
        matrix[where.stop - shift : where.stop] = 0
    return matrix - matrix.mean(0)


@torch.no_grad()
def induction_model() -> Model:
    config = GPT2Config(
        vocab_size=WORDS,
        n_positions=POSITIONS,
        n_embd=128,
        n_layer=2,
        n_head=2,
        n_inner=4,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
    )
    hf = GPT2LMHeadModel(config)
    for name, parameter in hf.named_parameters():
        parameter.fill_(1.0 if "ln_" in name and name.endswith("weight") else 0.0)
    hf.transformer.wte.weight[:, TOKEN] = torch.eye(WORDS)
    hf.transformer.wpe.weight[:, POSITION] = torch.eye(POSITIONS)
    hf.lm_head.weight[:, TOKEN] = SHARP * torch.eye(WORDS)
    looks = [(reading(POSITION), reading(POSITION, shift=1)), (reading(TOKEN), reading(BEFORE))]
    for block, (query, key), target in zip(hf.transformer.h, looks, (BEFORE, TOKEN), strict=True):
        joint = block.attn.c_attn.weight.view(128, 3, 2, 64)
        joint[:, 0, 0], joint[:, 1, 0], joint[:, 2, 0] = SHARP * query, SHARP * key, reading(TOKEN)
        block.attn.c_proj.weight[:WORDS, target] = torch.eye(WORDS)
    return Model(hf, word_tokenizer(), "induction by hand")
