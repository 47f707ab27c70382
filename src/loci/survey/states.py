"""A state on disk: the accumulators of some shards in one safetensors file, named by what it is the
state of.

    <id>.safetensors  tensors POINT/i/NAME  metadata "loci": {format, id, head, texts, tokens,
                      set_aside, sum}

The id is a hash of all that the numbers depend on, so that a file that is there is right, and one
that is not is missing. It is written aside and renamed, and holds a checksum of its tensors: what
is damaged is found on reading. Nothing is pickled. Metadata is one entry, as safetensors writes
several in any order: the same state is the same bytes.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from typing_extensions import TypedDict

from loci.errors import ModelError
from loci.files import write_aside
from loci.survey.accumulators import Accumulator
from loci.validate import brief, named, one_line, typed

FORMAT, KEY = "loci.survey_state/1", "loci"
Gathering = Mapping[str, Sequence[Accumulator]]


class StateHeader(TypedDict):
    """The metadata of a state's file."""

    format: str
    id: str
    head: dict[str, Any]
    texts: int
    tokens: int
    set_aside: list[list[Any]]
    sum: str


class DamagedState(ModelError):
    """A file that does not hold what was written: it can be made again."""


@dataclass(frozen=True)
class SetAside:
    """A text that the tokenizer or the model cannot take."""

    text: int
    """Its number in the whole pass."""
    place: str
    reason: str


@dataclass(frozen=True)
class State:
    """The accumulated statistics of some texts."""

    gathered: Gathering
    texts: int
    tokens: int
    set_aside: tuple[SetAside, ...] = ()


def add(one: State, other: State) -> State:
    """Both together; the accumulators of `one` take up those of `other`."""
    for point, accumulators in one.gathered.items():
        for mine, theirs in zip(accumulators, other.gathered[point], strict=True):
            mine.merge(theirs)
    return State(
        one.gathered,
        one.texts + other.texts,
        one.tokens + other.tokens,
        one.set_aside + other.set_aside,
    )


def tensors_of(gathering: Gathering) -> dict[str, Tensor]:
    """The states of all accumulators by point, number and name."""
    return {
        f"{point}/{i}/{name}": tensor.contiguous()
        for point, many in gathering.items()
        for i, accumulator in enumerate(many)
        for name, tensor in accumulator.state().items()
    }


def restore(gathering: Gathering, tensors: Mapping[str, Tensor]) -> None:
    """The way back from `tensors_of`."""
    for point, many in gathering.items():
        for i, accumulator in enumerate(many):
            start = f"{point}/{i}/"
            accumulator.restore(
                {
                    name.removeprefix(start): state
                    for name, state in tensors.items()
                    if name.startswith(start)
                }
            )


def write_state(path: Path, state: State, id: str, head: Mapping[str, Any]) -> None:
    """Write aside and rename. Raises `OutputError`."""
    tensors = tensors_of(state.gathered)
    aside = [[one.text, one.place, one.reason] for one in state.set_aside]
    said = {
        "format": FORMAT,
        "id": id,
        "head": head,
        "texts": state.texts,
        "tokens": state.tokens,
        "set_aside": aside,
    }
    with write_aside(path) as new:
        save(
            new,
            tensors,
            {KEY: json.dumps({**said, "sum": checksum(tensors, said)}, sort_keys=True)},
        )


def save(path: Path, tensors: Mapping[str, Tensor], said: Mapping[str, str]) -> None:
    """Tensors and metadata; what the file system refuses is an `OSError`."""
    try:
        save_file(dict(tensors), path, metadata=dict(said))
    except SafetensorError as error:
        raise OSError(str(error)) from error


def read_state(path: Path, gathered: Gathering, id: str | None = None) -> State:
    """The state in a file, into empty accumulators. Raises `DamagedState`, also where its id is not
    the one that is expected.
    """
    said = read_head(path)
    if id not in (None, said["id"]):
        raise DamagedState(f"{named(path)}: the state of something else")
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        whole = said["sum"] == checksum(
            tensors, {name: value for name, value in said.items() if name != "sum"}
        )
    except (OSError, SafetensorError, KeyError) as error:
        raise DamagedState(
            f"{named(path)}: the state is damaged ({one_line(str(error))})"
        ) from None
    if not whole:
        raise DamagedState(f"{named(path)}: the state is damaged (its checksum differs)")
    restore(gathered, tensors)
    return State(
        gathered, said["texts"], said["tokens"], tuple(SetAside(*one) for one in said["set_aside"])
    )


def read_head(path: Path) -> StateHeader:
    """The header of a state's file; its tensors are not read. Raises `DamagedState`, and
    `ModelError` for another format.
    """
    try:
        with safe_open(path, "pt") as file:
            said = json.loads((file.metadata() or {})[KEY])
        if str(said["format"]).partition("/")[0] != FORMAT.partition("/")[0]:
            raise ValueError("another kind of file")
    except (OSError, SafetensorError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise DamagedState(
            f"{named(path)}: no whole state of a survey ({one_line(str(error))})"
        ) from None
    if said["format"] != FORMAT:
        raise ModelError(
            f"{named(path)}: a state in the format {brief(said['format'])}; this version of Loci"
            f" reads {FORMAT}"
        )
    return typed(StateHeader, said, named(path), DamagedState)


def checksum(tensors: Mapping[str, Tensor], said: Mapping[str, Any] | None = None) -> str:
    """A hash of tensors by their names, and of what is said with them."""
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode() if said else b"")
    for name in sorted(tensors):
        digest.update(f"{name} {tuple(tensors[name].shape)} {tensors[name].dtype}".encode())
        digest.update(
            tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
        )
    return digest.hexdigest()
