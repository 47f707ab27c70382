"""One function a picture; `plot` finds the one that belongs to a result."""

from loci.figures.dispatch import has_figure, plot
from loci.figures.ladder import Ladder
from loci.figures.saving import check_ending, check_image, save

__all__ = ["Ladder", "check_ending", "check_image", "has_figure", "plot", "save"]
