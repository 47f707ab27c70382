"""One function a picture; `plot` finds the one that belongs to a result."""

from loci.figures.dispatch import check_ending, check_image, has_figure, plot, save
from loci.figures.ladder import Ladder

__all__ = ["Ladder", "check_ending", "check_image", "has_figure", "plot", "save"]
