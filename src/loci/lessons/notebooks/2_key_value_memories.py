"""Keys, values, and who reads them.

An MLP as a memory: what a neuron looks for, what it writes, and how many write at once.
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(app_title="2 · Keys, values, and who reads them")

with app.setup:
    import marimo as mo
    import torch

    import loci
    from loci.lessons import exercise, size


@app.cell
def _():
    mo.md("""
    Lesson 1 built one neuron by hand. A trained MLP has many: this lesson takes one apart.
    The idea is from Geva et al. 2021: *an MLP is a key–value memory*.

    * The **key** of neuron i is row i of W_up: a pattern that it looks for.
    * The **value** of neuron i is column i of W_down: what it adds when it fires.
    * Its **activation** aᵢ says how well the key fits: aᵢ = ReLU(keyᵢ · x + biasᵢ).

    ## Step 1. The output is a sum of values

        Δx = a₁ · value₁ + a₂ · value₂ + … + b_down
    """)
    return


@app.cell
def _():
    model = loci.open("demo")
    prompt = "Michael Jordan plays the sport of"
    ids = model.ids([model.tokenize(prompt).ids])
    layer = 1
    reads = model.read(ids, f"mlp_act.{layer}", f"mlp_out.{layer}")
    a, out = reads[f"mlp_act.{layer}"][0, -1], reads[f"mlp_out.{layer}"][0, -1]
    values, b_down = model.W_down(layer).detach(), model.b_down(layer).detach()
    rebuilt = sum(a[i] * values[:, i] for i in a.nonzero().flatten()) + b_down
    error = float((rebuilt - out).norm() / out.norm())
    active = int((a > 0).sum())
    return a, active, b_down, error, layer, model, out, prompt, values


@app.cell
def _(active, error, layer, model, prompt):
    mo.md(f"""
    The prompt is *{prompt}*, the token its last, the layer {layer}.
    Of {model.d_mlp:,} neurons {active} are active. The sum of their values, rebuilt one by one,
    differs from what the layer really adds by {error:.0e} of its length: it is the same thing.
    """)
    return


@app.cell
def _():
    answer_1 = None  # ← a function of (a, values, b_down)
    return (answer_1,)


@app.cell
def _(a, answer_1, b_down, out, values):
    exercise(
        "Write the sum as one line: a function of a [neuron], values [d_model, neuron] and b_down.",
        answer_1,
        lambda f: torch.allclose(f(a, values, b_down), out, atol=1e-4),
        hint="A matrix times a vector is a sum of its columns. And there is b_down.",
        solution="lambda a, values, b_down: values @ a + b_down",
        because="values @ a adds the columns of W_down, each as often as its neuron says.",
        wrong="lambda a, values, b_down: values @ a",
    )
    return


@app.cell
def _(model):
    mo.md(f"""
    ## Step 2. A key, read by what fires it

    A row of {model.d_model} numbers says nothing to us. But we can run text through the model, and note where
    the neuron fires most strongly.
    """)
    return


@app.cell
def _():
    which = mo.ui.dropdown(
        ["L1N126", "L0N235", "L1N41", "L3N17", "L5N300"], value="L1N126", label="neuron to read"
    )
    which
    return (which,)


@app.cell
def _(model, which):
    texts = loci.text.corpus_texts()[: size(4000, 300)]
    card = loci.read(model, which.value, texts)
    return card, texts


@app.cell
def _(card):
    fired = "\n    ".join(
        f"| {t.activation:.2f} | {t.before.lstrip()}**{t.token}**{t.after} |"
        for t in card.triggers[:6]
    )
    mo.md(f"""
    {card.name} fires at {card.firing_rate:.1%} of {card.tokens:,} tokens. Where most (the token is bold):

    | activation | text |
    |---|---|
    {fired}
    """)
    return


@app.cell
def _():
    mo.md("""
    ## Step 3. A value, read by what it says

    The value is added to the stream, and at the end the stream is turned into scores of tokens
    by the unembedding W_U. So one can ask which tokens a value alone would raise.
    """)
    return


@app.cell
def _(card, model):
    value = model.W_down(card.layer).detach()[:, card.neuron]
    centred = value - value.mean()  # the last norm takes the mean away
    scores = model.W_U.detach() @ (centred * model.norm("final_norm").gain)
    mine = [model.token_text(int(i)).strip() for i in scores.topk(8).indices]
    theirs = [token.strip() for token, _ in card.promotes[:8]]
    mo.md(f"""
    By hand, W_U · (gain ⊙ value): {", ".join(mine)}.

    As `loci read` says it: {", ".join(theirs)}.
    """)
    return


@app.cell
def _():
    mo.md("""
    ## Step 4. Does the value say what comes next?

    If keys and values belonged together as question and answer, then the token that a value raises
    most would be the token that really follows where its key fires most.
    Ask this of every neuron that fires at all, layer by layer. *By chance*: the same with the
    followers given to the wrong neurons.
    """)
    return


@app.cell
def _(model, texts):
    from loci.reading.value_projections import promoted_by

    def followers(layer):
        """For each neuron, its largest activation over the texts, and the token that followed."""
        best = torch.zeros(model.d_mlp)
        after = torch.full((model.d_mlp,), -1)
        for text in texts[: size(600, 100)]:
            tokens = model.tokenize(text).ids
            point = f"mlp_act.{layer}"
            acts = model.read(model.ids([tokens]), point)[point][0, 1:-1]
            top, where = acts.max(0)
            better = top > best
            best = torch.where(better, top, best)
            after = torch.where(better, torch.tensor(tokens)[2:][where], after)
        return best, after

    def agreement(layer):
        """(share of neurons whose value predicts the follower, the same by chance, neurons)."""
        best, after = followers(layer)
        firing = best > 0
        first = promoted_by(model, layer, 1).promotes[:, 0][firing]
        right = float((first == after[firing]).double().mean())
        chance = float((first == after[firing].roll(1)).double().mean())
        return right, chance, int(firing.sum())

    layers = range(model.n_layers)
    agreements = {at: agreement(at) for at in layers if at in (0, size(1, 0), size(3, 0), 5)}
    return (agreements,)


@app.cell
def _(agreements):
    predicted = "\n    ".join(
        f"| {at} | {n} | {right:.1%} | {chance:.1%} |"
        for at, (right, chance, n) in agreements.items()
    )
    mo.md(f"""
    | layer | neurons that fire | value predicts the follower | by chance |
    |---|---|---|---|
    {predicted}

    Far more often than by chance, and still for few neurons. Most values are not a prediction of one
    token: they are parts of a sum (step 5), or speak to later layers, in a language that W_U does not
    read. In the model of Geva et al. the share was near 0 in low layers and rose in the upper ones.
    """)
    return


@app.cell
def _():
    mo.md("""
    ## Step 5. Who writes, after a prompt?

    Each active neuron adds activation × value. Order them by the length of what they add.
    """)
    return


@app.cell
def _(model, prompt):
    updates = loci.sub_updates(model, prompt)
    loci.plot(updates)
    return (updates,)


@app.cell
def _(updates):
    half = ", ".join(str(count) for count in updates.half)
    mo.md(f"""
    Neurons that together hold half of all that is written, layer by layer: {half}
    (of {updates.neurons:,} each). So a layer's answer is composed: no single value says it.
    """)
    return


@app.cell
def _():
    answer_2 = None  # ← a number between 0 and 1
    return (answer_2,)


@app.cell
def _(a, answer_2):
    exercise(
        "Which share of the neurons of layer 1 is inactive at this token (activation exactly 0)?",
        answer_2,
        lambda share: abs(share - float((a == 0).double().mean())) < 5e-3,
        hint="Count the active ones (step 1), and compare with all neurons of the layer.",
        solution="1 - active / model.d_mlp",
        because="ReLU gives exactly 0 for each question that is answered no. Most are.",
        wrong="active / model.d_mlp",
    )
    return


@app.cell
def _():
    mo.md("""
    ## What to keep

    * Output = Σ activation × value + bias: exact.
    * A key is read by what fires it; a value by what it raises. Both readings have limits: other text
      has other triggers, and values of early layers are not meant for W_U.
    * A layer's answer is a sum of many values.

    By the command line: `loci read L1N126`, `loci memories`, `loci atlas build -o atlas`.
    Next: lesson 3, how many directions there are.
    """)
    return


if __name__ == "__main__":
    app.run()
