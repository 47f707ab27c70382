"""States on disk: what is written is read back, the same state is the same bytes, and no damage
goes unseen.
"""

import json
from pathlib import Path
from random import Random

import pytest
import torch
from safetensors.torch import save_file

from loci.errors import ModelError
from loci.survey.accumulators import Rows
from loci.survey.question import KINDS, Kind, SurveyQuestion
from loci.survey.states import (
    DamagedState,
    SetAside,
    State,
    checksum,
    read_head,
    read_state,
    tensors_of,
    write_state,
)

QUESTION = SurveyQuestion(
    {
        "a": (Kind("SecondMoment"), Kind("Moments"), Kind("TopTriggers", {"k": 2})),
        "b": (Kind("Histogram", {"every": 2}),),
    }
)
HEAD = {"checkpoint": "sha256:1"}


def made() -> State:
    gathered = QUESTION.accumulators()
    values = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    for accumulators in gathered.values():
        for accumulator in accumulators:
            accumulator.update(values, Rows(torch.arange(2), torch.ones(2, dtype=torch.long)))
    return State(gathered, 3, 6, (SetAside(1, "t.txt, line 2", "not UTF-8"),))


def test_a_state_comes_back_and_is_the_same_bytes(tmp_path: Path) -> None:
    state = made()
    for name in ("one", "two", "three"):
        write_state(tmp_path / name, state, "x" * 40, HEAD)
    again = read_state(tmp_path / "one", QUESTION.accumulators(), "x" * 40)
    assert (again.texts, again.tokens, again.set_aside) == (3, 6, state.set_aside)
    assert checksum(tensors_of(again.gathered)) == checksum(tensors_of(state.gathered))
    write_state(tmp_path / "again", again, "x" * 40, HEAD)
    assert len({(tmp_path / name).read_bytes() for name in ("one", "two", "three", "again")}) == 1
    empty = State(SurveyQuestion({"a": (Kind("Moments"),)}).accumulators(), 1, 0)
    write_state(tmp_path / "empty", empty, "y" * 40, HEAD)
    assert (
        read_state(
            tmp_path / "empty", SurveyQuestion({"a": (Kind("Moments"),)}).accumulators()
        ).tokens
        == 0
    )


def test_any_damage_is_found(tmp_path: Path) -> None:
    """One byte at any place changed, the file cut at any place,
    or another state under this name.
    """
    path, random = tmp_path / "state", Random(0)
    write_state(path, made(), "x" * 40, HEAD)
    whole = path.read_bytes()
    for _ in range(150):
        at, bit = random.randrange(len(whole)), 1 << random.randrange(8)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
        with pytest.raises(ModelError) as error:
            read_state(path, QUESTION.accumulators(), "x" * 40)
        assert str(error.value).isprintable()
    for _ in range(20):
        path.write_bytes(whole[: random.randrange(len(whole))])
        with pytest.raises(DamagedState):
            read_state(path, QUESTION.accumulators(), "x" * 40)
    path.write_bytes(whole)
    with pytest.raises(DamagedState, match="something else"):
        read_state(path, QUESTION.accumulators(), "y" * 40)


def test_another_format_is_refused(tmp_path: Path) -> None:
    said = {
        "format": "loci.survey_state/2",
        "id": "",
        "head": {},
        "texts": 0,
        "tokens": 0,
        "set_aside": [],
        "sum": "",
    }
    save_file({}, tmp_path / "new", metadata={"loci": json.dumps(said)})
    with pytest.raises(
        ModelError, match=r"survey_state/2'; this version of Loci reads loci\.survey_state/1"
    ):
        read_head(tmp_path / "new")
    for other in ('{"format": "loci.dictionary/1"}', '{"format": 3}', "[]", "3", "[" * 100_000):
        save_file({}, tmp_path / "other", metadata={"loci": other})
        with pytest.raises(DamagedState, match="no whole state"):
            read_head(tmp_path / "other")


def test_states_are_sized_before_they_are_made() -> None:
    """To the byte, for every kind of accumulator."""
    for name, row in KINDS.items():
        accumulator = Kind(name).make()
        for number in range(20):
            accumulator.update(
                torch.randn(1, 3, 24), Rows(torch.tensor([number]), torch.tensor([1]))
            )
        assert sum(t.numel() * t.element_size() for t in accumulator.state().values()) == row.bytes(
            24
        ), name


@pytest.mark.parametrize(
    "document",
    [
        None,
        {},
        [],
        {"a": []},
        {"a": [["Mean", {}]]},
        {"a": [["Moments", {"k": 3}]]},
        {"a": [["TopTriggers", {"k": "3"}]]},
    ],
)
def test_what_is_no_question(document: object) -> None:
    with pytest.raises(ModelError, match=r"p\.json: question: expected"):
        SurveyQuestion.read(document, "p.json")
    assert SurveyQuestion.read(QUESTION.document(), "p.json") == QUESTION
