from dataclasses import replace

import pytest

from sealift.errors import ProjectError
from sealift.project.project import TargetWish
from sealift.target.host import Host
from sealift.target.presets import presets
from sealift.target.target import Target
from sealift.target.wish import target_for

HOST = Host("linux-x86_64", "2.36", "6.1", ("avx2",))


def test_a_project_that_wishes_nothing_gets_the_packing_machine() -> None:
    assert target_for(TargetWish(), HOST, "3.11") == Target(
        platform="linux-x86_64", python="3.11", glibc="2.36"
    )


def test_what_the_project_says_wins_over_the_machine() -> None:
    wish = TargetWish(glibc="2.31", platform="linux-aarch64", python="3.12", cpu=("asimd",))
    assert target_for(wish, HOST, "3.11") == Target(
        platform="linux-aarch64", glibc="2.31", python="3.12", cpu=("asimd",)
    )


def test_every_impossible_wish_is_named_at_once() -> None:
    with pytest.raises(ProjectError) as caught:
        target_for(TargetWish(python="3.14", cuda="12.7"), HOST, "3.11")
    assert caught.value.problems == (
        "[target] python: expected one of 3.11, 3.12, 3.13; got '3.14'",
        "[target] cuda: expected a CUDA release, 12.6 or 12.8 for example; got '12.7'",
    )


@pytest.mark.parametrize(
    ("preset", "python", "interpreter"),
    [
        ("ubuntu-20.04", "3.11", "bundled"),
        ("centos-7", "3.11", "bundled"),
        ("debian-12", "3.11", "system"),
        ("debian-12", "3.12", "bundled"),
        ("ubuntu-24.04", "3.12", "system"),
        (None, "3.12", "system"),
    ],
)
def test_a_release_brings_its_interpreter_where_the_system_ships_another(
    preset: str | None, python: str, interpreter: str
) -> None:
    target = target_for(TargetWish(preset=preset, python=python), HOST, "3.11")
    assert target.interpreter == interpreter


def test_a_preset_fills_in_what_the_project_leaves_open() -> None:
    target = target_for(TargetWish(preset="centos-7", cuda="11.8"), HOST, "3.11")
    assert (target.glibc, target.kernel, target.cuda) == ("2.17", None, "11.8")
    assert target_for(TargetWish(preset="centos-7", kernel="4.4"), HOST, "3.11").kernel == "4.4"


def test_the_python_of_a_system_is_no_other_one() -> None:
    """Ubuntu 20.04 ships 3.8: the message says so, and both ways out."""
    with pytest.raises(ProjectError) as caught:
        target_for(TargetWish(preset="ubuntu-20.04", interpreter="system"), HOST, "3.11")
    assert caught.value.problems == (
        "[target] interpreter: ubuntu-20.04 ships Python 3.8, expected 3.11; write "
        'interpreter = "bundled", or its path on the box, such as "/opt/python/bin/python3.11"',
    )
    for way_out in ("bundled", "/opt/python/bin/python3.11"):
        target = target_for(TargetWish(preset="ubuntu-20.04", interpreter=way_out), HOST, "3.11")
        assert target.interpreter == way_out


def test_a_system_that_has_no_such_processor_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that are known today have both."""
    only = replace(presets()["centos-7"], platforms=("linux-x86_64",))
    monkeypatch.setattr("sealift.target.wish.presets", lambda: {"centos-7": only})
    with pytest.raises(ProjectError) as caught:
        target_for(TargetWish(preset="centos-7", platform="linux-aarch64"), HOST, "3.11")
    assert caught.value.problems == ("[target] platform: centos-7 is linux-x86_64; got 'linux-aarch64'",)
