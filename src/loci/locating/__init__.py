"""Where is a fact: causal tracing over states, and attribution to neurons."""

from loci.locating.average import AverageTrace, average_trace
from loci.locating.neurons import Neurons, neurons
from loci.locating.trace import KINDS, Kind, Trace, trace

__all__ = ["KINDS", "AverageTrace", "Kind", "Neurons", "Trace", "average_trace", "neurons", "trace"]
