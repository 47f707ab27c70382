"""Shots and chat: what stands around a prompt, and that the subject is where it was."""

import copy

import pytest

from loci.errors import FactError, ModelError
from loci.facts import Fact, FactSet, Question
from loci.model import Model
from loci.model.frames import Frame, lines

CHAT = (
    "{{ bos_token }}{% for m in messages %}<{{ m['role'] }}>\n{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>\n{% endif %}"
)
PERU = Fact(
    "Peru",
    "The capital of {} is",
    "Lima",
    relation="capital",
    paraphrases=("{}'s capital is", "It governs Peru:"),
)
OTHERS = [
    Fact(name, "The capital of {} is", city, relation="capital")
    for name, city in (("Chile", "Santiago"), ("Japan", "Tokyo"))
]


@pytest.fixture(scope="module")
def chatty(demo: Model) -> Model:
    """The embedded model with a chat template."""
    tokenizer = copy.deepcopy(demo.tokenizer)
    tokenizer.chat_template = CHAT
    return Model(demo.hf, tokenizer, "chatty")


def test_no_frame_changes_nothing(demo: Model) -> None:
    assert list(Frame().facts(demo, [PERU])) == [PERU]


def test_shots_are_lines_in_the_prompts_own_words(demo: Model) -> None:
    (asked,) = Frame(shots=2).facts(demo, [PERU], OTHERS)
    *shots, last = asked.text.split("\n")
    assert (
        sorted(shots) == ["The capital of Chile is Santiago", "The capital of Japan is Tokyo"]
        and last == PERU.text
    )
    assert sorted(asked.fill(asked.paraphrases[0]).split("\n"))[:2] == [
        "Chile's capital is Santiago",
        "Japan's capital is Tokyo",
    ]
    assert asked.fill(asked.paraphrases[1]).endswith(
        "Tokyo\nIt governs Peru:"
    ) or "Santiago\nIt" in asked.fill(asked.paraphrases[1])
    assert (asked.answer, asked.relation, asked.subject) == ("Lima", "capital", "Peru")


def test_a_chinese_shot_has_no_space() -> None:
    assert lines([("秘鲁的首都是", "利马")], "日本的首都是") == "秘鲁的首都是利马\n日本的首都是"


def test_the_subjects_tokens_are_those_of_the_subject(
    demo: Model, chatty: Model, world: FactSet
) -> None:
    """Behind shots, in a chat, and in both: what is read at the subject is read there."""
    fact = next(f for f in world.about("Michael Jordan") if f.relation == "athlete_sport")
    bare = demo.tokenize(fact.text)
    first, end = bare.span(fact.subject_span)
    for frame in (Frame(shots=3), Frame(chat=True), Frame(shots=2, chat=True)):
        (asked,) = frame.facts(chatty, [fact], world)
        tokens = chatty.tokenize(asked.text)
        start, stop = tokens.span(asked.subject_span)
        assert asked.text[slice(*asked.subject_span)] == "Michael Jordan"
        assert "".join(tokens.labels[start:stop]).replace(" ", "") == "MichaelJordan"
        assert start > first and tokens.ids[stop - 1] == bare.ids[end - 1]


def test_the_asked_subject_is_never_among_the_shots(demo: Model) -> None:
    """Not as another fact of it, not inside another name, and not where a neighbour's question
    would be answered.
    """
    named = Fact("Peruvian Andes and Peru", "The capital of {} is", "none", relation="capital")
    twice = Fact("Peru", "The capital of {} is", "Cusco", relation="capital")
    near = Fact(
        "Peru",
        "The capital of {} is",
        "Lima",
        relation="capital",
        neighbours=("The capital of Japan is",),
    )
    pool = [named, twice, *OTHERS]
    for seed in range(20):
        (asked,) = Frame(shots=2, seed=seed).facts(demo, [PERU], pool)
        assert asked.text.count("Peru") == 1
        (asked,) = Frame(shots=1, seed=seed).facts(demo, [near], pool)
        assert asked.neighbours[0].count("Japan") == 1


def test_a_draw_is_the_seeds(demo: Model, world: FactSet) -> None:
    fact = world.of("athlete_sport")[0]
    drawn = [Frame(shots=4, seed=seed).facts(demo, [fact], world)[0] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_questions_and_neighbours_stand_in_the_same_frame(chatty: Model) -> None:
    fact = Fact(
        "Peru",
        "{} has",
        "Lima",
        relation="x",
        neighbours=("Chile has",),
        questions=(Question("Who?", ("Ann",), "two-hop"),),
    )
    (asked,) = Frame(chat=True).facts(chatty, [fact])
    assert (
        asked.neighbours == ("<user>\nChile has\n<assistant>\n",)
        and asked.questions[0].prompt == "<user>\nWho?\n<assistant>\n"
    )
    assert asked.text == "<user>\nPeru has\n<assistant>\n"


def test_one_bos(chatty: Model) -> None:
    """The template's BOS and the tokenizer's are one."""
    (asked,) = Frame(chat=True).facts(chatty, [PERU])
    ids = chatty.tokenize(asked.text).ids
    assert ids.count(chatty.tokenizer.bos_token_id) == int(
        chatty.with_bos or ("{{ bos" in CHAT and not chatty.with_bos)
    )


def test_what_cannot_be_framed_is_refused(demo: Model, chatty: Model) -> None:
    with pytest.raises(FactError, match=r"3 shots .* has 2"):
        Frame(shots=3).facts(demo, [PERU], OTHERS)
    with pytest.raises(FactError, match="no relation"):
        Frame(shots=1).facts(demo, [Fact("Peru", "{} is", "big")], OTHERS)
    with pytest.raises(ModelError, match="no chat template"):
        Frame(chat=True).facts(demo, [PERU])
    deaf = copy.deepcopy(chatty.tokenizer)
    for template, why in (("hello", "does not keep"), ("{{ raise_exception('no') }}", "fails")):
        deaf.chat_template = template
        with pytest.raises(ModelError, match=why):
            Frame(chat=True).check(Model(chatty.hf, deaf, "deaf"))
