"""Reads back what was written and compares it before it is called done.

1. bytes:  every file of the base again, once the original bytes are thought back in their places:
           SHA-256 as read at first. So nothing else
           changed, and a revert gives the base bit for bit
2. sums:   the bytes of each changed tensor are those that were meant
3. model:  plain transformers opens the folder, a tensor at a time from disk: each parameter is the
           model's, or the sum
4. logits: on three prompts, as those of the model in memory with the same weights, to rounding of
   its dtype

Cost: one reading of the folder for 1, one for 3 and one for 4; no second model in memory.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import LociError, OutputError, PatchError
from loci.model import Model, Weights, open_weights
from loci.model.stored import bytes_of, stored
from loci.patches.carried import KEPT, file_hash
from loci.patches.neurons import AddedNeurons, beside
from loci.patches.patch import Patch
from loci.patches.sums import Rewritten
from loci.patches.undo import ORIGINAL, read_undo

TEXTS = ("The capital of France is the city of", "She plays the sport of", "One of the")
TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 5e-2}
"""‖a − b‖ / ‖a‖ that other kernels and other orders of sums may make of logits."""


def check_bytes(
    folder: Path, files: Mapping[str, str], kept: Sequence[str], changes: Sequence[Rewritten]
) -> None:
    """Steps 1 and 2, from the folder's own undo data. Raises `OutputError`."""
    undo, checkpoint = read_undo(folder), stored(folder)
    originals = undo.originals if undo else {}
    meant = {change.stored.name: change.after for change in changes}
    if checkpoint is None or originals.keys() != meant.keys():
        raise _differs(f"{ORIGINAL}… of its undo data")
    instead: dict[Path, dict[tuple[int, int], bytes]] = {}
    for name, after in meant.items():
        tensor = checkpoint.tensors[name]
        if tensor.read_bytes() != bytes_of(after):
            raise _differs(name)
        instead.setdefault(tensor.file, {})[tensor.start, tensor.stop] = bytes_of(originals[name])
    for name, sha in files.items():
        path = folder / KEPT / name if name in kept else folder / name
        if file_hash(path, instead.get(path)) != sha:
            raise _differs(name)


def _differs(what: str) -> OutputError:
    return OutputError(
        f"on reading it back, {what} is not what was to be written: nothing is left of it; try"
        " again, or another disk"
    )


@torch.no_grad()
def check_model(
    folder: Path,
    model: Model,
    wanted: Mapping[str, Tensor],
    logits: Sequence[Tensor],
    ids: Sequence[Tensor],
) -> None:
    """Steps 3 and 4. `wanted` are the parameters that are not as in `model`.
    Raises `OutputError`.
    """
    try:
        plain = reopened(folder, model)
    except LociError as error:
        raise OutputError(
            "what was written does not open in plain transformers, so nothing is left of it:"
            f" {error}"
        ) from None
    for name in dict.fromkeys([*model.parameter_names, *wanted]):
        values = (wanted[name] if name in wanted else model.parameter(name)).cpu()
        if not torch.equal(plain.parameter(name).to(values.dtype), values):
            raise _differs(f"{name}, as plain transformers has it,")
    for own, texts in zip(logits, ids, strict=True):
        there = (
            plain.hf.eval()(input_ids=texts.to(plain.device), use_cache=False).logits.double().cpu()
        )
        off = float((there - own).norm() / own.norm().clamp(min=1e-30))
        if not off <= TOLERANCE[model.dtype]:
            raise OutputError(
                "plain transformers gives other logits of what was written than the edited model"
                f" has in memory (by {off:.2g} of their size), so nothing is left of it"
            )


def reopened(folder: Path, model: Weights) -> Weights:
    """The folder's weights as plain transformers has them, in the model's dtype, read from disk
    when they are asked for.
    """
    remote = model.source is not None and model.source.remote_code
    return open_weights(
        folder, dtype=model.dtype_name, layout=model.layout, trust_remote_code=remote
    )


def same_weights(model: Weights, folder: Path) -> bool:
    """Whether a model holds the numbers that its folder has: not where they were changed in memory.
    Cost: one reading of the folder.
    """
    there = reopened(folder, model)
    names = set(there.parameter_names)
    return all(
        name in names
        and torch.equal(
            there.parameter(name).to(model.parameter(name).dtype), model.parameter(name).cpu()
        )
        for name in model.parameter_names
    )


@torch.no_grad()
def edited_logits(
    model: Model, patch: Patch, wanted: Mapping[str, Tensor]
) -> tuple[list[Float[Tensor, "1 position d_vocab"]], list[Tensor]]:
    """Logits of the model in memory with the new weights, and the prompts' tokens: of the patch's
    facts first, three in all.

    Raises `PatchError` where they are not finite.
    """
    texts = [*dict.fromkeys(fact.text for fact in patch.facts[:2]), *TEXTS][:3]
    ids = [model.ids([_tokens(model, text)]) for text in texts]
    with holding(model, wanted, patch.neurons):
        logits = [model(each).double().cpu() for each in ids]
    if not all(each.isfinite().all() for each in logits):
        raise PatchError(
            f"with patch {patch.id} the model gives logits that are not finite: nothing was written"
        )
    return logits, ids


def _tokens(model: Model, text: str) -> list[int]:
    """A text's tokens; the first ones of the vocabulary where the model cannot take it."""
    try:
        return list(model.tokenize(text).ids)
    except LociError:
        return list(range(min(4, model.d_vocab)))


@contextmanager
def holding(
    model: Model, wanted: Mapping[str, Tensor], neurons: Mapping[int, AddedNeurons]
) -> Iterator[None]:
    """The model with other values of some parameters inside the block, and neurons beside; after it
    every bit is as before.
    """
    before = {name: model.parameter(name).clone() for name in wanted}
    try:
        for name, values in wanted.items():
            model.parameter(name).copy_(values)
        with beside(model, neurons):
            yield
    finally:
        for name, values in before.items():
            model.parameter(name).copy_(values)
