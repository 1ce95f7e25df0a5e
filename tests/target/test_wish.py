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


def test_what_the_project_says_wins_over_preset_and_machine() -> None:
    wish = TargetWish(preset="ubuntu-20.04", platform="linux-aarch64", python="3.12", cpu=("asimd",))
    target = target_for(wish, HOST, "3.11")
    assert (target.platform, target.glibc, target.python, target.cpu) == (
        "linux-aarch64",
        "2.31",
        "3.12",
        ("asimd",),
    )
    assert target_for(TargetWish(preset="ubuntu-20.04", glibc="2.28"), HOST, "3.11").glibc == "2.28"


def test_every_impossible_wish_is_named_at_once() -> None:
    wish = TargetWish(
        preset="ubuntu-4.10", platform="win32", glibc="new", python="3.8", interpreter="bundled", cuda="12.4"
    )
    with pytest.raises(ProjectError) as caught:
        target_for(wish, HOST, "3.11")
    starts = [problem.split(":")[0] for problem in caught.value.problems]
    assert starts == [
        f"[target] {n}" for n in ("preset", "platform", "python", "glibc", "interpreter", "cuda")
    ]


def test_a_relative_interpreter_cannot_mean_a_place_on_the_box() -> None:
    with pytest.raises(ProjectError) as caught:
        target_for(TargetWish(interpreter="venv/bin/python"), HOST, "3.11")
    assert "absolute path on the box, got 'venv/bin/python'" in caught.value.problems[0]
