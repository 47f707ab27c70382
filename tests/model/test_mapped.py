"""Models whose weights stay in their files (device_map="disk"): the same numbers as any model, and
no page in memory longer than it is used."""

import hashlib
import mmap
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from loci.cli.opening import Opening
from loci.model import Model, mapped, open_model
from tests.model.families import make


@pytest.fixture(scope="module")
def saved(demo: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model, in float32."""
    folder = tmp_path_factory.mktemp("saved")
    demo.hf.save_pretrained(folder)
    demo.tokenizer.save_pretrained(folder)
    return folder


def in_memory(*tensors: Tensor) -> float:
    """The share of these tensors' pages that are in this process's memory. A few come with their
    neighbours.
    """
    there = []
    for tensor in tensors:
        begin, size = tensor.data_ptr(), tensor.numel() * tensor.element_size()
        first, last = -(-begin // mmap.PAGESIZE), (begin + size) // mmap.PAGESIZE
        entries = np.fromfile(
            "/proc/self/pagemap", np.uint64, max(0, last - first), offset=8 * first
        )
        there.append(entries >> np.uint64(63))
    return float(np.concatenate(there).mean())


@torch.no_grad()
def test_numbers_are_those_of_the_model_in_memory(saved: Path, demo: Model) -> None:
    model = open_model(saved, device_map="disk")
    ids = demo.ids([demo.tokenize("Michael Jordan plays the sport of").ids])
    assert torch.equal(model(ids), demo(ids))
    assert model.fingerprint == demo.fingerprint
    assert model.hf.get_input_embeddings().weight is model.hf.get_output_embeddings().weight
    assert torch.equal(model.record(ids).replay(3, demo.record(ids).resid_pre(3)), demo(ids))


def test_gradients_are_those_of_the_model_in_memory(saved: Path, demo: Model) -> None:
    ids = demo.ids([demo.tokenize("Michael Jordan plays the sport of").ids])
    found = []
    for model in (demo, open_model(saved, device_map="disk")):
        resid = model.record(ids).resid_pre(2).clone().requires_grad_()
        with model.frozen():
            model.record(ids).replay(2, resid)[0, -1].logsumexp(-1).backward()
        found.append(resid.grad)
    assert found[0] is not None and found[1] is not None and torch.equal(found[0], found[1])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pages are let go on Linux")
def test_weights_leave_memory_behind_each_use(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "HELD", 2**20)
    model = open_model(saved, device_map="disk")
    ids = model.ids([model.tokenize("Michael Jordan plays the sport of").ids])
    during: list[list[float]] = []

    def look(out: Tensor) -> None:
        during.append([in_memory(*block.parameters()) for block in model.blocks])

    with torch.no_grad(), model.patched({"mlp_out.3": look}):
        model(ids)
    assert [share > 0.3 for share in during[0]] == [False, False, False, True, False, False]
    assert in_memory(*model.hf.parameters()) < 0.02
    resid = model.record(ids).resid_pre(2).clone().requires_grad_()
    with model.frozen():
        model.record(ids).replay(2, resid)[0, -1].logsumexp(-1).backward()
    held = [in_memory(*block.parameters()) > 0.3 for block in model.blocks]
    assert held == [False, False, True, False, False, False]  # the last that the way back passes
    assert model.fingerprint
    assert in_memory(*model.hf.parameters()) < 0.3


@torch.no_grad()
def test_what_is_written_stays_and_the_file_is_as_it_was(saved: Path, demo: Model) -> None:
    file = saved / "model.safetensors"
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    model, other = open_model(saved, device_map="disk"), open_model(saved)
    ids = demo.ids([demo.tokenize("Michael Jordan plays the sport of").ids])
    for each in (model, other):
        each(ids)
        each.weight("W_down.3")[:, 5] += 1.0
        each.weight("W_up.1")[7] *= 2.0
        each(ids)
    assert torch.equal(model(ids), other(ids)) and not torch.equal(model(ids), demo(ids))
    assert model.fingerprint == other.fingerprint
    assert hashlib.sha256(file.read_bytes()).hexdigest() == before


@torch.no_grad()
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_another_precision_is_written_aside_once(saved: Path, dtype: str, tmp_path: Path) -> None:
    aside = tmp_path / "aside"
    model = open_model(saved, dtype=dtype, device_map="disk", offload_folder=aside)
    other = open_model(saved, dtype=dtype)
    assert model.dtype == other.dtype == getattr(torch, dtype)
    assert model.fingerprint == other.fingerprint
    size = sum(p.nbytes for p in model.hf.parameters())
    assert size <= sum(f.stat().st_size for f in aside.iterdir()) < 1.2 * size


@torch.no_grad()
def test_experts_that_are_stored_one_by_one(demo: Model, tmp_path: Path) -> None:
    made = make("mixtral", demo)
    made.hf.save_pretrained(tmp_path)
    demo.tokenizer.save_pretrained(tmp_path)
    model, other = open_model(tmp_path, device_map="disk"), open_model(tmp_path)
    ids = demo.ids([demo.tokenize("Michael Jordan plays the sport of").ids])
    assert torch.equal(model(ids), other(ids)) and model.fingerprint == other.fingerprint


def test_what_would_not_fit_stays_in_its_files(
    saved: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("loci.cli.common.quiet", False)  # as the last command had said
    size = (saved / "model.safetensors").stat().st_size
    for free, stays in ((size // 2, True), (2 * size, False)):
        monkeypatch.setattr("loci.survey.costs.free_bytes", lambda free=free: free)
        model = Opening(str(saved)).open()
        assert (model.mapping is not None) == stays
        assert ("larger than the free memory" in capsys.readouterr().err) == stays
