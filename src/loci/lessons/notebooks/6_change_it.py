"""Change it

ROME derived in six lines and run, many edits at once, what else moved, and the way back.
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(app_title="6 · Change it")

with app.setup:
    from contextlib import contextmanager
    from random import Random

    import marimo as mo
    import torch

    import loci
    from loci.lessons import exercise, size


@app.cell
def _():
    mo.md("""
    The model says that Michael Jordan plays basketball. Make it say baseball, with one small change
    of one matrix, and let everything else be as it was. The method is ROME (Meng et al. 2022).

    ## Step 1. The derivation, in six lines

        W k  = v                      W_down answers the key k of the subject with the value v
        W' k = v*                     wanted: another value v*, which makes the model say "baseball"
        W' = W + Δ,  Δ k = v* − v     one condition on the change Δ
        min  E‖Δ k'‖²                 and for all other keys k' as little change as possible
        Δ = (v* − v) uᵀ / (uᵀ k)      the solution has rank one …
        u = C⁻¹ k,  C = E[k' k'ᵀ]     … with the second moments C of the keys

    So three things are needed: k, C and v*.
    """)
    return


@app.cell
def _():
    model = loci.open("demo")
    known = loci.known_facts()
    fact = next(f for f in known.of("athlete_sport") if f.subject == "Michael Jordan")
    layer = 0
    tokens = model.tokenize(fact.text)
    place = tokens.span(fact.subject_span)[1] - 1  # the subject's last token
    ids = model.ids([tokens.ids])
    W = model.W_down(layer)

    def token(answer):
        return model.tokenizer.encode(" " + answer, add_special_tokens=False)[0]

    new = "baseball"
    return W, fact, ids, known, layer, model, new, place, token


@app.cell
def _():
    mo.md("""
    ## Step 2. The key

    k is what stands at the neurons of the layer (after the ReLU) at the subject's last token.
    """)
    return


@app.cell
def _(W, ids, layer, model, place):
    k = model.read(ids, f"mlp_act.{layer}")[f"mlp_act.{layer}"][0, place].detach()
    v = W.detach() @ k
    mo.md(f"k has {len(k):,} numbers, {int((k > 0).sum())} of them above 0; v has {len(v)}.")
    return (k,)


@app.cell
def _():
    mo.md("""
    ## Step 3. The other keys

    C is a mean over text: where keys often point, a change hurts most, and C⁻¹ turns away from there.
    """)
    return


@app.cell
def _(layer, model):
    def second_moments(texts):
        """C = E[k kᵀ] over all tokens of some texts, with a little on the diagonal."""
        total, count = torch.zeros(model.d_mlp, model.d_mlp), 0
        for text in texts:
            read = model.read(model.ids([model.tokenize(text).ids]), f"mlp_act.{layer}")
            keys = read[f"mlp_act.{layer}"][0, 1:].detach()
            total += keys.T @ keys
            count += len(keys)
        C = total / count
        return C + 0.01 * C.diagonal().mean() * torch.eye(len(C))

    C = second_moments(loci.text.corpus_texts()[: size(1500, 150)])
    return (C,)


@app.cell
def _():
    mo.md("""
    ## Step 4. The value

    v* is found by gradient descent: add a vector to what the MLP writes at the subject's last token,
    until the model says the new answer.
    """)
    return


@app.cell
def _(ids, layer, model, new, place, token):
    delta = torch.zeros(model.d_model, requires_grad=True)
    optimizer = torch.optim.Adam([delta], lr=0.1)
    losses = []
    for _ in range(60):

        def add(out):
            out = out.clone()
            out[:, place] += delta
            return out

        with model.patched({f"mlp_out.{layer}": add}):
            logits = model(ids)
        loss = -logits[0, -1].log_softmax(-1)[token(new)] + 0.02 * delta.square().sum()
        losses.append(float(loss.detach()))
        if losses[-1] < 0.15:
            break
        optimizer.zero_grad()
        loss.backward(inputs=[delta])
        optimizer.step()
    step_count = len(losses)
    mo.md(f"""
    In {step_count} steps the loss falls from {losses[0]:.2f} to {losses[-1]:.2f}. The vector that is added has
    length {float(delta.detach().norm()):.2f}.
    """)
    return (delta,)


@app.cell
def _():
    mo.md("""
    ## Step 5. The change
    """)
    return


@app.cell
def _(C, W, delta, ids, k, model, token):
    u = torch.linalg.solve(C, k)
    change = torch.outer(delta.detach(), u) / (u @ k)

    @contextmanager
    def edited(update):
        """The model with a change of W_down, for as long as the block."""
        before = W.detach().clone()
        with torch.no_grad():
            W.add_(update)
        try:
            yield
        finally:
            with torch.no_grad():
                W.copy_(before)

    def probability(answer, prompt_ids=ids):
        with torch.no_grad():
            return float(model(prompt_ids)[0, -1].softmax(-1)[token(answer)])

    return change, edited, probability


@app.cell
def _(change, edited, fact, model, new, probability):
    old_p, new_p = probability(fact.answer), probability(new)
    with edited(change):
        old_after, new_after = probability(fact.answer), probability(new)
        said = model.generate(fact.text, 1)
    mo.md(f"""
    | | P({fact.answer}) | P({new}) |
    |---|---|---|
    | before | {old_p:.3f} | {new_p:.3f} |
    | after | {old_after:.3f} | {new_after:.3f} |

    The edited model says: *{fact.text}{said}*
    """)
    return


@app.cell
def _():
    answer_1 = None  # ← a whole number
    return (answer_1,)


@app.cell
def _(answer_1, change):
    exercise(
        "What is the rank of the change?",
        answer_1,
        lambda rank: int(rank) == int(torch.linalg.matrix_rank(change)),
        hint="It is an outer product of two vectors.",
        solution="1",
        because="Every column is a multiple of v* − v. Lesson 9 uses this to find such edits.",
        wrong="256",
    )
    return


@app.cell
def _():
    mo.md("""
    ## Step 6. What else moved?

    An edit that answers its prompt is not yet a good edit. Ask other athletes too, and compare with the
    naive change that forgets C: Δ = (v* − v) kᵀ / (kᵀ k).
    """)
    return


@app.cell
def _(change, delta, edited, fact, k, known, model, probability):
    naive = torch.outer(delta.detach(), k) / (k @ k)
    others = [f for f in known.of("athlete_sport") if f.subject != fact.subject]
    others = Random(0).sample(others, size(40, 6))
    asked = [(f, model.ids([model.tokenize(f.text).ids])) for f in others]

    def moved(update):
        """(mean |change of P(right answer)| of the others, P(new answer) in other phrasings)."""
        before = [probability(f.answer, where) for f, where in asked]
        with edited(update):
            after = [probability(f.answer, where) for f, where in asked]
            told = [model.generate(p.format(fact.subject), 1) for p in fact.paraphrases]
        drift = sum(abs(a - b) for a, b in zip(before, after, strict=True)) / len(asked)
        return drift, sum("baseball" in text for text in told) / len(told)

    results = {"with C": moved(change), "without C": moved(naive)}
    table = "\n    ".join(
        f"| {name} | {drift:.4f} | {share:.0%} |" for name, (drift, share) in results.items()
    )
    mo.md(f"""
    | change | others' answers move by | phrasings that give the new answer |
    |---|---|---|
    {table}

    Phrasings: {len(fact.paraphrases)} that the edit never saw. Others: {len(asked)} athletes.
    """)
    return


@app.cell
def _():
    answer_2 = None  # ← a matrix like `change`
    return (answer_2,)


@app.cell
def _(W, answer_2, k):
    exercise(
        "Write a change that doubles what the layer answers to the key k, in one line.",
        answer_2,
        lambda update: torch.allclose((W.detach() + update) @ k, 2 * W.detach() @ k, atol=1e-3),
        hint="Δ k has to be W k. What is v* − v then?",
        solution="torch.outer(W.detach() @ k, k) / (k @ k)",
        because="Δ k = (W k)(kᵀ k)/(kᵀ k) = W k. With u = C⁻¹ k in place of k it moves less else.",
        wrong="W.detach() @ k",
    )
    return


@app.cell
def _():
    mo.md("""
    ## Step 7. Many at once, and the way back

    MEMIT (Meng et al. 2023) solves the same problem for many keys together:
    Δ = R Kᵀ (λC + K Kᵀ)⁻¹, where the columns of K are the keys and those of R the values that are missing. Loci's editors also ask every edit
    again, in more phrasings, and keep neighbours in place. An edit is a *patch*: a file beside the model.
    """)
    return


@app.cell
def _():
    count = mo.ui.slider(1, 20, 1, value=size(8, 2), label="facts to edit at once")
    count
    return (count,)


@app.cell
def _(count, known, model):
    wishes = loci.auditing.counterfactuals(known, count.value, seed=0)
    patch = loci.edit(model, wishes, method="memit", report=False)
    weights = model.W_down(patch.layers[0]).detach().clone()

    def given():
        """Share of the wishes that the model answers as wished."""
        replies = [model.generate(f.text, 3).strip() for f in wishes]
        return sum(
            reply.startswith(f.new_answer) for reply, f in zip(replies, wishes, strict=True)
        ) / len(wishes)

    with patch.applied(model):
        during = given()
    after = given()
    same = torch.equal(weights, model.W_down(patch.layers[0]).detach())
    mo.md(f"""
    {len(wishes)} edits in one patch, at layer {patch.layers[0]}. New answers given: with the patch {during:.0%},
    without it again {after:.0%}. Weights as before, bit for bit: {same}.
    """)
    return


@app.cell
def _():
    mo.md("""
    ## What to keep

    * An edit is one equation; the art is in v* and in what is held fixed.
    * Ask other phrasings, other subjects, other facts of the subject. `loci audit` does, with controls.
    * What follows from a fact does not follow it by itself: related answers may stay as they were.

    By the command line: `loci edit -s "Michael Jordan" -p "{} plays the sport of" -a baseball -o jordan.safetensors`.
    Next: lesson 7, how attention takes part.
    """)
    return


if __name__ == "__main__":
    app.run()
