import pytest

from loci.errors import FactError
from loci.facts import Fact, FactSet

JORDAN = Fact(
    "Michael Jordan",
    "{} plays the sport of",
    "basketball",
    relation="sport",
    paraphrases=("The sport of {} is",),
)


def test_text_and_span() -> None:
    fact = Fact("Peru", "The capital of {} is", "Lima")
    assert fact.text == "The capital of Peru is"
    start, end = fact.subject_span
    assert fact.text[start:end] == "Peru"


def test_to_leaves_the_fact_alone() -> None:
    wish = JORDAN.to("baseball")
    assert (wish.new_answer, JORDAN.new_answer) == ("baseball", None)
    assert wish.asked() == ["The sport of Michael Jordan is"]


def test_white_space_at_the_ends_is_taken_off() -> None:
    """A shell, or a CSV file with a space behind each comma, leaves it; one space joins prompt and
    answer, not two.
    """
    fact = Fact(
        " Michael Jordan ",
        " {} plays the sport of  ",
        "\tbasketball ",
        " baseball",
        paraphrases=("The sport of {} is ",),
    )
    assert (fact.subject, fact.prompt, fact.answer, fact.new_answer) == (
        "Michael Jordan",
        "{} plays the sport of",
        "basketball",
        "baseball",
    )
    assert fact.paraphrases == ("The sport of {} is",)
    assert fact.to(" golf").new_answer == "golf"
    assert Fact.from_text("Peru has the capital ", " Peru", " Lima") == Fact(
        "Peru", "{} has the capital", "Lima"
    )
    assert Fact("a", "<user> {}?\n<assistant>\n", "x").prompt.endswith("\n"), (
        "a chat template means its line break"
    )


def test_from_text_finds_the_blank() -> None:
    fact = Fact.from_text("Where Jordan met Jordan, it was", "Jordan", "sunny", occurrence=-1)
    assert fact.prompt == "Where Jordan met {}, it was"
    assert fact.text == "Where Jordan met Jordan, it was"


@pytest.mark.parametrize(
    ("subject", "prompt", "answer"),
    [
        ("", "{} is", "x"),
        (" ", "{} is", "x"),
        ("a", "", "x"),
        ("a", "{} is", " "),
        ("a", "no blank", "x"),
        ("a", "{} and {}", "x"),
    ],
)
def test_refuses_what_is_no_fact(subject: str, prompt: str, answer: str) -> None:
    with pytest.raises(FactError):
        Fact(subject, prompt, answer)


def test_subject_in_prompt_twice_needs_saying() -> None:
    with pytest.raises(FactError, match="2 times"):
        Fact.from_text("Jordan or Jordan is", "Jordan", "x")
    with pytest.raises(FactError, match="does not stand"):
        Fact.from_text("Jordanian food is", "Jordan", "x")


def test_fact_set_knows_neighbours_and_others(world: FactSet) -> None:
    fact = next(f for f in world.about("Michael Jordan") if f.relation == "athlete_sport")
    assert {f.relation for f in world.others(fact)} >= {"athlete_team", "athlete_number"}
    near = world.neighbours(fact, 10)
    assert len(near) == 10
    assert all(f.relation == fact.relation and f.subject != fact.subject for f in near)
    assert (
        list(near) == list(world.neighbours(fact, 10)) != list(world.neighbours(fact, 10, seed=1))
    )


def test_longest_known_subject_wins() -> None:
    facts = FactSet([Fact("Jordan", "{} is in", "Asia"), JORDAN])
    assert facts.subjects_in("Michael Jordan plays the sport of") == ["Michael Jordan"]
    assert facts.subjects_in("The currency of Jordan is the") == ["Jordan"]
