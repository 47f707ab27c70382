"""Where words go: the one console of the commands, for verbs and for the forms of results."""

from loci.cli.terminal import terminal

console = terminal()
