"""A training run that goes on after it was stopped."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from loci.dictionaries.learners import Learner
from loci.dictionaries.settings import DictionarySettings
from loci.dictionaries.streams import ActivationStream
from loci.dictionaries.tensors import read_tensors
from loci.errors import DictionaryError
from loci.files import check_writable, write_aside
from loci.model import Model
from loci.validate import is_there, named


class DictionaryCheckpoint:
    """The learners' states in one safetensors file, with whose they are."""

    def __init__(
        self,
        path: str | Path | None,
        model: Model,
        settings: Sequence[DictionarySettings],
        stream: ActivationStream,
        steps: int,
    ) -> None:
        self.path = None if path is None else Path(path)
        if self.path is None:
            return
        if not is_there(self.path):
            check_writable(self.path)
        head = {
            "weights": model.fingerprint,
            "settings": [asdict(each) for each in settings],
            "steps": steps,
            "batch": stream.batch,
            "seed": stream.seed,
            "tokens": stream.tokens,
            "pools": len(stream.pools),
        }
        self.head = json.dumps(head, sort_keys=True)

    def restore(self, learners: Sequence[Learner]) -> int:
        """Put the learners where the file left them: the number of steps that are done."""
        if self.path is None or not is_there(self.path):
            return 0
        tensors, said = read_tensors(self.path)
        if said.get("training") != self.head:
            raise DictionaryError(
                f"{named(self.path)} is the checkpoint of another run: name another file, or"
                " delete it"
            )
        for i, learner in enumerate(learners):
            start = f"{i}/"
            own = {
                name.removeprefix(start): tensor
                for name, tensor in tensors.items()
                if name.startswith(start)
            }
            try:
                learner.restore(own)
            except (KeyError, RuntimeError, ValueError) as error:
                raise DictionaryError(
                    f"{named(self.path)}: the checkpoint is damaged ({error}); delete it"
                ) from None
        return learners[0].done

    def write(self, learners: Sequence[Learner]) -> None:
        if self.path is None:
            return
        states: dict[str, Tensor] = {
            f"{i}/{name}": tensor.detach().cpu().contiguous().clone()
            for i, learner in enumerate(learners)
            for name, tensor in learner.state().items()
        }
        with write_aside(self.path) as aside:
            save_file(states, aside, metadata={"training": self.head})
