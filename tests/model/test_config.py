"""A checkpoint's folder whose config.json, or what lies beside it, is not what it should be."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import loci
from loci.errors import LociError, ModelError
from loci.model import census, open_empty, open_model, open_weights
from loci.model.families import GPT2
from loci.model.layouts import read_layout

DEMO = Path(loci.__file__).parent / "demo" / "model"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    for file in DEMO.iterdir():
        (made / file.name).symlink_to(file)
    return made


def written(folder: Path, **change: Any) -> Path:
    base = json.loads((DEMO / "config.json").read_text())
    return text(folder, json.dumps({k: v for k, v in {**base, **change}.items() if v is not ...}))


def text(folder: Path, document: str) -> Path:
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(document)
    return folder


OPENERS = (open_model, open_weights, open_empty)


@pytest.mark.parametrize(
    "document",
    [
        "",
        "null",
        "[]",
        '"gpt2"',
        "3",
        "{}",
        "{",
        "[" * 100_000,
        '{"a": 1, "a": 2}',
        '{"a": "\\ud800"}',
    ],
)
def test_documents_that_are_no_configuration(folder: Path, document: str) -> None:
    for opens in OPENERS:
        with pytest.raises(ModelError, match=r"config\.json") as error:
            opens(text(folder, document))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("model_type", ["gpt2"], "model_type: expected text, found ['gpt2']"),
        ("model_type", None, "model_type is missing"),
        *(
            ("n_layer", bad, "n_layer: expected an integer between 0 and 1,000, found")
            for bad in (-1, "six", None, 1.5, 10**9, True, [])
        ),
        *(
            ("n_head", bad, "n_head: expected an integer between 1 and 100,000, found")
            for bad in (0, -4, None, "x", 2.0)
        ),
        *(
            ("vocab_size", bad, "vocab_size: expected an integer between 1 and 100,000,000")
            for bad in (0, -1, 10**12, {}, [4096])
        ),
        *(
            ("eos_token_id", bad, "eos_token_id: expected the number of a token")
            for bad in ("x", 1.5, [0, "x"], [], 10**30, False)
        ),
        ("n_positions", 0, "n_positions: expected"),
        ("n_inner", -1, "n_inner: expected"),
        (
            "layer_norm_epsilon",
            -1.0,
            "layer_norm_epsilon: expected a number between 0 and 1, found -1.0",
        ),
        (
            "layer_norm_epsilon",
            float("nan"),
            "layer_norm_epsilon: expected a number between 0 and 1, found nan",
        ),
        ("dtype", "int8", "dtype: expected a floating-point dtype of torch, found 'int8'"),
        ("dtype", 7, "dtype: expected the name of a dtype, found 7"),
        (
            "activation_function",
            "six",
            "activation_function: expected a function that transformers knows, found 'six'",
        ),
        ("architectures", [1], "architectures: expected a list of names, found [1]"),
        ("quantization_config", "x", "quantization_config: expected an object, found 'x'"),
        *(
            ("rope_parameters", {"rope_theta": bad}, "rope_parameters: rope_theta: expected a posi")
            for bad in (0, -1.0, "x", float("nan"))
        ),
        ("rope_theta", -1, "rope_theta: expected a positive number, found -1"),
        ("rope_scaling", {"full_attention": {"factor": 0}}, "factor: expected a positive number"),
        ("id2label", 5, "id2label: expected an object, found 5"),
        ("attn_pdrop", "x", "attn_pdrop"),
        ("use_cache", "x", "use_cache"),
    ],
)
def test_fields_that_cannot_be(folder: Path, field: str, value: object, words: str) -> None:
    written(folder, **{field: value})
    for opens in OPENERS:
        with pytest.raises(ModelError) as error:
            opens(folder)
        assert words in str(error.value)
        assert str(error.value).isprintable()
    with pytest.raises(ModelError):
        open_empty(folder / "config.json")


def test_what_checkpoints_have_is_taken(folder: Path) -> None:
    for change in (
        {"eos_token_id": [0, 5], "pad_token_id": -1},
        {"dtype": ..., "torch_dtype": "float16"},
        {"n_inner": ..., "transformers_version": "4.2"},
        {"time_step_limit": [0.0, float("inf")], "architectures": None},
    ):
        assert open_model(written(folder, **change)).n_layers == 6


@pytest.mark.parametrize(
    ("layers", "words"),
    [(3, "says 3 layers"), (0, "says 0 layers"), (7, "says 7 layers"), (999, "says 999 layers")],
)
def test_layers_that_the_weights_do_not_hold(folder: Path, layers: int, words: str) -> None:
    with pytest.raises(ModelError, match=rf"{words}, and the weights hold 6"):
        open_model(written(folder, n_layer=layers))


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        (
            "n_embd",
            128,
            (
                r"transformer\.wte\.weight is \[4096, 256\] in the weights and \[4096, 128\] by"
                r" config\.json"
            ),
        ),
        (
            "vocab_size",
            5000,
            (
                r"transformer\.wte\.weight is \[4096, 256\] in the weights and \[5000, 256\] by"
                r" config\.json"
            ),
        ),
        (
            "n_inner",
            100,
            r"mlp\.c_fc\.weight is \[256, 1024\] in the weights and \[256, 100\] by config\.json",
        ),
        ("n_head", 7, "n_head|divisible|num_heads"),
    ],
)
def test_sizes_that_do_not_fit_the_weights(
    folder: Path, field: str, value: int, words: str
) -> None:
    with pytest.raises(ModelError, match=words):
        open_model(written(folder, **{field: value}))


def test_a_window_without_a_width(folder: Path) -> None:
    text(folder, json.dumps({"model_type": "llama", "layer_types": ["sliding_attention"] * 32}))
    with pytest.raises(ModelError, match="sliding_attention, and sliding_window is missing"):
        open_model(folder)


def test_heads_that_share_keys_unevenly(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "llama", "num_attention_heads": 8, "num_key_value_heads": 3})
    )
    with pytest.raises(
        ModelError, match="num_key_value_heads: expected a divisor of the 8 heads, found 3"
    ):
        open_empty(tmp_path)


FILES = ["config.json", "tokenizer.json", "model.safetensors", "tokenizer_config.json"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("what", ["folder", "loop", "nothing", "list", "garbage"])
def test_files_that_are_none(folder: Path, name: str, what: str) -> None:
    path = folder / name
    path.unlink()
    if what == "folder":
        path.mkdir()
    elif what == "loop":
        path.symlink_to(path)
    elif what in ("list", "garbage"):
        path.write_bytes(b"[1]" if what == "list" else b"\xff\x00{")
    optional = name == "tokenizer_config.json" and what == "nothing"
    try:
        assert open_model(folder).n_layers == 6
        assert optional
    except LociError as error:
        assert str(error).isprintable()
        assert not optional
        if what in ("folder", "loop"):
            assert name in str(error)


@pytest.mark.parametrize(
    ("name", "document", "words"),
    [
        ("generation_config.json", {"eos_token_id": "x"}, "eos_token_id: expected the number"),
        ("generation_config.json", {"pad_token_id": 10**9}, "pad_token_id: expected the number"),
        ("tokenizer_config.json", {"model_max_length": "x"}, "model_max_length: expected a number"),
    ],
)
def test_fields_beside_the_configuration(
    folder: Path, name: str, document: dict[str, object], words: str
) -> None:
    (folder / name).unlink()
    (folder / name).write_text(json.dumps(document))
    with pytest.raises(ModelError, match=f"{name}: {words}"):
        open_model(folder)


def test_a_folder_without_a_tokenizer(folder: Path) -> None:
    """transformers makes one of the special tokens alone."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    for opens in (open_model, open_weights):
        with pytest.raises(ModelError, match=r"has no tokenizer.*tokenizer\.json"):
            opens(folder)


def test_a_name_that_is_no_path() -> None:
    for name in ("n" * 300, "./a\0b", "/\ud800/x"):
        with pytest.raises(ModelError) as error:
            open_model(name)
        assert str(error.value).isprintable()


@pytest.mark.parametrize(
    "index",
    [
        "null",
        "[]",
        '{"weight_map": {}}',
        '{"weight_map": 3}',
        '{"weight_map": {"a": 1}}',
        "{}",
        "[" * 10**5,
    ],
)
def test_an_index_of_shards_that_is_none(folder: Path, index: str) -> None:
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ModelError, match=r"model\.safetensors\.index\.json"):
        open_model(folder)


def test_a_census_of_no_layers(folder: Path) -> None:
    with pytest.raises(ModelError, match="has no layers"):
        census(open_empty(written(folder, n_layer=0)))


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("null", "expected an object"),
        ("[]", "expected an object"),
        ('{"blocks": "transformer.h"}', "family is missing"),
        ('{"blockz": "x"}', "blockz: no field of loci.Layout; the nearest is blocks"),
        ('{"family": 3}', "family: expected text, found 3"),
        ('{"parallel": "yes"}', "parallel: expected true or false, found 'yes'"),
        ('{"flat": "up"}', "flat: expected a list of texts, found 'up'"),
        ('{"flat": [1]}', "flat: expected a list of texts"),
        ("[" * 100_000, "nested"),
        ("{", "not JSON"),
    ],
)
def test_layouts_that_are_none(tmp_path: Path, document: str, words: str) -> None:
    (tmp_path / "layout.json").write_text(document)
    with pytest.raises(ModelError, match="layout") as error:
        read_layout(tmp_path / "layout.json")
    assert words in str(error.value)


def test_a_layout_from_a_file(tmp_path: Path) -> None:
    said = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in vars(GPT2).items()
    }
    (tmp_path / "layout.json").write_text(json.dumps(said))
    assert read_layout(tmp_path / "layout.json") == GPT2
    shutil.rmtree(tmp_path)
    with pytest.raises(ModelError, match="cannot be read"):
        read_layout(tmp_path / "layout.json")
