"""The command `loci`: one file a verb; argument parsing and printing, nothing else."""

from loci.cli.app import main

__all__ = ["main"]
