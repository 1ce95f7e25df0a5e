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
