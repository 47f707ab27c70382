"""What neurons look for and what they write."""

from loci.reading.atlas import build_atlas
from loci.reading.memories import Memories, memories
from loci.reading.neuronpedia import export_neuronpedia
from loci.reading.read import NeuronCard, Trigger, parse_neuron, project, promoted, read, read_many, read_weights
from loci.reading.shelf import Atlas, Found, Rows, open_atlas
from loci.reading.values import nearest, promoted_by

__all__ = [
    "Atlas",
    "Found",
    "Memories",
    "NeuronCard",
    "Rows",
    "Trigger",
    "build_atlas",
    "export_neuronpedia",
    "memories",
    "nearest",
    "open_atlas",
    "parse_neuron",
    "project",
    "promoted",
    "promoted_by",
    "read",
    "read_many",
    "read_weights",
]
