"""Where is a fact: causal tracing over states, the lens, and attribution to neurons.

causal_trace        `trace`: the grid of indirect effects; `average`: over many facts
runs                the clean and the corrupted run, and the loop over cells; `patched_runs`:
                    many cells at once; `corruption`: how the subject is hidden
attribution         the same grid estimated by gradients
logit_lens          `lens`: the answer after each layer, and direct logit attribution
neuron_scores       integrated gradients of neurons; `knowledge`: knowledge neurons
neuron_effects      whether the same neurons serve all facts of a subject
severed_routes      `routes`: attention knockout and MLPs, by layer
probing             linear probes; `profiles`: the cheap methods together
name_lookup         tests of fact finding: `single_step_lookup`, `two_token_names`, `context`
"""

from loci.deprecated import renamed
from loci.locating.attribution import METHODS, Attribution, attribute
from loci.locating.average import AverageTrace, average_trace
from loci.locating.causal_trace import NeuronTrace, Trace, trace, trace_neurons
from loci.locating.context import LocalContext, local_context
from loci.locating.corruption import HOWS, Corruption, How
from loci.locating.entity_results import EntityNeuron, EntityNeurons
from loci.locating.entity_search import entity_neurons
from loci.locating.knowledge import KnowledgeNeurons, knowledge_neurons
from loci.locating.knowledge_trial import Change
from loci.locating.lens_results import Lens, Rung
from loci.locating.logit_lens import lens
from loci.locating.name_lookup import Lookup, lookup
from loci.locating.neuron_effects import Effects, effects
from loci.locating.neuron_scores import Neurons, neuron_attribution
from loci.locating.probing import Probe, probe
from loci.locating.profiles import Located, locate
from loci.locating.runs import KINDS, SEVERED, Kind
from loci.locating.severed_routes import Routes, routes
from loci.locating.single_step_lookup import SingleStep, single_step
from loci.locating.two_token_names import TwoTokens, two_tokens

__getattr__ = renamed(__name__, {"neurons": "neuron_attribution"})
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
    "EntityNeuron",
    "EntityNeurons",
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
    "entity_neurons",
    "knowledge_neurons",
    "lens",
    "local_context",
    "locate",
    "lookup",
    "neuron_attribution",
    "probe",
    "routes",
    "single_step",
    "trace",
    "trace_neurons",
    "two_tokens",
]
