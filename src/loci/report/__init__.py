"""Results told as a story, on one page."""

from loci.report.audits import forensics_page, scorecard_page
from loci.report.circuit import save_attention, save_circuit
from loci.report.pages import notebook, page_of, save
from loci.report.story import Story, edit_summary, tell
from loci.report.story_page import neuron_card, page, write_page

__all__ = [
    "Story",
    "edit_summary",
    "forensics_page",
    "neuron_card",
    "notebook",
    "page",
    "page_of",
    "save",
    "save_attention",
    "save_circuit",
    "scorecard_page",
    "tell",
    "write_page",
]
