"""Facts written into an MLP without training: the gate, stores, the compiler, and how many facts fit."""

from loci.writing.capacity_search import Capacity, Curve, Need, capacity
from loci.writing.compiler import Effort, compiled
from loci.writing.full_size_stores import SIZES, FullSize, full_size
from loci.writing.fullness_curve import Fullness, Rung, fullness
from loci.writing.gates import Gate, gate
from loci.writing.installation import Installed, install, new_facts
from loci.writing.keys import GEOMETRIES, case, subject_case
from loci.writing.mlp import ACTIVATIONS, MLP
from loci.writing.planted_models import Place, Planted, load_planted, planted, save_planted
from loci.writing.saving import load_mlp, load_table, save_mlp
from loci.writing.storage import CLOSED, METHODS, Store, Stores, store, stores
from loci.writing.table import Table, classes, vectors

__all__ = [
    "ACTIVATIONS",
    "CLOSED",
    "GEOMETRIES",
    "METHODS",
    "MLP",
    "SIZES",
    "Capacity",
    "Curve",
    "Effort",
    "FullSize",
    "Fullness",
    "Gate",
    "Installed",
    "Need",
    "Place",
    "Planted",
    "Rung",
    "Store",
    "Stores",
    "Table",
    "capacity",
    "case",
    "classes",
    "compiled",
    "full_size",
    "fullness",
    "gate",
    "install",
    "load_mlp",
    "load_planted",
    "load_table",
    "new_facts",
    "planted",
    "save_mlp",
    "save_planted",
    "store",
    "stores",
    "subject_case",
    "vectors",
]
