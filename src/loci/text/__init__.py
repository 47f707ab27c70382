"""Where text comes from: files, the embedded corpus, the model's own samples.

read_texts(path)            texts of a file or a dataset on disk, streamed
background(model, texts)    a `BackgroundText`: the user's text, the embedded corpus, or own samples
held_out_sentences(model)   what no edit is made with, for its drift
own_texts(model, count)     what the model samples itself, kept in the cache
"""

from loci.text.background_text import BackgroundText, background, held_out_sentences, sample_text
from loci.text.corpus import corpus_texts, speaks_corpus
from loci.text.files import read_texts
from loci.text.own import own_texts

__all__ = [
    "BackgroundText",
    "background",
    "corpus_texts",
    "held_out_sentences",
    "own_texts",
    "read_texts",
    "sample_text",
    "speaks_corpus",
]
