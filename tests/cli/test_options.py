"""Every option of every command: a range, choices, or a kind of free text; every command: an
example, and what all share.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer

from loci.cli import options
from loci.cli.app import app
from loci.cli.verbs import fault

FREE = {
    "TEXT", "PROMPT", "MODEL", "CONFIG", "DEVICE", "RELATION", "WORD", "TEXTS", "PAIRS", "POINT",
    "NEURON", "HEAD", "PART", "TOKEN", "SQL", "ID",
    "LOW:HIGH", "NUMBERS", "QUERY", "BASE", "EDITED", "FIRST", "SECOND", "ADDRESS", "R/N",
    "DICTIONARY",
}  # fmt: skip
"""Kinds of free text, each of which the command reads itself."""


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All commands, with their names."""
    if isinstance(getattr(command, "commands", None), dict):
        for name, below in command.commands.items():
            yield from walk(below, (*path, name))
    else:
        yield path, command


COMMANDS = dict(walk(typer.main.get_command(app)))


def kind_of(parameter: Any) -> Any:
    """The type of one value of an option."""
    annotation = parameter.type_descriptor.annotation
    return (
        get_args(annotation)[0] if getattr(annotation, "__origin__", None) is list else annotation
    )


def described(parameter: Any) -> bool:
    """Whether what the option takes is bounded, or known text."""
    kind = kind_of(parameter)
    if kind in (int, float):
        return parameter.min is not None and parameter.max is not None
    if parameter.type_descriptor.is_choice or kind in (bool, Path):
        return True
    return kind is str and parameter.metavar in FREE


def test_there_are_sixty_commands() -> None:
    assert len(COMMANDS) >= 60


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_option_has_its_range_or_its_choices(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    asked = [
        parameter
        for parameter in command.params
        if parameter.name not in ("help", "install_completion", "show_completion")
    ]
    assert not [parameter.name for parameter in asked if not described(parameter)]
    names = {name for parameter in command.params for name in parameter.opts}
    assert {"--quiet", "-q", "--json"} <= names


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_an_example_of_itself(path: tuple[str, ...]) -> None:
    text = COMMANDS[path].help or ""
    assert "Example" in text
    assert f"loci {' '.join(path)}" in text.partition("Example")[2]


@pytest.mark.parametrize(
    "path",
    [path for path in COMMANDS if "seed" in {p.name for p in COMMANDS[path].params}],
    ids=" ".join,
)
def test_seeds_are_what_every_generator_takes(path: tuple[str, ...]) -> None:
    seed = next(parameter for parameter in COMMANDS[path].params if parameter.name == "seed")
    assert (seed.min, seed.max) == (0, 2**63 - 1)


@pytest.mark.parametrize(
    "path",
    [
        ("lens",),
        ("routes",),
        ("locate",),
        ("neurons",),
        ("trace",),
        ("edit",),
        ("circuits", "fact"),
        ("circuits", "paths"),
    ],
    ids=" ".join,
)
def test_a_fact_is_asked_for_by_the_same_options(path: tuple[str, ...]) -> None:
    names = {name for parameter in COMMANDS[path].params for name in parameter.opts}
    assert {"--subject", "-s", "--answer", "-a"} <= names


def test_choices_are_those_of_the_library() -> None:
    from loci.circuits.heads import VIEWS
    from loci.editing import METHODS
    from loci.editing.remove import Removal
    from loci.locating.attribution import Method
    from loci.locating.corruption import How
    from loci.locating.neuron_scores import Baseline
    from loci.reading.atlas_answers import KINDS
    from loci.studies.attention_only.phenomena import PHENOMENA
    from loci.studies.attention_only.recipe import RATES
    from loci.writing import METHODS as STORES
    from loci.writing import SIZES
    from loci.writing.keys import GEOMETRIES
    from loci.writing.planted_models import Kind

    for ours, theirs in (
        (options.View, VIEWS),
        (options.Phenomenon, PHENOMENA),
        (options.Optimizer, RATES),
        (options.EditMethod, METHODS),
        (options.Removal, get_args(Removal)),
        (options.Estimator, get_args(Method)),
        (options.Corruption, get_args(How)),
        (options.Baseline, get_args(Baseline)),
        (options.NeuronKind, KINDS),
        (options.BlockSize, SIZES),
        (options.Geometry, GEOMETRIES),
        (options.PlantedKind, get_args(Kind)),
    ):
        assert set(get_args(ours)) == set(theirs)
    assert [method.value for method in options.StoreMethod] == list(STORES)


@pytest.mark.parametrize(
    ("value", "place", "says"),
    [
        (float("nan"), False, "no finite number"),
        (float("inf"), False, "no finite number"),
        ("half \ud83d", False, "no text"),
        ("a\0b", False, "no character 0"),
        (Path("x" * 300), False, "more than 255 bytes"),
        (Path("ok", "é" * 130, "x"), False, "more than 255 bytes"),
        ("./" + "x" * 300, True, "more than 255 bytes"),
        ("x" * 300, False, None),
        (Path("x" * 255), False, None),
        ("Łódź 中国", False, None),
        (3, False, None),
        (None, True, None),
    ],
)
def test_what_no_option_takes(value: object, place: bool, says: str | None) -> None:
    found = fault(value, place)
    assert found is None if says is None else says in str(found)


BAD = [
    (["trace", "x", "--seed", "-1"], "--seed: should be greater than or equal to 0"),
    (["trace", "x", "--seed", str(2**64)], "--seed: should be less"),
    (["recall", "--seed", "1" + "0" * 30], "--seed: should be less"),
    (["recall", "--seed", "1" * 5000], "exceeded maximum size"),
    (["recall", "--seed", "x"], "--seed: should be a valid integer"),
    (["lens", "x", "--top", "-1"], "--top: should be greater"),
    (["lens", "Osaka is in", "-a", "Japan", "--top", "99999"], "--top 99,999: the model has"),
    (["directions", "a,b", "--top", "99999"], "--top 99,999: the model has"),
    (["trace", "x", "--samples", "1000000000000"], "--samples: should be less"),
    (["routes", "--known", "-1"], "--known: should be greater"),
    (["circuits", "train", "--out", "m", "--context", "-1"], "--context: should be greater"),
    (["demo", "--edits", "0"], "--edits: should be greater"),
    (["edit", "-o", "p.safetensors", "--slack", "nan"], "--slack: should be"),
    (["trace", "x", "--batch-tokens", "0"], "--batch-tokens: should be greater"),
    (["trace", "x", "--noise", "nan"], "--noise: should be"),
    (["trace", "x", "--noise", "inf"], "--noise: should be less"),
    (["neurons", "x", "--threshold", "nan"], "--threshold: should be"),
    (["neurons", "x", "--controls", "-1"], "--controls: should be greater"),
    (["sparsity", "--threshold", "nan"], "--threshold: should be"),
    (["recall", "--dtype", "float8_e4m3fn"], "--dtype: 'float8_e4m3fn' is not one of"),
    (["recall", "--device-map", "cuda:7"], "--device-map: 'cuda:7' is not one of"),
    (["recall", "--device", "meta"], "'meta' is no device"),
    (["recall", "--device", "cuda:x"], "'cuda:x' is no device"),
    (["recall", "--facts", "x" * 300], "--facts / -f: a name of more than 255 bytes"),
    (["recall", "-m", "x" * 300], "--model / -m: a name of more than 255 bytes"),
    (["facts", "x" * 300], "a name of more than 255 bytes"),
    (["recall", "-o", "x" * 300 + ".html"], "--out / -o: a name of more than 255 bytes"),
    (["lens", "half \udcff"], "this is no text"),
    (["trace", "Osaka is in", "-s", "\udcff"], "--subject / -s: this is no text"),
    (["superposition", "phase", "--steps", "0"], "--steps: should be greater"),
    (["atlas", "build", "-o", "a", "--tokens", "0"], "--tokens: should be greater"),
    (["atlas", "build", "-o", "a", "--own", "0"], "--own: should be greater"),
    (["atlas", "find", "a", " "], "WORD is empty"),
    (["atlas", "find", "a", "x", "--cosine", "1:-1"], "holds nothing"),
    (["circuits", "heads", "--scatter"], "say --out"),
    (["circuits", "paths", "Lima is in", "--corrupted", "Lima is in"], "is the prompt itself"),
    (["circuits", "paths", "Lima is in", "--from", "L0H1"], "need --corrupted"),
    (
        ["circuits", "fact", "Lima is in", "--known", "3"],
        "say a prompt, a --facts file, or --known",
    ),
    (["trace", "--severed"], "say a prompt, or --facts FILE, or --known N"),
    (["trace", "--estimate", "integrated"], "say a prompt"),
    (["trace", "--known", "2", "--estimate", "integrated"], "are of one prompt"),
    (["trace", "Lima is in", "--resume", "r.jsonl"], "--resume is of many facts"),
    (["trace", "Lima is in", "--token", "1"], "--token says where"),
    (["facts", "-r", ""], "--relation is empty"),
    (["facts", "Osaka", "-o", "x.txt"], ".csv or .jsonl"),
    (["census", "--config", "t5"], "'t5' is no decoder"),
    (["lens", "{} is in", "-s", ""], "the subject is empty"),
    (["lens", "Lima is in", "-s", "Osaka"], "does not stand in the prompt"),
    (["write", "install", "--patch", "file/x.safetensors"], "cannot be written"),
    (["write", "install", "--patch", "x.txt"], "written as .safetensors"),
    (["edit", "--facts", "f.csv", "-o", "x.html"], "a patch is written as .safetensors"),
    (["patch", "merge", "a", "b", "-o", "x.JSON"], "a patch is written as .safetensors"),
    (
        ["patch", "compress", "a", "--rank", "1", "-o", "x.csv"],
        "a patch is written as .safetensors",
    ),
    (["write", "store", "-n", "4", "--save", "x.txt"], "written as .safetensors"),
    (["write", "planted", "--save", "file"], "file"),
    (["read", "L1N37", "-o", "x.txt"], "the ending says what is written"),
    (["write", "install", "--layer", "9"], "--layer 9: the model has the layers 0"),
    (["trace", "x"], "say --subject"),
    (["nonsense"], "No such command 'nonsense'"),
    (["trace", "--nonsense"], "No such option: --nonsense"),
    (["lens"], "Missing argument 'PROMPT'"),
]


@pytest.mark.parametrize(
    ("words", "says"),
    BAD,
    ids=[" ".join(words)[:50].encode("ascii", "replace").decode() for words, _ in BAD],
)
def test_bad_input_is_refused_in_one_line_and_nothing_is_written(
    loci, tmp_path: Path, words: list[str], says: str
) -> None:
    (tmp_path / "file").write_text("x")
    status, out, err = loci(*words)
    assert (status, out) == (2, "")
    assert err.startswith("loci: ") and err.count("\n") == 1
    assert says in err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_version_and_help_without_words(loci) -> None:
    status, out, _ = loci("--version")
    assert status == 0 and out.startswith("loci ")
    status, out, err = loci()
    assert status == 0 and "Commands" in out and not err


def test_help_lists_choices(loci) -> None:
    _, out, _ = loci("edit", "--help")
    assert "memit" in out and "alphaedit" in out and "<str>" not in out.partition("Options")[2]


def test_adapters_are_named(loci, tmp_path: Path) -> None:
    for name in ("alone", "beside"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_text("{}")
    (tmp_path / "beside" / "config.json").write_text('{"model_type": "gpt2"}')
    (tmp_path / "beside" / "model.safetensors").write_bytes(b"x")
    for name in ("alone", "beside"):
        status, _, err = loci("recall", "-m", f"./{name}")
        assert status == 2 and "holds an adapter" in err and "merge_and_unload" in err
