"""The explorer: one local page in which a fact is seen, followed, changed and put back.

    loci explore                      # or, from Python:
    page = loci.explore(model)        # page.url; in a notebook it shows itself; page.stop()

A small server on the loopback alone, and a page of plain ES modules. What is computed runs in
worker processes that open the model themselves, so the model that `explore` was given is left
alone. See docs/explorer.md.
"""

from loci.explorer.server import Explorer, explore, serve
from loci.explorer.settings import Settings
from loci.explorer.site import export_site

__all__ = ["Explorer", "Settings", "explore", "export_site", "serve"]
