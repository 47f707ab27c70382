"""Old names: they warn, and give what the new name gives."""

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
