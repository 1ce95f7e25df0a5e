"""The data file: complete, sourced, and refused where it strays."""

from __future__ import annotations

import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

import sealift.target
from sealift.collect.box_side import is_box_side
from sealift.errors import UsageError
from sealift.target.base import base_libraries, beside, excuses
from sealift.target.cuda import (
    builds_for,
    cuda_problem,
    cuda_releases,
    driver_floor,
    driver_problem,
    gpu_builds,
)
from sealift.target.known import KNOWN, Entry, document, entries, named_entries, span_of, within
from sealift.target.known_bad import all_known_bad
from sealift.target.presets import PRESETS, gcc_runtime_of, gcc_runtimes, presets
from sealift.target.target import version_key


def test_every_table_of_the_file_is_read_to_its_last_key() -> None:
    """Each reader fails on a key that it does not ask for; together they read all tables."""
    assert presets()
    assert gcc_runtimes()
    assert cuda_releases()
    assert gpu_builds()
    assert all_known_bad()
    assert base_libraries()
    assert beside()
    assert excuses()
    readers = {"presets", "gcc_runtime", "cuda_family", "cuda", "gpu_build", "known_bad"}
    assert set(document()) == readers | {"base", "beside", "excuse"}


def test_every_entry_has_a_source_that_names_no_registry() -> None:
    for table in ("gcc_runtime", "cuda_family", "cuda", "gpu_build", "known_bad", "beside", "excuse"):
        assert all(len(entry.text("source")) > 15 for entry in entries(table))
    assert all(len(entry.text("source")) > 15 for entry in named_entries("presets").values())
    assert "://" not in KNOWN.read_text()


def test_the_file_travels_to_the_box() -> None:
    inside = KNOWN.relative_to(Path(sealift.target.__file__).parent.parent)
    assert is_box_side(inside.as_posix())


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"name": "x"}, "expected a source"),
        ({"source": " "}, "expected a source"),
        ({"source": "a list", "glibc": 2.31}, "glibc: expected a text, got 2.31"),
        ({"source": "a list", "glibc": "new"}, "glibc: expected a version, got 'new'"),
        ({"source": "a list", "glibc": "2.31", "glib": "2"}, "unknown key glib"),
        ("text", "expected a table, got 'text'"),
    ],
)
def test_what_strays_in_the_file_is_named(values: object, problem: str) -> None:
    with pytest.raises(ValueError, match=f"known.toml: presets.x: {problem}"):
        _glibc(values)


def _glibc(values: object) -> None:
    entry = Entry("presets.x", values)
    entry.version("glibc")
    entry.close()


@pytest.mark.parametrize(
    ("text", "span"),
    [("", ("", "")), (">=2", ("2", "")), ("<1.19", ("", "1.19")), (">=1.19,<1.27", ("1.19", "1.27"))],
)
def test_a_span_of_versions_reads(text: str, span: tuple[str, str]) -> None:
    assert span_of(text, "x") == span


@pytest.mark.parametrize("text", [">2", "==2", ">=2,", "<1,>=2", "2", ">=1,<2,<3"])
def test_another_spelling_of_a_span_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a span"):
        span_of(text, "x")


def test_a_span_holds_its_start_and_not_its_end() -> None:
    assert within("1.19", ("1.19", "1.27"))
    assert within("1.26.9", ("1.19", "1.27"))
    assert not within("1.27.0", ("1.19", "1.27"))
    assert not within("1.18.9", ("1.19", "1.27"))


def test_the_presets_are_those_that_people_pack_for() -> None:
    assert {
        "ubuntu-20.04",
        "centos-7",
        "rhel-8",
        "debian-12",
        "openeuler-22.03",
        "kylin-v10",
        "anolis-8",
    } <= set(PRESETS)
    assert PRESETS["centos-7"] == "2.17"
    assert presets()["ubuntu-20.04"].gcc_runtime.glibcxx == "3.4.28"


@pytest.mark.parametrize(
    ("glibc", "glibcxx"),
    [("2.12", "3.4.19"), ("2.17", "3.4.19"), ("2.28", "3.4.24"), ("2.31", "3.4.28"), ("2.40", "3.4.33")],
)
def test_a_target_is_taken_for_the_poorest_system_with_its_glibc(glibc: str, glibcxx: str) -> None:
    assert gcc_runtime_of(glibc).glibcxx == glibcxx


def test_newer_systems_never_have_an_older_gcc_runtime() -> None:
    levels = [version_key(gcc_runtime_of(f"2.{minor}").glibcxx) for minor in range(12, 45)]
    assert levels == sorted(levels)


@pytest.mark.parametrize(
    ("cuda", "floor"),
    [
        ("11.8", "450.80.02"),
        ("11.0", "450.80.02"),
        ("12.4", "525.60.13"),
        ("13.0", "580.65.06"),
        ("12.99", "525.60.13"),
    ],
)
def test_the_oldest_driver_follows_from_the_cuda_family(cuda: str, floor: str) -> None:
    assert driver_floor(cuda) == floor


def test_an_unknown_cuda_names_its_neighbours() -> None:
    assert cuda_problem("12.7") == "expected a CUDA release, 12.6 or 12.8 for example; got '12.7'"
    with pytest.raises(UsageError, match=r"expected a CUDA release, 11\.0 for example; got '10\.2'"):
        driver_floor("10.2")


def test_the_driver_of_the_guide_runs_cuda_11_and_not_12() -> None:
    """The guide's box has 470.57.02."""
    assert driver_problem("11.8", "470.57.02") is None
    assert driver_problem("12.4", "470.57.02") == (
        "NVIDIA driver: expected 525.60.13 or newer for CUDA 12.4, found 470.57.02"
    )
    assert driver_problem("11.8", None) == (
        "NVIDIA driver: expected 450.80.02 or newer for CUDA 11.8, found none"
    )


def test_a_cuda_family_of_the_future_is_not_taken_for_one_that_runs() -> None:
    problem = "NVIDIA driver: this sealift does not know CUDA 14.0; carry a newer sealift"
    assert driver_problem("14.0", "999.1") == problem


def test_no_cuda_release_came_with_a_driver_older_than_its_family_needs() -> None:
    for cuda in cuda_releases().values():
        if cuda.driver_of_release and cuda.release != "11.0":
            assert version_key(cuda.driver_of_release) >= version_key(cuda.driver), cuda


def test_every_line_of_an_engine_follows_the_one_before() -> None:
    for engine in ("onnxruntime", "torch"):
        lines = [build.versions for build in gpu_builds() if build.engine == engine]
        assert all(before[1] == after[0] for before, after in pairwise(lines)), lines


@pytest.mark.parametrize(
    ("cuda", "requirements"),
    [
        ("11.8", ["onnxruntime-gpu>=1.17,<1.19", "onnxruntime-gpu>=1.16,<1.17"]),
        ("12.4", ["onnxruntime-gpu>=1.19,<1.27"]),
        ("13.0", ["onnxruntime-gpu>=1.27"]),
    ],
)
def test_an_engine_has_builds_for_some_cuda(cuda: str, requirements: list[str]) -> None:
    assert [build.requirement for build in builds_for(cuda, "onnxruntime")] == requirements


def test_an_engine_without_a_build_for_cuda_has_none() -> None:
    assert builds_for("12.4", "openvino") == ()


def test_the_known_bad_pairs_name_their_way_out() -> None:
    for entry in all_known_bad():
        assert len(entry.packages) > 1
        assert entry.instead.partition("<")[0].partition(">")[0] in entry.packages
        assert tomllib.loads(f'x = "{entry.remedy}"')
