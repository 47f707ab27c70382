"""Real pretrained models, from the packages that carry them: run by `make real`,
skipped elsewhere.
"""

from importlib.util import find_spec
from pathlib import Path

import pytest

from loci.model import Model, open_model
from loci.model.gguf.sources import NAMED

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark every test here `real`, and skip it unless the mark is asked for."""
    asked = "real" in (config.option.markexpr or "")
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.real)
            if not asked:
                item.add_marker(pytest.mark.skip(reason="real models take minutes: make real"))


def opened(name: str) -> Model:
    """A model by its name, or a skip that says how to install it."""
    if find_spec(NAMED[name].package) is None:
        pytest.skip(f"{name} is not installed: {NAMED[name].install}")
    return open_model(name)


@pytest.fixture(scope="session")
def gemma() -> Model:
    return opened("gemma3-270m")


@pytest.fixture(scope="session")
def smollm() -> Model:
    return opened("smollm2-135m")
