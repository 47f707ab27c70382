"""Every error that Loci raises on purpose: what happened, where, and what to do next,
in one line.
"""


class LociError(Exception):
    """The base of them all; the command line prints it as one line and exits with status 2."""


class FactError(LociError):
    """A fact, a fact file, or a subject that cannot be used."""


class ModelError(LociError):
    """A model that cannot be opened, or an input that it cannot take."""


class PatchError(LociError):
    """A patch file that is broken, foreign, or made for another base."""


class EditError(LociError):
    """An edit that cannot be made, or whose update is not to be trusted."""


class SuperpositionError(LociError):
    """A dimension, an angle or a number of vectors that has no meaning, or that cannot be built."""


class OutputError(LociError):
    """A result that cannot be written where it should go."""


class WriteError(LociError):
    """Facts that no MLP can store as asked, or an MLP that cannot be made."""


class CircuitError(LociError):
    """A head, a path or a text of which no circuit can be made."""


class UseError(LociError, TypeError):
    """A Python call with something of the wrong type; it says what to give instead."""


class MatrixError(LociError):
    """A matrix that cannot be decomposed, or a system that cannot be solved: not finite, singular,
    or no iteration converges.
    """


class DictionaryError(LociError):
    """A dictionary of features that cannot be read, trained or used with this model."""
