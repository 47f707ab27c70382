"""The edit as a value: made, shown, saved, applied, reverted."""

from loci.patches.folders import UNDO, apply_to_folder, revert_to_folder
from loci.patches.patch import Factors, Patch, load_patch, short

__all__ = ["UNDO", "Factors", "Patch", "apply_to_folder", "load_patch", "revert_to_folder", "short"]
