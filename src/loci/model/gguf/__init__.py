"""GGUF files: what llama.cpp and Ollama run, opened as a model.

opened_gguf("model.gguf")          the folder of its model, made once and kept in the cache
opened_gguf("ollama:llama3.2")     the same for what Ollama has
read_header("model.gguf")          architecture, quantisation, sizes; no weight is read
"""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from loci.files import cache_folder
from loci.model.gguf.convert import gguf_file, model_folder
from loci.model.gguf.families import architecture_of, gguf_name
from loci.model.gguf.header import Header
from loci.model.gguf.header_reader import read_header
from loci.model.gguf.sources import NAMED, gguf_parts, is_gguf

__all__ = [
    "NAMED",
    "Header",
    "architecture_of",
    "gguf_name",
    "gguf_parts",
    "is_gguf",
    "opened_gguf",
    "read_header",
    "whole_gguf",
]


def opened_gguf(source: str | Path) -> Path:
    """The folder of a GGUF source's model, in the cache. Raises `ModelError` before any work."""
    return model_folder(gguf_parts(source), cache_folder() or _temporary())


def whole_gguf(source: str | Path) -> Path:
    """The one file of a GGUF source; of a package's parts it is put together in the cache. Raises
    `ModelError` for shards.
    """
    return gguf_file(gguf_parts(source), cache_folder() or _temporary())


@cache
def _temporary() -> Path:
    """A cache for this process, where none is kept."""
    folder = Path(tempfile.mkdtemp(prefix="loci-gguf-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
