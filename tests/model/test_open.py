import json
from pathlib import Path

import pytest
import torch

from loci.errors import ModelError
from loci.model import Model, open_model


def folder(path: Path, *names: str) -> Path:
    path.mkdir(exist_ok=True)
    for name in names:
        (path / name).write_bytes(b"")
    return path


def test_a_saved_folder_opens_the_same(demo: Model, tmp_path: Path) -> None:
    demo.hf.save_pretrained(tmp_path)
    demo.tokenizer.save_pretrained(tmp_path)
    again = open_model(tmp_path)
    assert again.fingerprint == demo.fingerprint
    assert again.tokenize("Michael Jordan").ids == demo.tokenize("Michael Jordan").ids
    assert open_model(str(tmp_path), dtype="auto").dtype == torch.float32


def test_embedded_model_is_stored_in_half_precision_and_small() -> None:
    model = open_model("demo", dtype="auto")
    assert model.dtype == torch.float16
    path = Path(model.config._name_or_path)
    assert sum(file.stat().st_size for file in path.iterdir()) < 16e6
    assert json.loads((path / "config.json").read_text())["activation_function"] == "relu"


@pytest.mark.parametrize(
    ("names", "says"),
    [((), "no config.json"), (("config.json",), "no safetensors"), (("config.json", "pytorch_model.bin"), "pickled weights")],
)
def test_folders_that_are_no_models(tmp_path: Path, names: tuple[str, ...], says: str) -> None:
    with pytest.raises(ModelError, match=says):
        open_model(folder(tmp_path / "model", *names))


def test_other_bad_sources(tmp_path: Path, demo: Model) -> None:
    with pytest.raises(ModelError, match="no folder"):
        open_model("./nowhere")
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(ModelError, match="is a file"):
        open_model(file)
    demo.hf.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot open"):
        open_model(tmp_path / "model")
    with pytest.raises(ModelError, match="no dtype"):
        open_model("demo", dtype="float99")
    with pytest.raises(ModelError, match="cannot be used here"):
        open_model("demo", device="hyperdrive")


def test_unknown_hub_id_without_a_network_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("socket.getaddrinfo", no_network)
    with pytest.raises(ModelError, match="not in the local cache"):
        open_model("nobody/no-such-model-here")


def test_truncated_weights(tmp_path: Path, demo: Model) -> None:
    demo.hf.save_pretrained(tmp_path)
    demo.tokenizer.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="cannot open"):
        open_model(tmp_path)
