"""Layers as a user writes them: numbers and ranges, as `3,4,7-9`."""

import re

from loci.errors import ModelError


def layers_from(text: str | None, n_layers: int) -> list[int]:
    """Layers as `3,4,7-9`; all of them by default. Raises `ModelError`."""
    if text is None:
        return list(range(n_layers))
    layers: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,4})(?:-(\d{1,4}))?\s*", part)
        if match is None:
            raise ModelError(f"--layers {text!r}: expected numbers and ranges, as 3,4,7-9")
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last or last >= n_layers:
            raise ModelError(
                f"--layers {part.strip()}: the model has the layers 0 … {n_layers - 1}"
            )
        layers |= set(range(first, last + 1))
    return sorted(layers)
