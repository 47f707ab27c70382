"""Dictionaries from files and folders, and back: one call for every format.

dictionary = load_dictionary("sae/layers.3.mlp")
    # SAELens, sparsify, Gemma Scope, circuit-tracer, dictionary_learning, …
save_dictionary(dictionary, "mine.safetensors")
    # Loci's own; or a folder, with format="saelens" or "sparsify"

The embedded dictionaries are made by `python scripts/make_demo_dictionaries.py`; in half precision,
2 MB each.
"""

import json
import re
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from safetensors.torch import save_file

from loci.dictionaries.dictionary import Dictionary
from loci.dictionaries.formats import FORMATS, own, saelens, sparsify
from loci.dictionaries.tensors import ENDINGS, State, read_tensors
from loci.errors import DictionaryError
from loci.files import write_aside
from loci.validate import brief, is_folder, is_there, named, one_line, read_json, read_text

PREFIX = "demo:"
EMBEDDED = {
    "mlp_out.3": "autoencoder.mlp_out.3.safetensors",
    "mlp_out.1": "transcoder.mlp_out.1.safetensors",
    "mlp_out.0": "transcoder.mlp_out.0.safetensors",
}


def embedded_path(name: str) -> Path:
    """The file of an embedded dictionary. Raises `DictionaryError` for another name."""
    file = EMBEDDED.get(name.removeprefix(PREFIX))
    if file is None:
        raise DictionaryError(
            f"there is no embedded dictionary {brief(name)}:"
            f" {', '.join(f'{PREFIX}{each}' for each in EMBEDDED)}"
        )
    return Path(str(files("loci.demo").joinpath("dictionaries", file)))


FILES = ("sae_weights.safetensors", "sae.safetensors", "params.npz", "params.safetensors", "ae.pt")
SavedFormat = Literal["loci", "saelens", "sparsify"]
CONFIGS = ("cfg.json", "config.json")
SETS = ("config.yaml", "wandb-config.yaml")
LAYER_FILE = re.compile(r"layer_(\d+)\.safetensors")


def load_dictionary(path: str | Path, *, pickle: bool = False) -> Dictionary:
    """A dictionary in canonical form.

    Args:
        path: a file of tensors, the folder that holds it with its configuration, or
            `demo:mlp_out.3`, an embedded one.
        pickle: read `.pt` files, which you trust; they are unpickled as tensors alone.

    Returns: a `Dictionary`, checked: shapes fit, numbers are finite, k is within the width.
    Raises `DictionaryError` for what is missing, broken, or of no known format. Cost: the file, in
    float32.
    """
    path = embedded_path(str(path)) if str(path).startswith(PREFIX) else Path(path)
    file = _tensor_file(path) if is_folder(path) else path
    config = _config(file)
    tensors, said = read_tensors(file, pickle=pickle)
    bad = [
        name
        for name, tensor in tensors.items()
        if tensor.is_floating_point() and not tensor.isfinite().all()
    ]
    if bad:
        raise DictionaryError(f"{named(path)}: {bad[0]} holds NaN or infinite numbers")
    beside = {"path": file.as_posix()}
    folder = file.parent.name
    if file.name == "sae.safetensors":
        beside["hookpoint"] = folder if not folder.startswith("seed") else file.parent.parent.name
    known = {**beside, **config, **said}
    for form in FORMATS:
        if form.fits(set(tensors), known):
            return _read(form.read, tensors, known, named(path)).check(named(path))
    names = ", ".join(sorted(tensors)[:6])
    raise DictionaryError(f"{named(path)}: no known dictionary has these tensors: {names}")


def _read(read: Any, tensors: Any, said: dict[str, Any], where: str) -> Dictionary:
    """The canonical form; a configuration that says something of the wrong kind is one line."""
    try:
        dictionary: Dictionary = read(tensors, said, where)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else one_line(str(error))
        raise DictionaryError(
            f"{where}: its configuration or a tensor is not as its format says ({what})"
        ) from None
    if dictionary.k is not None and (
        not isinstance(dictionary.k, int) or isinstance(dictionary.k, bool)
    ):
        raise DictionaryError(f"{where}: k: expected a whole number, found {dictionary.k!r}")
    return dictionary


def _tensor_file(folder: Path) -> Path:
    file = next((folder / name for name in FILES if is_there(folder / name)), None)
    if file is not None:
        return file
    if any(is_there(folder / name) for name in SETS):
        raise DictionaryError(
            f"{named(folder)}: a set of transcoders: name the file of one layer, or"
            " load_transcoders for all"
        )
    below = sorted(path.parent.name for name in FILES for path in folder.glob(f"*/{name}"))
    if below:
        raise DictionaryError(
            f"{named(folder)}: several dictionaries lie in it: name one of {', '.join(below[:8])}"
        )
    if any(is_there(folder / name) for name in CONFIGS):
        raise DictionaryError(
            f"{named(folder)}: a configuration without weights: expected one of {', '.join(FILES)}"
        )
    some = sorted(path for path in folder.glob("*") if path.suffix in ENDINGS)
    if len(some) == 1:
        return some[0]
    raise DictionaryError(
        f"{named(folder)}: there is no dictionary in it: expected one of {', '.join(FILES)}"
    )


def _config(file: Path) -> dict[str, Any]:
    """The configuration that lies beside a file; {} where there is none."""
    for name in CONFIGS:
        if is_there(file.parent / name):
            config = read_json(file.parent / name, DictionaryError, infinite=True)
            if not isinstance(config, dict):
                raise DictionaryError(f"{named(file.parent / name)}: expected an object")
            return config
    match = LAYER_FILE.fullmatch(file.name)
    if match is None:
        return {}
    said = next(
        (read_yaml(file.parent / name) for name in SETS if is_there(file.parent / name)), {}
    )
    return {**said, "layer": int(match[1])}


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping of a YAML file, by the reader that makes plain values alone. Raises
    `DictionaryError`.
    """
    yaml = import_module("yaml")
    try:
        document = yaml.safe_load(read_text(path, DictionaryError))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DictionaryError(f"{named(path)}: not YAML ({one_line(str(error))})") from None
    if not isinstance(document, dict):
        raise DictionaryError(f"{named(path)}: expected names and values")
    return {str(name): value for name, value in document.items()}


def save_dictionary(
    dictionary: Dictionary, path: str | Path, *, format: SavedFormat = "loci"
) -> None:
    """Write a dictionary: a `.safetensors` file in Loci's form, or a folder as SAELens or sparsify
    read it.

    Raises `DictionaryError` for what a format cannot say, and `OutputError` where the place cannot
    be written.
    """
    path = Path(path)
    if format == "loci":
        if path.suffix != ".safetensors":
            raise DictionaryError(
                f"{named(path)}: a dictionary is written as .safetensors; let the name end so"
            )
        tensors, metadata = own.written(dictionary)
        with write_aside(path) as aside:
            save_file(_apart(tensors), aside, metadata=metadata)
        return
    tensors, config = (saelens if format == "saelens" else sparsify).written(dictionary)
    with write_aside(path, folder=True) as aside:
        aside.mkdir()
        name = "sae_weights.safetensors" if format == "saelens" else "sae.safetensors"
        save_file(_apart(tensors), aside / name)
        (aside / "cfg.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def _apart(tensors: State) -> State:
    """Tensors as a file takes them: none shares memory with another."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
