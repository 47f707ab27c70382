"""loci memories: MLPs as key–value memories."""

from typing import Annotated

from loci.cli.common import bar, check_out, finish, texts_of
from loci.cli.opening import Opening, opens
from loci.cli.options import JSON, OUT, SEED, TEXT, TOKENS_READ, check_layers, whole, words
from loci.cli.options import layer as layer_option
from loci.errors import FactError


@opens()
def run(
    text: TEXT = None,
    tokens: Annotated[int, TOKENS_READ] = 50_000,
    neurons: Annotated[int, whole("neurons sampled in each layer")] = 128,
    clusters: Annotated[
        int | None, whole("instead: so many clusters of values, by what they write", low=2)
    ] = None,
    layer: Annotated[
        int | None, layer_option("clusters of this layer's values alone", "--layer", "-l")
    ] = None,
    prompt: Annotated[
        str | None, words("instead: the largest sub-updates after a prompt", "--prompt", "-p")
    ] = None,
    top: Annotated[int, whole("how many sub-updates of each layer")] = 5,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Measure, layer by layer, which texts fire the keys, whether the values predict the next
    token, and whether single memories decide the output.

    With --clusters: which neurons write similar things, beside Gaussian vectors of the same
    covariance. With --prompt: the neurons that write most at its last token, by |coefficient| ·
    ‖value‖.

    Examples:

        loci memories

        loci memories --clusters 64 --layer 3

        loci memories --prompt "Michael Jordan plays the sport of"

        loci memories -m gpt2 --text wiki.jsonl --neurons 500 --out memories.html
    """
    from loci.reading import clusters as cluster
    from loci.reading import memories, sub_updates

    check_out(out)
    if clusters is not None and prompt is not None:
        raise FactError("--clusters and --prompt are two questions: ask one at a time")
    if layer is not None and clusters is None:
        raise FactError("--layer says whose values are clustered: it goes with --clusters")
    if clusters is not None:
        weights = opening.open_weights()
        check_layers(weights, layer)
        layers = None if layer is None else (layer,)
        finish(cluster(weights, clusters, layers=layers, seed=seed), out, json)
        return
    opened = opening.open()
    if prompt is not None:
        finish(sub_updates(opened, prompt, top=top), out, json)
        return
    texts = texts_of(opened, text, tokens)
    with bar("reading memories") as progress:
        result = memories(opened, texts, neurons=neurons, seed=seed, progress=progress)
    finish(result, out, json)
