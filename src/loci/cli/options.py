"""The kinds of options, each with its range or its choices, which are checked before anything is
opened.

`whole`, `number` and `share` make an option of a range; choices are `Literal`s, which `--help`
lists; `words` is free text. Text that is no text, numbers that are not finite and names that fit no
file system are refused for all commands at one place (`verbs`). What only the model knows (its
layers, its vocabulary) is checked by `Opening` and `check_top`, right after opening.
"""

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from loci.errors import ModelError

if TYPE_CHECKING:
    from loci.model import Weights

LARGEST_SEED = 2**63 - 1
MANY = 1_000_000
TOKENS = 10**12
LAYERS = 9_999
MOST_SHOTS = 100


def whole(text: str, *names: str, low: int = 1, high: int = MANY, **more: Any) -> Any:
    """An option that is a whole number from `low` to `high`."""
    return typer.Option(*names, help=text, min=low, max=high, **more)


def number(text: str, *names: str, low: float = 0.0, high: float = 1e9, **more: Any) -> Any:
    """An option that is a finite number from `low` to `high`."""
    return typer.Option(*names, help=text, min=low, max=high, **more)


def share(text: str, *names: str, **more: Any) -> Any:
    """An option that is a share, from 0 to 1."""
    return number(text, *names, low=0.0, high=1.0, **more)


def layer(text: str, *names: str, **more: Any) -> Any:
    """An option that is a layer's number; whether the model has it is seen once the model is
    open.
    """
    return whole(text, *names, low=0, high=LAYERS, **more)


def words(text: str, *names: str, kind: str = "TEXT", **more: Any) -> Any:
    """An option of free text, called by what it holds."""
    return typer.Option(*names, help=text, metavar=kind, **more)


def said(text: str, kind: str = "TEXT") -> Any:
    """An argument of free text, called by what it holds."""
    return typer.Argument(help=text, metavar=kind)


def device_said(name: str) -> str:
    """A device's name, where it is one that runs something."""
    if not re.fullmatch(r"(cpu|cuda|mps|xpu|hpu|npu|mlu|musa)(:\d{1,3})?", name):
        raise typer.BadParameter(
            f"{name!r} is no device: expected cpu, cuda, cuda:1, mps or the like"
        )
    return name


PATCH_FILE = Annotated[Path, typer.Argument(help="a patch file")]
SEED = Annotated[int, whole("seed of everything random", "--seed", low=0, high=LARGEST_SEED)]
JSON = Annotated[bool, typer.Option("--json", help="one JSON document on stdout")]
PROMPT = Annotated[str, said("the prompt, up to where the answer comes", "PROMPT")]
SUBJECT = Annotated[
    str | None,
    words(
        "whom the prompt is about; found by itself where one known subject stands in it",
        "--subject",
        "-s",
    ),
]
ANSWER = Annotated[str | None, words("the answer; the model's own by default", "--answer", "-a")]
AGAINST = Annotated[
    str | None, words("another answer: the score is then the difference of the two", "--against")
]
RELATION = Annotated[str, said("a relation of the facts, whose answers are asked for", "RELATION")]
FACTS = Annotated[
    Path | None,
    typer.Option("--facts", "-f", help="a fact file, .csv or .jsonl, or a published set, .json"),
]
TEXT = Annotated[
    Path | None,
    typer.Option("--text", help="text to run on: .txt, .jsonl, .parquet or a dataset's folder"),
]
OUT = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="write the result: .html, .png, .svg, .json or .parquet"),
]
KNOWN = Annotated[
    int | None, whole("average over so many of the embedded facts, drawn by --seed", "--known")
]
BATCH_TOKENS = whole("most tokens in a batch: bounds the memory", "--batch-tokens", high=10**9)
TOKENS_READ = whole(
    "tokens of the embedded text to look through, where no file is given", "--tokens", high=TOKENS
)
SHOTS = Annotated[
    int,
    whole(
        "so many other facts of the relation, with their answers, before each prompt",
        "--shots",
        low=0,
        high=MOST_SHOTS,
    ),
]
CHAT = Annotated[
    bool, typer.Option("--chat", help="prompts stand in the model's own chat template")
]
WORKERS = Annotated[
    int | None,
    whole(
        "processes that read the text, each with the model; here by default",
        "--workers",
        "-w",
        low=0,
        high=1024,
    ),
]
RAY = Annotated[
    str | None,
    words("workers are actors of Ray: local, HOST:PORT or ray://HOST:PORT", kind="ADDRESS"),
]
STEPS = Annotated[int, whole("steps of training", "--steps", high=10_000_000)]
TOP = whole("how many to show", "--top", "-n", high=MANY)

DeviceMap = Literal["auto", "balanced", "balanced_low_0", "sequential", "disk"]
Dtype = Literal["float32", "bfloat16", "float16", "float64", "auto"]
EditMethod = Literal["joint", "rome", "emmet", "memit", "alphaedit", "finetune"]
Join = Literal["space", "nothing"]
Removal = Literal["unknown", "prior"]
Corruption = Literal["noise", "subject-noise", "fixed", "gaussian", "mean", "resample"]
Estimator = Literal["gradient", "integrated"]
Baseline = Literal["zero", "corrupted"]
View = Literal["gain", "centred", "none"]
NeuronKind = Literal["eraser", "dead", "always-on"]
CacheKind = Literal["gguf", "moments", "texts", "surveys"]
Job = Literal["slurm", "torchrun"]
Kept = Literal["keys", "neurons", "stream"]
Geometry = Literal["isotropic", "anisotropic"]
PlantedKind = Literal["one-per-fact", "superposed"]
BlockSize = Literal["gpt2", "gpt2-xl", "gpt3"]
Code = Literal["hadamard", "kerdock", "gold", "bch", "delsarte-goethals"]
Optimizer = Literal["adam", "sgd"]
TrainedKind = Literal["topk", "batchtopk", "jumprelu", "relu", "gated", "matryoshka"]
DictionaryFile = Literal["loci", "saelens", "sparsify"]
Phenomenon = Literal["bigrams", "skips", "induction", "phase", "sizes", "bases"]


class StoreMethod(StrEnum):
    """How facts are stored; an enumeration, as typer wants for an option that may be said again."""

    one_per_fact = "one-per-fact"
    outer_product = "outer-product"
    least_squares = "least-squares"
    random_relu = "random-relu"
    bilinear = "bilinear"
    bilinear_whitened = "bilinear-whitened"
    bilinear_fitted = "bilinear-fitted"
    compiled_relu = "compiled-relu"
    compiled_gelu = "compiled-gelu"
    compiled_gated = "compiled-gated"
    adam_relu = "adam-relu"
    adam_gated = "adam-gated"


def check_top(model: "Weights | Any", top: int) -> None:
    """Raise `ModelError` for more tokens than the model has."""
    if top > model.d_vocab:
        raise ModelError(f"--top {top:,}: the model has {model.d_vocab:,} tokens")


def check_layers(model: "Weights | Any", *layers: int | None, option: str = "--layer") -> None:
    """Raise `ModelError` for a layer that the model has not."""
    for chosen in layers:
        if chosen is not None and not 0 <= chosen < model.n_layers:
            raise ModelError(
                f"{option} {chosen}: the model has the layers 0 … {model.n_layers - 1}"
            )
