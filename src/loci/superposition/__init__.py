"""Moved to `loci.studies.superposition`; this path works for one more version."""

from loci.deprecated import moved

__getattr__ = moved(__name__, "loci.studies.superposition")
