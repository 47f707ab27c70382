"""Reading: what single neurons and directions mean.

One neuron:
    neuron_cards        `read`: its triggers and its promoted tokens
Many:
    value_clusters      `clusters`; `updates`: `sub_updates`; `key_value_memories`: `memories`
An atlas, the cards of all neurons as tables that can be searched:
    atlas_build         `build_atlas`; `atlas_files`: `open_atlas`; `neuronpedia`: export
Activity:
    activation_sparsity how many neurons are active at a token
Directions of the residual stream:
    concept_directions  `directions`; `concepts`: `concept`; `steering`: `steer`
    privileged_basis    `bases`
"""

from loci.deprecated import renamed
from loci.reading.activation_sparsity import Sparsity, sparsity
from loci.reading.atlas_answers import NeuronKind, QueryRows, WordNeurons
from loci.reading.atlas_build import build_atlas
from loci.reading.atlas_files import Atlas, open_atlas
from loci.reading.concept_directions import directions
from loci.reading.concepts import Concepts, concept
from loci.reading.directions_result import Directions
from loci.reading.key_value_memories import memories
from loci.reading.memories_result import Memories
from loci.reading.neuron_cards import NeuronCard, Trigger, read, read_many, read_weights
from loci.reading.neuronpedia import check_export, export_neuronpedia
from loci.reading.privileged_basis import Bases, bases
from loci.reading.steering import Steered, steer
from loci.reading.updates import SubUpdates, sub_updates
from loci.reading.value_clusters import Clusters, clusters
from loci.reading.value_projections import nearest, project, promoted, promoted_by

__getattr__ = renamed(
    __name__,
    {
        "Found": "WordNeurons",
        "Kind": "NeuronKind",
        "Rows": "QueryRows",
    },
)
__all__ = [
    "Atlas",
    "Bases",
    "Clusters",
    "Concepts",
    "Directions",
    "Memories",
    "NeuronCard",
    "NeuronKind",
    "QueryRows",
    "Sparsity",
    "Steered",
    "SubUpdates",
    "Trigger",
    "WordNeurons",
    "bases",
    "build_atlas",
    "check_export",
    "clusters",
    "concept",
    "directions",
    "export_neuronpedia",
    "memories",
    "nearest",
    "open_atlas",
    "project",
    "promoted",
    "promoted_by",
    "read",
    "read_many",
    "read_weights",
    "sparsity",
    "steer",
    "sub_updates",
]
