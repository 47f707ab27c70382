"""How many directions fit into d dimensions, proved and shown, and what their sharing costs."""

from loci.studies.superposition.absolute_values import Computation, computation
from loci.studies.superposition.adversarial_attack import Attacked, attack
from loci.studies.superposition.best_angles import Reach, reach
from loci.studies.superposition.code_verification import Built, built, verify
from loci.studies.superposition.codes import Codes, explicit_code
from loci.studies.superposition.correlated_features import Correlated, correlated
from loci.studies.superposition.feature_geometry import Geometry, geometry
from loci.studies.superposition.interference_curves import Interference, interference
from loci.studies.superposition.packing import Packing, pack
from loci.studies.superposition.packing_bounds import Bounds, BoundsTable, bounds, bounds_table, johnson_lindenstrauss_dim
from loci.studies.superposition.pairwise_angles import Angles, angles, expected_share
from loci.studies.superposition.phase_diagram import Phase, phase
from loci.studies.superposition.toy_model import Toy, toy
from loci.studies.superposition.vector_files import file_angles, save_vectors
from loci.studies.superposition.video_experiment import Video, video
from loci.studies.superposition.weight_directions import WeightAngles, weight_angles

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
