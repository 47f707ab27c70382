"""Open a model: the embedded one, a local folder, or a hub id. The only file that knows `transformers`."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from safetensors import SafetensorError

from loci.errors import ModelError
from loci.model.layouts import Layout
from loci.model.model import Model

DEMO = "demo"


def open_model(
    source: str | Path = DEMO,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    layout: Layout | None = None,
    trust_remote_code: bool = False,
) -> Model:
    """Open `source`: "demo", a folder with a config and safetensors weights, or a hub id.

    `dtype` is what the weights are held in ("auto": as stored). Weights are never changed, pickles never loaded, and the
    checkpoint's own code is run only with `trust_remote_code`. Raises `ModelError`.
    """
    path = _resolve(source)
    offline = not Path(path).is_dir() and not _hub_reachable()
    kwargs: dict[str, Any] = {"trust_remote_code": trust_remote_code, "local_files_only": offline}
    with quiet():
        from transformers import AutoModelForCausalLM, AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(path, **kwargs)
            hf = AutoModelForCausalLM.from_pretrained(path, dtype=_dtype(dtype), use_safetensors=True, **kwargs)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            if offline:
                raise ModelError(
                    f"{path!r} is no folder and not in the local cache, and the model hub cannot be reached"
                ) from error
            raise ModelError(f"cannot open {str(source)!r}: {_first_sentence(error)}") from error
    return Model(torch.nn.Module.to(hf, _device(device)), tokenizer, str(source), layout)


def _resolve(source: str | Path) -> str:
    """A folder as a path, checked for what a checkpoint needs; anything else is taken for a hub id."""
    if str(source) == DEMO:
        return str(files("loci.demo").joinpath("model"))
    path = Path(source).expanduser()
    if not path.exists():
        if isinstance(source, Path) or str(source).startswith((".", "/", "~")) or str(source).count("/") > 1:
            raise ModelError(f"there is no folder {str(source)!r}")
        return str(source)
    if not path.is_dir():
        raise ModelError(f"{str(source)!r} is a file; a model is a folder with a config.json, or a hub id")
    names = [entry.name for entry in path.iterdir()]
    if "config.json" not in names:
        raise ModelError(f"{str(source)!r} has no config.json: not a model's folder")
    if not any(name.endswith(".safetensors") for name in names):
        pickled = [name for name in names if name.endswith((".bin", ".pt", ".pth", ".ckpt"))]
        raise ModelError(
            f"{str(source)!r} has only pickled weights ({pickled[0]}), which can run code: convert them to safetensors first"
            if pickled
            else f"{str(source)!r} has a config.json but no safetensors weights"
        )
    return str(path)


def _hub_reachable() -> bool:
    """Whether the hub's name resolves, or a proxy is set that would know: asking first spares minutes of retries."""
    from huggingface_hub.constants import ENDPOINT

    if os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"):
        return True
    try:
        socket.getaddrinfo(urlparse(ENDPOINT).hostname, None)
    except OSError:
        return False
    return True


def _dtype(name: str) -> torch.dtype | str:
    found = getattr(torch, name, None)
    if name != "auto" and not isinstance(found, torch.dtype):
        raise ModelError(f"there is no dtype {name!r}: try float32, bfloat16, float16 or auto")
    return found if isinstance(found, torch.dtype) else name


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"the device {name!r} cannot be used here: {_first_sentence(error)}") from error
    return device


def _first_sentence(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:197]}…"


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and warnings from transformers and the hub in the block; what was set before is set again after it."""
    from huggingface_hub.utils import logging as hub
    from transformers.utils import logging

    bars, level, hub_level = logging.is_progress_bar_enabled(), logging.get_verbosity(), hub.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    hub.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        hub.set_verbosity(hub_level)
        if bars:
            logging.enable_progress_bar()
