"""Where a model's files are: the embedded one, a folder, a GGUF file or a hub id; checked before
anything is loaded.
"""

import difflib
import math
import os
import socket
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlparse

import torch
from typing_extensions import TypedDict

from loci.errors import ModelError
from loci.model.config import check_config_files
from loci.model.gguf import is_gguf, opened_gguf
from loci.model.parameter_counts import PUBLISHED
from loci.model.stored import FLOATS, Stored, stored
from loci.validate import begins, named, one_line, read_json, reason, typed

LFS = b"version https://git-lfs"

PICKLED = (".bin", ".pt", ".pth", ".ckpt")


DEMO = "demo"


class ShardIndex(TypedDict):
    """Which file holds which tensor."""

    weight_map: dict[str, str]


def folder_of(source: str | Path, revision: str | None = None) -> Path | None:
    """Where a model's files lie: a folder itself, the embedded model's, a hub id's in the local
    cache; None where there are none.
    """
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    if str(source) == DEMO:
        return Path(str(files("loci.demo").joinpath("model")))
    path = Path(source).expanduser()
    if path.is_dir():
        return path.resolve()
    if is_gguf(source):
        return opened_gguf(source)
    try:
        file = try_to_load_from_cache(str(source), "config.json", revision=revision)
    except HFValidationError:
        return None
    return Path(file).parent if isinstance(file, str) else None


def stored_in(folder: Path | None, source: str, pickle: bool) -> Stored | None:
    try:
        return stored(folder, pickle=pickle) if folder else None
    except ModelError as error:
        raise ModelError(f"cannot open {source!r}: {error}") from None


def resolve(source: str | Path, pickle: bool | None) -> str:
    """A folder as a path, checked for what a checkpoint needs;
    anything else is taken for a hub id.
    """
    if str(source) == DEMO:
        return str(files("loci.demo").joinpath("model"))
    if is_gguf(source):
        return str(opened_gguf(source))
    path = Path(source).expanduser()
    try:
        path.stat()
    except (OSError, ValueError) as error:
        if not isinstance(error, FileNotFoundError):
            raise ModelError(f"cannot open {named(source)!r}: {first_line_of(error)}") from None
        if (
            isinstance(source, Path)
            or str(source).startswith((".", "/", "~"))
            or str(source).count("/") > 1
        ):
            raise ModelError(f"there is no folder {str(source)!r}") from None
        return str(source)
    if not path.is_dir():
        raise ModelError(
            f"{str(source)!r} is a file; a model is a folder with a config.json, a .gguf file, or a"
            " hub id"
        )
    names = sorted(entry.name for entry in path.iterdir())
    if "adapter_config.json" in names:
        raise ModelError(
            f"{str(source)!r} holds an adapter (adapter_config.json), which is a change of a model"
            " and no model: put it into its base first (in PEFT: merge_and_unload, then"
            " save_pretrained to a folder), or take the adapter's files out of the folder"
        )
    if "config.json" not in names:
        raise ModelError(f"{str(source)!r} has no config.json: not a model's folder")
    if pickle is None:
        check_config_files(path)
        return str(path)
    pickled = [name for name in names if name.endswith(PICKLED)]
    if not any(name.endswith(".safetensors") for name in names) and not (pickle and pickled):
        raise ModelError(
            f"{str(source)!r} has only pickled weights ({pickled[0]}), which can run code: convert"
            " them to safetensors, or say pickle=True (--pickle) if you trust them"
            if pickled
            else f"{str(source)!r} has a config.json but no safetensors weights"
        )
    check_config_files(path)
    _check_files(path, names)
    return str(path)


def _check_files(path: Path, names: list[str]) -> None:
    """Raise `ModelError` for a pointer of Git LFS in the place of a file, and for a shard that is
    not there.
    """
    for name in names:
        if name.endswith((".safetensors", ".json", *PICKLED)) and begins(
            path / name, LFS, ModelError
        ):
            raise ModelError(
                f"{str(path / name)!r} is a pointer of Git LFS, not the file itself: run `git lfs"
                " pull` there"
            )
    index = path / "model.safetensors.index.json"
    if index.exists():
        shards = sorted(
            set(
                typed(ShardIndex, read_json(index, ModelError), named(index), ModelError)[
                    "weight_map"
                ].values()
            )
        )
        if not shards:
            raise ModelError(f"{named(index)}: its weight_map names no tensor")
        gone = [shard for shard in shards if shard not in names]
        if gone:
            raise ModelError(
                f"{str(path)!r} lacks {gone[0]}, one of the {len(shards)} shards that its index"
                " names"
            )


def hub_reachable() -> bool:
    """Whether the hub's name resolves, or a proxy is set that would know: asking first spares
    minutes of retries.
    """
    from huggingface_hub.constants import ENDPOINT

    if os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"):
        return True
    try:
        socket.getaddrinfo(urlparse(ENDPOINT).hostname, None)
    except OSError:
        return False
    return True


def first_line_of(error: Exception) -> str:
    """Its own words, and its class where those say nothing alone."""
    if isinstance(error, OSError):
        return one_line(reason(error))
    line = one_line(str(error))
    return (
        line
        if line and isinstance(error, (ValueError, RuntimeError))
        else f"{type(error).__name__}: {line}".removesuffix(": ")
    )


def check_config(name: str | None) -> None:
    """Raise `ModelError`, with the nearest name, for a word that is neither a published shape, nor
    a model type, nor a folder.
    """
    from transformers import CONFIG_MAPPING

    known = [*PUBLISHED, *CONFIG_MAPPING]
    if name is not None and name not in known and "/" not in name and not Path(name).exists():
        near = difflib.get_close_matches(name, known, n=1, cutoff=0)
        raise ModelError(
            f"there is no configuration {name!r}; the nearest is {near[0]!r} (published shapes:"
            f" {', '.join(PUBLISHED)}; or a model type of transformers, a config.json, a folder, a"
            " hub id)"
        )


def config_source(source: str | Path) -> str | Path:
    """The folder of a config.json that is named itself."""
    path = Path(source)
    return path.parent if path.is_file() and path.name == "config.json" else source


def held_bytes(source: str | Path, dtype: str) -> int | None:
    """Bytes of a model's weights as they would be held, by its files' headers; None where there are
    none to look at.
    """
    wanted = dtype_of(dtype)
    try:
        folder = None if is_gguf(source) else folder_of(source)
        checkpoint = stored(folder) if folder else None
    except ModelError:
        return None
    if checkpoint is None:
        return None
    sizes = (
        (
            math.prod(tensor.shape),
            wanted if isinstance(wanted, torch.dtype) else FLOATS[tensor.dtype],
        )
        for tensor in checkpoint.tensors.values()
        if tensor.dtype in FLOATS
    )
    return sum(count * kind.itemsize for count, kind in sizes)


def dtype_of(name: str) -> torch.dtype | str:
    dtype = getattr(torch, name, None)
    if name != "auto" and dtype not in FLOATS.values():
        raise ModelError(
            f"there is no dtype {name!r} for weights: try float32, bfloat16, float16, float64 or"
            " auto"
        )
    return dtype if isinstance(dtype, torch.dtype) else name
