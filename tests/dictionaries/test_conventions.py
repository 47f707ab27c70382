"""A file whose conventions are not as its format says is measured, and the reading that fits is
taken and said.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from loci.dictionaries import Dictionary, open_dictionary, save_dictionary
from loci.dictionaries.activations import read_rows
from loci.dictionaries.folding import scaled, with_input_scale, with_input_shift
from loci.dictionaries.measures import fit
from loci.errors import DictionaryError, ModelError
from loci.model import Model
from loci.text import sample_text


def mirror(d: int) -> Dictionary:
    """Gives back what it is given: relu(x) − relu(−x)."""
    eye = torch.eye(d)
    both = torch.cat([eye, -eye])
    return Dictionary(both, torch.zeros(2 * d), both, torch.zeros(d), "relu", point="mlp_out.1")


def far(d: int) -> Dictionary:
    """The same about a point far away, which has to be subtracted."""
    away = torch.full((d,), 3.0)
    return replace(mirror(d), b_dec=away, b_in=away.clone())


def test_predicting_the_mean_leaves_everything_unexplained() -> None:
    torch.manual_seed(0)
    y = torch.randn(500, 8) + 10
    nothing = Dictionary(torch.zeros(4, 8), torch.zeros(4), torch.zeros(4, 8), y.mean(0))
    assert fit(nothing, y).fvu == pytest.approx(1, abs=1e-6)
    assert fit(mirror(8), y).fvu == pytest.approx(0, abs=1e-9)
    halves = replace(nothing, b_dec=y[:250].mean(0))
    exact = ((y - halves.b_dec) ** 2).sum() / ((y - y.mean(0)) ** 2).sum()
    assert fit(halves, y).fvu == pytest.approx(float(exact), rel=1e-5)


def test_numerators_and_denominators_are_summed_apart() -> None:
    """Two blocks of very different spread: a mean of ratios would be something else."""
    torch.manual_seed(0)
    y = torch.cat([torch.randn(4096, 4), 100 * torch.randn(4096, 4)])
    worse = replace(mirror(4), W_dec=mirror(4).W_dec * 0.5)
    assert fit(worse, y).fvu == pytest.approx(
        float((0.25 * y**2).sum() / ((y - y.mean(0)) ** 2).sum()), rel=1e-5
    )
    assert fit(worse, y).ratio == pytest.approx(0.5, rel=1e-5)


def test_folding_is_exact() -> None:
    torch.manual_seed(0)
    d = Dictionary(
        *(torch.randn(s) for s in ((6, 4), (6,), (6, 4), (4,))),
        b_in=torch.randn(4),
        skip=torch.randn(4, 4),
        transcoder=True,
    )
    x, gain, shift = torch.randn(5, 4), torch.rand(4) + 0.5, torch.randn(4)
    torch.testing.assert_close(with_input_scale(d, gain)(x), d(gain * x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(with_input_shift(d, shift)(x), d(x - shift), atol=1e-5, rtol=1e-5)
    alone = replace(d, skip=None, transcoder=False)
    torch.testing.assert_close(scaled(alone, 3.0)(x), alone(3 * x) / 3, atol=1e-5, rtol=1e-5)


def test_plain_dictionary_is_taken_as_it_is(tiny: Model) -> None:
    opened = open_dictionary(tiny, mirror(32), tokens=200)
    assert opened.chosen == "as the file says"
    assert opened.fit.fvu < 1e-6 and opened.fit.tokens == 200
    assert opened.fit.l0 == pytest.approx(32, abs=0.5)  # each number is positive or negative
    assert len(opened.tried) == 1


def test_the_input_bias_that_fits_is_found(tiny: Model) -> None:
    opened = open_dictionary(tiny, replace(far(32), b_in=None), tokens=200)
    assert opened.chosen == "b_dec subtracted from the input"
    assert opened.fit.fvu < 1e-6 < 0.5 < opened.tried[0][1]
    assert opened.dictionary.notes["reading"] == opened.chosen


def test_the_input_scale_that_fits_is_found(tiny: Model) -> None:
    """f = relu(x + 1), y = f − 1 gives back what is above −1: small numbers, and not large ones."""
    eye, ones = torch.eye(32), torch.ones(32)
    file = Dictionary(eye, ones, eye.clone(), -ones, point="resid_post.2")
    with tiny.patched({"resid_post.2": lambda x: -40 * x.abs()}):
        opened = open_dictionary(tiny, file, tokens=200)
    assert opened.chosen == "input scaled by 1 / E‖x‖"
    assert opened.fit.fvu < 1e-6


def test_transposed_skip_and_gain_before_the_norm(tiny: Model) -> None:
    """A linear transcoder: y = A · (x before the gain), stored transposed."""
    torch.manual_seed(1)
    norm = tiny.module("mlp_norm", 1)
    with torch.no_grad():
        norm.weight.copy_(torch.rand(32) + 0.5)
        norm.bias.copy_(torch.randn(32))
    A = torch.randn(32, 32)
    rows = read_rows(tiny, sample_text(tiny, 400), ["mlp_in.1"], tokens=300).values["mlp_in.1"]
    plain = (rows - norm.bias.detach()) / norm.weight.detach()
    nothing = Dictionary(
        torch.zeros(4, 32),
        torch.zeros(4),
        torch.zeros(4, 32),
        torch.zeros(32),
        skip=A.T.contiguous(),
        transcoder=True,
    )
    torch.testing.assert_close(replace(nothing, skip=A)(plain), plain @ A.T, atol=1e-4, rtol=1e-4)
    seen: list[torch.Tensor] = []
    map_ = {
        "mlp_in.1": seen.append,
        "mlp_out.1": lambda _: ((seen[-1] - norm.bias) / norm.weight) @ A.T,
    }
    with tiny.patched(map_):  # what this transcoder explains
        opened = open_dictionary(tiny, nothing, point="mlp_in.1", target="mlp_out.1", tokens=300)
    assert "skip transposed" in opened.chosen and "before the norm's gain" in opened.chosen
    assert opened.fit.fvu < 1e-6


def test_what_fits_in_no_reading_is_refused(tiny: Model) -> None:
    torch.manual_seed(0)
    noise = Dictionary(
        torch.randn(64, 32), torch.zeros(64), 100 * torch.randn(64, 32), torch.zeros(32)
    )
    with pytest.raises(
        DictionaryError, match=r"does not fit 'tiny' at mlp_out.1 in any known reading \(.*FVU"
    ):
        open_dictionary(tiny, noise, point="mlp_out.1", tokens=100)


def test_foreign_dictionaries_are_one_line(tiny: Model, tmp_path: Path) -> None:
    with pytest.raises(DictionaryError, match=r"takes 16 numbers, and mlp_out\.1 of 'tiny' has 32"):
        open_dictionary(tiny, mirror(16))
    with pytest.raises(DictionaryError, match="trained on other weights"):
        open_dictionary(tiny, replace(mirror(32), fingerprint="sha256:" + "0" * 64, model="other"))
    with pytest.raises(ModelError, match=r"mlp_out\.0 … mlp_out\.2"):
        open_dictionary(tiny, replace(mirror(32), point="mlp_out.7"))
    with pytest.raises(DictionaryError, match="say the point"):
        open_dictionary(tiny, replace(mirror(32), point=None))
    with pytest.raises(DictionaryError, match="no text"):
        open_dictionary(tiny, mirror(32), texts=[" "])
    save_dictionary(mirror(32), tmp_path / "own.safetensors")
    assert open_dictionary(tiny, tmp_path / "own.safetensors", tokens=100).fit.fvu < 1e-6
