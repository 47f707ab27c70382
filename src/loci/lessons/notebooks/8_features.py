"""Features: what lies under the neurons

Train a small dictionary, name its features by facts, beside controls; then draw a graph from prompt to answer.
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(app_title="8 · Features: what lies under the neurons")

with app.setup:
    from random import Random

    import marimo as mo
    import torch

    import loci
    from loci import dictionaries
    from loci.lessons import exercise, size


@app.cell
def _():
    mo.md("""
    If features share neurons (lesson 4), neurons are the wrong thing to read. A *dictionary* looks for
    the features: it writes an activation x as a sum of a few of many directions.

        f = TopK(W_enc (x − b) + b_enc)      at most k of the features are on
        x ≈ f W_dec + b                      each adds its direction

    It is trained to give x back. Nobody tells it what a feature should mean.

    ## Step 1. Train one
    """)
    return


@app.cell
def _():
    model = loci.open("demo")
    width = mo.ui.slider(1, 8, 1, value=size(4, 1), label="features for each number of x")
    width
    return model, width


@app.cell
def _(model, width):
    settings = dictionaries.DictionarySettings(point="mlp_out.1", width=width.value, k=size(16, 8))
    texts = loci.text.corpus_texts()
    trained = dictionaries.train(
        model, [settings], texts[: size(8000, 1500)], steps=size(300, 60), batch=size(1024, 256)
    )[0]
    dictionary = trained.dictionary
    mo.md(f"""
    {dictionary.features:,} features for {dictionary.d_in} numbers, {settings.k} on at a time, at {dictionary.point}.

    | on held-out text | |
    |---|---|
    | variance that it does not explain (FVU) | {trained.fvu:.1%} |
    | features on at a token (L0) | {trained.l0:.1f} |
    | features on at no held-out token | {trained.dead:.0%} |
    """)
    return dictionary, texts


@app.cell
def _():
    mo.md("""
    ## Step 2. Does a feature mean a fact?

    We know what the tokens of a fact's prompt stand for. So take all athletes, the state at the end of
    each name, and ask for each feature: how well does it tell basketball players from the others?
    The measure is the AUC: 1 tells them apart perfectly, ½ not at all.
    """)
    return


@app.cell
def _(model):
    athletes = list(loci.known_facts().of("athlete_sport"))
    facts = Random(0).sample(athletes, size(120, 60))
    states = []
    for fact in facts:
        tokens = model.tokenize(fact.text)
        last = tokens.span(fact.subject_span)[1] - 1
        states.append(
            model.read(model.ids([tokens.ids]), "mlp_out.1")["mlp_out.1"][0, last].detach()
        )
    states = torch.stack(states)
    is_it = torch.tensor([fact.answer == "basketball" for fact in facts])
    chance = float(is_it.double().mean())
    mo.md(f"{len(facts)} athletes; {chance:.0%} of them play basketball.")
    return is_it, states


@app.cell
def _(dictionary, is_it, states):
    def auc(scores):
        """AUC of each column: the probability that a basketball player scores above another."""
        yes, no = scores[is_it], scores[~is_it]
        above = (yes[:, None] > no[None]).double() + 0.5 * (yes[:, None] == no[None]).double()
        return above.mean((0, 1))

    def halves(scores):
        """(best AUC, chosen on the first half, measured on the second)."""
        half = torch.arange(len(scores)) % 2 == 0
        pick = int(_auc_of(scores, half).argmax())
        return pick, float(_auc_of(scores, ~half)[pick])

    def _auc_of(scores, which):
        yes, no = scores[which & is_it], scores[which & ~is_it]
        above = (yes[:, None] > no[None]).double() + 0.5 * (yes[:, None] == no[None]).double()
        return above.mean((0, 1))

    on = dictionary.encode(states).detach()
    torch.manual_seed(0)
    random = states @ torch.nn.functional.normalize(
        torch.randn(states.shape[1], on.shape[1]), dim=0
    )
    best, feature_auc = halves(on)
    _, random_auc = halves(random)
    mo.md(f"""
    The best unit is chosen on one half of the athletes and measured on the other.

    | units | AUC of the best, on the other half |
    |---|---|
    | {on.shape[1]:,} features (the best is {best}) | {feature_auc:.2f} |
    | {random.shape[1]:,} random directions | {random_auc:.2f} |

    The second row is what makes the first one readable: among many directions, one always fits a little.
    """)
    return auc, best, on


@app.cell
def _():
    answer_1 = None  # ← a function of scores [athlete, unit]
    return (answer_1,)


@app.cell
def _(answer_1, auc, on):
    exercise(
        "Given the AUC a of a feature, what is the AUC of its negative? A function of scores that"
        " checks it.",
        answer_1,
        lambda f: torch.allclose(f(on).double(), auc(-on), atol=1e-9),
        hint="A player who scored above another now scores below.",
        solution="lambda scores: 1 - auc(scores)",
        because="Every comparison turns round; ties stay ½.",
        wrong="lambda scores: -auc(scores)",
    )
    return


@app.cell
def _():
    mo.md("""
    ## Step 3. Read a feature

    As a neuron in lesson 2: by the texts that turn it on, and by the tokens that its direction raises.
    """)
    return


@app.cell
def _(best, dictionary, model, texts):
    card = dictionaries.read_features(model, dictionary, [best], texts[: size(1500, 300)])[0]
    shown = "\n    ".join(
        f"| {t.activation:.2f} | {t.before.lstrip()}**{t.token}**{t.after} |"
        for t in card.triggers[:6]
    )
    about_it = sum("basketball" in t.before + t.token + t.after for t in card.triggers[:6])
    mo.md(f"""
    Feature {card.feature}, on at {card.density:.1%} of {card.tokens:,} tokens:

    | activation | text |
    |---|---|
    {shown}

    It raises: {", ".join(token.strip() for token, _ in card.promotes[:6])}.

    Of these {len(card.triggers[:6])} texts {about_it} name basketball.
    {"So the name may be right; more texts and more labels would say." if about_it > 3 else "So *basketball* is no name for it. It was the best of many at telling some athletes apart, and that is all."}
    """)
    return


@app.cell
def _():
    mo.md("""
    ## Step 4. A graph from the prompt to the answer

    Hold the attention patterns, the norms and the slopes of the neurons as they are at this prompt. Then
    everything is linear, and what goes into the answer's score is an exact sum over nodes.
    """)
    return


@app.cell
def _(model):
    graph = dictionaries.attribution_graph(
        model, "Michael Jordan plays the sport of", followed=size(64, 16), tested=size(24, 8)
    )
    loci.plot(graph)
    return (graph,)


@app.cell
def _(graph):
    given, summed = graph.completeness
    nodes = "\n    ".join(
        f"| {n.id} | {n.activation:.2f} | {n.effect:+.2f} |"
        for n in graph.nodes[:6]
        if n.kind == "neuron"
    )
    mo.md(f"""
    The score of *{graph.answer}* is {given:.3f}; the sum of all that goes into it is {summed:.3f}.

    | neuron @ token | activation | held effect on the score |
    |---|---|---|
    {nodes}

    Then {len(graph.interventions.nodes)} of the neurons were set to 0 in the real model, nothing held.
    The correlation of held and real effects is {graph.interventions.correlation:+.2f}.
    That number says how far to trust the picture: where later layers answer to a change, it is low.
    """)
    return


@app.cell
def _():
    answer_2 = None  # ← True or False
    return (answer_2,)


@app.cell
def _(answer_2, graph):
    exercise(
        "The sum is exact. Is the effect of removing a neuron then exactly its held effect? True or"
        " False.",
        answer_2,
        lambda same: (
            bool(same)
            is all(
                abs(p - m) < 1e-3
                for p, m in zip(
                    graph.interventions.predicted, graph.interventions.measured, strict=True
                )
            )
        ),
        hint="Compare graph.interventions.predicted with graph.interventions.measured.",
        solution="False",
        because="Attention, norms and slopes move when a neuron is removed; the graph held them.",
        wrong="True",
    )
    return


@app.cell
def _():
    mo.md("""
    ## What to keep

    * A dictionary can give x back and still have features that mean nothing: low FVU is no meaning.
    * Names of features need labels that are known, a second half to measure on, and random directions beside.
    * A graph is exact for what it holds. An intervention says whether the model agrees.

    By the command line: `loci dictionaries judge demo:mlp_out.3`,
    `loci dictionaries graph "Michael Jordan plays the sport of"`. Next: lesson 9, a detective story.
    """)
    return


if __name__ == "__main__":
    app.run()
