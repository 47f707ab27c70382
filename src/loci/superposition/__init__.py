"""How many directions fit into d dimensions, proved and shown, and what their sharing costs."""

from loci.superposition.angles import Angles, angles, expected_share
from loci.superposition.attack import Attacked, attack
from loci.superposition.bounds import Bounds, BoundsTable, bounds, bounds_table, johnson_lindenstrauss_dim
from loci.superposition.codes import Codes, explicit_code
from loci.superposition.computation import Computation, computation
from loci.superposition.correlated import Correlated, correlated
from loci.superposition.geometry import Geometry, geometry
from loci.superposition.interference import Interference, interference
from loci.superposition.packing import Packing, pack
from loci.superposition.phase import Phase, phase
from loci.superposition.reach import Reach, reach
from loci.superposition.shelf import file_angles, save_vectors
from loci.superposition.toy import Toy, toy
from loci.superposition.verify import Built, built, verify
from loci.superposition.video import Video, video
from loci.superposition.weights import WeightAngles, weight_angles

__all__ = [
    "Angles",
    "Attacked",
    "Bounds",
    "BoundsTable",
    "Built",
    "Codes",
    "Computation",
    "Correlated",
    "Geometry",
    "Interference",
    "Packing",
    "Phase",
    "Reach",
    "Toy",
    "Video",
    "WeightAngles",
    "angles",
    "attack",
    "bounds",
    "bounds_table",
    "built",
    "computation",
    "correlated",
    "expected_share",
    "explicit_code",
    "file_angles",
    "geometry",
    "interference",
    "johnson_lindenstrauss_dim",
    "pack",
    "phase",
    "reach",
    "save_vectors",
    "toy",
    "verify",
    "video",
    "weight_angles",
]
