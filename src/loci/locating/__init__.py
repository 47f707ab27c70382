"""Where is a fact: causal tracing over states, the lens, and attribution to neurons."""

from loci.locating.attribution import METHODS, Attribution, attribute
from loci.locating.average import AverageTrace, average_trace
from loci.locating.corruption import HOWS, Corruption, How
from loci.locating.knowledge import Change, KnowledgeNeurons, knowledge_neurons
from loci.locating.lens import Lens, Rung, lens
from loci.locating.locate import Located, locate
from loci.locating.neurons import Neurons, neurons
from loci.locating.probe import Probe, probe
from loci.locating.routes import Routes, routes
from loci.locating.runs import KINDS, SEVERED, Kind
from loci.locating.trace import NeuronTrace, Trace, trace, trace_neurons

__all__ = [
    "HOWS",
    "KINDS",
    "METHODS",
    "SEVERED",
    "Attribution",
    "AverageTrace",
    "Change",
    "Corruption",
    "How",
    "Kind",
    "KnowledgeNeurons",
    "Lens",
    "Located",
    "NeuronTrace",
    "Neurons",
    "Probe",
    "Routes",
    "Rung",
    "Trace",
    "attribute",
    "average_trace",
    "knowledge_neurons",
    "lens",
    "locate",
    "neurons",
    "probe",
    "routes",
    "trace",
    "trace_neurons",
]
