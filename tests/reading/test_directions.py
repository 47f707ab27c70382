"""Planted directions, brute force and least squares by hand, steering against hooks, and
identities.
"""

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import tiny_gpt2
from tests.model.families import make
from torch.nn.functional import cosine_similarity

from loci.errors import FactError, ModelError
from loci.facts import FactSet
from loci.figures.directions import concepts_figure, directions_figure, steered_figure
from loci.model import Model
from loci.reading.concept_directions import _elsewhere, aligned, analogies, direction, directions
from loci.reading.concepts import coefficients, concept, explained
from loci.reading.steering import steer
from loci.reading.text_vectors import vectors

PAIRS = [
    ("woman", "man"),
    ("queen", "king"),
    ("girl", "boy"),
    ("mother", "father"),
    ("sister", "brother"),
    ("Lima", "Peru"),
]
PROMPTS = ["Osaka is a city in the country of", "Michael Jordan plays the sport of", "Lima"]


def token(model: Model, word: str) -> int:
    return model.tokenize(f"a {word}").ids[-1]


@torch.no_grad()
def planted(demo: Model, noise: float = 0.0) -> tuple[Model, list[tuple[str, str]], torch.Tensor]:
    """A random model in which the first token of each pair is the second plus one direction, with
    some noise.
    """
    model = tiny_gpt2(demo)
    generator = torch.Generator().manual_seed(1)
    step = 0.5 * torch.randn(model.d_model, generator=generator)
    words = [
        "Osaka",
        "Lima",
        "Paris",
        "Japan",
        "Sweden",
        "Canada",
        "India",
        "Norway",
        "Prague",
        "Ottawa",
        "Chad",
        "Cuba",
    ]
    singles = [word for word in words if len(model.tokenize(f"a {word}").ids) == 3]
    pairs = list(zip(singles[::2], singles[1::2], strict=False))
    assert len(pairs) >= 4
    for a, b in pairs:
        wobble = noise * torch.randn(model.d_model, generator=generator)
        model.W_E[token(model, a)] = model.W_E[token(model, b)] + step + wobble
    return model, pairs, step


def test_a_planted_direction_is_found(demo: Model) -> None:
    model, pairs, step = planted(demo)
    found = directions(model, pairs)
    torch.testing.assert_close(found.direction, step)
    torch.testing.assert_close(found.direction, direction(model, pairs))
    assert found.alignment.value == pytest.approx(1, abs=1e-5)
    assert found.shuffled.value < 0.9
    assert found.beyond.low > 0
    assert (found.analogy.value, found.nearest) == (1, tuple(a for a, _ in pairs))
    assert found.random.value < 0.7
    assert found.candidates == 2 * len(pairs) - 1


def test_noise_takes_it_away(demo: Model) -> None:
    model, pairs, _ = planted(demo, noise=5)
    found = directions(model, pairs)
    assert found.alignment.value < 0.5
    assert found.beyond.low < 0.1


@torch.no_grad()
def test_words_stand_as_in_a_sentence(demo: Model) -> None:
    """One token with its leading space; several are averaged at the embedding, and the last one is
    read elsewhere.
    """
    word, name = vectors(demo, ["Paris", " Michael Jordan "], "embed")
    assert demo.token_text(token(demo, "Paris")) == " Paris"
    torch.testing.assert_close(word.float(), demo.W_E[token(demo, "Paris")])
    ids = demo.tokenize("a Michael Jordan").ids
    torch.testing.assert_close(name.float(), demo.W_E[list(ids[2:])].mean(0))
    with demo.watch("resid_post.2") as at:
        demo(demo.ids([(ids[0], *ids[2:])]))
    torch.testing.assert_close(
        vectors(demo, ["Michael Jordan"], "resid_post.2")[0].float(), at["resid_post.2"][0, -1]
    )


def test_embeddings_as_the_family_scales_them(demo: Model) -> None:
    model = make("gemma2", demo)
    assert model.embed_scale == pytest.approx(math.sqrt(32), rel=1e-3)
    expected = model.embed_scale * model.W_E[token(model, "Paris")]
    torch.testing.assert_close(vectors(model, ["Paris"], "embed")[0].float(), expected)


def test_against_loops(demo: Model) -> None:
    """Alignment, analogies and controls once more, one cosine at a time."""
    found = directions(demo, PAIRS, point="resid_post.1")
    words = list(dict.fromkeys(word for pair in PAIRS for word in pair))
    at = dict(zip(words, vectors(demo, words, "resid_post.1"), strict=True))

    def cos(x: torch.Tensor, y: torch.Tensor) -> float:
        return float(cosine_similarity(x, y, dim=0))

    differences = [at[a] - at[b] for a, b in PAIRS]
    off = [
        cos(x, y) for i, x in enumerate(differences) for j, y in enumerate(differences) if i != j
    ]
    assert found.alignment.value == pytest.approx(sum(off) / len(off), abs=1e-9)
    assert found.alignment.low <= found.alignment.value <= found.alignment.high
    solved, near = [], []
    for i, (a, b) in enumerate(PAIRS):
        others = torch.stack([d for j, d in enumerate(differences) if j != i]).mean(0)
        best = max((w for w in words if w != b), key=lambda w, x=at[b] + others: cos(x, at[w]))
        assert found.nearest[i] == best
        solved.append(best == a)
        near.append(max((w for w in words if w != b), key=lambda w, x=at[b]: cos(x, at[w])) == a)
    assert (found.analogy.value, found.without.value) == (sum(solved) / 6, sum(near) / 6)
    assert found.analogy.n == found.without.n == found.random.n == 6


@given(st.integers(2, 40), st.integers(0, 1000))
def test_shuffled_partners_never_stay(n: int, seed: int) -> None:
    order = _elsewhere(n, seed)
    assert sorted(order.tolist()) == list(range(n))
    assert not (order == torch.arange(n)).any()


def apart(n: int) -> torch.Tensor:
    return ~torch.eye(n, dtype=torch.bool)


def test_alignment_needs_pairs_and_knows_no_more_than_they_say() -> None:
    assert aligned(torch.ones(1, 1), apart(1)).n == 0
    two = aligned(torch.tensor([[1.0, 0.3], [0.3, 1.0]]), apart(2))
    assert two.value == pytest.approx(0.3) and math.isnan(two.low)
    same = aligned(torch.full((5, 5), 0.4).fill_diagonal_(1), apart(5))
    assert same[:3] == pytest.approx((0.4, 0.4, 0.4)), (
        "a pair is never compared with itself, also where it is drawn twice"
    )


def test_the_interval_of_alignment_covers() -> None:
    """Differences about a known direction: how often does the interval hold the cosine's
    expectation?
    """
    generator = torch.Generator().manual_seed(0)

    def draw(n: int) -> torch.Tensor:
        unit = torch.nn.functional.normalize(
            torch.randn(n, 6, generator=generator, dtype=torch.float64) + 0.5, dim=1
        )
        return unit @ unit.T

    truth = aligned(draw(2000), apart(2000), samples=2).value
    found = [aligned(draw(30), apart(30), seed=i, samples=300) for i in range(100)]
    assert sum(estimate.low <= truth <= estimate.high for estimate in found) >= 85


def test_pairs_with_a_common_word_are_not_compared(demo: Model) -> None:
    """Their differences are alike by that word alone; and an answer that other pairs have too is
    not held out.
    """
    alone = directions(demo, PAIRS)
    found = directions(demo, [*PAIRS, ("woman", "boy")])
    assert found.alignment.n == 7 and alone.alignment.n == 6
    at = vectors(demo, [word for pair in PAIRS for word in pair], "embed")
    others = [at[2 * i] - at[2 * i + 1] for i in (1, 3, 4, 5)]
    words = list(dict.fromkeys(word for pair in PAIRS for word in pair if word != "boy"))
    query = vectors(demo, ["boy"], "embed")[0] + torch.stack(others).mean(0)
    scores = cosine_similarity(query[None], vectors(demo, words, "embed"))
    assert found.nearest[6] == words[int(scores.argmax())]
    star = directions(demo, [("woman", "man"), ("woman", "boy"), ("woman", "king")])
    assert star.alignment.n == star.analogy.n == star.random.n == 0
    assert star.nearest == (None, None, None)


def test_the_start_is_never_its_own_answer() -> None:
    V = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.1]], dtype=torch.float64)
    assert analogies(V, torch.tensor([0, 1]), torch.zeros(2, 2, dtype=torch.float64)).tolist() == [
        1,
        2,
    ]


# steering
# --------------------------------------------------------------------------------------------------


def test_strength_0_changes_nothing(demo: Model) -> None:
    for everywhere in (False, True):
        found = steer(
            demo, PROMPTS, torch.randn(demo.d_model), 2, 0, everywhere=everywhere, targets=["Paris"]
        )
        assert found.before == found.after
        assert found.kl.value == found.random_kl.value == found.relative.value == 0
        assert found.targets[0].before == found.targets[0].after == found.targets[0].random


@torch.no_grad()
@pytest.mark.parametrize("name", ["gpt2", "llama", "pythia", "gemma2", "mixtral"])
def test_after_the_last_layer_steering_is_the_unembedding(name: str, demo: Model) -> None:
    model, vector = make(name, demo), torch.randn(32)
    last = model.n_layers - 1
    found = steer(model, PROMPTS, vector, last, 3.0, targets=["Paris", "Lima"], top=4096)
    before, after, kl = [], [], []
    for prompt in PROMPTS:
        resid = model.read(model.ids([model.tokenize(prompt).ids]), f"resid_post.{last}")[
            f"resid_post.{last}"
        ][0, -1]
        p, q = (model.unembed(x).double().softmax(-1) for x in (resid, resid + 3 * vector))
        before.append(float(p[token(model, "Paris")]))
        after.append(float(q[token(model, "Paris")]))
        kl.append(float((p * (p / q).log()).sum()))
    assert found.kl.value == pytest.approx(sum(kl) / 3, rel=1e-3)
    assert found.targets[0].before.value == pytest.approx(sum(before) / 3, rel=1e-3)
    assert found.targets[0].after.value == pytest.approx(sum(after) / 3, rel=1e-3)
    assert all(
        sum(p for _, p in row) == pytest.approx(1, abs=1e-6)
        for row in (*found.before, *found.after)
    )
    assert found.random_kl.value > 0


@torch.no_grad()
def test_everywhere_is_all_tokens_but_bos(demo: Model) -> None:
    vector = 2 * torch.randn(demo.d_model, generator=torch.Generator().manual_seed(0))
    found = steer(demo, PROMPTS[:1], vector, 1, everywhere=True)

    def put(resid: torch.Tensor) -> torch.Tensor:
        return torch.cat([resid[:, :1], resid[:, 1:] + vector], 1)

    with demo.patched({"resid_post.1": put}):
        expected = demo(demo.ids([demo.tokenize(PROMPTS[0]).ids]))[0, -1].softmax(-1)
    assert found.after[0][0][1] == pytest.approx(float(expected.max()), abs=1e-5)
    alone = steer(demo, PROMPTS[:1], vector, 1)
    assert alone.kl != found.kl


def test_prompts_alone_or_together(demo: Model) -> None:
    vector = torch.randn(demo.d_model)
    together = steer(demo, PROMPTS, vector, 3)
    for i, prompt in enumerate(PROMPTS):
        alone = steer(demo, [prompt], vector, 3)
        assert [t for t, _ in alone.after[0]] == [t for t, _ in together.after[i]]


# concepts
# --------------------------------------------------------------------------------------------------


def test_a_name_is_half_each_of_its_parts(demo: Model) -> None:
    """At the embedding a text is the mean of its tokens, so the fit is exact."""
    found = concept(demo, ["Michael", "Jordan"], ["Michael Jordan", "Michael", "Osaka"])
    torch.testing.assert_close(
        found.coefficients[:2], torch.tensor([[0.5, 0.5], [1.0, 0.0]]), atol=1e-5, rtol=0
    )
    assert found.explained[:2] == pytest.approx((1, 1))
    assert found.explained[2] < 0.2
    assert float(found.cosines[1, 0]) == pytest.approx(1)
    assert float(found.overlap[0, 1]) == pytest.approx(float(found.cosines[1, 1]), abs=1e-6)
    assert sum(found.random) / 3 == pytest.approx(2 / demo.d_model, abs=0.02)


@given(st.integers(0, 1000), st.integers(1, 6), st.integers(1, 4))
def test_least_squares_by_the_normal_equations(seed: int, concepts: int, texts: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    C, X = (torch.randn(n, 12, generator=generator, dtype=torch.float64) for n in (concepts, texts))
    β = coefficients(X, C)
    torch.testing.assert_close(β, X @ C.T @ torch.linalg.inv(C @ C.T), atol=1e-7, rtol=1e-6)
    left = (X - β @ C).square().sum(-1) / X.square().sum(-1)
    torch.testing.assert_close(explained(X, C, β), 1 - left, atol=1e-9, rtol=0)
    twice = torch.cat([C, C[:1]])
    torch.testing.assert_close(
        explained(X, twice, coefficients(X, twice)), explained(X, C, β), atol=1e-7, rtol=0
    )


@pytest.mark.parametrize("name", ["llama", "pythia", "gemma2", "mixtral"])
def test_other_families(name: str, demo: Model) -> None:
    model = make(name, demo)
    for point in ("embed", "resid_post.1"):
        found = directions(model, PAIRS, point=point)
        assert found.direction.shape == (32,) and found.direction.isfinite().all()
        assert concept(model, ["Michael"], ["Michael Jordan"], point).explained[0] <= 1 + 1e-9


def test_documents_and_figures(demo: Model, world: FactSet) -> None:
    many = [(fact.subject, fact.answer) for fact in world if fact.relation == "country_capital"][
        :50
    ]
    for pairs in (PAIRS, many, PAIRS[:1], PAIRS[:2]):
        found = directions(demo, pairs)
        assert (
            json.loads(json.dumps(found.to_dict(), allow_nan=False))["schema"]
            == "loci.directions/1"
        )
        assert len(found.to_dict()["pairs"]) == len(pairs)
        assert len(directions_figure(found).data) == 2
    steered = steer(demo, PROMPTS, found.direction, 0, targets=["Paris"])
    assert json.loads(json.dumps(steered.to_dict(), allow_nan=False))["schema"] == "loci.steered/1"
    assert "3 prompts" in steered_figure(steered).layout.title.text
    mixed = concept(demo, ["Michael", "Jordan"], ["Michael Jordan"])
    assert json.loads(json.dumps(mixed.to_dict(), allow_nan=False))["schema"] == "loci.concepts/1"
    assert concepts_figure(mixed).data[0].z[0] == pytest.approx((0.5, 0.5), abs=1e-5)


def test_what_cannot_be_asked(demo: Model) -> None:
    for pairs, says in (
        ([], "a pair of words"),
        ([("a", "b", "c")], "no pair"),
        (["ab"], "no pair"),
        ([("man", " ")], "no difference"),
        ([("man", "man ")], "no difference"),
        ([("woman", "man"), ("woman", "man")], "twice"),
    ):
        with pytest.raises(FactError, match=says):
            directions(demo, pairs)
    with pytest.raises(FactError, match="empty text"):
        vectors(demo, ["man", " "], "embed")
    with pytest.raises(ModelError, match=r"resid_post.0 … resid_post.5"):
        direction(demo, PAIRS, point="resid_post.6")
    with pytest.raises(ModelError, match="residual stream's width"):
        direction(demo, PAIRS, point="mlp_act.0")
    vector = torch.ones(demo.d_model)
    with pytest.raises(FactError, match="needs a prompt"):
        steer(demo, [], vector, 0)
    for layer in (-1, 6):
        with pytest.raises(ModelError, match="expected resid_post"):
            steer(demo, PROMPTS, vector, layer)
    for wrong in (torch.ones(3), vector / 0):
        with pytest.raises(ModelError, match="256 finite numbers"):
            steer(demo, PROMPTS, wrong, 0)
    with pytest.raises(FactError, match="say a word and a text"):
        concept(demo, [], ["Osaka"])
    with pytest.raises(FactError, match="say a word and a text"):
        concept(demo, ["Osaka"], [])
    with pytest.raises(FactError, match="explain any vector"):
        concept(demo, [f"word{i}" for i in range(256)], ["Osaka"])


@pytest.mark.parametrize(
    "pairs, compared",
    [
        ([("woman", "man")], 0),
        ([("woman", "man"), ("queen", "king")], 2),
        ([("woman", "man"), ("man", "king")], 0),
        ([("woman", "man"), ("queen", "king"), ("mother", "father")], 3),
    ],
)
def test_few_pairs_are_said_and_nothing_is_nan(
    demo: Model, capsys: pytest.CaptureFixture[str], pairs: list[tuple[str, str]], compared: int
) -> None:
    from loci.cli.show import show

    found = directions(demo, pairs)
    show(found)
    printed = " ".join(capsys.readouterr().out.split())
    assert "nan" not in printed.lower().replace("nancy", "")
    assert ("of the pairs can be compared" in printed) == (compared < 3)
    assert found.alignment.n == compared
