import pytest

from sealift.errors import ProjectError
from sealift.project.project import TargetWish
from sealift.target.host import Host
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
        target_for(TargetWish(python="3.14", cuda="12.4"), HOST, "3.11")
    assert caught.value.problems == (
        "[target] python: expected one of 3.11, 3.12, 3.13; got '3.14'",
        "[target] cuda: packing for a GPU is not offered yet; leave it out",
    )
