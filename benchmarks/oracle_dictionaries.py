"""Loci's dictionaries against the libraries whose files it reads and writes: SAELens and sparsify.

    make oracle          an environment of its own, with sae-lens and eai-sparsify, then this file
    python -m benchmarks.oracle_dictionaries [--steps 300]

1. Files: dictionaries of every architecture, drawn at random and saved by the library, are opened
   by Loci; and dictionaries of Loci are saved in the library's form and opened by it. Features and
   outputs are the same within 1e-5 of the largest.
2. Training: Loci and sparsify learn from the same activations of the embedded model, batch for
   batch and in turn, with Adam, the same width, k and AuxK: tokens a second, and FVU on held-out
   tokens.

Status 1 where a difference exceeds 1e-5.
"""

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from sae_lens.saes import batchtopk_sae, matryoshka_batchtopk_sae
from sae_lens.saes.sae import SAE
from sparsify import SparseCoder, SparseCoderConfig
from torch import Tensor

import loci
from loci.dictionaries import Dictionary, load_dictionary, save_dictionary
from loci.dictionaries.activations import read_rows
from loci.dictionaries.learners import Learner, Scales
from loci.dictionaries.measures import fit
from loci.dictionaries.settings import DictionarySettings
from loci.text import background

D, FEATURES, K, ALLOWED = 16, 64, 5, 1e-5
Ends = tuple[Tensor, Tensor]


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


X = drawn(200, D, seed=1)


def filled(module: Any) -> Any:
    """A library's module with every parameter drawn; thresholds and decoder norms positive."""
    for i, (name, value) in enumerate(module.named_parameters()):
        new = drawn(*value.shape, seed=10 + i)
        value.data = new.abs() / 4 if name == "threshold" else new / 2
    return module


SAELENS: dict[str, dict[str, Any]] = {
    "standard": {"apply_b_dec_to_input": True},
    "standard, b_dec not subtracted": {"apply_b_dec_to_input": False},
    "standard, layer_norm": {"normalize_activations": "layer_norm"},
    "standard, constant_norm_rescale": {"normalize_activations": "constant_norm_rescale"},
    "topk": {"k": K},
    "topk, ranked by decoder norms": {"k": K, "rescale_acts_by_decoder_norm": True},
    "abstopk": {"k": K},
    "jumprelu": {},
    "gated": {},
    "transcoder": {"d_out": D - 3},
    "skip_transcoder": {"d_out": D},
    "jumprelu_transcoder": {"d_out": D - 3},
    "jumprelu_skip_transcoder": {"d_out": D},
}


def saelens_of(kind: str, **config: Any) -> Any:
    from sae_lens.registry import get_sae_class

    made, configured = get_sae_class(kind)
    if "transcoder" in kind:
        config["apply_b_dec_to_input"] = False
    return filled(made(configured(d_in=D, d_sae=FEATURES, dtype="float32", device="cpu", **config)))


def saelens_ends(module: Any) -> Ends:
    f = module.encode(X)
    f = f.to_dense() if f.is_sparse else f
    return f, module(X)


def saelens_files(folder: Path) -> Iterator[tuple[str, Path, Ends]]:
    """Saved by SAELens: every architecture, and what batch top-k training saves for inference."""
    for name, config in SAELENS.items():
        module, path = saelens_of(name.split(",")[0], **config), folder / name.replace(" ", "_")
        module.save_model(str(path))
        yield name, path, saelens_ends(module)
    for name, library, stem in (
        ("batchtopk", batchtopk_sae, "BatchTopKTrainingSAE"),
        ("matryoshka_batchtopk", matryoshka_batchtopk_sae, "MatryoshkaBatchTopKTrainingSAE"),
    ):
        extra = {"matryoshka_widths": [FEATURES // 4]} if name.startswith("matr") else {}
        config = getattr(library, f"{stem}Config")(d_in=D, d_sae=FEATURES, k=K, **extra)
        module = filled(getattr(library, stem)(config))
        module.topk_threshold.fill_(0.7)
        module.save_inference_model(str(folder / name))
        yield name, folder / name, saelens_ends(SAE.load_from_disk(str(folder / name)))


def sparsify_ends(module: SparseCoder) -> Ends:
    found = module(X)
    return torch.zeros(len(X), FEATURES).scatter(
        1, found.latent_indices, found.latent_acts
    ), found.sae_out


def sparsify_files(folder: Path) -> Iterator[tuple[str, Path, Ends]]:
    for name, config in {
        "topk": {},
        "groupmax": {"activation": "groupmax", "k": 4},
        "transcoder": {"transcode": True},
        "transcoder with a skip": {"transcode": True, "skip_connection": True},
    }.items():
        settings = SparseCoderConfig(**{"num_latents": FEATURES, "k": K, **config})
        module, path = filled(SparseCoder(D, settings)), folder / name.replace(" ", "_")
        module.save_to_disk(path)
        yield name, path, sparsify_ends(module)


def ours() -> Iterator[tuple[str, str, Dictionary]]:
    """Loci's dictionaries, and whose form each is saved in."""
    enc, dec, square = (
        drawn(FEATURES, D, seed=3),
        drawn(FEATURES, D, seed=4),
        drawn(D, D, seed=5),
    )
    b_enc, b_dec = drawn(FEATURES, seed=6), drawn(D, seed=7)
    plain: dict[str, Any] = {"W_enc": enc, "b_enc": b_enc, "W_dec": dec, "b_dec": b_dec}
    jump = {"activation": "jumprelu", "threshold": drawn(FEATURES, seed=8).abs()}
    gated = {
        "activation": "gated",
        "gain": drawn(FEATURES, seed=8).exp(),
        "b_gain": drawn(FEATURES, seed=9),
    }
    top = {"activation": "topk", "k": K}
    across = {"transcoder": True, "point": "mlp_in.1", "target": "mlp_out.1"}
    for name, parts in {
        "relu": {},
        "jumprelu": jump,
        "gated": gated,
        "topk": top,
        "abstopk": {**top, "activation": "abstopk"},
        "topk, input bias": {**top, "b_in": b_dec.clone()},
        "relu, layer_norm": {"normalise": "layer_norm"},
        "relu transcoder": across,
        "jumprelu transcoder": {**across, **jump},
        "skip transcoder": {**across, "skip": square},
        "jumprelu skip transcoder": {**across, **jump, "skip": square},
    }.items():
        yield "saelens", name, Dictionary(**{**plain, **parts})
    for name, parts in {
        "topk": top,
        "groupmax": {"activation": "groupmax", "k": 4},
        "transcoder": {**top, **across},
        "transcoder with a skip": {**top, **across, "skip": square},
    }.items():
        yield "sparsify", name, Dictionary(**{**plain, **parts})


OPENED: dict[str, Callable[[Path], Ends]] = {
    "saelens": lambda path: saelens_ends(SAE.load_from_disk(str(path))),
    "sparsify": lambda path: sparsify_ends(SparseCoder.load_from_disk(path)),
}


def difference(found: Ends, expected: Ends) -> float:
    """The largest gap of features or outputs, as a share of the largest number."""
    return max(
        float((a - b).abs().max() / b.abs().max().clamp(min=1e-30))
        for a, b in zip(found, expected, strict=True)
    )


@torch.no_grad()
def files() -> float:
    """Every file both ways; the largest difference."""
    worst = 0.0
    with tempfile.TemporaryDirectory() as at:
        folder = Path(at)
        for library, made in (("saelens", saelens_files), ("sparsify", sparsify_files)):
            for name, path, expected in made(folder / library):
                read = load_dictionary(path)
                error = difference((read.encode(X), read(X)), expected)
                print(f"{library:9} → loci      {name:34} {error:.1e}")
                worst = max(worst, error)
        for i, (library, name, dictionary) in enumerate(ours()):
            path = folder / str(i)
            save_dictionary(dictionary, path, format=library)
            error = difference(OPENED[library](path), (dictionary.encode(X), dictionary(X)))
            print(f"loci      → {library:9} {name:34} {error:.1e}")
            worst = max(worst, error)
    return worst


class Sparsified:
    """sparsify's own step, as its trainer takes it on one device, with Adam."""

    def __init__(self, x: Tensor, settings: DictionarySettings, steps: int) -> None:
        features = settings.features(x.shape[1])
        self.module = SparseCoder(x.shape[1], SparseCoderConfig(num_latents=features, k=settings.k))
        self.module.b_dec.data = x.mean(0)
        self.adam = torch.optim.Adam(self.module.parameters(), lr=settings.rate(features))
        self.warm = max(1, round(settings.warmup * steps))
        self.rate, self.done, self.steps = settings.rate(features), 0, steps
        self.off, self.dead_after = torch.zeros(features), settings.dead_after * steps

    def step(self, x: Tensor) -> None:
        found = self.module(x, dead_mask=self.off > self.dead_after)
        (found.fvu + found.auxk_loss / 32).backward()
        self.module.remove_gradient_parallel_to_decoder_directions()
        rise, fall = (self.done + 1) / self.warm, (self.steps - self.done) / (0.2 * self.steps)
        self.adam.param_groups[0]["lr"] = self.rate * min(1.0, rise, fall)
        self.adam.step()
        self.adam.zero_grad()
        self.module.set_decoder_norm_to_unit_norm()
        self.off += 1
        self.off[found.latent_indices.flatten().unique()] = 0
        self.done += 1


def training(steps: int, batch: int = 2048) -> None:
    """Both on the same batches, in turn."""
    model = loci.open("demo")
    rows = read_rows(model, background(model).texts, ["mlp_out.3"], tokens=70_000)
    x = rows.values["mlp_out.3"]
    x = x / x.square().sum(-1).mean().sqrt()  # sparsify takes inputs as they are: E‖x‖² = 1
    held, x = x[-4096:], x[:-4096]
    settings = DictionarySettings("mlp_out.3", width=8, k=32)
    mine = Learner(settings, Scales.of(x, x), steps)
    theirs = Sparsified(x, settings, steps)
    seconds: dict[str, list[float]] = {"loci": [], "sparsify": []}
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        chosen = x[torch.randint(len(x), (batch,), generator=generator)]
        seconds["loci"].append(timed(lambda c=chosen: mine.step(c, c)))
        seconds["sparsify"].append(timed(lambda c=chosen: theirs.step(c)))
    with tempfile.TemporaryDirectory() as at:
        theirs.module.save_to_disk(Path(at) / "layers.3.mlp")
        read = load_dictionary(Path(at) / "layers.3.mlp")
    for name, dictionary in (("loci", mine.dictionary()), ("sparsify", read)):
        found, middle = fit(dictionary, held), statistics.median(seconds[name])
        print(
            f"{name:9} {batch / middle:8,.0f} tokens/s ({1e3 * middle:.0f} ms a step), FVU"
            f" {found.fvu:.4f}, L0 {found.l0:.1f}, alive {found.alive:.1%}"
        )


def timed(run: Callable[[], None]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def main() -> int:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=300, help="of training; 0: files alone")
    asked = parser.parse_args()
    worst = files()
    print(f"largest difference {worst:.1e}, allowed {ALLOWED:.0e}")
    if asked.steps:
        training(asked.steps)
    return int(worst > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
