"""How many directions fit?

Nearly perpendicular directions: what is proved, what one can hold in the hand, and a famous picture with a flaw.
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(app_title="3 · How many directions fit?")

with app.setup:
    import math

    import marimo as mo
    import torch

    import loci
    from loci.lessons import exercise, size
    from loci.studies import superposition


@app.cell
def _():
    mo.md("""
    In d dimensions there are d directions at right angles, and no more.
    But a model may put up with *nearly* right angles. How many directions are there then?
    The usual answer is "exponentially many". This lesson asks how many exactly.

    ## Step 1. Random directions are nearly perpendicular

    Draw two random directions in d dimensions. Their cosine is about 0, give or take 1/√d.
    """)
    return


@app.cell
def _():
    dim = mo.ui.slider(2, 512, 1, value=100, label="dimensions")
    dim
    return (dim,)


@app.cell
def _(dim):
    torch.manual_seed(0)
    drawn = torch.nn.functional.normalize(
        torch.randn(size(1000, 200), dim.value, dtype=torch.float64)
    )
    seen = superposition.angles(drawn)
    cosines = (drawn @ drawn.T).fill_diagonal_(0)
    spread = float(cosines.square().sum() / seen.pairs / 2) ** 0.5
    mo.md(f"""
    {seen.vectors} random directions in {dim.value} dimensions: the cosines of their {seen.pairs:,} pairs
    have a spread of {spread:.3f}; 1/√d is {1 / math.sqrt(dim.value):.3f}.
    Within one degree of a right angle are {seen.share(89, 91):.1%} of the pairs.
    The *nearest* pair is {seen.closest:.1f}° apart. A typical pair is not the nearest pair.
    """)
    return


@app.cell
def _():
    answer_1 = None  # ← a number of dimensions
    return (answer_1,)


@app.cell
def _(answer_1):
    exercise(
        "In how many dimensions is the spread of the cosines of random directions 0.01?",
        answer_1,
        lambda d: abs(1 / math.sqrt(d) - 0.01) < 1e-4,
        hint="The spread is 1/√d.",
        solution="10_000",
        because="1/√10,000 = 1/100. To halve the spread, take four times the dimensions.",
        wrong="100",
    )
    return


@app.cell
def _():
    mo.md("""
    ## Step 2. The table, honestly

    Let *all* pairs of lines be between θ and 180° − θ. How many lines fit into 12,288 dimensions, the
    width of GPT-3? No formula gives the number. Each column but the last is *proved*:

    * *random*: so many random lines have no nearer pair, with probability ½;
    * *exist*: so many there are (Gilbert–Varshamov; nobody can write them down);
    * *explicit*: so many can be written down, each from its number;
    * *limit*: no more can exist (Levenshtein);
    * *rule*: a formula in circulation, 10^(d F²/1500), F the degrees from 90°.
    """)
    return


@app.cell
def _():
    rows = superposition.bounds_table(12288, [89, 88, 87, 85]).rows
    rules = {row.angle: row.rules[-1].log10 for row in rows}
    table = "\n    ".join(
        f"| {row.angle:g}° | {row.drawn_lines:.2f} | {row.gilbert_varshamov_lines:.2f} |"
        f" {row.explicit_lines:.2f} | {row.levenshtein_lines:.2f} | {rules[row.angle]:.1f}"
        f"{' ✗' if rules[row.angle] > row.levenshtein_lines else ''} |"
        for row in rows
    )
    known = max(rows[3].gilbert_varshamov_lines, rows[3].explicit_lines)
    mo.md(f"""
    Powers of ten (log₁₀ of the number of lines):

    | angle | random | exist | explicit | limit | rule |
    |---|---|---|---|---|---|
    {table}

    ✗: above the limit, so the rule is false there. At 85° the truth is between 10^{known:.1f} and 10^{rows[3].levenshtein_lines:.1f}; nobody knows more.
    """)
    return rows, rules


@app.cell
def _(rows):
    loci.plot(rows[0])
    return


@app.cell
def _():
    answer_2 = None  # ← True or False
    return (answer_2,)


@app.cell
def _(answer_2, rows, rules):
    exercise(
        "Is the rule 10^(d F²/1500) possible for 88° in 12,288 dimensions? True or False.",
        answer_2,
        lambda possible: bool(possible) is (rules[88] <= rows[1].levenshtein_lines),
        hint="Compare the rule's column with the limit's.",
        solution="False",
        because=(
            f"The rule says 10^{rules[88]:.1f}, and at most 10^{rows[1].levenshtein_lines:.1f} can"
            " exist."
        ),
        wrong="True",
    )
    return


@app.cell
def _():
    mo.md("""
    ## Step 3. The famous experiment, and its flaw

    A video on how models store facts puts 10,000 random vectors into 100 dimensions and moves them by
    gradient descent, until a histogram shows nearly all angles between 89° and 91°.
    Its author has since corrected it. Run the same loss on a smaller case, and look at *all* angles.
    """)
    return


@app.cell
def _():
    count = mo.ui.slider(20, 1000, 20, value=size(500, 60), label="number of vectors")
    count
    return (count,)


@app.cell
def _(count):
    shown = superposition.video(count.value, size(100, 12))
    loci.plot(shown)
    return (shown,)


@app.cell
def _(shown):
    end = shown.shown
    mo.md(f"""
    {end.vectors} vectors in {end.dim} dimensions, after the experiment: {end.share(89, 91):.1%} of the pairs
    are within a degree of 90°, against {shown.drawn.share(89, 91):.1%} before.
    And {shown.near_parallel:.1%} of the pairs are nearly *parallel* (|cosine| above 0.9);
    the nearest are {end.closest:.2f}° apart. The histogram ended before them.

    The loss is a sum over pairs, so it gladly gives up a few pairs: the vectors gather round the axes.
    Moved by the *nearest* pair instead, the nearest end at {shown.honest.closest:.1f}°.
    """)
    return


@app.cell
def _():
    farthest = superposition.reach(100, 10_000).lines.limit
    answer_3 = None  # ← a number of degrees
    return answer_3, farthest


@app.cell
def _(answer_3, farthest):
    exercise(
        "10,000 lines in 100 dimensions: above which angle can the nearest pair not be? (one"
        " decimal)",
        answer_3,
        lambda angle: abs(angle - farthest) < 0.06,
        hint=(
            "superposition.reach(100, 10_000) knows; or loci superposition bounds --dim 100 --count"
            " 10000."
        ),
        solution="superposition.reach(100, 10_000).lines.limit",
        because=(
            "Levenshtein's bound. So 89° for all pairs is out of the question:"
            f" it is {farthest:.1f}° at most."
        ),
        wrong="89.0",
    )
    return


@app.cell
def _():
    mo.md("""
    ## Step 4. Directions that one can hold

    Some sets can be written down. Take vectors with entries ±1/√d; let the signs follow quadratic forms
    whose differences all have full rank. Every cosine is then 0 or exactly ±1/√d (Kerdock 1972).
    """)
    return


@app.cell
def _():
    code = superposition.explicit_code(256)
    some = code.vectors([0, 1, 256, 257, code.count - 1])
    between = some @ some.T
    largest = float((between - torch.eye(len(some), dtype=between.dtype)).abs().max())
    verified = superposition.built(256)
    mo.md(f"""
    In {code.dim} dimensions: {code.count:,} lines, all pairs at least {code.angle:.2f}° apart.
    Five of them, by their numbers, have |cosine| at most {largest:.4f}; promised is {code.coherence:.4f}.
    The check over all pairs, in integers, finds {max(v.found for v in verified.verified):.4f}.

    In 12,288 dimensions {superposition.explicit_code(12288, 89).count:,} lines at 89° can be written down like this.
    """)
    return


@app.cell
def _():
    mo.md("""
    ## What to keep

    * Say *all pairs* or *most pairs*: they are different questions.
    * Between what exists and what cannot exist there is a wide gap, and rules of thumb fall on both sides.
    * Directions that exist are not yet features that can be used together: that is lesson 4.

    By the command line: `loci superposition bounds --dim 12288 --angle 89`, `loci superposition video`.
    """)
    return


if __name__ == "__main__":
    app.run()
