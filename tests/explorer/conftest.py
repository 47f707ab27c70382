"""An explorer whose workers are never asked, so that none starts; and the verbs on the embedded
model, without a process.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from loci.explorer import Explorer, Settings
from loci.explorer.desk import Desk
from loci.model import Model


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Explorer]:
    explorer = Explorer(Settings(port=0, keep=tmp_path, queued=1))
    yield explorer
    explorer.tidy()


@pytest.fixture
def client(page: Explorer) -> TestClient:
    """A browser that has followed the link."""
    browser = TestClient(page.guard, base_url=f"http://127.0.0.1:{page.port}")
    assert browser.get(page.url).status_code == 200
    return browser


@pytest.fixture
def desk(demo: Model, tmp_path: Path) -> Desk:
    return Desk(Settings(), tmp_path, demo)
