"""What neurons look for and what they write."""

from loci.reading.answers import Found, Kind, Rows
from loci.reading.atlas import build_atlas
from loci.reading.clusters import Clusters, clusters
from loci.reading.memories import Memories, memories
from loci.reading.neuronpedia import check_export, export_neuronpedia
from loci.reading.read import NeuronCard, Trigger, read, read_many, read_weights
from loci.reading.shelf import Atlas, open_atlas
from loci.reading.updates import SubUpdates, sub_updates
from loci.reading.values import nearest, project, promoted, promoted_by

__all__ = [
    "Atlas",
    "Clusters",
    "Found",
    "Kind",
    "Memories",
    "NeuronCard",
    "Rows",
    "SubUpdates",
    "Trigger",
    "build_atlas",
    "check_export",
    "clusters",
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
    "sub_updates",
]
