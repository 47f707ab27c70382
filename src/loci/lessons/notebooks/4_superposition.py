"""Superposition: more features than dimensions

When a small network lets features share dimensions, what shapes they take, and when sharing hurts.
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(app_title="4 · Superposition: more features than dimensions")

with app.setup:
    import marimo as mo
    import plotly.graph_objects as go
    import torch

    import loci
    from loci.lessons import exercise, size
    from loci.studies import superposition


@app.cell
def _():
    mo.md("""
    Lesson 3: many directions fit into few dimensions. Does a network use them?
    The smallest network where this can be watched (Elhage et al. 2022):

        h = W x                  n features into m < n dimensions
        x' = ReLU(Wᵀ h + b)      and back

    It is trained to give x back. A feature is present with probability p (its *density*), else 0.

    ## Step 1. Five features in two dimensions
    """)
    return


@app.cell
def _():
    density = mo.ui.slider(
        0.02, 1.0, 0.02, value=0.04, label="density: how often a feature is there"
    )
    density
    return (density,)


@app.cell
def _(density):
    dense = superposition.toy(5, 2, (1.0, density.value), importance=0.9, steps=2500, batch=1024)

    def arrows(W, title):
        """The columns of W as arrows: one for each feature."""
        lines = [
            go.Scatter(x=[0, float(x)], y=[0, float(y)], mode="lines+markers", name=f"feature {i}")
            for i, (x, y) in enumerate(W.T.tolist())
        ]
        axis = {"range": [-1.4, 1.4]}
        layout = {"title": title, "width": 420, "height": 420, "xaxis": axis, "yaxis": axis}
        return go.Figure(lines, {**layout, "meta": {"title": title}, "margin": {"t": 60}})

    arrows(dense.W[1], f"Five features in two dimensions at density {density.value:g}")
    return arrows, dense


@app.cell
def _(arrows, dense):
    arrows(dense.W[0], "The same at density 1: every feature is always there")
    return


@app.cell
def _(dense, density):
    kept = [int((norms > 0.5).sum()) for norms in dense.norms]
    mo.md(f"""
    Features with an arrow longer than ½: {kept[0]} at density 1, {kept[1]} at density {density.value:g}.
    Dense features: the two most important ones take the two dimensions.
    {"Sparse features share: five arrows like a pentagon, none at right angles." if kept[1] == 5 else ""} The price is *interference*: a feature that is
    there makes its neighbours seem to be there a little. The bias b and the ReLU cut that off.
    """)
    return


@app.cell
def _():
    mo.md("""
    ## Step 2. When does sharing hurt?

    Take the pentagon as it is, and the other extreme: two features kept, three given up.
    Compare their losses on inputs of different densities. Nothing is trained here.
    """)
    return


@app.cell
def _():
    turn = 2 * torch.pi * torch.arange(5) / 5
    pentagon = torch.stack([turn.cos(), turn.sin()])
    alone = torch.eye(2, 5)

    def loss(W, p, bias):
        """Mean squared error over many inputs; features that are dropped are answered by their mean."""
        torch.manual_seed(0)
        x = torch.rand(20_000, 5) * (torch.rand(20_000, 5) < p)
        dropped = W.norm(dim=0) < 0.5
        out = torch.relu(x @ W.T @ W + bias * ~dropped)
        out[:, dropped] = p / 2
        return float((out - x).square().mean())

    def best(W, p):
        return min(loss(W, p, bias) for bias in (0.0, -0.1, -0.2, -0.3))

    densities = [1.0, 0.5, 0.2, 0.1, 0.05, 0.01]
    compared = {p: (best(pentagon, p), best(alone, p)) for p in densities}
    losses = "\n    ".join(
        f"| {p:g} | {shared:.5f} | {two:.5f} | {'sharing' if shared < two else 'two alone'} |"
        for p, (shared, two) in compared.items()
    )
    mo.md(f"""
    | density | loss of the pentagon | of two features alone | better |
    |---|---|---|---|
    {losses}

    Sharing costs only where features meet. Two of five meet with probability about 10 p²:
    it falls faster than p, so sparse features share cheaply.
    """)
    return compared, densities


@app.cell
def _():
    answer_1 = None  # ← a density of the table
    return (answer_1,)


@app.cell
def _(answer_1, compared, densities):
    exercise(
        "What is the largest density of the table at which sharing is better?",
        answer_1,
        lambda p: p == max(q for q in densities if compared[q][0] < compared[q][1]),
        hint="Read the last column from the top; the answer is the first density with 'sharing'.",
        solution="max(p for p in densities if compared[p][0] < compared[p][1])",
        because="Above it features meet so often that interference costs more than it saves.",
        wrong="1.0",
    )
    return


@app.cell
def _():
    mo.md("""
    ## Step 3. Two features, one dimension: the exact answer

    With two equally important features and one dimension there are three choices: the one, the other,
    or both as opposite directions. Their losses can be written down, so the border between them is a number.
    """)
    return


@app.cell
def _():
    from loci.studies.superposition.phase_diagram import boundary

    border = boundary(1.0)
    mo.md(f"""
    At equal importance the opposite pair wins below density {border:.4f}.
    For relative importance r the border is the smaller of 4r/(2 + 5r) and 4/(5 + 2r).
    """)
    return (boundary,)


@app.cell
def _():
    answer_2 = None  # ← a number
    return (answer_2,)


@app.cell
def _(answer_2, boundary):
    exercise(
        "The second feature is worth half of the first (r = ½). Below which density do both share?",
        answer_2,
        lambda p: abs(p - boundary(0.5)) < 1e-3,
        hint="Put r = ½ into both terms and take the smaller.",
        solution="min(4 * 0.5 / (2 + 5 * 0.5), 4 / (5 + 2 * 0.5))",
        because="4·½/(2 + 2½) = 4/9 and 4/6 = 2/3; the smaller is 4/9.",
        wrong="4 / 7",
    )
    return


@app.cell
def _():
    mo.md("""
    ## Step 4. Plateaus

    Train larger ones at many densities, and ask how much of a dimension each feature has. N unit
    vectors that fill d dimensions evenly have d/N each: an opposite pair ½, a triangle ⅔, a pentagon ⅖.
    """)
    return


@app.cell
def _():
    shapes = superposition.geometry(
        size(60, 20),
        size(10, 6),
        (1.0, 0.5, 0.4, 0.3, 0.2, 0.1),
        steps=size(3000, 300),
        batch=size(512, 128),
    )
    loci.plot(shapes)
    return (shapes,)


@app.cell
def _(shapes):
    in_pairs = [round(near.value * near.n) for near in shapes.near(0.5)]
    plateau = list(zip(shapes.toy.densities, shapes.toy.represented, in_pairs, strict=True))
    table = "\n    ".join(f"| {p:g} | {there} | {paired} |" for p, there, paired in plateau)
    flat = ", ".join(f"{p:g}" for p, there, paired in plateau if paired > 0.9 * there)
    mo.md(f"""
    | density | features that are kept | of these, with ½ of a dimension |
    |---|---|---|
    {table}

    At the densities {flat or "of this table nowhere"} nearly all features that are kept are opposite pairs: a plateau.
    Elsewhere training stops at other values. No theorem says where.
    """)
    return


@app.cell
def _():
    mo.md("""
    ## Step 5. How many features at once?

    Superposition stores many directions, but a token shows their *sum*. Put k of m random directions
    on top of each other and read them back: a feature counts as there if its dot product is above ½.
    """)
    return


@app.cell
def _():
    together = mo.ui.slider(1, 24, 1, value=6, label="features present at once, k")
    together
    return (together,)


@app.cell
def _(together):
    features, dims = 512, 128

    def read_back(k, trials=200):
        """Share of sums of k features that are read without any error."""
        torch.manual_seed(0)
        F = torch.nn.functional.normalize(torch.randn(features, dims), dim=1)
        there = torch.zeros(trials, features)
        there.scatter_(1, torch.rand(trials, features).topk(k).indices, 1.0)
        read = (there @ F) @ F.T > 0.5
        return float((read == (there > 0)).all(1).double().mean())

    mo.md(f"""
    {features} features in {dims} dimensions, {together.value} at once: {read_back(together.value):.0%} of the sums are
    read without an error.
    """)
    return features, read_back


@app.cell
def _():
    answer_3 = None  # ← a whole number
    return (answer_3,)


@app.cell
def _(answer_3, features, read_back):
    exercise(
        "What is the largest k for which at least half of the sums are read without an error?",
        answer_3,
        lambda k: read_back(int(k)) >= 0.5 > read_back(int(k) + 1),
        hint="Move the setting, or call read_back(k) for k = 1, 2, 3 …",
        solution="max(k for k in range(1, 12) if read_back(k) >= 0.5)",
        because=(
            f"{features} directions are there, and few of them can be read at once with this reader."
        ),
        wrong="24",
    )
    return


@app.cell
def _():
    mo.md("""
    ## What to keep

    * Sparse features share dimensions, dense ones do not.
    * The cost of sharing is interference; it is paid when features meet.
    * Storing many directions is one thing, reading many at once another.

    This is why a neuron of a trained model rarely means one thing. By the command line:
    `loci superposition toy`, `loci superposition phase`, `loci superposition interference`.
    """)
    return


if __name__ == "__main__":
    app.run()
