"""Where is a fact?

Causal tracing, first on models whose facts have known places, then on a trained one; what it shows and what not.
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(app_title="5 · Where is a fact?")

with app.setup:
    import marimo as mo

    import loci
    from loci.lessons import exercise, size


@app.cell
def _():
    mo.md("""
    A prompt goes in, an answer comes out. Which of the many states between made the difference?
    *Causal tracing* (Meng et al. 2022) asks by experiment:

    1. **clean**: run the prompt, keep every state, note P(answer);
    2. **corrupted**: add noise to the subject's embeddings, so that the answer is lost;
    3. **restored**: run corrupted again, with *one* state put back to its clean value. How much of P(answer)
       comes back? That is the effect of this state.

    ## Step 1. First where the truth is known

    A method has to be tried where one knows the answer. Loci can *write* models: each fact gets one
    neuron, in a layer and at a token that are on record. Can tracing find them?
    """)
    return


@app.cell
def _():
    made = loci.writing.planted("one-per-fact", subjects=8)
    number = mo.ui.slider(0, len(made.facts) - 1, 1, value=0, label="which planted fact")
    number
    return made, number


@app.cell
def _(made, number):
    planted_fact = made.facts[number.value]
    planted = loci.trace(made.model, planted_fact, samples=size(10, 4))
    loci.plot(planted)
    return planted, planted_fact


@app.cell
def _(made, number, planted, planted_fact):
    grid = planted.grids["mlp"]  # [layer, token]
    layer, token = divmod(int(grid.argmax()), grid.shape[1])
    truth = made.places[number.value]
    mo.md(f"""
    *{planted_fact.text}* → *{planted_fact.answer}*: clean {planted.clean:.2f}, corrupted {planted.corrupted:.2f}.
    The largest effect of an MLP is in layer {layer}, at the token *{planted.tokens[token]}*.
    Written was: layer {truth.layer}, at the subject's last token, *{planted.tokens[planted.subject_span[1] - 1]}*.
    """)
    return


@app.cell
def _(made):
    def hits(samples):
        """How many planted facts tracing finds: the right layer, at the subject's last token."""
        right = 0
        for fact, place in zip(made.facts, made.places, strict=True):
            result = loci.trace(made.model, fact, samples=samples, kinds=("mlp",))
            cells = result.grids["mlp"]
            where = divmod(int(cells.argmax()), cells.shape[1])
            right += where == (place.layer, result.subject_span[1] - 1)
        return right

    found = hits(size(10, 3))
    mo.md(f"Of all {len(made.facts)} planted facts tracing finds {found}.")
    return


@app.cell
def _():
    answer_1 = None  # ← a number between 0 and 1
    return (answer_1,)


@app.cell
def _(answer_1, planted):
    layers, tokens = planted.grids["mlp"].shape
    exercise(
        "Guessing a layer and a token at random, which share of the facts would be found?"
        f" ({layers} layers, {tokens} tokens)",
        answer_1,
        lambda share: abs(share - 1 / (layers * tokens)) < 1e-3,
        hint="How many cells does the grid have?",
        solution="1 / (layers * tokens)",
        because=f"One cell of {layers} × {tokens} is right. A method has to be compared with such a chance.",
        wrong="1 / layers",
    )
    return


@app.cell
def _():
    mo.md("""
    ## Step 2. A trained model
    """)
    return


@app.cell
def _():
    model = loci.open("demo")
    noise = mo.ui.slider(
        0.5, 6.0, 0.5, value=3.0, label="noise, in standard deviations of embeddings"
    )
    noise
    return model, noise


@app.cell
def _(model, noise):
    prompt = "Michael Jordan plays the sport of"
    trace = loci.trace(model, prompt, samples=size(20, 4), noise=noise.value)
    loci.plot(trace)
    return prompt, trace


@app.cell
def _(trace):
    state = trace.grids["state"]
    mlp, attn = trace.grids["mlp"], trace.grids["attn"]
    last = trace.subject_span[1] - 1
    mo.md(f"""
    Clean {trace.clean:.3f}, corrupted {trace.corrupted:.3f}: so at most {trace.clean - trace.corrupted:.3f} can come back.

    | restored | at the subject's last token | at the last token |
    |---|---|---|
    | MLP of layer 0 | {mlp[0, last]:+.3f} | {mlp[0, -1]:+.3f} |
    | attention of layer 0 | {attn[0, last]:+.3f} | {attn[0, -1]:+.3f} |
    | strongest MLP | {mlp[:, last].max():+.3f} (layer {int(mlp[:, last].argmax())}) | {mlp[:, -1].max():+.3f} (layer {int(mlp[:, -1].argmax())}) |
    | strongest attention | {attn[:, last].max():+.3f} (layer {int(attn[:, last].argmax())}) | {attn[:, -1].max():+.3f} (layer {int(attn[:, -1].argmax())}) |

    Early MLPs matter where the name ends; later something moves the answer to where it is asked.
    """)
    return (state,)


@app.cell
def _():
    mo.md("""
    ## Step 3. What must hold, whatever the model

    A measurement has invariants. If they fail, the picture is worth nothing.
    """)
    return


@app.cell
def _(state, trace):
    whole = float(state[-1, -1]) + trace.corrupted
    nothing = float(state[:, 0].abs().max())
    mo.md(f"""
    * Restoring the last state of all, behind the last layer at the last token, has to bring back the clean answer
      to the last bit: {trace.corrupted:.4f} + {float(state[-1, -1]):.4f} = {whole:.4f}, clean is {trace.clean:.4f}.
    * A token in front of the subject cannot know of the noise, so restoring it does nothing:
      the largest effect at *{trace.tokens[0]}* is {nothing:.1e}.
    """)
    return


@app.cell
def _():
    answer_2 = None  # ← "clean", "corrupted" or a number
    return (answer_2,)


@app.cell
def _(answer_2, state, trace):
    exercise(
        "Behind the last layer, restore the state at the subject's last token. What is the effect?",
        answer_2,
        lambda effect: abs(effect - float(state[-1, trace.subject_span[1] - 1])) < 1e-4,
        hint="After the last layer, does anything still look at that token?",
        solution="0.0",
        because=(
            "No layer follows, so nothing can move it to the last token, where the answer is read."
        ),
        wrong="trace.clean - trace.corrupted",
    )
    return


@app.cell
def _():
    mo.md("""
    ## Step 4. How far does the answer depend on choices?
    """)
    return


@app.cell
def _(model, prompt):
    def peak(**choice):
        result = loci.trace(model, prompt, samples=size(10, 3), kinds=("mlp",), **choice)
        cells = result.grids["mlp"]
        at, where = divmod(int(cells.argmax()), cells.shape[1])
        return at, result.tokens[where], float(cells.max()), result.corrupted

    choices = {
        "noise 3": {},
        "noise 1": {"noise": 1.0},
        "noise 5": {"noise": 5.0},
        "the mean embedding": {"corruption": "mean"},
        "three layers at once": {"window": 3},
    }
    peaks = {name: peak(**choice) for name, choice in choices.items()}
    lines = "\n    ".join(
        f"| {name} | {low:.3f} | layer {at} at *{where}* | {most:+.3f} |"
        for name, (at, where, most, low) in peaks.items()
    )
    mo.md(f"""
    | corruption | P corrupted | strongest MLP | effect |
    |---|---|---|---|
    {lines}

    Sizes of effects depend on the corruption. Where P corrupted is nearly the clean one, nothing was
    hidden, so nothing can come back. Compare places, and only within one choice.
    """)
    return


@app.cell
def _():
    mo.md("""
    ## What to keep

    * Tracing finds planted facts. That is evidence about the method, where the truth is known.
    * It says where an answer *passes* under one kind of damage. It does not say that the fact is stored
      there, and not where an edit works best (Hase et al. 2023): `loci sweep` measures that.
    * One prompt is one observation; `loci trace --known 100` averages, with intervals.

    By the command line: `loci trace "Michael Jordan plays the sport of"`, `loci locate`, `loci write planted --score`.
    Next: lesson 6, change it.
    """)
    return


if __name__ == "__main__":
    app.run()
