"""The command `loci`: one file a verb; argument parsing and printing, nothing else."""


def main() -> None:
    """The command as a shell calls it; nothing is imported before Ctrl-C is looked after."""
    from loci.cli.process import entry

    entry()


__all__ = ["main"]
