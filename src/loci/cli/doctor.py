"""loci doctor: is Loci right about this model?"""

import sys

from loci.cli.common import bar, finish
from loci.cli.opening import Opening, opens
from loci.cli.options import JSON


@opens()
def run(*, opening: Opening, json: JSON = False) -> None:
    """Prove on a model what Loci says of it: reads, patches, sums, weights, replay, padding,
    tokens, each with its measured error.

    Status 1 where a check fails.

    Examples:

        loci doctor

        loci doctor -m ./my-model --dtype bfloat16 --json
    """
    from loci.model.health import doctor

    opened = opening.open()
    with bar("examining") as progress:
        diagnosis = doctor(opened, progress=progress)
    finish(diagnosis, json=json)
    if not diagnosis.healthy:
        sys.exit(1)
