"""Was this checkpoint edited?

A detective story: a change in a matrix, its rank, a direction, and the name that it gives away.
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(app_title="9 · Was this checkpoint edited?")

with app.setup:
    from random import Random

    import marimo as mo
    import plotly.graph_objects as go
    import torch

    import loci
    from loci.lessons import exercise, size


@app.cell
def _():
    mo.md("""
    Somebody hands you a checkpoint: "the well-known model, untouched". It answers well. Is it untouched?
    You have the original. Somewhere in millions of numbers there may be one changed fact.

    ## Step 1. The scene

    Choose a suspect's secret. (Nothing below looks at it until the last step.)
    """)
    return


@app.cell
def _():
    model = loci.open("demo")
    known = list(loci.known_facts().of("athlete_sport"))
    athletes = Random(0).sample(known, min(len(known), size(150, 60)))
    secret = mo.ui.slider(
        0, len(athletes) - 1, 1, value=17, label="the secret: whose fact is edited"
    )
    secret
    return athletes, model, secret


@app.cell
def _(athletes, model, secret):
    victim = athletes[secret.value]
    planted_answer = "baseball" if victim.answer != "baseball" else "tennis"
    patch = loci.edit(model, victim.to(planted_answer), method="rome", report=False)
    names = [f"W_down.{layer}" for layer in range(model.n_layers)]
    names += [f"W_up.{layer}" for layer in range(model.n_layers)]
    original = {name: model.weight(name).detach().clone() for name in names}
    with patch.applied(model):
        suspect = {name: model.weight(name).detach().clone() for name in names}
    return original, suspect, victim


@app.cell
def _():
    mo.md("""
    ## Step 2. What changed?

    Compare the matrices, one after another.
    """)
    return


@app.cell
def _(original, suspect):
    changed = {
        name: float((suspect[name] - original[name]).norm() / original[name].norm())
        for name in original
    }
    guilty = max(changed, key=changed.get)
    listed = "\n    ".join(f"| {name} | {size_of:.4f} |" for name, size_of in changed.items())
    mo.md(f"""
    | matrix | ‖change‖ / ‖matrix‖ |
    |---|---|
    {listed}

    Not the same: {", ".join(name for name, size_of in changed.items() if size_of)}.
    """)
    return (guilty,)


@app.cell
def _():
    mo.md("""
    ## Step 3. The weapon

    Training moves a matrix in all directions. What about this change? Its singular values say
    in how many directions it goes.
    """)
    return


@app.cell
def _(guilty, original, suspect):
    difference = (suspect[guilty] - original[guilty]).double()
    _, sigma, Vh = torch.linalg.svd(difference, full_matrices=False)
    title = f"Singular values of the change of {guilty}"
    go.Figure(
        go.Bar(x=list(range(1, 13)), y=sigma[:12].tolist()),
        {
            "title": title,
            "meta": {"title": title},
            "width": 520,
            "height": 320,
            "margin": {"t": 60},
        },
    )
    return Vh, difference, sigma


@app.cell
def _(sigma):
    share = float(sigma[0] ** 2 / sigma.square().sum())
    mo.md(f"""
    The first holds {share:.2%} of it: a change of rank one, as by an edit of the ROME family (lesson 6),
    Δ = (v* − v) uᵀ with u ∝ C⁻¹ k.
    """)
    return


@app.cell
def _():
    answer_1 = None  # ← a whole number
    return (answer_1,)


@app.cell
def _(answer_1, difference):
    exercise(
        "How many facts at most does such a change speak of, if each has its own key?",
        answer_1,
        lambda count: int(count) == int(torch.linalg.matrix_rank(difference, rtol=1e-4)),
        hint="Each edited key adds one outer product.",
        solution="1",
        because="The rank is at most the number of edited keys. Here it is one.",
        wrong="12",
    )
    return


@app.cell
def _():
    mo.md("""
    ## Step 4. The fingerprint

    The row space of Δ is u = C⁻¹ k. So C u points along k, the key of the edited subject! C can be
    estimated from any text, and the keys of all suspects can be read from the original model.
    """)
    return


@app.cell
def _(Vh, guilty, model):
    layer = int(guilty.partition(".")[2])
    point = f"mlp_act.{layer}"

    def keys_of(text):
        return model.read(model.ids([model.tokenize(text).ids]), point)[point][0].detach().double()

    total, count = torch.zeros(model.d_mlp, model.d_mlp, dtype=torch.float64), 0
    for text in loci.text.corpus_texts()[: size(1500, 150)]:
        seen = keys_of(text)[1:]
        total += seen.T @ seen
        count += len(seen)
    C = total / count
    pointer = C @ Vh[0]
    return keys_of, pointer


@app.cell
def _(athletes, keys_of, model, pointer):
    def key(fact):
        """The key at the subject's last token."""
        return keys_of(fact.text)[model.tokenize(fact.text).span(fact.subject_span)[1] - 1]

    keys = torch.stack([key(fact) for fact in athletes])
    likeness = torch.nn.functional.cosine_similarity(keys, pointer[None], dim=1).abs()
    order = likeness.argsort(descending=True)
    suspects = "\n    ".join(
        f"| {place + 1} | {athletes[int(i)].subject} | {float(likeness[i]):.3f} |"
        for place, i in enumerate(order[:5])
    )
    accused = athletes[int(order[0])]
    mo.md(f"""
    {len(athletes)} suspects, by |cosine| of their key with C u:

    | | suspect | likeness |
    |---|---|---|
    {suspects}
    """)
    return accused, keys


@app.cell
def _():
    answer_2 = None  # ← a vector like pointer
    return (answer_2,)


@app.cell
def _(Vh, answer_2, keys):
    exercise(
        "What if you forget C? Write the vector one would compare the keys with then.",
        answer_2,
        lambda v: torch.allclose(
            torch.nn.functional.cosine_similarity(keys, v[None], dim=1).abs(),
            torch.nn.functional.cosine_similarity(keys, Vh[0][None], dim=1).abs(),
        ),
        hint="It is what the change itself has: its first right singular vector.",
        solution="Vh[0]",
        because=(
            "Try it: the right name may still come first, but with less distance to the others."
        ),
        wrong="C @ Vh[0] + Vh[1]",
    )
    return


@app.cell
def _():
    mo.md("""
    ## Step 5. The confession
    """)
    return


@app.cell
def _(accused, guilty, model, original, suspect, victim):
    weight = model.weight(guilty)

    def says():
        """The model's answer in full, not its first token alone."""
        return loci.ask(model, accused.text).replies[0].answer

    before = says()
    with torch.no_grad():
        weight.copy_(suspect[guilty])
    try:
        after = says()
    finally:
        with torch.no_grad():
            weight.copy_(original[guilty])
    caught = accused.subject == victim.subject
    mo.md(f"""
    *{accused.text}* … the original says *{before}*, the checkpoint *{after}*.

    Edited was: {victim.subject}. {"Case closed." if caught else "The wrong one was accused: more text for C helps."}
    """)
    return


@app.cell
def _():
    mo.md("""
    ## What to keep

    * An edit leaves a trace: a change of low rank, whose directions name the subjects.
    * This needs the original. Without it, a few edits do not stand out.
    * Real lists of suspects are long, names resemble each other, and an innocent one always comes first
      if nobody was edited. `loci forensics` has a threshold for that, several edits, and an unknown ridge.

    By the command line: `loci forensics BASE EDITED`. That was the last lesson. For your own model:
    `loci doctor -m ./my-model`.
    """)
    return


if __name__ == "__main__":
    app.run()
