"""The state of a pass on disk, from which a stopped pass goes on."""

import hashlib
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open
from torch import Tensor

from loci.errors import ModelError
from loci.files import check_writable, write_aside
from loci.model import Model
from loci.survey.states import Gathering, checksum, restore, save, tensors_of
from loci.validate import is_there, one_line


class Surveyed(NamedTuple):
    """How much a pass has seen."""

    texts: int
    tokens: int


class TextDigest:
    """A hash of texts in their order: what a pass has read."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def update(self, text: str) -> None:
        data = text.encode("utf-8", "surrogatepass")
        self._hash.update(len(data).to_bytes(8, "little") + data)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


class PassCheckpoint:
    """The accumulators' states in one safetensors file, with whose they are, how far the pass has
    come, and a hash of the texts so far.
    """

    def __init__(
        self,
        path: str | Path | None,
        model: Model,
        gathering: Gathering,
        first: int = 0,
        limit: int | None = None,
    ) -> None:
        self.path = None if path is None else Path(path)
        self.gathering = gathering
        if self.path is None:
            return
        check_writable(self.path)
        kinds = {
            point: [type(accumulator).__name__ for accumulator in many]
            for point, many in gathering.items()
        }
        head = {
            "weights": model.fingerprint,
            "bos": model.with_bos,
            "gathering": kinds,
            "first": first,
            "limit": limit,
        }
        self.head = json.dumps(head, sort_keys=True)

    def restore(self, source: Iterator[str], digest: TextDigest) -> Surveyed:
        """Load the checkpoint and advance `source` behind the texts that it covers; nothing is done
        where there is none.
        """
        if self.path is None or not is_there(self.path):
            return Surveyed(0, 0)
        said, states = self._read()
        if said.get("head") != self.head:
            raise ModelError(
                f"{self.path} is the checkpoint of another model or of other statistics: name"
                " another file"
            )
        seen = Surveyed(int(said["texts"]), int(said["tokens"]))
        count = 0
        for text in islice(source, seen.texts):
            digest.update(text)
            count += 1
        if count < seen.texts or digest.hexdigest() != said["read"]:
            raise ModelError(
                f"{self.path} is the checkpoint of another text: name another file, or delete it"
            )
        restore(self.gathering, states)
        return seen

    def _read(self) -> tuple[dict[str, str], dict[str, Tensor]]:
        """Metadata and tensors, if they are what was written. Raises `ModelError`."""
        try:
            with safe_open(self.path, "pt") as file:
                said = dict(file.metadata() or {})
                states = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            whole = all(said[name].isdecimal() for name in ("texts", "tokens")) and said[
                "sum"
            ] == checksum(states)
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            words = (
                one_line(str(error)) if not isinstance(error, KeyError) else f"{error} is missing"
            )
            raise ModelError(
                f"{self.path}: this is no checkpoint of a survey ({words}); name another file, or"
                " delete it"
            ) from None
        if not whole:
            raise ModelError(f"{self.path}: the checkpoint is damaged; delete it")
        return said, states

    def write(self, seen: Surveyed, digest: TextDigest) -> None:
        if self.path is None:
            return
        states = tensors_of(self.gathering)
        said = {
            "head": self.head,
            "texts": str(seen.texts),
            "tokens": str(seen.tokens),
            "read": digest.hexdigest(),
        }
        with write_aside(self.path) as aside:
            save(aside, states, {**said, "sum": checksum(states)})
