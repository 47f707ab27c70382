"""The tokenizer that a GGUF file describes, saved as files that transformers loads.

transformers builds it from the metadata, but splits text by GPT-2's rule wherever it does not know
the name of the file's rule (`tokenizer.ggml.pre`). Here unknown names are refused, and those that
it does not know but that are known are put in: the rule decides which merges can apply, and thereby
the tokens.
"""

import json
from pathlib import Path
from typing import Any

from tokenizers import pre_tokenizers

from loci.errors import ModelError
from loci.model.gguf.header import Header

GPT2_RULE = ("gpt-2", "gpt2", "default", "")
"""Names of the rule that byte-level tokenizers fall back to."""
DIGITS_FIRST = ("smollm", "starcoder", "refact", "command-r", "codeshell")
"""Each digit alone, then GPT-2's rule."""
SENTENCEPIECE = ("llama", "gemma4")


def save_tokenizer(header: Header, folder: Path) -> None:
    """Write the tokenizer's files into a folder. Raises `ModelError` where the rule is unknown."""
    from transformers import PreTrainedTokenizerFast

    rule = str(header.metadata.get("tokenizer.ggml.pre", ""))
    model = header.metadata.get("tokenizer.ggml.model")
    if model is None or "tokenizer.ggml.tokens" not in header.metadata:
        raise ModelError(f"{header.path}: has no tokenizer: it cannot read text")
    if model == "gpt2" and rule not in _known_rules():
        raise ModelError(
            f"{header.path}: splits text by the rule {rule!r}, which is not known: open the"
            " original checkpoint"
        )
    try:
        tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(
            header.path.parent, gguf_file=header.path.name
        )
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ModelError(
            f"{header.path}: its tokenizer cannot be built ({str(error).splitlines()[0]})"
        ) from None
    if model == "gpt2" and rule in DIGITS_FIRST:
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
    tokenizer.save_pretrained(folder)
    _settle_special_tokens(header, folder)


def _known_rules() -> set[str]:
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    return {*GPT2_RULE, *DIGITS_FIRST, *GGUF_PRE_TOKENIZER_SPLITS}


def _settle_special_tokens(header: Header, folder: Path) -> None:
    """Whether a BOS stands in front is what the file says; no token is made up."""
    place = folder / "tokenizer_config.json"
    config = json.loads(place.read_text(encoding="utf-8"))
    add = header.metadata.get("tokenizer.ggml.add_bos_token")
    if add is not None:
        config["add_bos_token"] = bool(add)
    tokens = header.metadata["tokenizer.ggml.tokens"]
    for name in ("bos", "eos"):
        identity = header.metadata.get(f"tokenizer.ggml.{name}_token_id")
        if isinstance(identity, int) and 0 <= identity < len(tokens):
            config[f"{name}_token"] = tokens[identity]
    place.write_text(json.dumps(config, indent=2, ensure_ascii=False), encoding="utf-8")
