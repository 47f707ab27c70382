"""GGUF files: what llama.cpp and Ollama run, opened as a model. Public: `is_gguf`, `gguf_parts`, `read_header`, `folder_of`."""

from loci.model.gguf.convert import folder_of
from loci.model.gguf.header import Header, read_header
from loci.model.gguf.sources import NAMED, gguf_parts, is_gguf

__all__ = ["NAMED", "Header", "folder_of", "gguf_parts", "is_gguf", "read_header"]
