from collections.abc import Callable
from pathlib import Path

from packaging.requirements import Requirement

from sealift.collect.closure import closure
from sealift.collect.tags import markers_of
from sealift.collect.wheel import WheelFile, read_wheel
from sealift.target.target import Target

MARKERS = markers_of(Target(platform="linux-x86_64", python="3.12", glibc="2.28"))


def wheels(*paths: Path) -> dict[str, WheelFile]:
    return {file.wheel.name: file for file in map(read_wheel, paths)}


def test_extras_and_markers_decide_what_is_reached(tmp_path: Path, make_wheel: Callable[..., Path]) -> None:
    found = wheels(
        make_wheel(tmp_path, "top", requires=["Mid_Dle[fast]>=1", 'old; python_version<"3.12"']),
        make_wheel(tmp_path, "mid-dle", requires=['quick; extra == "fast"', 'slow; extra == "lazy"', "top"]),
        make_wheel(tmp_path, "quick"),
        make_wheel(tmp_path, "slow"),
        make_wheel(tmp_path, "old"),
    )
    result = closure([Requirement("top")], found, MARKERS)
    assert result.reached == {"top", "mid-dle", "quick"}
    assert result.missing == ()
    assert result.unmet == ()


def test_what_is_missing_or_of_the_wrong_version_is_told_with_who_asks(
    tmp_path: Path, make_wheel: Callable[..., Path]
) -> None:
    found = wheels(make_wheel(tmp_path, "a", requires=["b>=2", "gone>3"]), make_wheel(tmp_path, "b", "1.0"))
    result = closure([Requirement("a"), Requirement("b==1.0")], found, MARKERS)
    assert [str(requirement) for requirement in result.missing] == ["gone>3"]
    assert result.unmet == ("a needs b>=2, found 1.0",)


def test_demands_that_do_not_count_are_not_followed(tmp_path: Path, make_wheel: Callable[..., Path]) -> None:
    found = wheels(make_wheel(tmp_path, "a", requires=["Hub_Client>=2", "b"]), make_wheel(tmp_path, "b"))
    result = closure([Requirement("a")], found, MARKERS, {"a": frozenset({"hub-client"})})
    assert result.reached == {"a", "b"}
    assert not result.missing
