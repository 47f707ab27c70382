"""Where is a fact: causal tracing over states, the lens, and attribution to neurons."""

from loci.locating.average import AverageTrace, average_trace
from loci.locating.corruption import HOWS, Corruption, How
from loci.locating.lens import Lens, Rung, lens
from loci.locating.neurons import Neurons, neurons
from loci.locating.trace import KINDS, SEVERED, Kind, NeuronTrace, Trace, trace, trace_neurons

__all__ = [
    "HOWS",
    "KINDS",
    "SEVERED",
    "AverageTrace",
    "Corruption",
    "How",
    "Kind",
    "Lens",
    "NeuronTrace",
    "Neurons",
    "Rung",
    "Trace",
    "average_trace",
    "lens",
    "neurons",
    "trace",
    "trace_neurons",
]
