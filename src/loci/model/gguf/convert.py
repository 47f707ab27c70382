"""A GGUF file as a folder that transformers loads: opened once, kept in the cache by content.

    header → what is refused → configuration → weights, dequantised one by one → tokenizer → checks

Values are those of the file: dequantised in float32 (a block's scale times its integers, plus its
minimum), written as float32. The folder is named by the SHA-256 of the file, so another file never
meets its weights, and the second opening takes as long as a folder's.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from loci.cache import mark_used, trim
from loci.errors import ModelError
from loci.files import write_aside
from loci.model.gguf.families import Array, Family, family_of
from loci.model.gguf.header import Header, TensorEntry
from loci.model.gguf.header_reader import read_header
from loci.model.gguf.rope import FREQS, LONG, SHORT, rope_parameters
from loci.model.gguf.tokenizer import save_tokenizer

VERSION = 1
"""Raised when a change here gives other folders."""
SHARD_BYTES = 2 * 2**30
WIDEST = {"gemma2": 46, "gemma3_text": 62}
"""Layers of the 27 B models: a file does not state how queries are scaled, only this tells."""
CHUNK = 1 << 24
"""Bytes hashed or copied at a time."""


def model_folder(parts: Sequence[Path], cache: Path) -> Path:
    """The folder of a GGUF file's model, made where the cache has none yet.

    `parts`: the files whose bytes make up the model (`sources.gguf_parts`). Raises `ModelError`
    before any work for what cannot be opened. Cost: one reading of the file to find the folder;
    the first time dequantisation, four bytes on disk for each weight.
    """
    headers = (
        [read_header(part) for part in parts]
        if _sharded(parts)
        else [read_header(_joined(parts, cache))]
    )
    family = family_of(headers[0])
    place = cache / "gguf" / f"{_digest(parts)[:32]}-{VERSION}"
    if (place / "config.json").is_file():
        mark_used(place)
        return place
    _check_gguf_package(headers[0])
    place.parent.mkdir(parents=True, exist_ok=True)
    with write_aside(place, folder=True) as aside:
        aside.mkdir()
        config = _config(headers, family)
        stated = _write_weights(headers, family, aside)
        config["tie_word_embeddings"] = "lm_head.weight" not in stated
        save_tokenizer(headers[0], aside)
        (aside / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
        _check_whole(aside, stated, headers[0])
    trim()
    return place


def gguf_file(parts: Sequence[Path], cache: Path) -> Path:
    """The one file that the parts are. Raises `ModelError` for shards, which are several."""
    if _sharded(parts):
        raise ModelError(
            f"{parts[0]}: is one of {len(parts)} shards: put them together with llama-gguf-split"
            " --merge first"
        )
    return _joined(parts, cache)


def _check_gguf_package(header: Header) -> None:
    """Dequantising is the `gguf` package's work."""
    try:
        import gguf  # noqa: F401
    except ImportError:
        raise ModelError(
            f"{header.path}: opening it needs the gguf package: pip install 'loci-lm[gguf]'"
        ) from None


def _sharded(parts: Sequence[Path]) -> bool:
    """Shards each have a header of their own; the parts of a package are one file cut into
    pieces.
    """
    return len(parts) > 1 and all(part.suffix == ".gguf" for part in parts)


def _joined(parts: Sequence[Path], cache: Path) -> Path:
    """One file from the pieces that a package carries, kept in the cache under their content."""
    if len(parts) == 1:
        return parts[0]
    whole = cache / "gguf" / f"{_digest(parts)[:32]}.gguf"
    if not whole.is_file():
        whole.parent.mkdir(parents=True, exist_ok=True)
        with write_aside(whole) as aside, aside.open("wb") as out:
            for block in _blocks(parts):
                out.write(block)
    return whole


def _digest(parts: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for block in _blocks(parts):
        digest.update(block)
    return digest.hexdigest()


def _blocks(parts: Sequence[Path]) -> Iterator[bytes]:
    for part in parts:
        with part.open("rb") as file:
            while block := file.read(CHUNK):
                yield block


def _config(headers: Sequence[Header], family: Family) -> dict[str, Any]:
    """The model's configuration, as the metadata and the rotary tensors state it."""
    header = headers[0]
    config = family.config(header)
    embedding = next((t for h in headers for t in h.tensors if t.name == "token_embd.weight"), None)
    if embedding is None:
        raise ModelError(f"{header.path}: has no token embedding: not a whole language model")
    config["vocab_size"] = embedding.shape[0]
    for name in ("bos", "eos"):
        config[f"{name}_token_id"] = header.metadata.get(f"tokenizer.ggml.{name}_token_id")
    names = {tensor.name for h in headers for tensor in h.tensors}
    if "blk.0.attn_q.bias" in names and "attention_bias" in family.fixed:
        config["attention_bias"] = True
    if family.rotary:
        config["rope_parameters"] = _rope(headers, family, config)
    if family.model_type in WIDEST:
        config["query_pre_attn_scalar"] = _query_scale(header, family)
    return {"architectures": None, **config, "dtype": "float32"}


def _query_scale(header: Header, family: Family) -> int:
    """Gemma 2 and 3 divide queries by √d_head, but for their 27 B models by √(d_model / heads)."""
    per_head = int(header.of("embedding_length")) // int(header.of("attention.head_count"))
    widest = header.of("block_count") == WIDEST[family.model_type]
    return per_head if widest else int(header.of("attention.key_length", 256))


def _rope(headers: Sequence[Header], family: Family, config: dict[str, Any]) -> dict[str, Any]:
    header = headers[0]
    divisors = {
        t.name: tensor_values(t, h)
        for h in headers
        for t in h.tensors
        if t.name in (FREQS, SHORT, LONG)
    }
    base = float(header.of("rope.freq_base", 10000.0))
    scaled = rope_parameters(header, divisors) or {"rope_type": "default"}
    rope = {"rope_theta": base, **scaled}
    if family.model_type != "gemma3_text":
        return rope
    local = {"rope_type": "default", "rope_theta": float(header.of("rope.freq_base_swa", 10000.0))}
    return {"full_attention": rope, "sliding_attention": local}


def tensor_values(tensor: TensorEntry, header: Header) -> Array:
    """One tensor, dequantised: float32, shape as in PyTorch. Raises `ModelError` where it cannot
    be.
    """
    from gguf import GGMLQuantizationType, dequantize

    with header.path.open("rb") as file:
        file.seek(tensor.start)
        data = np.frombuffer(file.read(tensor.bytes), dtype=np.uint8)
    kind = GGMLQuantizationType[tensor.type]
    rows = data.reshape(*tensor.shape[:-1], -1)
    if tensor.type in ("F32", "F16"):
        decoded = rows.view(np.float32 if tensor.type == "F32" else np.float16).astype(np.float32)
    else:
        try:
            decoded = dequantize(rows, kind)
        except NotImplementedError:
            raise ModelError(
                f"{header.path}: tensor {tensor.name!r} is quantised as {tensor.type}, which cannot"
                " be read"
            ) from None
    values: Array = np.asarray(decoded, dtype=np.float32).reshape(tensor.shape)
    if not np.isfinite(values).all():
        raise ModelError(
            f"{header.path}: tensor {tensor.name!r} holds values that are not finite: the file is"
            " damaged"
        )
    return values


def _write_weights(
    headers: Sequence[Header], family: Family, folder: Path
) -> dict[str, tuple[int, ...]]:
    """All weights in shards of at most `SHARD_BYTES`. Returns the shapes by name."""
    shapes: dict[str, tuple[int, ...]] = {}
    shards: list[list[str]] = []
    held: dict[str, torch.Tensor] = {}
    for header, tensor, name in _named(headers, family):
        values = np.ascontiguousarray(
            family.changed(tensor.name, tensor_values(tensor, header), headers[0])
        )
        shapes[name] = values.shape
        if held and sum(t.nbytes for t in held.values()) + values.nbytes > SHARD_BYTES:
            shards.append(_flush(held, folder, len(shards)))
        held[name] = torch.from_numpy(values)
    shards.append(_flush(held, folder, len(shards)))
    _index(shards, shapes, folder)
    return shapes


def _named(headers: Sequence[Header], family: Family) -> Iterator[tuple[Header, TensorEntry, str]]:
    for header in headers:
        for tensor in header.tensors:
            name = family.name(tensor.name)
            if name is not None:
                yield header, tensor, name
            elif tensor.name not in (FREQS, SHORT, LONG):
                raise ModelError(
                    f"{header.path}: the tensor {tensor.name!r} has no place in"
                    f" {family.model_type}: it would be lost"
                )


def _flush(held: dict[str, torch.Tensor], folder: Path, number: int) -> list[str]:
    save_file(held, folder / f"part-{number}.safetensors", metadata={"format": "pt"})
    names = list(held)
    held.clear()
    return names


def _index(shards: list[list[str]], shapes: dict[str, tuple[int, ...]], folder: Path) -> None:
    """Names as transformers expects them: one file, or several with an index."""
    if len(shards) == 1:
        (folder / "part-0.safetensors").rename(folder / "model.safetensors")
        return
    files = [f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors" for i in range(len(shards))]
    for i, file in enumerate(files):
        (folder / f"part-{i}.safetensors").rename(folder / file)
    size = sum(4 * int(np.prod(shape)) for shape in shapes.values())
    where = {name: files[i] for i, names in enumerate(shards) for name in names}
    index = {"metadata": {"total_size": size}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def _check_whole(folder: Path, stated: dict[str, tuple[int, ...]], header: Header) -> None:
    """The configuration's model has exactly the tensors of the file, in the same shapes."""
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        with torch.device("meta"):
            empty = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(
            f"{header.path}: its metadata make no {header.architecture} model"
            f" ({str(error).splitlines()[0]})"
        ) from None
    wanted = {name: tuple(value.shape) for name, value in empty.state_dict().items()}
    if "lm_head.weight" not in stated:
        wanted.pop("lm_head.weight", None)  # tied to the embedding
    for name in sorted({*wanted, *stated}):
        if wanted.get(name) != stated.get(name):
            have, want = stated.get(name, "nothing"), wanted.get(name, "nothing")
            raise ModelError(
                f"{header.path}: {name} is {have}, the architecture wants {want}: not a whole"
                " checkpoint"
            )
    logging.getLogger(__name__).debug("%s: %s", header.path, header.describe())
