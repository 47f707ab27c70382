"""`python -m loci`."""

from loci.cli import main

main()
