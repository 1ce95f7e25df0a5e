from dataclasses import replace
from pathlib import Path

import pytest

from sealift.target.compatible import incompatibilities
from sealift.target.host import Host
from sealift.target.interpreter import Interpreter
from sealift.target.target import Target

TARGET = Target(platform="linux-x86_64", python="3.11", glibc="2.31", cpu=("avx2", "SSE4.2"), kernel="5.4")
HOST = Host("linux-x86_64", "2.36", "6.1.0-18-amd64", ("avx2", "sse4_2"))
PYTHON = Interpreter(Path("/usr/bin/python3.11"), "3.11.2", "cpython", "x86_64", "2.36", Path("/usr"))


def test_a_box_that_offers_all_fits() -> None:
    assert incompatibilities(TARGET, HOST, PYTHON) == ()
    assert incompatibilities(replace(TARGET, kernel=None, cpu=()), replace(HOST, kernel="odd"), None) == ()


@pytest.mark.parametrize(
    ("host", "problem"),
    [
        (replace(HOST, platform="linux-aarch64"), "platform: expected linux-x86_64, found linux-aarch64"),
        (replace(HOST, glibc="2.28"), "C library: expected glibc 2.31 or newer, found 2.28"),
        (replace(HOST, glibc="2.9"), "C library: expected glibc 2.31 or newer, found 2.9"),
        (replace(HOST, kernel="4.18.0-80"), "kernel: expected Linux 5.4 or newer, found 4.18.0-80"),
        (replace(HOST, cpu=("sse4_2",)), "processor: expected avx2, found a processor without"),
    ],
)
def test_what_a_box_lacks_is_said_with_expected_and_found(host: Host, problem: str) -> None:
    assert problem in incompatibilities(TARGET, host, replace(PYTHON, glibc=host.glibc))


@pytest.mark.parametrize(
    ("cuda", "driver"),
    [
        ("11.8", "470.57.02"),
        ("11.0", "450.80.02"),
        ("12.4", "525.60.13"),
        ("12.9", "580.65.06"),
        (None, None),
    ],
)
def test_a_driver_of_the_cuda_family_or_newer_fits(cuda: str | None, driver: str | None) -> None:
    """The guide's box has 470.57.02 and CUDA 11."""
    assert incompatibilities(replace(TARGET, cuda=cuda), replace(HOST, driver=driver), PYTHON) == ()


@pytest.mark.parametrize(
    ("cuda", "driver", "problem"),
    [
        ("12.4", "470.57.02", "expected 525.60.13 or newer for CUDA 12.4, found 470.57.02"),
        ("13.0", "575.57.08", "expected 580.65.06 or newer for CUDA 13.0, found 575.57.08"),
        ("11.8", None, "expected 450.80.02 or newer for CUDA 11.8, found none"),
    ],
)
def test_a_driver_that_is_too_old_or_absent_is_named(cuda: str, driver: str | None, problem: str) -> None:
    found = incompatibilities(replace(TARGET, cuda=cuda), replace(HOST, driver=driver), PYTHON)
    advice = "install that driver, or pack for an older CUDA or without [target] cuda"
    assert found == (f"NVIDIA driver: {problem}; {advice}",)


def test_everything_that_is_wrong_is_said_at_once() -> None:
    host = Host("linux-aarch64", None, "4.4", ())
    python = replace(PYTHON, version="3.9.1", machine="aarch64", glibc=None)
    assert incompatibilities(TARGET, host, python) == (
        "platform: expected linux-x86_64, found linux-aarch64",
        "C library: expected glibc 2.31 or newer, found another one (not glibc)",
        "kernel: expected Linux 5.4 or newer, found 4.4",
        "processor: expected avx2, SSE4.2, found a processor without",
        "interpreter /usr/bin/python3.11: Python: expected 3.11, found 3.9",
        "interpreter /usr/bin/python3.11: processor: expected x86_64, found aarch64",
    )


def test_an_interpreter_with_its_own_older_c_library_is_found_out() -> None:
    problems = incompatibilities(TARGET, HOST, replace(PYTHON, glibc="2.17"))
    assert problems == ("C library of /usr/bin/python3.11: expected glibc 2.31 or newer, found 2.17",)
