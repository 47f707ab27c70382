"""Factors of an input or an output, folded into a dictionary's tensors: the new one computes the
same of the scaled input.

(s ⊙ x) read by `d`  =  x read by `with_input_scale(d, s)`  s a number, or one for each coordinate
                     (a norm's gain)
"""

from dataclasses import replace

import torch
from torch import Tensor

from loci.dictionaries.dictionary import Dictionary


def with_input_scale(dictionary: Dictionary, scale: Tensor | float) -> Dictionary:
    """The dictionary that makes of x what `dictionary` makes of scale ⊙ x."""
    scale = torch.as_tensor(scale, dtype=torch.float32, device=dictionary.W_enc.device)
    b_in = None if dictionary.b_in is None else dictionary.b_in / scale
    skip = None if dictionary.skip is None else dictionary.skip * scale
    return replace(dictionary, W_enc=dictionary.W_enc * scale, b_in=b_in, skip=skip)


def with_input_shift(dictionary: Dictionary, shift: Tensor) -> Dictionary:
    """The dictionary that makes of x what `dictionary` makes of x − shift."""
    b_in = shift if dictionary.b_in is None else dictionary.b_in + shift
    b_dec = (
        dictionary.b_dec if dictionary.skip is None else dictionary.b_dec - dictionary.skip @ shift
    )
    return replace(dictionary, b_in=b_in, b_dec=b_dec)


def with_output_scale(dictionary: Dictionary, scale: float) -> Dictionary:
    """The dictionary whose output is `scale` times as large."""
    skip = None if dictionary.skip is None else dictionary.skip * scale
    return replace(
        dictionary, W_dec=dictionary.W_dec * scale, b_dec=dictionary.b_dec * scale, skip=skip
    )


def scaled(dictionary: Dictionary, scale: float) -> Dictionary:
    """An autoencoder of scale · x as one of x: E‖x‖ = 1 in training, plain activations in use."""
    return with_output_scale(with_input_scale(dictionary, scale), 1 / scale)


def ranked_by_norm(dictionary: Dictionary) -> Dictionary:
    """Of a dictionary whose top-k ranks pre-activations times decoder norms: the same with unit
    decoder rows, ranked as they are.
    """
    norms = dictionary.W_dec.norm(dim=1).clamp(min=1e-30)
    return replace(
        dictionary,
        W_enc=dictionary.W_enc * norms[:, None],
        b_enc=dictionary.b_enc * norms,
        W_dec=dictionary.W_dec / norms[:, None],
        threshold=None if dictionary.threshold is None else dictionary.threshold * norms,
    )


def without_input_bias(dictionary: Dictionary) -> Dictionary:
    """The same dictionary with nothing subtracted from its input: W (x − b_in) + b = W x + (b − W
    b_in).
    """
    return with_input_bias(dictionary, None)


def with_input_bias(dictionary: Dictionary, bias: Tensor | None) -> Dictionary:
    """The same dictionary with another bias subtracted from its input, and the difference put into
    the encoder's biases.
    """
    old = torch.zeros(dictionary.d_in) if dictionary.b_in is None else dictionary.b_in
    new = torch.zeros(dictionary.d_in) if bias is None else bias
    moved = dictionary.W_enc @ (new - old)
    b_gain = dictionary.b_gain
    if b_gain is not None and dictionary.gain is not None:
        b_gain = b_gain + dictionary.gain * moved
    return replace(dictionary, b_in=bias, b_enc=dictionary.b_enc + moved, b_gain=b_gain)
