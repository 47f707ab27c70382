"""The formats that a dictionary can be written in."""

from typing import Literal

SavedFormat = Literal["loci", "saelens", "sparsify"]
