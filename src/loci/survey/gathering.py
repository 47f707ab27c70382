"""A question about a text, asked of workers: plan, run and outcome in one call, for whoever has a
model open already.

    workers = Workers(2, ModelSource("gpt2"))
    state, texts = gather(model, question, Path("wiki.jsonl"), workers, folder)

The states lie in `folder` until they are taken away; killed, the same call goes on. The sums are
those of the plan, whatever the number of workers; those of a pass without workers differ from them
by the order of additions alone.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from loci.errors import ModelError
from loci.files import made_folder, write_aside
from loci.model import Model
from loci.progress import Progress, silent
from loci.survey.driver import Told, check_count, run_plan
from loci.survey.outcomes import outcome
from loci.survey.plan import SHARD_TOKENS, Plan, make_plan
from loci.survey.plan_document import ModelSource
from loci.survey.question import SurveyQuestion
from loci.survey.ray_pool import RayPool
from loci.survey.states import State
from loci.text.ranges import Given, read_range

PLAN, TEXT, STATES = "plan.json", "text.jsonl", "states"


class Workers(NamedTuple):
    """How many processes, and how each opens the model."""

    processes: int
    opening: ModelSource
    shard_tokens: int = SHARD_TOKENS
    ray: str | None = None
    """An address of Ray, or "local": its actors instead; they share the folder of the states."""


class Gathered(NamedTuple):
    """The accumulated state, and the texts that were read."""

    state: State
    texts: Callable[[], Iterator[Given]]
    """All of them in their order, once more; it raises `ModelError` where they have changed."""


def gather(
    model: Model,
    question: SurveyQuestion,
    text: Path | Sequence[str] | None,
    workers: Workers,
    folder: Path,
    *,
    limit: int | None = None,
    batch_tokens: int = 4096,
    progress: Progress = silent,
) -> Gathered:
    """Accumulate a text by workers: a file, the embedded one (None), or texts, which are written to
    the folder.

    Raises `ModelError` where the workers' model is not this one, as when a patch is applied to it,
    for no workers, and as `run_plan` does.
    """
    check_count(workers.processes)
    with made_folder(folder):
        source = _written(text, folder) if text is not None and not isinstance(text, Path) else text
        plan = make_plan(
            workers.opening,
            question,
            source,
            limit=limit,
            shard_tokens=workers.shard_tokens,
            batch_tokens=batch_tokens,
        )
        plan = replace(plan, weights=model.fingerprint)
        plan.write(folder / PLAN)
        left = len(plan.pieces)

        def tell(told: Told) -> None:
            nonlocal left
            progress(left - told.shards_left, len(plan.pieces))
            left = told.shards_left

        count = min(workers.processes, left)
        pool = (
            None
            if workers.ray is None
            else RayPool(workers.ray, plan, folder / PLAN, folder / STATES, count)
        )
        run_plan(plan, folder / PLAN, folder / STATES, count, tell, pool)
        return Gathered(outcome(plan, folder / STATES), lambda: _all(plan))


def _all(plan: Plan) -> Iterator[Given]:
    for piece in plan.pieces:
        yield from read_range(plan.source, piece)


def _written(texts: Sequence[str], folder: Path) -> Path:
    """The texts as a file, blank ones left out."""
    if not any(text.strip() for text in texts):
        raise ModelError("there is no text to survey")
    path = folder / TEXT
    with write_aside(path) as aside:
        aside.write_text(
            "".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8"
        )
    return path
