"""The real locks of the box side, and what else `constraints/refresh.py` writes."""

import re
from itertools import product
from pathlib import Path

import pytest

from sealift.collect.runtime import PARTS, PERMITTED, TIERS, UNNEEDED, BoxSide, box_side_for, tier_for
from sealift.errors import UsageError
from sealift.model.declaration import TensorInput, TextInput
from sealift.project.project import ModelEntry
from sealift.target.known_bad import known_bad
from sealift.target.target import PLATFORMS, Target
from sealift.target.wish import PYTHONS

pytestmark = pytest.mark.slow  # together more than a second: the fast suite stays under a minute

ONLY_X86 = {"cykooz-resizer"}
CONSTRAINTS = Path(__file__).parents[2] / "constraints"
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "box-side.md"
GLIBCS = sorted({"2.17", "2.27", "2.28", "2.31", "2.34", "2.36", "2.39"})
TARGETS = [
    target
    for platform, python, glibc in product(PLATFORMS, PYTHONS, GLIBCS)
    if any(tier.takes(target := Target(platform=platform, python=python, glibc=glibc)) for tier in TIERS)
]
NEWEST = Target(platform="linux-x86_64", python="3.11", glibc="2.39")
OLDEST = Target(platform="linux-x86_64", python="3.11", glibc="2.17")


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_every_target_on_offer_has_a_wheel_for_every_package(target: Target) -> None:
    box = BoxSide(parts=frozenset(PARTS))
    pins = box.pins(target)
    wanted = PERMITTED.keys() | {name for part in PARTS.values() for name in part}
    lacking = ONLY_X86 if target.machine != "x86_64" else set()
    assert wanted - {pin.name for pin in pins} == lacking
    assert len({pin.name for pin in pins}) == len(pins) == len(box.pins(NEWEST)) - len(lacking)
    assert {root.name for root in BoxSide().roots(target)} == PERMITTED.keys() - lacking


def test_a_box_takes_the_newest_tier_that_it_can() -> None:
    assert [tier_for(Target("linux-x86_64", "3.11", glibc)).glibc for glibc in GLIBCS] == (
        ["2.17"] * 2 + ["2.28"] * 5
    )
    assert BoxSide().notes(NEWEST) == ()
    assert BoxSide().notes(Target("linux-aarch64", "3.11", "2.27")) == (
        "glibc 2.27 is older than 2.28: the release gets the set of wheels for glibc 2.17, "
        "with onnxruntime 1.16.3 and numpy 1.26.4",
    )


def test_the_oldest_tier_avoids_what_is_known_to_fail() -> None:
    found = {pin.name: pin.version for pin in BoxSide(parts=frozenset(PARTS)).pins(OLDEST)}
    assert known_bad(OLDEST, found) == ()
    assert known_bad(OLDEST, found | {"numpy": "2.2.6"}), "the pair is one that would be found"


@pytest.mark.parametrize(("python", "glibc"), [("3.12", "2.17"), ("3.13", "2.27"), ("3.11", "2.12")])
def test_a_box_that_no_tier_serves_is_refused_with_what_would_do(python: str, glibc: str) -> None:
    with pytest.raises(UsageError) as caught:
        BoxSide().pins(Target("linux-x86_64", python, glibc))
    assert caught.value.problems == (
        "expected glibc 2.17 or newer with Python 3.11 or glibc 2.28 or newer with Python 3.11, 3.12, 3.13; "
        f"found glibc {glibc} with Python {python}",
        "onnxruntime's wheels for glibc 2.17 end with 1.16.3, those with CPython 3.11",
    )
    assert 'python = "3.11", interpreter = "bundled"' in str(caught.value.next_step)
    assert ("glibc 2.17 or newer" in str(caught.value.next_step)) is (glibc == "2.12")


def test_the_locked_versions_are_within_the_permitted_ranges() -> None:
    for part in PARTS:
        box = box_side_for([entry_for(part)])
        assert box.parts == {part}
        for pin in (*box.pins(NEWEST), *box.pins(OLDEST)):
            assert box.range_of(pin.name).contains(pin.version), pin


def entry_for(part: str) -> ModelEntry:
    """A model that needs this part of the box side."""
    assert part == "text"
    return ModelEntry("reviews", Path("model.onnx"), input=TextInput(), tokenizer=Path("tokenizer.json"))


def test_a_release_carries_only_the_parts_that_its_models_need() -> None:
    plain = [
        ModelEntry("words", Path("words.onnx"), input=TextInput()),
        ModelEntry("table", Path("table.onnx"), input=TensorInput()),
    ]
    without = {pin.name for pin in box_side_for(plain).pins(NEWEST)}
    tokens = {pin.name for pin in box_side_for([*plain, entry_for("text")]).pins(NEWEST)}
    assert tokens - without == PARTS["text"].keys()
    assert box_side_for(plain).range_of("tokenizers").contains("0.1"), "the application may bring its own"


def test_no_lock_of_the_box_side_brings_a_client_of_the_network() -> None:
    """What a part's metadata asks for beyond its own code is left out, and stated as left out."""
    left_out = {name for names in UNNEEDED.values() for name in names} - PERMITTED.keys()
    for target in (NEWEST, OLDEST):
        names = {pin.name for pin in BoxSide(parts=frozenset(PARTS)).pins(target)}
        assert names.isdisjoint({"huggingface-hub", "hf-xet", "requests", "httpx", "openvino-telemetry"})
        assert names.isdisjoint(left_out)


def test_the_page_names_the_versions_that_travel() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| ([0-9.]+) \| ([0-9.]+) \|", PAGE.read_text(), re.MULTILINE)
    box = BoxSide(parts=frozenset(PARTS))
    expected = [{pin.name: pin.version for pin in box.pins(target)} for target in (NEWEST, OLDEST)]
    assert {name: (new, old) for name, new, old in rows} == {
        name: (version, expected[1][name]) for name, version in expected[0].items()
    }


def test_an_interpreter_too_new_for_any_tier_is_refused_with_what_would_do() -> None:
    with pytest.raises(UsageError) as caught:
        BoxSide().pins(Target("linux-x86_64", "3.14", "2.39"))
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].endswith("found glibc 2.39 with Python 3.14")
    assert caught.value.next_step == "choose another [target] python"


def test_no_lock_names_a_host() -> None:
    for file in (*(tier.lock for tier in TIERS), *CONSTRAINTS.iterdir()):
        if file.is_file():
            assert not re.search(r"\w+://|\w+\.(org|com|io)\b", file.read_text()), file


def test_the_development_lock_is_exact_and_complete() -> None:
    pins = (CONSTRAINTS / "dev.txt").read_text().splitlines()[1:]
    assert all(re.fullmatch(r"[a-z0-9._-]+==[0-9][0-9a-z.]*", pin) for pin in pins)
    wanted = re.findall(r"^([a-z0-9-]+)", (CONSTRAINTS / "dev.in").read_text(), re.MULTILINE)
    assert {pin.partition("==")[0] for pin in pins} >= set(wanted)
    assert (CONSTRAINTS / "box.in").read_text().splitlines()[3:] == sorted(PERMITTED.keys() - ONLY_X86)
    assert set((CONSTRAINTS / "box-x86_64.in").read_text().splitlines()[1:]) == ONLY_X86
    for part, packages in PARTS.items():
        assert (CONSTRAINTS / f"box-{part}.in").read_text().splitlines()[1:] == sorted(packages)
