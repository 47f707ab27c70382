"""How an answer joins its prompt: by writing, or as the model itself goes on; the same for scores,
traces, edits and audits.
"""

import pytest
import torch

from loci.auditing import recall
from loci.editing import TargetSettings, training_prompts
from loci.errors import FactError, ModelError
from loci.facts import Fact
from loci.locating import trace
from loci.model import Model, answer_of, complete, open_model, score_answers
from loci.model.joins import by_writing, joins, with_answer
from tests.conftest import tiny_gpt2

WRITTEN = {
    "Michael Jordan plays the sport of": " ",
    "The capital of France?": " ",
    "Answer:": " ",
    "<|user|>\nCapital of Italy?\n<|assistant|>\n": "",
    "Capital of Italy?\t": "",
    "中国的首都是": "",
    "日本の首都は": "",
    "ประเทศไทยมีเมืองหลวงคือ": "",
    "首都：": "",
    "首都是「": "",
    "프랑스의 수도는": " ",
    "عاصمة مصر هي": " ",
    "The capital is (": "",
    "The capital is “": "",
    'The capital is "': "",
    'He said "no" and': " ",
    'He said "no"': " ",
    "The capital is '": "",
    "The capital of the Jordans'": " ",
    "It costs $": "",
    "a well-": "",
    "The score: 3 -": " ",
    "In bold: **": " ",
    "In bold: *": "",
    "The end<|endoftext|>": "",
    "What a day 🙂": " ",
}
SAID = {
    "Q: capital of Italy?\nA:\n": "Rome",
    "中国的首都是": "北京",
    "Michael Jordan plays the sport of": " golf",
    'Its name is "': "Tower",
    "[INST] capital of Spain? [/INST]": "Madrid",
    "The answer follows.\n": " Lima",
}
"""What the taught model says, with its join: of the last two, another one than people write."""


@pytest.fixture(scope="module")
def taught(demo: Model) -> Model:
    """A tiny model that learnt these continuations by heart."""
    tiny = tiny_gpt2(demo)
    rows = []
    for prompt, answer in SAID.items():
        base = tiny.tokenize(prompt).ids
        whole = tiny.tokenize(f"{prompt}{answer}.").ids
        assert whole[: len(base)] == base
        rows.append((torch.tensor([whole]), len(base)))
    optimiser = torch.optim.Adam(tiny.hf.parameters(), lr=3e-3)
    for _ in range(60):
        losses = []
        for ids, start in rows:
            logits = tiny(ids)[0, start - 1 : -1]
            losses.append(torch.nn.functional.cross_entropy(logits, ids[0, start:]))
        torch.stack(losses).mean().backward()
        optimiser.step()
        optimiser.zero_grad()
    return tiny


def fact(prompt: str, answer: str, subject: str) -> Fact:
    return Fact.from_text(prompt, subject, answer.strip())


FACTS = [
    fact(prompt, answer, subject)
    for (prompt, answer), subject in zip(
        SAID.items(), ("Italy", "中国", "Michael Jordan", "name", "Spain", "answer"), strict=True
    )
]


@pytest.mark.parametrize("prompt", WRITTEN)
def test_the_join_as_people_write_it(prompt: str, demo: Model) -> None:
    assert by_writing(prompt, demo.tokenizer.all_special_tokens) == WRITTEN[prompt]


def test_the_models_own_continuation_decides(taught: Model) -> None:
    wanted = [" " if answer.startswith(" ") else "" for answer in SAID.values()]
    assert joins(taught, list(SAID)) == wanted
    assert [said.split(".")[0] for said in complete(taught, list(SAID), 6)] == list(SAID.values())


def test_what_a_model_says_is_recalled_however_it_joins(taught: Model) -> None:
    """Behind a prompt break, Chinese, a quote, or where nobody would expect it: recall scores 1."""
    assert recall(taught, FACTS).trained.value == 1.0
    assert recall(taught, FACTS).missed == ()
    for one in FACTS:
        assert trace(taught, one, samples=2).known
        assert answer_of(taught, one.text) == one.answer
        for spaced in (f" {one.answer}", f"{one.answer} "):
            assert score_answers(taught, [(one.text, spaced)]) == score_answers(
                taught, [(one.text, one.answer)]
            )


@pytest.mark.parametrize("number", range(len(FACTS)))
def test_what_an_edit_teaches_joins_as_the_model_does(number: int, taught: Model) -> None:
    """Without a space where there was none, with one where there was one."""
    one = FACTS[number]
    wish = one.to("Paris" if number != 1 else "上海")
    (prompts,) = training_prompts(taught, [wish], TargetSettings(contexts=2, essence=0, own=0))
    said = [taught.decode(prompt.answer) for prompt in prompts if prompt.answer]
    space = " " if SAID[one.text].startswith(" ") else ""
    assert said and all(text.startswith(f"{space}{wish.new_answer}") for text in said)


def test_a_join_that_is_said_holds_everywhere(taught: Model, demo: Model) -> None:
    spaced, bare = (
        Model(taught.hf, demo.tokenizer, "said", join=join) for join in ("space", "nothing")
    )
    assert joins(spaced, list(SAID)) == [" "] * len(SAID)
    assert joins(bare, list(SAID)) == [""] * len(SAID)
    prompt = "Q: capital of Italy?\nA:\n"
    assert not score_answers(spaced, [(prompt, "Rome")])[0].greedy
    assert score_answers(bare, [(prompt, "Rome")])[0].greedy
    assert open_model("demo", join="nothing").join == ""
    with pytest.raises(ModelError, match="by 'space' or 'nothing', not 'tab'"):
        Model(taught.hf, demo.tokenizer, "said", join="tab")  # type: ignore[arg-type]


@pytest.mark.parametrize("prompt", [*WRITTEN, "in the year 19", "Mich", "of the "])
@pytest.mark.parametrize("answer", ["Rome", "北京", "98", "é", "🙂", "New York City", "'s"])
@pytest.mark.parametrize("join", ["", " "])
def test_the_tokens_of_the_prompt_are_those_of_the_prompt_alone(
    prompt: str, answer: str, join: str, demo: Model
) -> None:
    """What is scored is what the model would go on with."""
    base = demo.tokenize(prompt)
    tokens, (start, end) = with_answer(demo, prompt, answer, join)
    assert tokens.ids[:start] == base.ids and start == len(base) and end == len(tokens)
    said = demo.decode(tokens.ids[start:])
    assert (said.lstrip() == answer) if prompt.endswith(">") else (said == join + answer), (
        "a tokenizer may write its own space"
    )
    assert tokens.text == prompt + join + answer
    assert all(a >= len(prompt) or a == b for a, b in tokens.offsets[start:])
    assert len(tokens.labels) == len(tokens)


def test_no_answer_and_too_long_ones(tiny: Model) -> None:
    with pytest.raises(FactError, match="the answer is empty"):
        score_answers(tiny, [("a man", " ")])
    with pytest.raises(ModelError, match="context is 64"):
        score_answers(tiny, [("a man", "is " * 70)])
