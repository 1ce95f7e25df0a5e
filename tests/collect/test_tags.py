import sys

import pytest
from packaging.tags import Tag, sys_tags

from sealift.collect.tags import glibc_floor, markers_of, platforms_of, tags_of
from sealift.target.target import Target

OLD = Target(platform="linux-x86_64", python="3.12", glibc="2.17")


def test_each_level_of_the_c_library_is_spelled_out_with_its_old_name() -> None:
    names = platforms_of(OLD)
    assert names[:3] == ("linux_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
    assert names[-2:] == ("manylinux_2_5_x86_64", "manylinux1_x86_64")
    assert len(names) == 13 + 3 + 1
    arm = platforms_of(Target(platform="linux-aarch64", python="3.12", glibc="2.19"))
    assert arm == (
        "linux_aarch64",
        "manylinux_2_19_aarch64",
        "manylinux_2_18_aarch64",
        "manylinux_2_17_aarch64",
        "manylinux2014_aarch64",
    )


def test_the_tags_of_this_machine_are_those_that_its_own_pip_uses(target: Target) -> None:
    own = [tag for tag in sys_tags() if tag.interpreter.startswith(("cp", "py"))]
    assert list(tags_of(target)) == own


def test_another_targets_tags_are_not_this_machines() -> None:
    tags = tags_of(OLD)
    assert Tag("cp312", "cp312", "manylinux_2_17_x86_64") in tags
    assert Tag("cp311", "abi3", "manylinux2014_x86_64") in tags
    assert Tag("cp311", "cp311", "manylinux_2_17_x86_64") not in tags
    assert Tag("cp312", "cp312", "manylinux_2_28_x86_64") not in tags


@pytest.mark.parametrize(
    ("filenames", "floor"),
    [
        ([], "2.17"),
        (["a-1-py3-none-any.whl", "b-1-cp311-cp311-linux_x86_64.whl"], "2.17"),
        (["a-1-cp311-cp311-manylinux2014_x86_64.manylinux_2_28_x86_64.whl"], "2.17"),
        (["a-1-cp311-abi3-manylinux_2_28_x86_64.whl", "b-1-cp311-abi3-manylinux_2_34_x86_64.whl"], "2.34"),
        (["a-1-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl"], "2.27"),
    ],
)
def test_the_newest_thing_that_any_wheel_needs_decides(filenames: list[str], floor: str) -> None:
    assert glibc_floor(filenames, Target(platform="linux-x86_64", python="3.11", glibc="2.39")) == floor


def test_a_release_never_asks_for_more_than_its_target() -> None:
    assert glibc_floor([], Target(platform="linux-x86_64", python="3.11", glibc="2.12")) == "2.12"


def test_markers_speak_for_the_target_and_not_for_this_machine(target: Target) -> None:
    foreign = markers_of(Target(platform="linux-aarch64", python="3.13", glibc="2.39"))
    assert (foreign["python_version"], foreign["platform_machine"]) == ("3.13", "aarch64")
    assert foreign["python_full_version"] == "3.13.0"
    own = ".".join(map(str, sys.version_info[:3]))
    assert markers_of(target)["python_full_version"] == own
