"""Every published form, from records written here by hand with its fields."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from loci.errors import FactError
from loci.facts import Fact, FactSet, Question, conflicts, load_facts, read_facts, save_facts
from loci.facts.cleaning import repaired
from loci.facts.ripple import IRREGULAR, subject_of

COUNTERFACT = {
    "case_id": 3,
    "pararel_idx": 7,
    "requested_rewrite": {
        "prompt": "The anthem of {} was written by",
        "relation_id": "P86",
        "target_new": {"str": "Ola", "id": "Q1"},
        "target_true": {"str": "Bodil", "id": "Q2"},
        "subject": "Ruritania",
    },
    "paraphrase_prompts": ["Rain fell. Ruritania's anthem is by"],
    "neighborhood_prompts": ["The anthem of Syldavia was written by", "Borduria's anthem is by"],
    "attribute_prompts": ["The hymn of Elbonia is by"],
    "generation_prompts": ["Ruritania's anthem"],
}
ZSRE = {
    "subject": "Tower of Zett",
    "src": "Who built the tower of Zett?",
    "pred": "Nobody",
    "rephrase": "By whom was the Tower of Zett made?",
    "alt": "Ada",
    "answers": ["Ben", "Benjamin"],
    "loc": "nq question: how high is the moon",
    "loc_ans": "high",
    "cond": "Nobody >> Ada || Who built the tower of Zett?",
}


def query(prompt: str, *answers: str, target: str = "Q9") -> dict[str, Any]:
    value, *aliases = answers
    answer = {"value": value, "aliases": aliases}
    return {
        "prompt": prompt,
        "answers": [answer],
        "query_type": "regular",
        "relation": "MOTHER",
        "target_ids": [target],
    }


def test(*queries: dict[str, Any]) -> dict[str, Any]:
    return {"test_queries": list(queries), "test_condition": "OR", "condition_queries": []}


test.__test__ = False  # type: ignore[attr-defined]

RIPPLE = {
    "example_type": "popular",
    "edit": {
        "prompt": "The name of the mother of Zoe Ix is Anna Bel.",
        "subject_id": "Q3",
        "relation": "MOTHER",
        "target_id": "Q9",
        "original_fact": {
            "prompt": "The name of the mother of Zoe Ix is Anna Cor.",
            "relation": "MOTHER",
            "target_id": "Q8",
        },
    },
    "Relation_Specificity": [test(query("The gender of Zoe Ix is", "female", target="Q5"))],
    "Logical_Generalization": [
        test(query("The name of the child of Anna Bel is", "Zoe Ix", target="Q3"))
    ],
    "Subject_Aliasing": [test(query("The name of the mother of Z. Ix is", "Anna Bel", "A. Bel"))],
    "Compositionality_I": [
        test(query("The occupation of the mother of Zoe Ix is", "smith", "blacksmith"))
    ],
    "Compositionality_II": [],
    "Forgetfulness": [
        test(query("The name of the mother of Zoe Ix, which is not Anna Bel, is", "Anna Cor"))
    ],
}
KNOWEDIT = {
    "subject": "Zett",
    "prompt": "The place of death of Zett is",
    "target_new": "Ulm",
    "ground_truth": ["Bonn", "Bonn am Rhein"],
    "rephrase_prompt": "Zett died in",
    "portability": {
        "Reasoning": [
            {"prompt": "The country in which Zett died is", "ground_truth": [["Germany", "FRG"]]}
        ],
        "Subject_Aliasing": [{"prompt": "The place of death of Z. is", "ground_truth": "Ulm"}],
    },
    "locality": {
        "Relation_Specificity": [{"prompt": "The father of Zett is", "ground_truth": ["Alf"]}],
        "Forgetfulness": [
            {"prompt": "Zett, who did not die in Ulm, died in", "ground_truth": "Bonn"}
        ],
    },
}
WIKIBIO = {
    "text": "A passage about ada ix. Ada",
    "labels": "She wrote.",
    "concept": "ada ix",
    "locality": {},
}
LRE = {
    "name": "moon of planet",
    "prompt_templates": ["{} is a moon of", "The planet of {} is"],
    "prompt_templates_zs": ["{} is a moon of", "Which planet has {}? It is"],
    "properties": {
        "relation_type": "factual",
        "domain_name": "moon",
        "range_name": "planet",
        "symmetric": False,
    },
    "samples": [
        {"subject": "Io", "object": "J\\u00fapiter"},
        {"subject": "Titan", "object": "Saturn"},
    ],
}


MQUAKE = {
    "case_id": 1,
    "requested_rewrite": [
        {
            "prompt": "{} is a citizen of",
            "relation_id": "P27",
            "target_new": {"str": "Syldavia", "id": "Q2"},
            "target_true": {"str": "Borduria", "id": "Q1"},
            "subject": "Ada Ix",
            "question": "Which country is Ada Ix a citizen of?",
        },
        {
            "prompt": "The head of state of {} is",
            "relation_id": "P35",
            "target_new": {"str": "Zett", "id": "Q4"},
            "target_true": {"str": "Muskar", "id": "Q3"},
            "subject": "Syldavia",
            "question": "Who is the head of state of Syldavia?",
        },
    ],
    "questions": [
        "Who leads the country of Ada Ix?",
        "Who is head of state where Ada Ix is a citizen?",
    ],
    "answer": "Plek",
    "answer_alias": [],
    "new_answer": "Zett",
    "new_answer_alias": ["Mr. Zett"],
    "single_hops": [
        {
            "question": "?",
            "cloze": "Ada Ix is a citizen of",
            "answer": "Borduria",
            "answer_alias": ["Bordurian Republic"],
        }
    ],
    "new_single_hops": [
        {
            "question": "?",
            "cloze": "Ada Ix is a citizen of",
            "answer": "Syldavia",
            "answer_alias": ["the Kingdom"],
        }
    ],
    "orig": {"triples": []},
}
KNOWN = {
    "known_id": 0,
    "subject": "Mount Zett",
    "attribute": "Borduria",
    "template": "{} is located in",
    "prediction": " Borduria, near the sea",
    "prompt": "Mount Zett is located in",
    "relation_id": "P17",
}
CKNOWEDIT = {
    "prompt": "请给下面的字注音：子",
    "target_old": "zì",
    "target_new": "zǐ",
    "portability": [{"prompt": "请给下面的字注音：子子", "answer": "zǐ zǐ"}],
    "locality": [{"prompt": "请给下面的字注音：木", "answer": "mù"}],
    "rephrase": ["子怎么读？", "请注音：子"],
}
PARAREL = {
    "relation": "P47",
    "prompts": ["{} borders with", "{} shares border with"],
    "facts": [["Ruritania", "Syldavia"], ["Ix", 3]],
}


def write(tmp_path: Path, document: Any) -> Path:
    path = tmp_path / "set.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def read(tmp_path: Path, document: Any) -> Fact:
    (fact,) = load_facts(write(tmp_path, document))
    return fact


def test_counterfact(tmp_path: Path) -> None:
    assert read(tmp_path, [COUNTERFACT]) == Fact(
        "Ruritania",
        "The anthem of {} was written by",
        "Bodil",
        "Ola",
        relation="P86",
        held_out=("Rain fell. Ruritania's anthem is by",),
        neighbours=("The anthem of Syldavia was written by", "Borduria's anthem is by"),
        questions=(
            Question("The hymn of Elbonia is by", ("Ola",), "same-answer"),
            Question("Ruritania's anthem", (), "generation"),
        ),
    )


def test_counterfact_as_memit_has_it(tmp_path: Path) -> None:
    record = {
        **COUNTERFACT,
        "neighborhood_prompts": [{"prompt": "The anthem of Syldavia is by", "target": "Bodil"}],
    }
    assert read(tmp_path, [record]).neighbours == ("The anthem of Syldavia is by",)


def test_zsre(tmp_path: Path) -> None:
    fact = read(tmp_path, [ZSRE])
    assert fact == Fact(
        "Tower of Zett",
        "Who built the {}?",
        "Ben",
        "Ada",
        held_out=("By whom was the Tower of Zett made?",),
        neighbours=("nq question: how high is the moon?",),
        aliases=("Benjamin",),
    )
    assert read(tmp_path, [{**ZSRE, "alt": ""}]).new_answer is None
    asked = {
        "Recalled Relation": "(Zett, in, Ulm)",
        "New Question": "In which town is it?",
        "New Answer": "Ulm",
    }
    assert read(tmp_path, [{**ZSRE, "portability": asked}]).questions == (
        Question("In which town is it?", ("Ulm",), "two-hop"),
    )


def test_ripple_edits(tmp_path: Path) -> None:
    fact = read(tmp_path, [RIPPLE])
    assert (
        fact.subject,
        fact.prompt,
        fact.answer,
        fact.new_answer,
        fact.relation,
        fact.new_aliases,
    ) == (
        "Zoe Ix",
        "The name of the mother of {} is",
        "Anna Cor",
        "Anna Bel",
        "MOTHER",
        ("A. Bel",),
    )
    assert {(q.kind, q.answers) for q in fact.questions} == {
        ("same-subject", ("female",)),
        ("logical", ("Zoe Ix",)),
        ("alias", ("Anna Bel", "A. Bel")),
        ("two-hop", ("smith", "blacksmith")),
        ("kept", ("Anna Cor",)),
    }
    assert {q.kind for q in fact.questions if q.stays} == {"same-subject", "kept"}
    recent = {**RIPPLE, "edit": {k: v for k, v in RIPPLE["edit"].items() if k != "original_fact"}}
    new = read(tmp_path, [recent])
    assert (new.answer, new.new_answer, new.aliases, new.new_aliases) == (
        "Anna Bel",
        None,
        ("A. Bel",),
        (),
    )


@pytest.mark.parametrize(
    "relation", [*IRREGULAR, "FATHER", "PLACE_OF_BIRTH", "COUNTRY_OF_CITIZENSHIP"]
)
def test_subjects_in_the_sentences_of_every_relation(relation: str) -> None:
    forms = {
        "FATHER": "The name of the father of {} is",
        "PLACE_OF_BIRTH": "The place of birth of {} is",
    }
    template = (
        IRREGULAR.get(relation)
        or forms.get(relation)
        or "The name of the country of citizenship of {} is"
    )
    said = [f"{template.format('Ada of Ix')} {answer}." for answer in ("This Is Us", "This Was")]
    assert subject_of(relation, said) == ("Ada of Ix", template, ["This Is Us", "This Was"])


def test_no_subject() -> None:
    with pytest.raises(FactError, match="no subject can be found"):
        subject_of("MOTHER", ["Ada is the mother of Ben."])


def test_knowedit(tmp_path: Path) -> None:
    assert read(tmp_path, [KNOWEDIT]) == Fact(
        "Zett",
        "The place of death of {} is",
        "Bonn",
        "Ulm",
        aliases=("Bonn am Rhein",),
        held_out=("Zett died in",),
        questions=(
            Question("The country in which Zett died is", ("Germany", "FRG"), "two-hop"),
            Question("The place of death of Z. is", ("Ulm",), "alias"),
            Question("The father of Zett is", ("Alf",), "same-subject"),
            Question("Zett, who did not die in Ulm, died in", ("Bonn",), "kept"),
        ),
    )
    recent = read(tmp_path, [{k: v for k, v in KNOWEDIT.items() if k != "ground_truth"}])
    assert (recent.answer, recent.new_answer) == ("Ulm", None)
    bio = read(tmp_path, [WIKIBIO])
    assert (bio.subject, bio.prompt, bio.answer) == (
        "ada ix",
        "A passage about {}. Ada",
        "She wrote.",
    )


def test_lre(tmp_path: Path) -> None:
    io, titan = load_facts(write(tmp_path, LRE))
    assert io == Fact(
        "Io",
        "{} is a moon of",
        "Júpiter",
        relation="moon of planet",
        paraphrases=("The planet of {} is",),
        held_out=("Which planet has {}? It is",),
    )
    assert titan.answer == "Saturn"


def test_mquake(tmp_path: Path) -> None:
    found = read_facts(write(tmp_path, [MQUAKE]))
    first, second = found.facts
    assert (found.format, found.skipped) == ("MQuAKE", ())
    assert first == Fact(
        "Ada Ix",
        "{} is a citizen of",
        "Borduria",
        "Syldavia",
        relation="P27",
        held_out=("Which country is Ada Ix a citizen of?",),
        aliases=("Bordurian Republic",),
        new_aliases=("the Kingdom",),
        questions=tuple(
            Question(text, ("Zett", "Mr. Zett"), "two-hop") for text in MQUAKE["questions"]
        ),
    )
    assert (second.subject, second.answer, second.new_answer, second.questions) == (
        "Syldavia",
        "Muskar",
        "Zett",
        (),
    )


def test_facts_that_gpt2_knows(tmp_path: Path) -> None:
    assert read(tmp_path, [KNOWN]) == Fact(
        "Mount Zett", "{} is located in", "Borduria", relation="P17"
    )


def test_cknowedit(tmp_path: Path) -> None:
    fact = read(tmp_path, [CKNOWEDIT])
    assert (fact.text, fact.subject, fact.answer, fact.new_answer) == (
        CKNOWEDIT["prompt"],
        CKNOWEDIT["prompt"],
        "zì",
        "zǐ",
    )
    assert fact.held_out == ("子怎么读？", "请注音：子")
    assert [(q.kind, q.answers) for q in fact.questions] == [
        ("logical", ("zǐ zǐ",)),
        ("unrelated", ("mù",)),
    ]
    none = {k: v for k, v in CKNOWEDIT.items() if k not in ("portability", "rephrase")} | {
        "locality": None
    }
    assert read(tmp_path, [none]).questions == ()


def test_pararel(tmp_path: Path) -> None:
    found = read_facts(write(tmp_path, PARAREL))
    assert list(found.facts) == [
        Fact(
            "Ruritania",
            "{} borders with",
            "Syldavia",
            relation="P47",
            paraphrases=("{} shares border with",),
        )
    ]
    assert (found.format, len(found.skipped)) == ("ParaRel", 1)
    assert "record 2: answer: expected text, found 3" in found.skipped[0]


RECORDS = [COUNTERFACT, ZSRE, RIPPLE, KNOWEDIT, WIKIBIO, MQUAKE, KNOWN, CKNOWEDIT]


@pytest.mark.parametrize("record", RECORDS)
def test_sets_a_record_a_line(tmp_path: Path, record: dict[str, Any]) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for _ in range(2)))
    found = read_facts(path)
    assert found.format.endswith(", JSONL")
    assert list(found.facts) == 2 * list(load_facts(write(tmp_path, [record])))


LEAVES: list[Any] = [
    3,
    None,
    [],
    {},
    [None],
    [[3]],
    "",
    True,
    -1.5,
    "x",
    ["x"],
    {"x": 1},
    {"str": 5},
    "\ud800",
]


def changed(value: Any, path: tuple[Any, ...], leaf: Any) -> Any:
    if not path:
        return leaf
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], leaf)
    return copy


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


@pytest.mark.parametrize("record", [*RECORDS, LRE, PARAREL])
def test_anything_anywhere_in_a_record_is_text_or_one_line(
    tmp_path: Path, record: dict[str, Any]
) -> None:
    path = tmp_path / "a.json"
    every = [(place, leaf) for place in places(record)[1:] for leaf in LEAVES]
    for place, leaf in random.Random(0).sample(every, min(200, len(every))):
        path.write_text(json.dumps(changed(record, place, leaf)))
        try:
            facts = read_facts(path).facts
        except FactError as error:
            assert str(error).isprintable(), (place, leaf)
            continue
        for fact in facts:
            assert all(len(alias) > 1 or alias == "x" for alias in fact.aliases), (
                place,
                leaf,
                "a word cut into letters",
            )
        texts = [fact.to_dict() for fact in facts]
        save_facts(facts, tmp_path / "b.jsonl")
        assert [fact.to_dict() for fact in load_facts(tmp_path / "b.jsonl")] == texts, (place, leaf)


def test_a_folder_of_sets(tmp_path: Path) -> None:
    for name, document in {"b/one.json": LRE, "a.json": [COUNTERFACT]}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(document))
    found = read_facts(tmp_path)
    assert (found.format, [f.subject for f in found.facts]) == (
        "CounterFact, LRE",
        ["Ruritania", "Io", "Titan"],
    )
    (tmp_path / "b" / "c" / "d").mkdir(parents=True)
    (tmp_path / "b" / "c" / "d" / "deep.json").write_text("not read")
    (tmp_path / "b" / ".hidden.json").write_text("not read")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert len(read_facts(tmp_path).facts) == 3
    for number in range(60):
        (tmp_path / f"{number}").mkdir()
        for name in range(100):
            (tmp_path / f"{number}" / f"{name}").touch()
    with pytest.raises(FactError, match="more than 5,000 files below it"):
        read_facts(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FactError, match=r"no \.json file"):
        load_facts(tmp_path / "empty")


def test_counts_and_what_is_left_out(tmp_path: Path) -> None:
    path = write(
        tmp_path, [ZSRE, {**ZSRE, "subject": "Castle"}, "x", {"src": "?"}, {**ZSRE, "answers": 3}]
    )
    with pytest.raises(
        FactError, match=r"record 2: the subject 'Castle' does not stand.*3 more of 5.*loci facts"
    ):
        load_facts(path)
    found = read_facts(path)
    assert [line.split(": ", 1)[1].split(" ")[0] for line in found.skipped] == [
        "the",
        "not",
        "a",
        "expected",
    ]
    assert "record 4: a record of zsRE without 'answers'" in found.skipped[2]
    assert found.counts == {
        "facts": 1,
        "subjects": 1,
        "relations": 0,
        "edits": 1,
        "conflicts": 0,
        "held_out": 1,
        "neighbours": 1,
        "aliases": 1,
    }
    assert found.to_dict()["schema"] == "loci.facts/1"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[]", "expected a list of records"),
        ("3", "expected a list of records"),
        ('[{"x": 1}]', "a record with x is of no known set"),
        ('{"prompt_templates": [], "samples": []}', "one at least"),
        ('{"prompt_templates": ["{} is"], "samples": []}', "no facts"),
        ("[" * 100_000, "nested more than 100 deep"),
    ],
)
def test_what_is_no_set(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(FactError, match=says):
        load_facts(tmp_path / "a.json")


@pytest.mark.parametrize("record", [COUNTERFACT, ZSRE, RIPPLE, KNOWEDIT, WIKIBIO])
def test_what_is_read_is_written_and_read_again(tmp_path: Path, record: dict[str, Any]) -> None:
    facts = load_facts(write(tmp_path, [record]))
    save_facts(facts, tmp_path / "a.jsonl")
    assert list(load_facts(tmp_path / "a.jsonl")) == list(facts)
    if facts[0].questions:
        with pytest.raises(FactError, match=r"questions.*write \.jsonl"):
            save_facts(facts, tmp_path / "a.csv")
    else:
        save_facts(facts, tmp_path / "a.csv")
        assert list(load_facts(tmp_path / "a.csv")) == list(facts)


def test_unicode_that_was_escaped_twice() -> None:
    assert repaired({"a": ["Bogot\\u00e1", "\\ud83d\\ude00"]}) == {"a": ["Bogotá", "😀"]}
    assert repaired("\\ud83d alone, \\u12 short, é, 3") == "\\ud83d alone, \\u12 short, é, 3"


def test_conflicts() -> None:
    fact = Fact("Io", "{} is a moon of", "Jupiter", "Mars", relation="moon")
    other = Fact("Io", "The planet of {} is", "Jupiter", "Venus", relation="moon")
    same, plain = (
        Fact("Io", "{} is a moon of", "Jupiter", "Mars"),
        Fact("Io", "{} is a moon of", "Jupiter"),
    )
    assert [c.same for c in conflicts([fact, other, same, plain])] == [False, True]
    assert [(c.first, c.second) for c in conflicts([fact], [fact, other])] == [
        (fact, fact),
        (fact, other),
    ]
    assert "'Mars' and 'Venus'" in str(conflicts([fact, other])[0])
    assert (
        conflicts(
            FactSet([fact, Fact("Titan", "{} is a moon of", "Saturn", "Mars", relation="moon")])
        )
        == []
    )


@pytest.mark.parametrize(
    "question",
    [
        3,
        {"prompt": ""},
        {"prompt": "x", "answers": 3, "kind": "alias"},
        {"prompt": "x", "answers": [], "kind": "odd"},
    ],
)
def test_questions_that_are_none(tmp_path: Path, question: Any) -> None:
    row = {"subject": "Io", "prompt": "{} is", "answer": "a moon", "questions": [question]}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    with pytest.raises(FactError, match="line 1: "):
        load_facts(tmp_path / "a.jsonl")
