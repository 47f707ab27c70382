"""Where is a fact: causal tracing over states, and attribution to neurons."""

from loci.locating.average import AverageTrace, average_trace
from loci.locating.lens import Lens, Rung, lens
from loci.locating.neurons import Neurons, neurons
from loci.locating.trace import KINDS, Kind, Trace, trace

__all__ = ["KINDS", "AverageTrace", "Kind", "Lens", "Neurons", "Rung", "Trace", "average_trace", "lens", "neurons", "trace"]
