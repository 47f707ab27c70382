"""Superposition: how many directions fit into d dimensions, and what sharing them costs.

bounds       packing_bounds, levenshtein, best_angles: what is proved; codes: explicit constructions
packings     packing (by descent), pairwise_angles, video_experiment
toy models   toy_model, feature_geometry, phase_diagram, correlated_features, adversarial_attack,
             absolute_values: Elhage et al. 2022 (Toy Models of Superposition)
read back    interference_curves, decoding: how many active features can be recovered
a model's    weight_directions: angles of its keys, values and embeddings
"""

from loci.deprecated import renamed
from loci.studies.superposition.absolute_values import AbsoluteValueNetworks, computation
from loci.studies.superposition.adversarial_attack import Vulnerability, attack
from loci.studies.superposition.best_angles import BestAngles, reach
from loci.studies.superposition.bounds_results import Bounds, BoundsTable
from loci.studies.superposition.code_verification import VerifiedCode, built, verify
from loci.studies.superposition.codes import ExplicitCode, explicit_code
from loci.studies.superposition.correlated_features import CorrelatedFeatures, correlated
from loci.studies.superposition.feature_geometry import FeatureGeometry, geometry
from loci.studies.superposition.interference_curves import Interference, interference
from loci.studies.superposition.packing import Packing, pack
from loci.studies.superposition.packing_bounds import (
    bounds,
    bounds_table,
    johnson_lindenstrauss_dim,
)
from loci.studies.superposition.pairwise_angles import Angles, angles, expected_share
from loci.studies.superposition.phase_diagram import PhaseDiagram, phase
from loci.studies.superposition.toy_model import ToyModels, toy
from loci.studies.superposition.vector_files import file_angles, save_vectors
from loci.studies.superposition.video_experiment import VideoExperiment, video
from loci.studies.superposition.weight_directions import WeightAngles, weight_angles

__getattr__ = renamed(
    __name__,
    {
        "Attacked": "Vulnerability",
        "Built": "VerifiedCode",
        "Codes": "ExplicitCode",
        "Computation": "AbsoluteValueNetworks",
        "Correlated": "CorrelatedFeatures",
        "Geometry": "FeatureGeometry",
        "Phase": "PhaseDiagram",
        "Reach": "BestAngles",
        "Toy": "ToyModels",
        "Video": "VideoExperiment",
    },
)
__all__ = [
    "AbsoluteValueNetworks",
    "Angles",
    "BestAngles",
    "Bounds",
    "BoundsTable",
    "CorrelatedFeatures",
    "ExplicitCode",
    "FeatureGeometry",
    "Interference",
    "Packing",
    "PhaseDiagram",
    "ToyModels",
    "VerifiedCode",
    "VideoExperiment",
    "Vulnerability",
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
