"""Every method of locating against models whose facts have known places.

    python -m benchmarks.locating [--facts N] [--subjects N]

Four planted models (`loci.writing.planted`): one neuron a fact and superposed, plain (GPT-NeoX,
ReLU) and gated (Llama, SwiGLU). Each method is asked for the same facts; the last row is chance. To
score a method of your own, give `loci.auditing.score_locators` a callable (model, fact) → Guess.
"""

import argparse

from loci.auditing import score_locators
from loci.cli.show import show
from loci.writing import planted

KINDS = ("one-per-fact", "superposed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--facts", type=int, default=20)
    parser.add_argument("--subjects", type=int, default=48)
    asked = parser.parse_args()
    for gated in (False, True):
        for kind in KINDS:
            show(
                score_locators(
                    planted(kind, gated=gated, subjects=asked.subjects), count=asked.facts
                )
            )
            print()


if __name__ == "__main__":
    main()
