"""Tiny dictionaries in every format, written after the formats' descriptions, each with what its
own library would compute.

The maths stand here once more, in NumPy and token by token, so that the reader under test shares
nothing with them.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

D, M, K = 4, 6, 2
Array = np.ndarray
Maths = Callable[[Array], tuple[Array, Array]]
"""One vector → its features, its output."""


def draw(seed: int = 0, d_out: int = D) -> dict[str, Array]:
    """Random parameters: features first."""
    rng = np.random.default_rng(seed)
    shapes = {
        "enc": (M, D), "dec": (M, d_out), "b_enc": (M,), "b_dec": (d_out,), "threshold": (M,),
        "skip": (d_out, D), "mag": (M,),
        "r": (M,),
    }  # fmt: skip
    parts = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    parts["threshold"] = np.abs(parts["threshold"]) / 4
    return parts


def top(values: Array, k: int = K) -> Array:
    """Only the k largest, and of those the positive ones."""
    kept = np.zeros_like(values)
    for i in sorted(range(len(values)), key=lambda i: -values[i])[:k]:
        kept[i] = max(values[i], 0)
    return kept


def jump(pre: Array, threshold: Array) -> Array:
    return np.where(pre > threshold, np.maximum(pre, 0), 0)


def ends(f: Array, p: dict[str, Array], extra: Array | float = 0.0) -> tuple[Array, Array]:
    return f, f @ p["dec"] + p["b_dec"] + extra


def write_safe(
    folder: Path,
    name: str,
    tensors: dict[str, Array],
    config: dict | None = None,
    file: str = "cfg.json",
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, folder / name)
    if config is not None:
        (folder / file).write_text(json.dumps(config))
    return folder


def write_pickle(folder: Path, name: str, state: dict, config: dict | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(
        {key: torch.tensor(v) if isinstance(v, np.ndarray) else v for key, v in state.items()},
        folder / name,
    )
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


def saelens(folder: Path, kind: str) -> tuple[Path, Maths]:
    """Version 6, by architecture; `old-topk` is before version 6."""
    p = draw()
    config: dict = {
        "d_in": D, "d_sae": M, "dtype": "torch.float32", "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none", "reshape_activations": "none", "architecture": kind,
        "metadata": {"model_name": "demo", "hook_name": "blocks.3.hook_resid_post"},
    }  # fmt: skip
    tensors = {"W_enc": p["enc"].T, "W_dec": p["dec"], "b_enc": p["b_enc"], "b_dec": p["b_dec"]}

    def pre(x: Array) -> Array:
        return p["enc"] @ (x - p["b_dec"]) + p["b_enc"]

    if kind == "standard":
        return write_safe(folder, "sae_weights.safetensors", tensors, config), lambda x: ends(
            np.maximum(pre(x), 0), p
        )
    if kind == "layer_norm":
        config |= {"architecture": "standard", "normalize_activations": "layer_norm"}

        def normed(x: Array) -> tuple[Array, Array]:
            mean, std = x.mean(), x.std(ddof=1)
            f = np.maximum(pre((x - mean) / (std + 1e-5)), 0)
            return f, ends(f, p)[1] * std + mean

        return write_safe(folder, "sae_weights.safetensors", tensors, config), normed
    if kind == "constant_norm_rescale":
        config |= {"architecture": "standard", "normalize_activations": "constant_norm_rescale"}

        def rescaled(x: Array) -> tuple[Array, Array]:
            s = D**0.5 / np.linalg.norm(x)
            f = np.maximum(pre(x * s), 0)
            return f, ends(f, p)[1] / s

        return write_safe(folder, "sae_weights.safetensors", tensors, config), rescaled
    if kind == "jumprelu":
        tensors["threshold"] = p["threshold"]
        path = write_safe(folder, "sae_weights.safetensors", tensors, config)
        return path, lambda x: ends(jump(pre(x), p["threshold"]), p)
    if kind == "topk":
        path = write_safe(
            folder,
            "sae_weights.safetensors",
            tensors,
            config | {"k": K, "rescale_acts_by_decoder_norm": True},
        )
        norms = np.linalg.norm(p["dec"], axis=1)

        def ranked(x: Array) -> tuple[Array, Array]:
            f = top(pre(x) * norms)
            return f, (f / norms) @ p["dec"] + p["b_dec"]

        return path, ranked
    if kind == "old-topk":
        config = {
            "d_in": D, "d_sae": M, "dtype": "float32", "hook_point": "blocks.3.hook_resid_post",
            "model_name": "demo",
            "architecture": "standard", "activation_fn_str": "topk",
            "activation_fn_kwargs": {"k": K},
            "normalize_activations": False,
        }  # fmt: skip
        return write_safe(folder, "sae_weights.safetensors", tensors, config), lambda x: ends(
            top(pre(x)), p
        )
    if kind == "gated":
        del tensors["b_enc"]
        tensors |= {"b_gate": p["b_enc"], "b_mag": p["mag"], "r_mag": p["r"]}

        def gated(x: Array) -> tuple[Array, Array]:
            inner = x - p["b_dec"]
            size = np.maximum((p["enc"] * np.exp(p["r"])[:, None]) @ inner + p["mag"], 0)
            return ends(np.where(p["enc"] @ inner + p["b_enc"] > 0, size, 0), p)

        return write_safe(folder, "sae_weights.safetensors", tensors, config), gated
    assert kind == "skip_transcoder"
    p = draw(d_out=D)
    config |= {"apply_b_dec_to_input": False, "d_out": D}
    config["metadata"] = {
        "hook_name": "blocks.3.hook_resid_mid",
        "hook_name_out": "blocks.3.hook_mlp_out",
    }
    path = write_safe(folder, "sae_weights.safetensors", tensors | {"W_skip": p["skip"]}, config)
    return path, lambda x: ends(np.maximum(p["enc"] @ x + p["b_enc"], 0), p, p["skip"] @ x)


def sparsify(folder: Path, kind: str) -> tuple[Path, Maths]:
    """An autoencoder, or a transcoder with a skip, or one that picks the largest of each group."""
    p = draw(1)
    config = {
        "activation": "groupmax" if kind == "groupmax" else "topk", "expansion_factor": 2,
        "normalize_decoder": True,
        "num_latents": 0, "k": K, "multi_topk": False, "skip_connection": kind == "transcoder",
        "transcode": kind == "transcoder", "d_in": D,
    }  # fmt: skip
    tensors = {
        "encoder.weight": p["enc"],
        "encoder.bias": p["b_enc"],
        "W_dec": p["dec"],
        "b_dec": p["b_dec"],
    }
    place = folder / "layers.3.mlp"
    if kind == "transcoder":
        path = write_safe(place, "sae.safetensors", tensors | {"W_skip": p["skip"]}, config)
        return path, lambda x: ends(
            top(np.maximum(p["enc"] @ x + p["b_enc"], 0)), p, x @ p["skip"].T
        )
    path = write_safe(place, "sae.safetensors", tensors, config)

    def plain(x: Array) -> tuple[Array, Array]:
        pre = np.maximum(p["enc"] @ (x - p["b_dec"]) + p["b_enc"], 0)
        if kind == "autoencoder":
            return ends(top(pre), p)
        f, size = np.zeros_like(pre), M // K
        for group in range(K):
            best = max(range(group * size, (group + 1) * size), key=lambda i: pre[i])
            f[best] = pre[best]
        return ends(f, p)

    return path, plain


def gemma_scope(folder: Path, kind: str) -> tuple[Path, Maths]:
    p = draw(2)
    tensors = {"enc": p["enc"].T, "dec": p["dec"]}
    rest = {"b_enc": p["b_enc"], "b_dec": p["b_dec"], "threshold": p["threshold"]}
    if kind == "1":
        place = folder / "resid_post" / "layer_3"
        place.mkdir(parents=True)
        np.savez(place / "params.npz", W_enc=tensors["enc"], W_dec=tensors["dec"], **rest)
        return place, lambda x: ends(jump(p["enc"] @ x + p["b_enc"], p["threshold"]), p)
    named = {
        "w_enc": tensors["enc"],
        "w_dec": tensors["dec"],
        **rest,
        "affine_skip_connection": p["skip"],
    }
    path = write_safe(folder / "transcoder" / "layer_3_width_16k", "params.safetensors", named)
    return path, lambda x: ends(jump(p["enc"] @ x + p["b_enc"], p["threshold"]), p, x @ p["skip"])


def dictionary_learning(folder: Path, kind: str) -> tuple[Path, Maths]:
    p = draw(3)
    config = {
        "trainer": {"dict_class": kind, "layer": 3, "lm_name": "demo"},
        "buffer": {"ctx_len": 64},
    }
    split = {"encoder.weight": p["enc"], "decoder.weight": p["dec"].T}

    def pre(x: Array) -> Array:
        return p["enc"] @ (x - p["b_dec"]) + p["b_enc"]

    if kind == "AutoEncoder":
        state = split | {"encoder.bias": p["b_enc"], "bias": p["b_dec"]}
        return write_pickle(folder, "ae.pt", state, config), lambda x: ends(
            np.maximum(pre(x), 0), p
        )
    if kind == "AutoEncoderNew":
        state = split | {"encoder.bias": p["b_enc"], "decoder.bias": p["b_dec"]}
        return write_pickle(folder, "ae.pt", state, config), lambda x: ends(
            np.maximum(p["enc"] @ x + p["b_enc"], 0), p
        )
    if kind == "GatedAutoEncoder":
        state = split | {
            "decoder_bias": p["b_dec"],
            "r_mag": p["r"],
            "gate_bias": p["b_enc"],
            "mag_bias": p["mag"],
        }

        def gated(x: Array) -> tuple[Array, Array]:
            inner = p["enc"] @ (x - p["b_dec"])
            return ends(
                (inner + p["b_enc"] > 0) * np.maximum(np.exp(p["r"]) * inner + p["mag"], 0), p
            )

        return write_pickle(folder, "ae.pt", state, config), gated
    if kind in ("BatchTopKSAE", "TopK, no threshold"):
        learnt = kind == "BatchTopKSAE"
        state = split | {
            "encoder.bias": p["b_enc"], "b_dec": p["b_dec"], "k": np.array(K),
            "threshold": np.array(0.3 if learnt else -1.0),
        }  # fmt: skip
        path = write_pickle(folder, "ae.pt", state, config)
        return path, lambda x: ends(jump(pre(x), np.full(M, 0.3)) if learnt else top(pre(x)), p)
    state = {
        "W_enc": p["enc"].T, "W_dec": p["dec"], "b_enc": p["b_enc"], "b_dec": p["b_dec"],
        "threshold": p["threshold"],
    }  # fmt: skip
    if kind == "JumpReluAutoEncoder":
        path = write_pickle(folder, "ae.pt", state, config)
        return path, lambda x: ends(jump(p["enc"] @ x + p["b_enc"], p["threshold"]), p)
    assert kind == "MatryoshkaBatchTopKSAE"
    state |= {
        "k": np.array(K),
        "threshold": np.array(0.2),
        "group_sizes": np.array([2, 4]),
        "active_groups": np.array(2),
    }
    return write_pickle(folder, "ae.pt", state, config), lambda x: ends(
        jump(pre(x), np.full(M, 0.2)), p
    )


def openai(folder: Path, kind: str) -> tuple[Path, Maths]:
    p = draw(4)
    state = {
        "encoder.weight": p["enc"], "latent_bias": p["b_enc"], "pre_bias": p["b_dec"],
        "decoder.weight": p["dec"].T,
        "activation": kind, "stats_last_nonzero": np.zeros(M, dtype=np.int64),
    }  # fmt: skip
    if kind == "TopK":
        state["activation_state_dict"] = {"k": K, "postact_fn": "ReLU"}

    def run(x: Array) -> tuple[Array, Array]:
        mean, std = (x.mean(), x.std(ddof=1)) if kind == "TopK" else (0.0, 1.0)
        inner = (x - mean) / (std + 1e-5) if kind == "TopK" else x
        pre = p["enc"] @ (inner - p["b_dec"]) + p["b_enc"]
        f = top(pre) if kind == "TopK" else np.maximum(pre, 0)
        return f, (f @ p["dec"] + p["b_dec"]) * std + mean

    return write_pickle(folder, "3.pt", state), run


def circuit_tracer(folder: Path, kind: str) -> tuple[Path, Maths]:
    """Layer 1 of a set of two single-layer transcoders."""
    folder.mkdir(parents=True, exist_ok=True)
    hooks = "feature_input_hook: mlp.hook_in\nfeature_output_hook: hook_mlp_out\nscan: tiny\n"
    activation = "activation: topk\n" if kind == "topk" else ""
    (folder / "config.yaml").write_text(
        f"model_name: demo\nmodel_kind: transcoder_set\n{hooks}{activation}"
    )
    for layer in range(2):
        p = draw(10 + layer)
        tensors = {
            "W_enc": p["enc"],
            "W_dec": p["dec"],
            "b_enc": p["b_enc"],
            "b_dec": p["b_dec"],
            "W_skip": p["skip"],
        }
        tensors |= (
            {"k": np.array(K)}
            if kind == "topk"
            else {"activation_function.threshold": p["threshold"]}
        )
        write_safe(folder, f"layer_{layer}.safetensors", tensors)

    def run(x: Array) -> tuple[Array, Array]:
        pre = p["enc"] @ x + p["b_enc"]
        return ends(top(pre) if kind == "topk" else jump(pre, p["threshold"]), p, x @ p["skip"].T)

    return folder / "layer_1.safetensors", run


def cross_layer(folder: Path) -> tuple[Path, Callable[[Array, Array], Array]]:
    """A cross-layer transcoder of two layers, and what it puts into layer 1."""
    folder.mkdir(parents=True, exist_ok=True)
    hooks = "feature_input_hook: hook_resid_mid\nfeature_output_hook: hook_mlp_out\n"
    (folder / "config.yaml").write_text(
        f"model_name: demo\nmodel_kind: cross_layer_transcoder\n{hooks}"
    )
    parts = [draw(20), draw(21)]
    above = draw(22)["dec"]
    for i, p in enumerate(parts):
        encoder = {
            f"W_enc_{i}": p["enc"],
            f"b_enc_{i}": p["b_enc"],
            f"b_dec_{i}": p["b_dec"],
            f"threshold_{i}": p["threshold"],
        }
        write_safe(folder, f"W_enc_{i}.safetensors", encoder)
        write_safe(
            folder,
            f"W_dec_{i}.safetensors",
            {f"W_dec_{i}": np.stack([p["dec"], above][: 2 - i], 1)},
        )

    def top_layer(x0: Array, x1: Array) -> Array:
        f0, f1 = (
            jump(p["enc"] @ x + p["b_enc"], p["threshold"])
            for p, x in zip(parts, (x0, x1), strict=True)
        )
        return f0 @ above + f1 @ parts[1]["dec"] + parts[1]["b_dec"]

    return folder, top_layer


ALL = [
    *((saelens, kind) for kind in (
        "standard", "layer_norm", "constant_norm_rescale", "jumprelu", "topk", "old-topk", "gated",
        "skip_transcoder",
    )),
    *((sparsify, kind) for kind in ("autoencoder", "transcoder", "groupmax")),
    *((gemma_scope, kind) for kind in ("1", "2")),
    *((dictionary_learning, kind) for kind in (
        "AutoEncoder", "AutoEncoderNew", "GatedAutoEncoder", "BatchTopKSAE", "TopK, no threshold",
        "JumpReluAutoEncoder",
        "MatryoshkaBatchTopKSAE",
    )),
    *((openai, kind) for kind in ("TopK", "ReLU")),
    *((circuit_tracer, kind) for kind in ("jumprelu", "topk")),
]  # fmt: skip
