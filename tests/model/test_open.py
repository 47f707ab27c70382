import json
import pickle
from pathlib import Path

import pytest
import torch

from loci.errors import ModelError
from loci.model import Model, open_empty, open_model, open_weights, score_answers
from loci.reading import read, read_weights
from tests.model.families import make


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
    [
        ((), "no config.json"),
        (("config.json",), "no safetensors"),
        (("config.json", "pytorch_model.bin"), "pickled weights"),
    ],
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
    with pytest.raises(ModelError, match="model_type is missing"):
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


@pytest.fixture
def saved(tmp_path: Path, demo: Model) -> Path:
    """The embedded model in a folder, in several shards."""
    demo.hf.save_pretrained(tmp_path / "saved", max_shard_size="8MB")
    demo.tokenizer.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def test_shards(saved: Path, demo: Model) -> None:
    assert len(list(saved.glob("*.safetensors"))) > 2
    assert open_model(saved).fingerprint == demo.fingerprint
    shard = sorted(saved.glob("*.safetensors"))[1]
    whole = shard.read_bytes()
    shard.unlink()
    with pytest.raises(ModelError, match=rf"lacks {shard.name}, one of the \d shards"):
        open_model(saved)
    shard.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n")
    with pytest.raises(ModelError, match=r"pointer of Git LFS.*git lfs pull"):
        open_model(saved)
    shard.write_bytes(whole)
    (saved / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(ModelError, match=r"index\.json: expected object, found \[\]"):
        open_model(saved)


def test_weights_that_are_missing_are_not_made_up(tmp_path: Path, saved: Path) -> None:
    """transformers would fill them with random numbers."""
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps({**config, "n_layer": 8}))
    with pytest.raises(ModelError, match="says 8 layers, and the weights hold 6"):
        open_model(saved)
    (saved / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    with pytest.raises(ModelError, match=r"lack lm_head\.weight"):
        open_model(saved)


@pytest.mark.parametrize("block", [0, 4])
def test_broken_weights_are_named(saved: Path, block: int) -> None:
    """Where the check on opening comes by, there; else at the first use, before any number is
    given.
    """
    from safetensors.torch import load_file, save_file

    name = f"transformer.h.{block}.mlp.c_fc.weight"
    shard = (
        saved / json.loads((saved / "model.safetensors.index.json").read_text())["weight_map"][name]
    )
    tensors = load_file(shard)
    tensors[name][3, 5] = torch.nan
    save_file(tensors, shard, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=rf"not finite: its weight {name} holds NaN"):
        score_answers(open_model(saved), [("Michael Jordan plays the sport of", "golf")])


def test_pickles_only_when_asked_for(tmp_path: Path, demo: Model) -> None:
    demo.hf.config.save_pretrained(tmp_path)
    demo.tokenizer.save_pretrained(tmp_path)
    torch.save(demo.hf.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="say pickle=True"):
        open_model(tmp_path)
    assert open_model(tmp_path, pickle=True).fingerprint == demo.fingerprint
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps({"x": Path}, protocol=2))
    with pytest.raises(ModelError, match="cannot open"):
        open_model(tmp_path, pickle=True)


@torch.no_grad()
def test_offloaded_models_are_the_same(saved: Path, tmp_path: Path, demo: Model) -> None:
    """Blocks in memory, blocks in offloaded memory and blocks on disk: the same numbers, weights
    and errors.
    """
    from loci.model import doctor

    ids = demo.ids([demo.tokenize("Michael Jordan plays the sport of").ids])
    mixed = {
        "transformer.wte": "cpu",
        "lm_head": "cpu",
        "transformer.wpe": "cpu",
        "transformer.drop": "cpu",
        "transformer.ln_f": "cpu",
    }
    mixed |= {f"transformer.h.{i}": "disk" if i % 2 else "cpu" for i in range(6)}
    for device_map in (mixed, {"": "disk"}, "auto"):
        model = open_model(saved, device_map=device_map, offload_folder=tmp_path / "off")
        assert torch.equal(model(ids), demo(ids))
        assert model.fingerprint == demo.fingerprint
        assert torch.equal(model.W_down(1), demo.W_down(1))
        assert torch.equal(
            model.read(ids, "mlp_act.3")["mlp_act.3"], demo.read(ids, "mlp_act.3")["mlp_act.3"]
        )
        torch.testing.assert_close(model.norm("mlp_norm", 1).gain, demo.norm("mlp_norm", 1).gain)
    on_disk = open_model(saved, device_map={"": "disk"}, offload_folder=tmp_path / "off")
    assert doctor(on_disk).healthy
    with pytest.raises(ModelError, match=r"W_down\.1 is offloaded"):
        on_disk.weight("W_down.1")


def test_weights_alone_read_only_what_is_asked_for(saved: Path, demo: Model) -> None:
    weights = open_weights(saved)
    assert not [name for name, parameter in weights.hf.named_parameters() if not parameter.is_meta]
    for name in ("W_up", "W_down", "W_Q", "W_K", "W_O", "b_up"):
        assert torch.equal(getattr(weights, name)(2), getattr(demo, name)(2)), name
    assert torch.equal(weights.W_U, demo.W_U)
    assert (weights.n_layers, weights.d_mlp, weights.tied, weights.fingerprint) == (
        6,
        1024,
        True,
        demo.fingerprint,
    )
    folded, expected = weights.folded("W_up.3"), demo.folded("W_up.3")
    torch.testing.assert_close(folded.weight, expected.weight)
    card, alone = read(demo, "L1N37", ["a man"]), read_weights(weights, "L1N37")
    assert (card.promotes, card.cosine, card.threshold) == (
        alone.promotes,
        alone.cosine,
        alone.threshold,
    )
    assert (alone.firing_rate, alone.triggers, alone.bos) == (None, (), None)
    (saved / sorted(p.name for p in saved.glob("*.safetensors"))[0]).unlink()
    with pytest.raises(ModelError, match="lacks"):
        open_weights(saved)


def test_experts_put_together_from_a_checkpoint(tmp_path: Path, demo: Model) -> None:
    """Mixtral stores its experts one by one; transformers fuses them on loading. Their neurons can
    be read.
    """
    model = make("mixtral", demo)
    model.hf.save_pretrained(tmp_path)
    demo.tokenizer.save_pretrained(tmp_path)
    again, alone = open_model(tmp_path), open_weights(tmp_path)
    for e in range(4):
        assert torch.equal(again.W_gate(1, e), model.W_gate(1, e))
        assert torch.equal(alone.W_down(2, e), model.W_down(2, e))
    card = read_weights(alone, "L1E2N7")
    assert card.name == "L1E2N7"
    assert card.value_norm == pytest.approx(float(model.W_down(1, 2)[:, 7].norm()))
    with pytest.raises(ModelError, match="name one, as in L1E0N7"):
        read_weights(alone, "L1N7")
    with pytest.raises(ModelError, match="this model has"):
        read_weights(alone, "L1E4N7")


def test_remote_code_only_when_asked_for(saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    config |= {
        "model_type": "mine",
        "auto_map": {"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.LM"},
    }
    (saved / "config.json").write_text(json.dumps(config))
    (saved / "mine.py").write_text("raise SystemExit('the code of the checkpoint ran')")
    for opens in (open_model, open_weights, open_empty):
        with pytest.raises(ModelError, match="cannot open"):
            opens(saved)
    with pytest.raises(SystemExit, match="ran"):
        open_model(saved, trust_remote_code=True)
