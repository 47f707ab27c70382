"""Open a model: the embedded one, a local folder, or a hub id. The only file that loads with
`transformers`.
"""

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from torch import nn

from loci.errors import LociError, ModelError
from loci.model.config import check_depth, check_nothing_left, check_windows, misfit
from loci.model.families import candidates
from loci.model.layouts import Layout
from loci.model.mapped import Mapping, map_weights
from loci.model.model import Model
from loci.model.modules import Source
from loci.model.quantised import check_config_plain, check_parameters_plain, check_stored_plain
from loci.model.silence import quiet
from loci.model.sources import (
    DEMO,
    config_source,
    dtype_of,
    first_line_of,
    folder_of,
    hub_reachable,
    resolve,
    stored_in,
)
from loci.model.stored import Stored
from loci.model.weights import Weights

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

        loci.open("./my-model", dtype="bfloat16")

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
        tokenizer = _tokenizer(path, kwargs)
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

        loci.open_weights("./my-model").W_down(3)

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
        tokenizer = _tokenizer(path, kwargs)
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
    with _loading(config_source(source), None, trust_remote_code) as (path, kwargs):
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


@contextmanager
def _loading(
    source: str | Path, pickle: bool | None, trust_remote_code: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The path to load from and the common arguments, quietly; what goes wrong inside becomes one
    line.

    `pickle` None: no weights are needed.
    """
    path = resolve(source, pickle)
    offline = not Path(path).is_dir() and not hub_reachable()
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
            raise ModelError(f"cannot open {str(source)!r}: {first_line_of(error)}") from error


def _tokenizer(path: str, kwargs: dict[str, Any]) -> Any:
    """The tokenizer; where none is stored, transformers makes one that knows its special tokens
    alone.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path, **kwargs)
    if len(tokenizer) <= len(tokenizer.get_added_vocab()):
        raise ModelError(
            f"{path!r} has no tokenizer, or one without tokens: it needs a tokenizer.json of the"
            " model's own"
        )
    return tokenizer


def _load(path: str, dtype: str, kwargs: dict[str, Any]) -> tuple[nn.Module, Source | None]:
    """The module with all its weights, and where they lie. What transformers would fill with random
    numbers is refused, and so are weights that are no plain numbers.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    wanted, own = (
        dtype_of(dtype),
        {name: kwargs[name] for name in ("trust_remote_code", "local_files_only")},
    )
    config = AutoConfig.from_pretrained(path, **own)
    check_config_plain(config, path)
    check_windows(config, path)
    pickle = not kwargs["use_safetensors"]
    there = stored_in(folder_of(path), path, pickle)
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
    there = there or stored_in(folder, path, pickle)
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


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(
            f"the device {name!r} cannot be used here: {first_line_of(error)}"
        ) from error
    return device
