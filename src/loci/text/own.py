"""Text that a model samples itself: what it takes text to be, where there is none.

Batch i of `ROWS` texts is drawn with the seed (seed, i), always whole, so that more texts begin
with the fewer. Only tokens of text are drawn, and those that end one. A model without a BOS
begins with `OPENERS` in turn. What was sampled is kept in the user's cache by content: weights,
seed, length.
"""

import hashlib
import json
from contextlib import suppress
from pathlib import Path

import torch

from loci.asides import tidy
from loci.cache import mark_used, trim
from loci.errors import LociError, OutputError
from loci.files import cache_folder, write_aside
from loci.model import Model
from loci.model.generation import generate
from loci.progress import Progress, silent
from loci.validate import parse_json

ROWS = 64
OPENERS = ("The", "A", "In", "It", "He", "She", "I", "This")


def own_texts(
    model: Model,
    count: int,
    *,
    length: int = 64,
    seed: int = 0,
    progress: Progress = silent,
) -> list[str]:
    """`count` texts of at most `length` tokens that the model samples at temperature 1.

    Cost: `length` passes over `ROWS` positions for each `ROWS` texts begun, once; then from the
    cache (`LOCI_CACHE`, `~/.cache/loci`; an empty `LOCI_CACHE` keeps nothing), by the hash of the
    weights.
    """
    file = _file(model, length, seed)
    texts = _load(file)
    if len(texts) >= count:
        return texts[:count]
    batches = range(len(texts) // ROWS, -(-count // ROWS))
    for batch in batches:
        texts += _sampled(model, batch, length, seed)
        progress(1, len(batches))
    _save(file, texts)
    return texts[:count]


@torch.no_grad()
def _sampled(model: Model, batch: int, length: int, seed: int) -> list[str]:
    """The `ROWS` texts of a batch."""
    begin = _beginning(model)
    ids = model.ids([begin[row % len(begin)] for row in range(ROWS)])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed * 1_000_003 + batch)
        made = generate(model, ids, length, sample=True)
    opened = [() if model.with_bos else begin[row % len(begin)] for row in range(ROWS)]
    return [
        str(model.tokenizer.decode([*first, *row], skip_special_tokens=True))
        for first, row in zip(opened, made, strict=True)
    ]


def _beginning(model: Model) -> list[tuple[int, ...]]:
    """The first tokens of texts, all equally many."""
    if model.with_bos:
        return [tuple(model.tokenize("a").ids[:1])]
    begun = [tuple(model.tokenize(word).ids) for word in OPENERS]
    return [ids for ids in begun if len(ids) == len(begun[0])]


def _file(model: Model, length: int, seed: int) -> Path | None:
    """Where the samples are kept: named by the hash of all that they depend on."""
    folder = cache_folder()
    if folder is None:
        return None
    rule = "whole batches, no control tokens"
    about = f"{model.fingerprint} {model.with_bos} {model.dtype} {length} {seed} {ROWS} {rule}"
    return folder / "texts" / f"{hashlib.sha256(about.encode()).hexdigest()[:32]}.json"


def _load(file: Path | None) -> list[str]:
    """Kept samples; none where there are none, or none that can be used."""
    if file is None or not file.exists():
        return []
    tidy(file.parent)
    with suppress(OSError, UnicodeDecodeError, LociError):
        texts = parse_json(file.read_text(encoding="utf-8"), str(file), OutputError)
        sound = isinstance(texts, list) and all(isinstance(text, str) for text in texts)
        if isinstance(texts, list) and sound and len(texts) % ROWS == 0:
            mark_used(file)
            return texts
    return []


def _save(file: Path | None, texts: list[str]) -> None:
    """Keep samples; a full or forbidden disk only means that they will be drawn again."""
    if file is None:
        return
    with suppress(OSError, OutputError), write_aside(file) as aside:
        aside.write_text(json.dumps(texts, ensure_ascii=False), encoding="utf-8")
    trim()
