"""A model opened from GGUF says what the untouched model says, in every architecture and every way
of storing.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("gguf")

import gguf

import loci
from loci.errors import ModelError
from loci.model import Model
from loci.model.gguf import read_header
from loci.model.gguf.families import FAMILIES
from loci.model.gguf.rope import llama3_divisors
from tests.model.gguf.files import ARCHITECTURES, HEAD_DIM, tiny, write

TEXT = "Michael Jordan plays the sport of basketball, and Osaka is a city in Japan."


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCI_CACHE", str(tmp_path / "cache"))


@torch.no_grad()
def difference(hf: Any, opened: Model) -> float:
    """Largest difference of logits, relative to their largest."""
    ids = opened.ids([opened.tokenize(TEXT).ids])
    wanted, found = hf(ids).logits, opened(ids)
    return float((wanted - found).abs().max() / wanted.abs().max())


def test_every_family_is_tried() -> None:
    assert set(ARCHITECTURES) == set(FAMILIES)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_says_what_the_untouched_model_says(architecture: str, demo: Model, tmp_path: Path) -> None:
    hf = tiny(architecture, demo.d_vocab)
    opened = loci.open(write(tmp_path / "m.gguf", hf, architecture, demo))
    assert opened.tokenize(TEXT).ids[0] == opened.tokenizer.bos_token_id
    if architecture.startswith("gemma"):
        tokens = opened.tokenizer.convert_ids_to_tokens(opened.tokenize("Michael Jordan").ids)
        assert tokens == ["<bos>", "Mich", "a", "e", "l", "▁J", "or", "d", "a", "n"]
    # no space is put in front of a byte-level vocabulary's text; the embedded model's own tokenizer
    # puts one
    else:
        assert opened.tokenizer(f" {TEXT}", add_special_tokens=False).input_ids == list(
            demo.tokenize(TEXT).ids[1:]
        )
    assert difference(hf, opened) < 1e-5


def test_untied_output(demo: Model, tmp_path: Path) -> None:
    hf = tiny("qwen2", demo.d_vocab, tie_word_embeddings=False)
    opened = loci.open(write(tmp_path / "m.gguf", hf, "qwen2", demo))
    assert difference(hf, opened) < 1e-5


@pytest.mark.parametrize(
    ("architecture", "rope", "metadata"),
    [
        (
            "llama",
            {"rope_type": "linear", "factor": 4.0},
            {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0},
        ),
        (
            "qwen2",
            {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
            {
                "rope.scaling.type": "yarn",
                "rope.scaling.factor": 4.0,
                "rope.scaling.original_context_length": 32,
            },
        ),
    ],
)
def test_scaled_rotary_embeddings_are_restored(
    architecture: str, rope: dict[str, Any], metadata: dict[str, Any], demo: Model, tmp_path: Path
) -> None:
    hf = tiny(architecture, demo.d_vocab, rope_parameters={"rope_theta": 10000.0, **rope})
    plain = loci.open(write(tmp_path / "plain.gguf", hf, architecture, demo))
    assert difference(hf, plain) > 1e-3  # without the metadata it is another model
    opened = loci.open(write(tmp_path / "m.gguf", hf, architecture, demo, metadata=metadata))
    assert difference(hf, opened) < 1e-5


def test_llama_3_divisors_are_restored(demo: Model, tmp_path: Path) -> None:
    scaled = {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    rope = {"rope_type": "llama3", "rope_theta": 500000.0, **scaled}
    hf = tiny("llama", demo.d_vocab, rope_parameters=rope)
    divisors = llama3_divisors(500000.0, HEAD_DIM, 8.0, 8192).astype(np.float32)
    path = write(tmp_path / "m.gguf", hf, "llama", demo, tensors={"rope_freqs.weight": divisors})
    opened = loci.open(path)
    assert opened.hf.config.rope_parameters["original_max_position_embeddings"] == 8192
    assert difference(hf, opened) < 1e-5
    odd = write(
        tmp_path / "odd.gguf",
        hf,
        "llama",
        demo,
        tensors={"rope_freqs.weight": divisors[::-1].copy()},
    )
    with pytest.raises(ModelError, match="fit no known scaling"):
        loci.open(odd)


def test_keys_are_reordered_without_their_head_count(demo: Model, tmp_path: Path) -> None:
    hf = tiny("llama", demo.d_vocab, num_key_value_heads=4)
    path = write(tmp_path / "m.gguf", hf, "llama", demo, without=("attention.head_count_kv",))
    assert difference(hf, loci.open(path)) < 1e-5


@pytest.mark.parametrize(("kind", "bound"), [("Q8_0", 0.2), ("Q4_0", 1.0), ("BF16", 0.2)])
def test_quantised(kind: str, bound: float, demo: Model, tmp_path: Path) -> None:
    hf = tiny("llama", demo.d_vocab)
    path = write(tmp_path / "m.gguf", hf, "llama", demo, dtype=gguf.GGMLQuantizationType[kind])
    opened = loci.open(path)
    assert difference(hf, opened) < bound
    exact = gguf.dequantize(
        gguf.quantize(
            hf.model.layers[0].mlp.down_proj.weight.detach().numpy(),
            gguf.GGMLQuantizationType[kind],
        ),
        gguf.GGMLQuantizationType[kind],
    )
    assert torch.equal(opened.W_down(0), torch.from_numpy(exact))


def test_the_second_opening_reads_the_cache(
    demo: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "m.gguf", tiny("llama", demo.d_vocab), "llama", demo)
    first = loci.open(path)
    monkeypatch.setattr(
        "loci.model.gguf.convert._write_weights", lambda *_: pytest.fail("converted again")
    )
    moved = shutil.copy(path, tmp_path / "moved.gguf")
    assert loci.open(moved).fingerprint == first.fingerprint


def test_shards(demo: Model, tmp_path: Path) -> None:
    """Two shards with a header each; one alone is refused."""
    hf = tiny("llama", demo.d_vocab)
    whole = write(tmp_path / "whole.gguf", hf, "llama", demo)
    reader = gguf.GGUFReader(whole)
    names = [f"m-{i:05d}-of-00002.gguf" for i in (1, 2)]
    keys = read_header(whole).metadata
    for index, (name, tensors) in enumerate(
        zip(names, (reader.tensors[:10], reader.tensors[10:]), strict=True)
    ):
        writer = gguf.GGUFWriter(tmp_path / name, "llama")
        if index == 0:
            for key, value in keys.items():
                if key.startswith("llama.") and not isinstance(value, tuple):
                    {int: writer.add_uint32, float: writer.add_float32}[type(value)](key, value)
            from tests.model.gguf.files import add_tokenizer

            add_tokenizer(writer, demo, hf.config.vocab_size)
        for tensor in tensors:
            writer.add_tensor(tensor.name, tensor.data)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    assert difference(hf, loci.open(tmp_path / names[0])) < 1e-5
    (tmp_path / names[1]).unlink()
    with pytest.raises(ModelError, match="is one of 2 shards, and m-00002"):
        loci.open(tmp_path / names[0])


def test_opening_from_ollama(demo: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    hf = tiny("llama", demo.d_vocab)
    digest = "ab" * 32
    (tmp_path / "ollama" / "blobs").mkdir(parents=True)
    write(tmp_path / "ollama" / "blobs" / f"sha256-{digest}", hf, "llama", demo)
    layers = [
        {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}", "size": 1}
    ]
    for place in (
        "manifests/registry.ollama.ai/library/tiny/latest",
        "manifest-v2/ollama.com/someone/tiny/q8",
    ):
        manifest = tmp_path / "ollama" / place
        manifest.parent.mkdir(parents=True)
        manifest.write_text(json.dumps({"schemaVersion": 2, "layers": layers}))
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "ollama"))
    assert difference(hf, loci.open("ollama:tiny")) < 1e-5
    assert difference(hf, loci.open("ollama:someone/tiny:q8")) < 1e-5
    with pytest.raises(
        ModelError, match="there are someone/tiny:q8, tiny:latest: run `ollama pull tiny:7b`"
    ):
        loci.open("ollama:tiny:7b")
    with pytest.raises(ModelError, match="expected ollama:NAME"):
        loci.open("ollama:../../etc")
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "nowhere"))
    with pytest.raises(ModelError, match="'ollama:tiny' cannot be found: Ollama has no folder"):
        loci.open("ollama:tiny")
