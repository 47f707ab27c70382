"""The formats of other libraries, recognised by the names of their tensors, each turned into the
canonical form.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from loci.dictionaries.dictionary import Dictionary
from loci.dictionaries.formats import (
    circuit_tracer,
    dictionary_learning,
    gemma_scope,
    openai,
    own,
    saelens,
    sparsify,
)
from loci.dictionaries.tensors import State


class DictionaryFormat(NamedTuple):
    """How a format is known, and how it is read."""

    name: str
    fits: Callable[[set[str], Mapping[str, Any]], bool]
    read: Callable[[State, Mapping[str, Any], str], Dictionary]


FORMATS = (
    DictionaryFormat("loci", own.fits, own.read),
    DictionaryFormat("saelens", saelens.fits, saelens.read),
    DictionaryFormat("sparsify", sparsify.fits, sparsify.read),
    DictionaryFormat("openai", openai.fits, openai.read),
    DictionaryFormat("circuit-tracer", circuit_tracer.fits, circuit_tracer.read),
    DictionaryFormat("dictionary_learning", dictionary_learning.fits, dictionary_learning.read),
    DictionaryFormat("gemma scope", gemma_scope.fits, gemma_scope.read),
)
"""In the order in which they are tried: the most telling names first."""

__all__ = ["FORMATS", "DictionaryFormat"]
