"""Edits as values: lines, keys, targets, one solver."""

from loci.editing.calibrate import Calibration, calibrate
from loci.editing.check import check_edits
from loci.editing.edit import METHODS, TOGETHER, default_layer, edit, output_changes
from loci.editing.joint import JointSettings
from loci.editing.lines import Line, LineSettings, lines_about
from loci.editing.remove import removed
from loci.editing.report import as_said, report_on, said_now, with_report
from loci.editing.solver import Covariance, NullSpace, Solution, response, solve
from loci.editing.statistics import key_moments
from loci.editing.targets import BARE, LEAN, Target, TargetSettings, find_targets

__all__ = [
    "BARE",
    "LEAN",
    "METHODS",
    "TOGETHER",
    "Calibration",
    "Covariance",
    "JointSettings",
    "Line",
    "LineSettings",
    "NullSpace",
    "Solution",
    "Target",
    "TargetSettings",
    "as_said",
    "calibrate",
    "check_edits",
    "default_layer",
    "edit",
    "find_targets",
    "key_moments",
    "lines_about",
    "output_changes",
    "removed",
    "report_on",
    "response",
    "said_now",
    "solve",
    "with_report",
]
