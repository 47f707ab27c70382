"""Writing: facts put into an MLP without training.

gates            one neuron that is an AND of a first and a last name, and its readout
compiler         both layers of an MLP from a table, by L-BFGS on squared surprise
closed_form      stores by linear algebra; gradient_descent: Adam, for comparison
storage          a table stored and measured by any method; capacity_search: the smallest MLP
installation     new facts for a real model, as a patch; fullness_curve: until facts are lost
planted_models   a transformer whose facts have known places: ground truth for locating
"""

from loci.deprecated import renamed
from loci.writing.capacity_search import Capacity, CapacityCurve, MethodCapacity, capacity
from loci.writing.compiler import Effort, compiled
from loci.writing.full_size_stores import SIZES, FullSize, full_size
from loci.writing.fullness_curve import Fullness, FullnessStep, fullness
from loci.writing.gates import Gate, gate
from loci.writing.installation import Installation, install, new_facts
from loci.writing.keys import GEOMETRIES, case, subject_case
from loci.writing.mlp import ACTIVATIONS, MLP
from loci.writing.planted_models import (
    PlantedModel,
    PlantedPlace,
    load_planted,
    planted,
    save_planted,
)
from loci.writing.saving import load_mlp, load_table, save_mlp
from loci.writing.storage import CLOSED, METHODS, StoredTable, StoredTables, store, stores
from loci.writing.table import FactTable, classes, vectors

__getattr__ = renamed(
    __name__,
    {
        "Curve": "CapacityCurve",
        "Installed": "Installation",
        "Need": "MethodCapacity",
        "Place": "PlantedPlace",
        "Planted": "PlantedModel",
        "Rung": "FullnessStep",
        "Store": "StoredTable",
        "Stores": "StoredTables",
        "Table": "FactTable",
    },
)
__all__ = [
    "ACTIVATIONS",
    "CLOSED",
    "GEOMETRIES",
    "METHODS",
    "MLP",
    "SIZES",
    "Capacity",
    "CapacityCurve",
    "Effort",
    "FactTable",
    "FullSize",
    "Fullness",
    "FullnessStep",
    "Gate",
    "Installation",
    "MethodCapacity",
    "PlantedModel",
    "PlantedPlace",
    "StoredTable",
    "StoredTables",
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
