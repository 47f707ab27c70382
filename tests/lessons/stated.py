"""Numbers that lessons state in fixed words, and what has to hold for each.

Most numbers of a lesson are formatted from what its cells computed. The others stand in its text as
they are. `left_over` finds those. `STATED` has a fragment of the text for each claim, beside an
expression in the lesson's names that recomputes it; `GIVEN` has what claims nothing: the terms of a
question, of a definition, of a measurement, and what another's paper says.
"""

import ast
import re

from loci.lessons import Lesson

NUMBER = re.compile(
    r"\d[\d,.]*|[½⅓⅔¼⅖]|\b(?:half|third|quarter|twice|two|three|four|five|six|seven|eight|nine|ten"
    r"|twelve|dozen|hundred|thousand|million)\b",
    re.IGNORECASE,
)
NAMES = re.compile(
    r"## Step \d+\.|\b(?:lessons?|steps?) \d(?: and \d)?|et al\. \d{4}|\(Kerdock 1972\)"
    r"|\bL\d+N\d+|GPT-3\b|Gemma 3(?: 270M)?|`[^`]*`|^ *\d\. |W_\w+|value[₁₂]",
    re.IGNORECASE | re.MULTILINE,
)
"""Numbers that name something and measure nothing: steps, lessons, years, models, commands."""
WORDS_OF = {"md": 1, "exercise": 1}
KEYWORDS = ("hint", "because")


def texts(entry: Lesson) -> list[str]:
    """The fixed words that a lesson shows, whitespace aside; what it formats stands as {}."""
    found = []
    for node in ast.walk(ast.parse(entry.path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else None
            called = node.func.id if isinstance(node.func, ast.Name) else called
            if called in WORDS_OF:
                shown = [*node.args[:1], *(k.value for k in node.keywords if k.arg in KEYWORDS)]
                found += [_words(part) for part in shown]
    return [NAMES.sub("", text) for text in found]


def _words(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(_words(part) for part in node.values)
    if isinstance(node, ast.IfExp):
        return f"{_words(node.body)} {_words(node.orelse)}"
    if isinstance(node, ast.FormattedValue) and isinstance(node.value, ast.IfExp):
        return _words(node.value)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else "{}"


def flat(text: str) -> str:
    """A text with single spaces."""
    return " ".join(text.split())


def left_over(entry: Lesson) -> list[str]:
    """Numbers in a lesson's fixed words that no fragment of `STATED` covers, with their place."""
    left = []
    for text in map(flat, texts(entry)):
        for fragment in (*STATED.get(entry.number, {}), *GIVEN.get(entry.number, ())):
            text = text.replace(fragment, "…")
        left += [text[max(m.start() - 50, 0) : m.end() + 30] for m in NUMBER.finditer(text)]
    return left


STATED: dict[int, dict[str, str]] = {
    1: {
        "1 would mean one common direction, 0 no relation": (
            "torch.cosine_similarity(M, 2 * M, dim=0) == 1"
            " and torch.cosine_similarity(M, J, dim=0) == 0"
        ),
        "0 if they are at right angles, negative if opposed": "M @ J == 0 > M @ -M",
        "until the product is −0.500": "f'{math.cos(math.radians(120)):.3f}' == '-0.500'",
        "cos 120° = −½": "math.isclose(math.cos(math.radians(120)), -1 / 2)",
        "what is below 0 becomes 0": "torch.relu(torch.tensor(-1.0)) == 0",
        "With the bias −1 it is an AND": (
            "[bool(write(x, -1.0) @ B > 0) for x in names.values()] == [True, False, False, False]"
        ),
        "One name gives 1, no name gives 0": (
            "[float((M + J) @ x) for x in names.values()] == [2, 1, 1, 0]"
        ),
        "The bias has to lie between −1 and 0": (
            "[[bool(write(x, b) @ B > 0) for x in names.values()]"
            " for b in (-1.0, -0.99, 0.0, 0.01)]"
            " == [[True, False, False, False], *[[True, True, True, False]] * 2, [True] * 4]"
        ),
        "Anything from just above −1 to 0 leaves a name above 0 and no name at 0 or below": (
            "[bool(write(x, -0.999) @ B > 0) for x in names.values()] == [True, True, True, False]"
        ),
        "one name alone gives c and not 0": (
            "math.isclose(gates.steps[1].cases[1].neuron, cosine.value, abs_tol=1e-6)"
        ),
        "and bias −1, *Michael Phelps* gets": "gates.steps[1].bias == -1",
        "The bias −(1 + c) = {} closes the gate": (
            "gates.steps[2].bias == -(1 + cosine.value) and gates.steps[2].cases[1].neuron < 1e-6"
        ),
        "(M + J) · (M + J) = 1 + 2c + 1 = 2(1 + c). Less the bias 1 + c, that is 1 + c": (
            "all(math.isclose(loci.writing.gate(c, many=()).steps[2].cases[0].neuron, 1 + c,"
            " rel_tol=1e-6) for c in (0.1, 0.3))"
        ),
        "four times as many neurons": "gpt3.questions == 4 * gpt3.d_model",
        "(layer 1, neuron 126)": "(card.layer, card.neuron) == (1, 126)",
    },
    2: {
        "the neurons of layer 1": "layer == 1",
        "ReLU gives exactly 0 for each question that is answered no. Most are": (
            "bool((a >= 0).all()) and float((a == 0).double().mean()) > 0.5"
        ),
    },
    3: {
        "Their cosine is about 0, give or take 1/√d": (
            "abs(spread * math.sqrt(dim.value) - 1) < 0.05"
        ),
        "1/√10,000 = 1/100": "1 / math.sqrt(10_000) == 1 / 100",
        "take four times the dimensions": "1 / math.sqrt(4 * 100) == 1 / math.sqrt(100) / 2",
        "12,288 dimensions, the width of": "loci.model.published('gpt3-175b').d_model == 12_288",
        "a formula in circulation, 10^(d F²/1500), F the degrees from 90°": (
            "all(math.isclose(log, 12_288 * (90 - at) ** 2 / 1500) for at, log in rules.items())"
        ),
        "At 85° the truth is between 10^{} and 10^{}": (
            "rows[3].angle == 85 and known < rows[3].levenshtein_lines"
        ),
        "So 89° for all pairs is out of the question": "farthest < 89",
        "Take vectors with entries ±1/√d": (
            "all(row in ({1 / 16}, {0.0, 1.0}) for row in"
            " (set(line.abs().tolist()) for line in code.vectors(range(0, code.count, 997))))"
        ),
        "Every cosine is then 0 or exactly ±1/√d": (
            "set((between - torch.eye(5, dtype=between.dtype)).abs().flatten().tolist())"
            " == {0.0, 1 / 16} and code.dim == 256"
        ),
        "Five of them, by their numbers": "len(some) == 5",
        "In 12,288 dimensions {} lines at 89° can be written down": (
            "superposition.explicit_code(12_288, 89).angle >= 89"
        ),
    },
    4: {
        "Five features in two dimensions": "dense.W.shape[1:] == (2, 5)",
        "at density 1, {} at density": "dense.densities[0] == 1",
        "the two most important ones take the two dimensions": (
            "kept[0] == 2 == len(dense.W[0])"
            " and set(dense.norms[0].topk(2).indices.tolist()) == {0, 1}"
        ),
        "five arrows like a pentagon, none at right angles": "kept[1] == 5",
        "two features kept, three given up": "alone.norm(dim=0).tolist() == [1, 1, 0, 0, 0]",
        "Two of five meet with probability about 10 p²": (
            "all(abs((1 - (1 - p) ** 5 - 5 * p * (1 - p) ** 4) / (10 * p**2) - 1) < 3 * p"
            " for p in (0.1, 0.05, 0.01))"
        ),
        "the border is the smaller of 4r/(2 + 5r) and 4/(5 + 2r)": (
            "all(math.isclose(boundary(r), min(4 * r / (2 + 5 * r), 4 / (5 + 2 * r)))"
            " for r in (0.2, 0.5, 1.0, 2.0))"
        ),
        "4·½/(2 + 2½) = 4/9 and 4/6 = 2/3; the smaller is 4/9": (
            "math.isclose(boundary(0.5), 4 / 9) and math.isclose(4 * 0.5 / (2 + 2.5), 4 / 9)"
        ),
        "d/N each: an opposite pair ½, a triangle ⅔, a pentagon ⅖": (
            "all(math.isclose(1 / sum(math.cos(2 * math.pi * i / n) ** 2 for i in range(n)), share)"
            " for n, share in ((2, 1 / 2), (3, 2 / 3), (5, 2 / 5)))"
        ),
    },
    6: {
        "The derivation, in six lines": (
            "source.partition('in six lines')[2].partition('So three')[0].count('\\n        ') == 6"
        ),
    },
    7: {
        "But two *random* maps do not give 0": "by_chance(width.value) > 0.5 * width.value**-0.5",
        "Train a model of two layers of attention": "recipe.layers == 2 == small.recipe.layers",
        "chance, which is 1/√d and not 0": "abs(composed.null * model.d_model**0.5 - 1) < 0.1",
    },
    8: {
        "1 tells them apart perfectly, ½ not at all": (
            "auc(is_it[:, None].double()).tolist() == [1]"
            " and auc(torch.zeros(len(is_it), 1)).tolist() == [0.5]"
        ),
        "ties stay ½": "auc(-torch.zeros(len(is_it), 1)).tolist() == [0.5]",
    },
    9: {
        "a change of rank one": "float(sigma[1] / sigma[0]) < 1e-3",
    },
}

GIVEN: dict[int, tuple[str, ...]] = {
    1: (
        "mean cosine between two differences",
        "The last two rows",
        "Two vectors of length 1",
        "(0 to 180 degrees) is the dot product of two unit vectors −½?",
        "It has three steps",
        "the bias −1, the column B",
        "With c = 0.3 and the bias −(1 + c)",
        "with M · J = 0.3",
        "the two matrices",
        "each two-part name",
        "(95 % interval",
        "One neuron a fact would explain 100 %",
        "with 270 million parameters",
        "most active neuron of layer 3",
        "without the ten most active ones",
        "of the neurons in layer 0, {} in layer 5",
    ),
    2: (
        "In the model of Geva et al. the share was near 0",
        "Neurons that together hold half of all that is written",
        "(activation exactly 0)",
    ),
    3: (
        "Draw two random directions",
        "1/√d is {}",
        "the cosines of random directions 0.01?",
        "The spread is 1/√d",
        "between θ and 180° − θ",
        "with probability ½",
        "Powers of ten (log₁₀ of",
        "Is the rule 10^(d F²/1500) possible for 88° in 12,288 dimensions?",
        "The rule says 10^{}, and at most 10^{} can exist",
        "puts 10,000 random vectors into 100 dimensions",
        "nearly all angles between 89° and 91°",
        "within a degree of 90°",
        "(|cosine| above 0.9)",
        "10,000 lines in 100 dimensions",
        "superposition.reach(100, 10_000) knows",
        "loci superposition bounds --dim 100 --count 10000",
    ),
    4: (
        "(its *density*), else 0",
        "Features with an arrow longer than ½",
        "of two features alone",
        "Two features, one dimension",
        "two equally important features and one dimension there are three choices",
        "worth half of the first (r = ½)",
        "Put r = ½",
        "of these, with ½ of a dimension",
        "if its dot product is above ½",
        "at least half of the sums",
        "for k = 1, 2, 3",
    ),
    5: ("MLP of layer 0", "attention of layer 0"),
    6: (
        "So three things are needed: k, C and v",
        "{} of them above 0",
        "an outer product of two vectors",
    ),
    7: (
        "A head is two maps",
        "Two full maps of the stream",
        "Head 1 of layer 0",
        "1/√d = {}",
        "in a stream of width 64, to within 0.02?",
        "Induction needs two layers",
    ),
    8: (
        "(L0)",
        "chosen on one half of",
        "on the other half",
        "of the neurons were set to 0",
        "a second half to measure on",
    ),
}
