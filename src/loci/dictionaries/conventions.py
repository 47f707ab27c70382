"""Which reading of a file fits the model: libraries disagree on conventions, so the likely ones are
measured.

A file does not say whether its b_dec was subtracted from the input, whether a skip matrix is to be
transposed, whether a transcoder reads before or after the norm's gain, and whether an input scale
of √d / E‖x‖ or 1 / E‖x‖ was folded. Where the dictionary as the file says it is far from sense on
the model's own activations, the others are tried, alone and in pairs; the one with the lowest FVU
is taken, and it is said.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from loci.dictionaries.activations import read_rows, width_of
from loci.dictionaries.dictionary import Dictionary
from loci.dictionaries.folding import scaled, with_input_scale, with_input_shift
from loci.dictionaries.loading import load_dictionary
from loci.dictionaries.measures import Fit, fit
from loci.errors import DictionaryError
from loci.model import Model
from loci.result import About, Result
from loci.tables import Table, columns
from loci.text import sample_text
from loci.validate import named

TOKENS = 2000
POOR = 0.5
"""An FVU above this is looked into: a dictionary worth its name leaves less unexplained."""
AS_SAID = "as the file says"


@dataclass(frozen=True)
class OpenedDictionary(Result):
    """A dictionary that was measured on its model, and what was tried."""

    about: ClassVar[About] = About(
        "a dictionary",
        "Which conventions fit it?",
        "A low FVU at a plausible L0 says that it is read as it was trained.",
    )

    dictionary: Dictionary
    fit: Fit
    chosen: str
    """The reading that was taken, in words."""
    tried: tuple[tuple[str, float, float], ...]
    """Each reading that was measured, with its FVU and its L0."""

    @property
    def alive(self) -> float:
        return self.fit.alive

    def title(self) -> str:
        own = self.dictionary
        kind = "transcoder" if own.transcoder else "autoencoder"
        ends = f"{own.point} → {own.target}" if own.transcoder else str(own.point)
        k = "" if own.k is None else f", k = {own.k}"
        return (
            f"{own.features:,} features of {ends}: {own.activation} {kind}{k}, {own.d_in} →"
            f" {own.d_out} numbers, format of {own.format}"
        )

    def summary(self) -> tuple[str, ...]:
        fit = self.fit
        return (
            f"FVU {fit.fvu:.3f} · L0 {fit.l0:.1f} · {fit.alive:.1%} of features are on at one of"
            f" {fit.tokens:,} tokens · ‖ŷ‖/‖y‖ {fit.ratio:.2f} · cosine {fit.cosine:.3f}",
            f"read {self.chosen}",
        )

    def tables(self) -> tuple[Table, ...]:
        if len(self.tried) < 2:
            return ()
        best = tuple(sorted(self.tried, key=lambda own: own[1]))
        return (Table("Readings", columns("reading", "FVU|.3g", "L0|.1f"), best, shown=8),)

    def to_dict(self) -> dict[str, Any]:
        d = self.dictionary
        plain = (
            "format",
            "model",
            "point",
            "target",
            "features",
            "d_in",
            "d_out",
            "activation",
            "k",
            "transcoder",
        )
        tried = [{"reading": name, "fvu": fvu, "l0": l0} for name, fvu, l0 in self.tried]
        said = {name: getattr(d, name) for name in plain} | {"notes": dict(d.notes)}
        return {
            "schema": "loci.dictionary_opened/1",
            **said,
            "chosen": self.chosen,
            **self.fit.to_dict(),
            "tried": tried,
        }


def open_dictionary(
    model: Model,
    path: str | Path | Dictionary,
    *,
    point: str | None = None,
    target: str | None = None,
    texts: Sequence[str] | None = None,
    tokens: int = TOKENS,
    pickle: bool = False,
) -> OpenedDictionary:
    """A dictionary, measured at its point of a model, in the reading that fits.

        opened = loci.dictionaries.open_dictionary(model, "sae/layers.3.mlp")
        opened.fit.fvu, opened.fit.l0, opened.chosen

    Args:
        path: what `load_dictionary` reads, or a dictionary.
        point, target: where input and output are read; by default as the file says.
        texts: what is run; by default the embedded text.
        tokens: how many tokens are measured.

    Raises `DictionaryError` for another width or another model, a point that is not said, and where
    no reading has an FVU below 1.
    Cost: one partial pass over the tokens, and one encoding for each reading.
    """
    dictionary = path if isinstance(path, Dictionary) else load_dictionary(path, pickle=pickle)
    where = "the dictionary" if isinstance(path, Dictionary) else named(path)
    dictionary = placed(dictionary, model, where, point, target)
    assert dictionary.point is not None and dictionary.target is not None
    chosen_texts = sample_text(model, tokens + tokens // 4) if texts is None else list(texts)
    rows = read_rows(model, chosen_texts, [dictionary.point, dictionary.target], tokens=tokens)
    x, y = rows.values[dictionary.point], rows.values[dictionary.target]
    dictionary = dictionary.to("cpu")
    first = fit(dictionary, x, y)
    tried = [(AS_SAID, dictionary, first)]
    if not makes_sense(dictionary, first):
        tried += [(name, other, fit(other, x, y)) for name, other in readings(dictionary, model, x)]
    name, best, scores = min(tried, key=lambda each: each[2].fvu)
    if not scores.fvu < 1:
        told = "; ".join(
            f"{name}: FVU {f.fvu:.3g}, L0 {f.l0:.3g}"
            for name, _, f in sorted(tried, key=lambda each: each[2].fvu)[:3]
        )
        raise DictionaryError(
            f"{where}: does not fit {model.name!r} at {dictionary.point} in any known reading"
            f" ({told})"
        )
    best = replace(best, notes={**best.notes, **({"reading": name} if name != AS_SAID else {})})
    return OpenedDictionary(best, scores, name, tuple((name, f.fvu, f.l0) for name, _, f in tried))


def placed(
    dictionary: Dictionary,
    model: Model,
    where: str,
    point: str | None = None,
    target: str | None = None,
) -> Dictionary:
    """The dictionary with its point and its target, if it belongs to the model. Raises
    `DictionaryError`.
    """
    if dictionary.fingerprint is not None and dictionary.fingerprint != model.fingerprint:
        raise DictionaryError(
            f"{where}: trained on other weights than {model.name!r} has"
            f" ({dictionary.model or 'a model without a name'}, {dictionary.fingerprint[:19]})"
        )
    point = point or dictionary.point
    if point is None:
        raise DictionaryError(
            f"{where}: the file does not say where it belongs: say the point, as in --point"
            " mlp_out.3"
        )
    target = target or dictionary.target
    if not dictionary.transcoder:
        target = point
    if target is None:
        raise DictionaryError(
            f"{where}: the file does not say where its output belongs: say the target, as in"
            " --target mlp_out.3"
        )
    for name, width, at in (("takes", dictionary.d_in, point), ("gives", dictionary.d_out, target)):
        wide = width_of(model, at)
        if wide != width:
            raise DictionaryError(
                f"{where}: the dictionary {name} {width} numbers, and {at} of {model.name!r} has"
                f" {wide}"
            )
    return replace(dictionary, point=point, target=target)


def makes_sense(dictionary: Dictionary, scores: Fit) -> bool:
    """Whether nothing else need be tried: little is unexplained, and about as many features are on
    as the file says.
    """
    said = dictionary.notes.get("l0", dictionary.k)
    far = isinstance(said, (int, float)) and said > 0 and not said / 3 <= scores.l0 <= 3 * said
    return scores.fvu <= POOR and not far


def readings(dictionary: Dictionary, model: Model, x: Tensor) -> Iterator[tuple[str, Dictionary]]:
    """The known variants, alone and combined: input bias, skip, norm gain, scale."""
    groups = [
        _biases(dictionary),
        _skips(dictionary),
        _gains(dictionary, model),
        _scales(dictionary, x),
    ]
    for choice in product(*([("", None), *group] for group in groups)):
        words = [name for name, _ in choice if name]
        if not words or len(words) > 2:
            continue
        variant = dictionary
        for _, change in choice:
            variant = variant if change is None else change(variant)
        yield ", ".join(words), variant


def _biases(d: Dictionary) -> list[tuple[str, Any]]:
    if d.b_in is not None:
        return [("nothing subtracted from the input", lambda d: replace(d, b_in=None))]
    if d.d_in != d.d_out:
        return []
    return [("b_dec subtracted from the input", lambda d: replace(d, b_in=d.b_dec.clone()))]


def _skips(d: Dictionary) -> list[tuple[str, Any]]:
    if d.skip is None or d.d_in != d.d_out:
        return []
    return [
        ("skip transposed", lambda d: replace(d, skip=d.skip.T.contiguous())),
        ("without the skip", lambda d: replace(d, skip=None)),
    ]


def _gains(d: Dictionary, model: Model) -> list[tuple[str, Any]]:
    stem, _, layer = (d.point or "").partition(".")
    if stem != "mlp_in" or not model.layout.mlp_norm:
        return []
    norm = model.norm("mlp_norm", int(layer))
    gain, bias = norm.gain.float().cpu(), norm.bias.float().cpu()
    if not bool((gain.abs() > 1e-6).all()):
        return []
    return [
        (
            "input before the norm's gain",
            lambda d: with_input_shift(with_input_scale(d, 1 / gain), bias),
        )
    ]


def _scales(d: Dictionary, x: Tensor) -> list[tuple[str, Any]]:
    if d.normalise != "none":
        return []
    length = float(x.norm(dim=-1).mean())
    if d.transcoder or not length or not torch.isfinite(torch.tensor(length)):
        return []
    return [
        ("input scaled by √d / E‖x‖", lambda d: scaled(d, d.d_in**0.5 / length)),
        ("input scaled by 1 / E‖x‖", lambda d: scaled(d, 1 / length)),
    ]


def dictionary_of(given: Dictionary | OpenedDictionary) -> Dictionary:
    """The dictionary itself, where one that was measured may be given."""
    return given.dictionary if isinstance(given, OpenedDictionary) else given
