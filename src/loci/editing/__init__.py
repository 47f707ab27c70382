"""Edits as values: keys, targets, one solver."""

from loci.editing.edit import check_edits, default_layer, edit, key_covariance
from loci.editing.solver import Solution, solve
from loci.editing.targets import Target, TargetSettings, find_target

__all__ = [
    "Solution",
    "Target",
    "TargetSettings",
    "check_edits",
    "default_layer",
    "edit",
    "find_target",
    "key_covariance",
    "solve",
]
