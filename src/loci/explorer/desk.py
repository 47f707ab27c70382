"""The state of a worker: the model, the patches of this run, and a way to report progress."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from loci.errors import ModelError, PatchError
from loci.explorer.settings import Settings
from loci.model import Model, census, open_model
from loci.patches import Patch, applied, load_patch, merge
from loci.progress import Progress, silent
from loci.text import background

MOST_TOKENS, PRODUCTS = 30_000, 250_000_000_000
"""Tokens over which a neuron of a small model is read, and multiplications that a wait is worth."""


class Stopped(Exception):
    """The job was cancelled."""


class Tell:
    """Reports of a running job: how much is done, and parts of the result that are ready."""

    def __init__(
        self, say: Callable[[dict[str, Any]], None], cancelled: Callable[[], bool]
    ) -> None:
        self._say, self._cancelled, self._done, self._total = say, cancelled, 0, 0

    def progress(self, done: int, total: int) -> None:
        """As the library calls it; another total begins anew. Raises `Stopped` where the job was
        cancelled.
        """
        self._done = done + (self._done if total == self._total else 0)
        self._total = total
        if self._cancelled():
            raise Stopped
        self._say({"done": self._done, "total": total})

    def part(self, document: dict[str, Any]) -> None:
        """A part of the result that can be shown already."""
        self._say({"part": document})


class Desk:
    """One model, opened when it is first needed or given as it is, and the folder of patches."""

    def __init__(self, settings: Settings, folder: Path, model: Model | None = None) -> None:
        self.settings, self.folder, self._given = settings, folder, model
        self._patches: dict[tuple[str, ...], Patch] = {}
        self._texts: dict[int, list[str]] = {}

    @cached_property
    def model(self) -> Model:
        if self._given is not None:
            return self._given
        opening = dict(self.settings.opening)
        layout = opening.pop("layout", None)
        if layout is not None:
            from loci.model.layouts import read_layout

            opening["layout"] = read_layout(Path(layout))
        model = open_model(self.settings.model, **opening)
        wanted = self.expected
        if wanted is not None and model.fingerprint != wanted:
            raise ModelError(
                f"the model that was given is not what {self.settings.model!r} is on disk (its"
                " weights were changed): save it to a folder and explore that"
            )
        return model

    expected: str | None = None
    """The fingerprint that the model must have, where somebody gave a model that is open."""

    @cached_property
    def fingerprint(self) -> str:
        """The base's; nothing here changes it for longer than a job."""
        return self.model.fingerprint

    @cached_property
    def reading_tokens(self) -> int:
        """Tokens of background text over which a neuron is read in some seconds: the fewer, the
        larger the model.
        """
        parts = census(self.model).parts
        inner = parts["mlp_weights"] + parts["attention"]
        return max(1_024, min(MOST_TOKENS, PRODUCTS // max(1, inner)) // 1_024 * 1_024)

    def texts(self, tokens: int, progress: Progress = silent) -> list[str]:
        """Background text of about so many tokens, always the same; what the model samples itself
        is sampled once.
        """
        if tokens not in self._texts:
            self._texts[tokens] = background(self.model, tokens=tokens, progress=progress).first(
                self.model, tokens
            )
        return self._texts[tokens]

    @property
    def atlas(self) -> Path:
        """Where the atlas of this run is built."""
        return self.folder / "atlas"

    def path(self, patch: str) -> Path:
        return self.folder / f"{patch}.safetensors"

    def keep(self, patch: Patch) -> str:
        """Write a patch to the folder, whole or not at all; its id."""
        self.folder.mkdir(parents=True, exist_ok=True)
        patch.save(self.path(patch.id))
        return patch.id

    def patch(self, ids: Sequence[str]) -> Patch | None:
        """The patches that are on, as one; where two ask the same, the last one wins. Raises
        `PatchError`.
        """
        key = tuple(dict.fromkeys(ids))
        if not key:
            return None
        if key not in self._patches:
            if len(key) == 1:
                if not self.path(key[0]).is_file():
                    raise PatchError(f"the patch {key[0]} is not of this run of the explorer")
                self._patches[key] = load_patch(self.path(key[0]))
            else:
                single = [found for one in key if (found := self.patch([one])) is not None]
                self._patches[key] = merge(single, keep="last", model=self.model)
        return self._patches[key]

    @contextmanager
    def patched(self, ids: Sequence[str]) -> Iterator[Model]:
        """The model with patches on, for a block; afterwards every bit is as before."""
        with applied(self.model, self.patch(ids)) as model:
            yield model
