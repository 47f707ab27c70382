"""What tests of editing share: the second moments of the embedded model's keys."""

import pytest

from loci.editing import key_moments
from loci.editing.statistics import Moment
from loci.model import Model


@pytest.fixture(scope="session")
def moments(demo: Model) -> dict[int, Moment]:
    return key_moments(demo, range(demo.n_layers))
