"""loci dictionaries train: sparse autoencoders and transcoders on a stream of activations."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loci.cli.common import bar, check_new, check_out, finish, note, written
from loci.cli.opening import Opening, opens
from loci.cli.options import (
    JSON,
    OUT,
    SEED,
    TEXT,
    TrainedKind,
    number,
    share,
    whole,
    words,
)

if TYPE_CHECKING:
    from loci.dictionaries.settings import DictionarySettings
    from loci.dictionaries.training import TrainingProgress
    from loci.model import Model


STEPS_ASKED = whole("steps of Adam", "--steps", high=10_000_000)

OWN_TEXTS = 8000
"""Of about 60 tokens each: 1,000 steps take each token four times."""


POINT = Annotated[
    list[str],
    words("where activations are read, as mlp_out.3; say it again for more", "--point"),
]
TRANSCODER = Annotated[
    bool,
    typer.Option("--transcoder", help="from mlp_in.L to mlp_out.L, where --point says either"),
]
WIDTH = Annotated[
    float, number("features for each number of the input", "--width", low=0.01, high=4096)
]
LR = Annotated[
    float | None,
    number("largest step size; 2e-4 · √(2¹⁴ / features) by default", "--lr", low=1e-8, high=1),
]
OWN = Annotated[int | None, whole("so many texts that the model samples itself, instead", "--own")]
CHECKPOINT = Annotated[Path | None, typer.Option(help="a file to go on from, .safetensors")]
SAVE = Annotated[
    Path | None,
    typer.Option("--save", help="write it as .safetensors; several into this folder"),
]


@opens()
def train(
    point: POINT,
    transcoder: TRANSCODER = False,
    width: WIDTH = 8.0,
    k: Annotated[int, whole("features that are on at a token", "--k", "-k")] = 32,
    activation: Annotated[TrainedKind, typer.Option(help="which features stay on")] = "topk",
    steps: Annotated[int, STEPS_ASKED] = 1000,
    batch: Annotated[int, whole("tokens of a step")] = 2048,
    lr: LR = None,
    auxk: Annotated[float, share("weight of the loss that revives dead features")] = 1 / 32,
    text: TEXT = None,
    own: OWN = None,
    checkpoint: CHECKPOINT = None,
    save: SAVE = None,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Train dictionaries on a model's activations: one pass of the model feeds all that are asked
    for.

    Text is what --text says, else the embedded corpus where the model speaks it, else the model's
    own samples; one text of fifty is held out, and what is said is measured there.

    Examples:

        loci dictionaries train --point mlp_out.3 --save mlp_out.3.safetensors

        loci dictionaries train --point mlp_in.3 --transcoder --activation batchtopk -k 16

        loci dictionaries train --point mlp_out.3 --text wiki.jsonl --checkpoint run.safetensors
    """
    from loci.dictionaries import DictionarySettings, save_dictionary
    from loci.dictionaries import train as run
    from loci.dictionaries.training import TrainedDictionaries
    from loci.errors import DictionaryError

    check_out(out)
    if own is not None and text is not None:
        raise DictionaryError("--own and --text: say one of them")
    several = len(point) > 1
    check_new(save, *(() if several else (".safetensors",)))
    check_new(checkpoint if checkpoint is None or not checkpoint.exists() else None, ".safetensors")
    opened = opening.open()
    kind: dict[str, Any] = {"width": width, "k": k, "activation": activation, "seed": seed}
    kind |= {"lr": lr, "auxk": auxk}
    chosen = [DictionarySettings(*_ends(name, transcoder), **kind) for name in point]
    texts = _texts(opened, text, own, seed)
    with bar("training") as progress:

        def report(at: "TrainingProgress") -> None:
            progress(1, at.steps)
            _say(at, chosen)

        result = run(
            opened,
            chosen,
            texts,
            steps=steps,
            batch=batch,
            seed=seed,
            checkpoint=checkpoint,
            report=report,
        )
    for each in result:
        if save is not None:
            path = save / f"{each.settings.point}.safetensors" if several else save
            save_dictionary(each.dictionary, path)
            written(path)
    finish(TrainedDictionaries(tuple(result)) if several else result[0], out, json)


def _texts(model: "Model", text: Path | None, own: int | None, seed: int) -> list[str] | None:
    """The user's texts, the model's own samples, or None for the embedded corpus."""
    from loci.cli.common import texts_of
    from loci.text import own_texts, speaks_corpus

    if own is not None:
        return own_texts(model, own, seed=seed)
    if text is not None:
        return texts_of(model, text, 0)
    if speaks_corpus(model):
        return None
    note(f"no --text: training runs on {OWN_TEXTS:,} texts that the model samples itself")
    return own_texts(model, OWN_TEXTS, seed=seed)


def _ends(point: str, transcoder: bool) -> tuple[str, str | None]:
    """Point and target: with --transcoder the two ends of the MLP whose layer is said."""
    stem, _, layer = point.partition(".")
    return (
        (f"mlp_in.{layer}", f"mlp_out.{layer}")
        if transcoder and stem in ("mlp_in", "mlp_out")
        else (point, None)
    )


def _say(at: "TrainingProgress", chosen: "list[DictionarySettings]") -> None:
    """A line on stderr every tenth of the run."""
    if at.step % max(1, at.steps // 10) == 0:
        for i, each in enumerate(chosen):
            note(
                f"step {at.step:,} of {at.steps:,}, {each.point}: FVU {at.fvu[i]:.3f}, L0"
                f" {at.l0[i]:.1f}, dead {at.dead[i]:,}"
            )
