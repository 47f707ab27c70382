"""Every causal family of the installed transformers, opened and examined as a tiny random model:
what opens healthy, what is refused.

    python -m benchmarks.families [NAME …] [--json]

Ends with 1 where a family opens and is unhealthy, or ends in a traceback. Cost: about ten minutes
on one core.
"""

import argparse
import json
import signal
import sys
from collections import Counter
from typing import NoReturn

from tests.model.every_family import NAMES, Verdict, judged
from transformers.utils import logging

from loci.model import open_model

LIMIT = 90
"""Seconds for one family."""


class Late(BaseException):
    """A family took too long."""


def _late(*_: object) -> NoReturn:
    raise Late


def main() -> int:
    """Walk, print, count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    logging.set_verbosity_error()
    signal.signal(signal.SIGALRM, _late)
    tokenizer, found = open_model("demo").tokenizer, list[Verdict]()
    for name in given.names or sorted(NAMES):
        signal.alarm(LIMIT)
        try:
            found.append(judged(name, tokenizer))
        except Late:
            found.append(Verdict(name, "unbuilt", f"more than {LIMIT} s"))
        signal.alarm(0)
        if not given.json:
            print(f"{name:26} {found[-1].verdict:10} {found[-1].note[:110]}", flush=True)
    counts = Counter(verdict.verdict for verdict in found)
    if given.json:
        print(json.dumps({"counts": counts, "families": [verdict._asdict() for verdict in found]}))
    else:
        print(dict(counts))
    return int(any(counts[name] for name in ("unhealthy", "traceback", "several lines")))


if __name__ == "__main__":
    sys.exit(main())
