"""Open a model: the embedded one, a local folder, or a hub id. The only file that loads with
`transformers`.
"""

import difflib
import logging
import math
import os
import shutil
import socket
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal
from urllib.parse import urlparse

import torch
from safetensors import SafetensorError
from torch import nn
from typing_extensions import TypedDict

from loci.errors import LociError, ModelError
from loci.model.config import check_config_files, check_depth, check_nothing_left, misfit
from loci.model.gguf import is_gguf, opened_gguf
from loci.model.layouts import Layout, candidates
from loci.model.mapped import Mapping, map_weights
from loci.model.model import Model
from loci.model.parameter_counts import PUBLISHED
from loci.model.quantised import check_config_plain, check_parameters_plain, check_stored_plain
from loci.model.stored import FLOATS, Stored, stored
from loci.model.weights import Source, Weights
from loci.validate import begins, named, one_line, read_json, reason, typed

DEMO = "demo"
LFS = b"version https://git-lfs"
PICKLED = (".bin", ".pt", ".pth", ".ckpt")
BROKEN = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    RuntimeError,
    ImportError,
    SafetensorError,
    UnpicklingError,
)


class ShardIndex(TypedDict):
    """Which file holds which tensor."""

    weight_map: dict[str, str]


def open_model(
    source: str | Path = DEMO,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    device_map: str | dict[str, Any] | None = None,
    offload_folder: str | Path | None = None,
    bos: bool | None = None,
    join: Literal["space", "nothing"] | None = None,
    layout: Layout | None = None,
    trust_remote_code: bool = False,
    pickle: bool = False,
) -> Model:
    """Open `source`: "demo", a folder with a config and safetensors weights, a GGUF file,
    ollama:NAME[:TAG], or a hub id.

    `dtype` is what the weights are held in ("auto": as stored). `device_map` ("auto", or places by
    module) spreads them over devices, memory and disk through accelerate, in the place of `device`;
    "disk", on the CPU, leaves them in their files, for models larger than memory (see
    `loci.model.mapped`).
    `bos`: see `loci.model.tokens`, `join`: see `loci.model.joins`. `layout`: where the parts are,
    for a family that Loci does not know. Pickled weights are loaded only with `pickle` (by torch's
    restricted unpickler), the checkpoint's own code is run only with `trust_remote_code`. Weights
    are never changed. Raises `ModelError`.
    """
    where = _device(device)
    mapped = device_map == "disk" and where.type == "cpu"
    aside = tempfile.mkdtemp(prefix="loci-") if mapped and offload_folder is None else None
    place: dict[str, Any] = (
        {
            "device_map": {"": "disk"} if device_map == "disk" else device_map,
            "offload_folder": aside or offload_folder,
        }
        if device_map is not None
        else {}
    )
    with (
        _kept_while_used(aside) as keep,
        _loading(source, pickle, trust_remote_code) as (path, kwargs),
    ):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(path, **kwargs)
        hf, place_of_it = _load(
            path, dtype, kwargs | place | {"use_safetensors": None if pickle else True}
        )
        keep(hf)
        if mapped:
            map_weights(hf, Path(aside or str(offload_folder)))
    model = Model(
        hf if place else nn.Module.to(hf, where), tokenizer, str(source), layout, bos=bos, join=join
    )
    model.source = place_of_it
    if mapped:
        model.mapping = Mapping(hf, model.blocks)
    return model


@contextmanager
def _kept_while_used(folder: str | None) -> Iterator[Callable[[nn.Module], None]]:
    """A temporary folder that goes with the module that is opened from it, or with the error."""

    def keep(hf: nn.Module) -> None:
        if folder is not None:
            weakref.finalize(hf, shutil.rmtree, folder, ignore_errors=True)

    try:
        yield keep
    except BaseException:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def open_weights(
    source: str | Path = DEMO,
    *,
    dtype: str = "float32",
    layout: Layout | None = None,
    trust_remote_code: bool = False,
) -> Weights:
    """The weights of a model by name, without the model: each is read from its file when it is
    asked for, and only then.

    Nothing is run, so the layout is found by structure alone. Cost: milliseconds, and no memory to
    speak of; but what a checkpoint stores in another form than the model's (experts one by one) is
    put together first, in a temporary folder. Raises `ModelError`.
    """
    aside = tempfile.mkdtemp(prefix="loci-")
    disk = {"device_map": {"": "disk"}, "offload_folder": aside, "use_safetensors": True}
    with (
        _kept_while_used(aside) as keep,
        _loading(source, False, trust_remote_code) as (
            path,
            kwargs,
        ),
    ):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(path, **kwargs)
        hf, place = _load(path, dtype, kwargs | disk)
        keep(hf)
    weights = Weights(hf, str(source), layout or candidates(hf)[0], tokenizer)
    weights.source = place
    return weights


def open_empty(
    source: str | Path = DEMO, *, layout: Layout | None = None, trust_remote_code: bool = False
) -> Weights:
    """A model's modules without values, from its configuration: "demo", a folder, a config.json, a
    hub id, or a model type of transformers, whose default configuration is taken. Costs no memory.
    Raises `ModelError`.
    """
    with _loading(_config_source(source), None, trust_remote_code) as (path, kwargs):
        from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM
        from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

        if path in CONFIG_MAPPING and path not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
            raise ModelError(
                f"{path!r} is no decoder: Loci reads models that continue a text, as gpt2, llama"
                " and the like do"
            )
        config = (
            CONFIG_MAPPING[path]()
            if path in CONFIG_MAPPING
            else AutoConfig.from_pretrained(path, **kwargs)
        )
        kwargs.pop("local_files_only")
        with torch.device("meta"):
            hf = AutoModelForCausalLM.from_config(config, **kwargs)
    return Weights(hf, str(source), layout or candidates(hf)[0])


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


def _config_source(source: str | Path) -> str | Path:
    """The folder of a config.json that is named itself."""
    path = Path(source)
    return path.parent if path.is_file() and path.name == "config.json" else source


@contextmanager
def _loading(
    source: str | Path, pickle: bool | None, trust_remote_code: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The path to load from and the common arguments, quietly; what goes wrong inside becomes one
    line.

    `pickle` None: no weights are needed.
    """
    path = _resolve(source, pickle)
    offline = not Path(path).is_dir() and not _hub_reachable()
    with quiet():
        try:
            yield path, {"trust_remote_code": trust_remote_code, "local_files_only": offline}
        except LociError:
            raise
        except (
            Exception
        ) as error:  # whatever transformers, its dataclasses or tokenizers make of a broken file
            if offline and isinstance(error, BROKEN):
                raise ModelError(
                    f"{path!r} is no folder and not in the local cache, and the model hub cannot be"
                    " reached"
                ) from error
            raise ModelError(f"cannot open {str(source)!r}: {_first_sentence(error)}") from error


def _load(path: str, dtype: str, kwargs: dict[str, Any]) -> tuple[nn.Module, Source | None]:
    """The module with all its weights, and where they lie. What transformers would fill with random
    numbers is refused, and so are weights that are no plain numbers.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    wanted, own = (
        _dtype(dtype),
        {name: kwargs[name] for name in ("trust_remote_code", "local_files_only")},
    )
    config = AutoConfig.from_pretrained(path, **own)
    check_config_plain(config, path)
    pickle = not kwargs["use_safetensors"]
    there = _stored(folder_of(path), path, pickle)
    if there:
        check_stored_plain(there, path)
        check_depth(config, there, path)
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            path, dtype=wanted, output_loading_info=True, **kwargs
        )
    except RuntimeError as error:
        _explain(error, config, there, own["trust_remote_code"])
        raise
    hf, report = loaded
    lacking = sorted(report["missing_keys"])
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise ModelError(
            f"the weights of {path!r} lack {lacking[0]}{more}: not a whole checkpoint of this kind"
            " of model"
        )
    assert isinstance(hf, nn.Module)
    check_nothing_left(report["unexpected_keys"], hf, path)
    folder = folder_of(path, getattr(config, "_commit_hash", None))
    there = there or _stored(folder, path, pickle)
    if there:
        check_parameters_plain(there, hf, path)
    unknown = tuple(sorted(report["unexpected_keys"]))
    return hf, Source(folder, pickle, own["trust_remote_code"], unknown) if folder else None


def _explain(
    error: RuntimeError, config: Any, there: Stored | None, trust_remote_code: bool
) -> None:
    """Raise `ModelError` with the parameter that does not fit, where that is why the weights could
    not be loaded.
    """
    from transformers import AutoModelForCausalLM

    if there is None or "mismatch" not in str(error):
        return
    with torch.device("meta"):
        hf = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    words = misfit(hf, there)
    if words is not None:
        raise ModelError(f"cannot open {str(there.folder)!r}: {words}") from error


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
        found = try_to_load_from_cache(str(source), "config.json", revision=revision)
    except HFValidationError:
        return None
    return Path(found).parent if isinstance(found, str) else None


def held_bytes(source: str | Path, dtype: str) -> int | None:
    """Bytes of a model's weights as they would be held, by its files' headers; None where there are
    none to look at.
    """
    wanted = _dtype(dtype)
    try:
        folder = None if is_gguf(source) else folder_of(source)
        found = stored(folder) if folder else None
    except ModelError:
        return None
    if found is None:
        return None
    sizes = (
        (
            math.prod(tensor.shape),
            wanted if isinstance(wanted, torch.dtype) else FLOATS[tensor.dtype],
        )
        for tensor in found.tensors.values()
        if tensor.dtype in FLOATS
    )
    return sum(count * kind.itemsize for count, kind in sizes)


def _stored(folder: Path | None, source: str, pickle: bool) -> Stored | None:
    try:
        return stored(folder, pickle=pickle) if folder else None
    except ModelError as error:
        raise ModelError(f"cannot open {source!r}: {error}") from None


def _resolve(source: str | Path, pickle: bool | None) -> str:
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
            raise ModelError(f"cannot open {named(source)!r}: {_first_sentence(error)}") from None
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
        gone = [shard for shard in shards if shard not in names]
        if gone:
            raise ModelError(
                f"{str(path)!r} lacks {gone[0]}, one of the {len(shards)} shards that its index"
                " names"
            )


def _hub_reachable() -> bool:
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


def _dtype(name: str) -> torch.dtype | str:
    found = getattr(torch, name, None)
    if name != "auto" and found not in FLOATS.values():
        raise ModelError(
            f"there is no dtype {name!r} for weights: try float32, bfloat16, float16, float64 or"
            " auto"
        )
    return found if isinstance(found, torch.dtype) else name


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(
            f"the device {name!r} cannot be used here: {_first_sentence(error)}"
        ) from error
    return device


def _first_sentence(error: Exception) -> str:
    """Its own words, and its class where those say nothing alone."""
    if isinstance(error, OSError):
        return one_line(reason(error))
    line = one_line(str(error))
    return (
        line
        if line and isinstance(error, (ValueError, RuntimeError))
        else f"{type(error).__name__}: {line}".removesuffix(": ")
    )


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and warnings from transformers and the hub in the block; what was set before
    is set again after it.
    """
    from huggingface_hub.utils import logging as hub
    from transformers.utils import logging as hf

    accelerate = logging.getLogger("accelerate")
    bars, level, hub_level, accelerate_level = (
        hf.is_progress_bar_enabled(),
        hf.get_verbosity(),
        hub.get_verbosity(),
        accelerate.level,
    )
    hf.disable_progress_bar()
    hf.set_verbosity_error()
    hub.set_verbosity_error()
    accelerate.setLevel(logging.ERROR)
    try:
        yield
    finally:
        hf.set_verbosity(level)
        hub.set_verbosity(hub_level)
        accelerate.setLevel(accelerate_level)
        if bars:
            hf.enable_progress_bar()
