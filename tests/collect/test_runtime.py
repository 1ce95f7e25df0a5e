"""The real box.lock, and what else `constraints/refresh.py` writes."""

import re
from itertools import product
from pathlib import Path

import pytest

from sealift.collect.runtime import BOX_LOCK, PARTS, PERMITTED, BoxSide, box_side_for
from sealift.errors import UsageError
from sealift.model.declaration import TensorInput, TextInput
from sealift.project.project import ModelEntry
from sealift.target.presets import PRESETS
from sealift.target.target import PLATFORMS, Target
from sealift.target.wish import PYTHONS

pytestmark = pytest.mark.slow  # together more than a second: the fast suite stays under a minute

ONLY_X86 = {"cykooz-resizer"}
CONSTRAINTS = Path(__file__).parents[2] / "constraints"
TARGETS = [
    Target(platform=platform, python=python, glibc=glibc)
    for platform, python, glibc in product(PLATFORMS, PYTHONS, sorted({"2.28", *PRESETS.values()}))
]


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_every_target_on_offer_has_a_wheel_for_every_package(target: Target) -> None:
    box = BoxSide(parts=frozenset(PARTS))
    pins = box.pins(target)
    wanted = PERMITTED.keys() | {name for part in PARTS.values() for name in part}
    lacking = ONLY_X86 if target.machine != "x86_64" else set()
    assert wanted - {pin.name for pin in pins} == lacking
    assert len({pin.name for pin in pins}) == len(pins) == len(box.pins(TARGETS[0])) - len(lacking)
    assert {root.name for root in BoxSide().roots(target)} == PERMITTED.keys() - lacking


def test_an_older_c_library_is_refused_with_what_would_do() -> None:
    with pytest.raises(UsageError) as caught:
        BoxSide().pins(Target(platform="linux-x86_64", python="3.11", glibc="2.17"))
    assert "glibc 2.28" in str(caught.value.next_step)
    assert any(problem.startswith("onnxruntime ") for problem in caught.value.problems)


def test_the_locked_versions_are_within_the_permitted_ranges() -> None:
    for part in PARTS:
        box = box_side_for([entry_for(part)])
        assert box.parts == {part}
        for pin in box.pins(TARGETS[0]):
            assert box.range_of(pin.name).contains(pin.version)


def entry_for(part: str) -> ModelEntry:
    """A model that needs this part of the box side."""
    assert part == "text"
    return ModelEntry("reviews", Path("model.onnx"), input=TextInput(), tokenizer=Path("tokenizer.json"))


def test_a_release_carries_only_the_parts_that_its_models_need() -> None:
    plain = [
        ModelEntry("words", Path("words.onnx"), input=TextInput()),
        ModelEntry("table", Path("table.onnx"), input=TensorInput()),
    ]
    without = {pin.name for pin in box_side_for(plain).pins(TARGETS[0])}
    tokens = {pin.name for pin in box_side_for([*plain, entry_for("text")]).pins(TARGETS[0])}
    assert tokens - without == PARTS["text"].keys()
    assert box_side_for(plain).range_of("tokenizers").contains("0.1"), "the application may bring its own"


def test_no_lock_of_the_box_side_brings_a_client_of_the_network() -> None:
    """What a part's metadata asks for beyond its own code is left out, and stated as left out."""
    names = {pin.name for pin in BoxSide(parts=frozenset(PARTS)).pins(TARGETS[0])}
    assert names.isdisjoint({"huggingface-hub", "hf-xet", "requests", "httpx", "openvino-telemetry"})


def test_no_lock_names_a_host() -> None:
    for file in (BOX_LOCK, *CONSTRAINTS.iterdir()):
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
