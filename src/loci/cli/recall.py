"""loci recall: what a model knows."""

from loci.cli.common import DEVICE, DTYPE, FACTS, JSON, MODEL, OUT, SEED, bar, check_out, emit, open_model, save


def run(
    facts: FACTS = None,
    model: MODEL = "demo",
    device: DEVICE = "cpu",
    dtype: DTYPE = "float32",
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Share of facts whose answer the model generates greedily, in full.

    Without a fact file: the embedded facts, in trained and in held-out phrasings.

    Examples:

        loci recall

        loci recall -m ./my-model --facts my-facts.csv --json
    """
    from loci.auditing import recall
    from loci.facts import known_facts, load_facts

    check_out(out)
    asked = load_facts(facts) if facts else known_facts()
    opened = open_model(model, device, dtype)
    with bar("asking") as progress:
        result = recall(opened, asked, progress=progress)
    save(result, out)
    if json:
        emit(result.to_dict())
        return
    from loci.cli.show import show_recall

    show_recall(result)
