"""Old names: they warn, and give what the new name gives."""

from importlib import import_module

import pytest

import loci
from loci.deprecated import renamed, renamed_arguments
from loci.editing import MEMIT, TargetSettings


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


def test_an_old_argument_warns_and_is_the_new_one() -> None:
    @renamed_arguments(ways="settings")
    def audit(patch: int, settings: int = 0) -> tuple[int, int]:
        return patch, settings

    with pytest.warns(DeprecationWarning, match=r"audit\(ways=…\) is now settings=…"):
        assert audit(1, ways=2) == (1, 2)
    assert audit(1, settings=3) == (1, 3)
    with pytest.warns(DeprecationWarning), pytest.raises(TypeError, match="ways= is its old name"):
        audit(1, ways=2, settings=3)


def test_fields_of_settings_have_their_old_names_too() -> None:
    with pytest.warns(DeprecationWarning, match=r"TargetSettings\(reach=…\) is now max_step=…"):
        settings = TargetSettings(reach=0.4)  # type: ignore[call-arg]
    with pytest.warns(DeprecationWarning, match="TargetSettings.reach is now .max_step"):
        assert settings.reach == settings.max_step == 0.4  # type: ignore[attr-defined]
    with pytest.warns(DeprecationWarning, match="slack"):
        assert MEMIT(slack=0.2) == MEMIT(lam=0.2)  # type: ignore[call-arg]
    with pytest.warns(DeprecationWarning, match="is now loci.editing.TrainingPrompt"):
        assert loci.editing.Line is loci.editing.TrainingPrompt  # type: ignore[attr-defined]
