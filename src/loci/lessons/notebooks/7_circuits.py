"""Circuits: how heads work together

A head as two small maps, a bug that it cannot help, composition beside chance, and induction forming.
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(app_title="7 · Circuits: how heads work together")

with app.setup:
    import tempfile

    import marimo as mo
    import torch

    import loci
    from loci import circuits
    from loci.lessons import exercise, size
    from loci.studies import attention_only


@app.cell
def _():
    mo.md("""
    Lesson 5 saw that attention moves the answer to where it is asked. This lesson opens a head
    (Elhage et al. 2021).

    ## Step 1. A head is two maps

        where it looks    score(destination, source) = x_dᵀ W_Qᵀ W_K x_s     the QK circuit
        what it moves     Δx_d = Σ_s attention(d, s) · W_O W_V x_s           the OV circuit

    Both are maps of the stream into itself, but of low rank: they pass through the head's few dimensions.
    """)
    return


@app.cell
def _():
    model = loci.open("demo")
    qk = model.W_Q(0)[1].detach().double().T @ model.W_K(0)[1].detach().double()
    ov = model.W_O(0)[1].detach().double() @ model.W_V(0)[1].detach().double()
    mo.md(f"""
    Head 1 of layer 0: W_Qᵀ W_K and W_O W_V are {qk.shape[0]} × {qk.shape[1]}, of rank
    {int(torch.linalg.matrix_rank(qk))} and {int(torch.linalg.matrix_rank(ov))}; the head has {model.d_head} dimensions.
    """)
    return (model,)


@app.cell
def _():
    answer_1 = None  # ← a whole number
    return (answer_1,)


@app.cell
def _(answer_1, model):
    exercise(
        "How many numbers do W_Q, W_K, W_V and W_O of one head of this model have together (without"
        " biases)?",
        answer_1,
        lambda count: (
            int(count) == sum(W(0)[1].numel() for W in (model.W_Q, model.W_K, model.W_V, model.W_O))
        ),
        hint="Each is d_head × d_model, or the other way round.",
        solution="4 * model.d_head * model.d_model",
        because=f"Two full maps of the stream would have {2 * model.d_model**2:,}.",
        wrong="2 * model.d_model ** 2",
    )
    return


@app.cell
def _():
    mo.md("""
    ## Step 2. Which heads carry the answer?
    """)
    return


@app.cell
def _(model):
    fact = next(f for f in loci.known_facts().of("athlete_sport") if f.subject == "Michael Jordan")
    found = circuits.fact_circuit(model, fact)
    loci.plot(found)
    return (found,)


@app.cell
def _(found):
    heads = "\n    ".join(
        f"| {h.head} | {h.attention:.2f} | {h.direct:+.2f} | {h.lost:+.4f} |"
        for h in found.heads[:4]
    )
    mo.md(f"""
    *{found.prompt}* → *{found.answer}*, score {found.score:.1f}:

    | head | looks at the subject | adds to the score | P lost without it |
    |---|---|---|---|
    {heads}

    What a head adds directly and what is lost without it are different questions: others step in.
    """)
    return


@app.cell
def _():
    mo.md("""
    ## Step 3. A bug that one head cannot help

    Without MLPs, a head raises *out* after *destination*, having seen *source*, by

        A(destination, source) · V(source, out)

    Say *keep … in mind* and *keep … at bay* are wanted. One look at *keep* has to serve both.
    """)
    return


@app.cell
def _():
    look = mo.ui.slider(0.0, 2.0, 0.1, value=1.0, label="A(in, keep) = A(at, keep)")
    look
    return (look,)


@app.cell
def _(look):
    A = {"in": look.value, "at": look.value}
    V = {"mind": 3.0, "bay": 3.0}
    raised = "\n    ".join(
        f"| keep … {dest} {out} | {A[dest] * V[out]:.1f} | {'wanted' if right else 'not wanted'} |"
        for dest, out, right in (
            ("in", "mind", True),
            ("at", "bay", True),
            ("in", "bay", False),
            ("at", "mind", False),
        )
    )
    mo.md(f"""
    | text | raised by | |
    |---|---|---|
    {raised}

    Whatever A and V are, A(in)V(mind) · A(at)V(bay) = A(in)V(bay) · A(at)V(mind): the wrong pair is raised
    as much as the right one, by their product. Several heads can mend it, or an MLP.
    """)
    return


@app.cell
def _():
    mo.md("""
    ## Step 4. Composition, beside chance

    A later head may read what an earlier one wrote: its queries, keys or values then depend on it.
    A measure is ‖B A‖ / (‖B‖ ‖A‖), A what is written, B what is read. But two *random* maps do not give 0.
    """)
    return


@app.cell
def _():
    width = mo.ui.slider(16, 512, 16, value=256, label="width of the stream")
    width
    return (width,)


@app.cell
def _(width):
    def by_chance(d, rank=32):
        """Mean ‖BA‖ / (‖B‖ ‖A‖) of random maps of a rank."""
        torch.manual_seed(0)
        total = 0.0
        for _ in range(20):
            first = torch.randn(d, rank) @ torch.randn(rank, d)
            second = torch.randn(d, rank) @ torch.randn(rank, d)
            total += float((second @ first).norm() / (second.norm() * first.norm()))
        return total / 20

    mo.md(
        f"At width {width.value} random maps score {by_chance(width.value):.4f}; 1/√d ="
        f" {width.value**-0.5:.4f}."
    )
    return (by_chance,)


@app.cell
def _():
    answer_2 = None  # ← a number
    return (answer_2,)


@app.cell
def _(answer_2, by_chance):
    exercise(
        "What do random maps score in a stream of width 64, to within 0.02?",
        answer_2,
        lambda score: abs(score - by_chance(64, rank=16)) < 0.02,
        hint="It falls as one over the square root of the width.",
        solution="64 ** -0.5",
        because="So a score means nothing by itself; Loci prints chance beside it.",
        wrong="0.0",
    )
    return


@app.cell
def _(model):
    composed = circuits.compose(model)
    strongest = []
    for kind, scores in composed.scores.items():
        top = scores.nan_to_num(-1)
        row, column = divmod(int(top.argmax()), top.shape[1])
        shape = (composed.readers[kind], composed.writers)
        reader, writer = (
            (shape[0][row], shape[1][column])
            if top.shape == (len(shape[0]), len(shape[1]))
            else (shape[0][column], shape[1][row])
        )
        strongest.append((kind, reader, writer, float(top.max())))
    edges = "\n    ".join(
        f"| {kind.upper()} | {writer} → {reader} | {score:.3f} | {score / composed.null:.1f} × |"
        for kind, reader, writer, score in strongest
    )
    mo.md(f"""
    The strongest pairs of the embedded model; chance is {composed.null:.4f}.

    | by | pair | score | of chance |
    |---|---|---|---|
    {edges}
    """)
    return


@app.cell
def _():
    mo.md("""
    ## Step 5. Induction, forming

    Train a model of two layers of attention and nothing else, on text where names come again and only
    copying can predict how they go on. An *induction head* looks at what came after the earlier place.
    """)
    return


@app.cell
def _():
    recipe = attention_only.Recipe(layers=2, steps=size(1200, 4), batch=size(64, 8))
    with tempfile.TemporaryDirectory() as folder:
        small = attention_only.train(recipe, f"{folder}/two")
    loci.plot(small)
    return (small,)


@app.cell
def _(small):
    first, final = small.checkpoints[0], small.last
    path = "\n    ".join(
        f"| {c.step} | {c.loss.value:.2f} | {c.in_context.value:+.2f} | {c.best_previous:.2f} |"
        f" {c.best_induction:.2f} |"
        for c in small.checkpoints[:: 1 + len(small.checkpoints) // 10]
    )
    formed = final.best_induction > 0.5
    mo.md(f"""
    {final.step:,} steps, loss {first.loss.value:.2f} → {final.loss.value:.2f} nats.

    | step | loss | later tokens against earlier ones | looks one back | matches prefixes |
    |---|---|---|---|---|
    {path}

    {"Prefix matching appears in the same steps as learning from context." if formed else "Induction has not formed in so few steps: more of them are needed."}
    """)
    return


@app.cell
def _():
    mo.md("""
    ## What to keep

    * A head is where it looks (QK) and what it moves (OV); both have low rank.
    * One look serves all outputs: skip-trigrams cross over.
    * Composition is judged against chance, which is 1/√d and not 0.
    * Induction needs two layers: one head hands the previous token to another's keys.

    By the command line: `loci circuits fact "Michael Jordan plays the sport of"`, `loci circuits compose`,
    `loci circuits small induction`. Next: lesson 8, features.
    """)
    return


if __name__ == "__main__":
    app.run()
