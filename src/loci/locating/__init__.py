"""Where is a fact: causal tracing over states, the lens, and attribution to neurons."""

from loci.locating.attribution import METHODS, Attribution, attribute
from loci.locating.average import AverageTrace, average_trace
from loci.locating.context import LocalContext, local_context
from loci.locating.corruption import HOWS, Corruption, How
from loci.locating.effects import Effects, effects
from loci.locating.knowledge import Change, KnowledgeNeurons, knowledge_neurons
from loci.locating.lens import Lens, Rung, lens
from loci.locating.locate import Located, locate
from loci.locating.lookup import Lookup, lookup
from loci.locating.neurons import Neurons, neurons
from loci.locating.probe import Probe, probe
from loci.locating.routes import Routes, routes
from loci.locating.runs import KINDS, SEVERED, Kind
from loci.locating.single_step import SingleStep, single_step
from loci.locating.trace import NeuronTrace, Trace, trace, trace_neurons
from loci.locating.two_tokens import TwoTokens, two_tokens

__all__ = [
    "HOWS",
    "KINDS",
    "METHODS",
    "SEVERED",
    "Attribution",
    "AverageTrace",
    "Change",
    "Corruption",
    "Effects",
    "How",
    "Kind",
    "KnowledgeNeurons",
    "Lens",
    "LocalContext",
    "Located",
    "Lookup",
    "NeuronTrace",
    "Neurons",
    "Probe",
    "Routes",
    "Rung",
    "SingleStep",
    "Trace",
    "TwoTokens",
    "attribute",
    "average_trace",
    "effects",
    "knowledge_neurons",
    "lens",
    "local_context",
    "locate",
    "lookup",
    "neurons",
    "probe",
    "routes",
    "single_step",
    "trace",
    "trace_neurons",
    "two_tokens",
]
