"""The real box.lock, and what else `constraints/refresh.py` writes."""

import re
from itertools import product
from pathlib import Path

import pytest

from sealift.collect.runtime import BOX_LOCK, PERMITTED, BoxSide
from sealift.errors import UsageError
from sealift.target.presets import PRESETS
from sealift.target.target import PLATFORMS, Target
from sealift.target.wish import PYTHONS

CONSTRAINTS = Path(__file__).parents[2] / "constraints"
TARGETS = [
    Target(platform=platform, python=python, glibc=glibc)
    for platform, python, glibc in product(PLATFORMS, PYTHONS, sorted({"2.28", *PRESETS.values()}))
]


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_every_target_on_offer_has_a_wheel_for_every_package(target: Target) -> None:
    pins = BoxSide().pins(target)
    assert {pin.name for pin in pins} >= PERMITTED.keys()
    assert len({pin.name for pin in pins}) == len(pins) == len(BoxSide().pins(TARGETS[0]))


def test_an_older_c_library_is_refused_with_what_would_do() -> None:
    with pytest.raises(UsageError) as caught:
        BoxSide().pins(Target(platform="linux-x86_64", python="3.11", glibc="2.17"))
    assert "glibc 2.28" in str(caught.value.next_step)
    assert any(problem.startswith("onnxruntime ") for problem in caught.value.problems)


def test_the_locked_versions_are_within_the_permitted_ranges() -> None:
    for pin in BoxSide().pins(TARGETS[0]):
        assert BoxSide().range_of(pin.name).contains(pin.version)


def test_no_lock_names_a_host() -> None:
    for file in (BOX_LOCK, *CONSTRAINTS.iterdir()):
        if file.is_file():
            assert not re.search(r"\w+://|\w+\.(org|com|io)\b", file.read_text()), file


def test_the_development_lock_is_exact_and_complete() -> None:
    pins = (CONSTRAINTS / "dev.txt").read_text().splitlines()[1:]
    assert all(re.fullmatch(r"[a-z0-9._-]+==[0-9][0-9a-z.]*", pin) for pin in pins)
    wanted = re.findall(r"^([a-z0-9-]+)", (CONSTRAINTS / "dev.in").read_text(), re.MULTILINE)
    assert {pin.partition("==")[0] for pin in pins} >= set(wanted)
    assert (CONSTRAINTS / "box.in").read_text().splitlines()[3:] == sorted(PERMITTED)
