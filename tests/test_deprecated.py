"""Old names: they warn, and give what the new name gives."""

from importlib import import_module

import pytest

from loci.deprecated import renamed


def test_an_old_name_warns_and_gives_the_new_thing() -> None:
    get = renamed("loci.stats", {"far": "loci.errors:LociError"})
    with pytest.warns(DeprecationWarning, match=r"loci\.stats\.far is now loci\.errors\.LociError"):
        far = get("far")
    from loci.errors import LociError

    assert far is LociError
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        get("nothing")


@pytest.mark.parametrize(
    ("old", "home", "name"),
    [
        ("loci.superposition", "loci.studies.superposition", "bounds"),
        ("loci.circuits.small", "loci.studies.attention_only", "Recipe"),
    ],
)
def test_a_package_that_moved_still_gives_its_names(old: str, home: str, name: str) -> None:
    package = import_module(old)
    with pytest.warns(DeprecationWarning, match=f"{old} is now {home}"):
        thing = getattr(package, name)
    assert thing is getattr(import_module(home), name)
    with pytest.raises(AttributeError, match="no attribute"):
        package.no_such_name  # noqa: B018
