"""Results told as a story, on one page."""

from loci.report.page import neuron_card, page, save_card, write_page
from loci.report.story import Story, edit_summary, tell

__all__ = ["Story", "edit_summary", "neuron_card", "page", "save_card", "tell", "write_page"]
