"""Results told as a story, on one page."""

from loci.report.audits import forensics_page, save, scorecard_page
from loci.report.page import neuron_card, page, save_card, write_page
from loci.report.story import Story, edit_summary, tell

__all__ = [
    "Story",
    "edit_summary",
    "forensics_page",
    "neuron_card",
    "page",
    "save",
    "save_card",
    "scorecard_page",
    "tell",
    "write_page",
]
