"""pip's own words, as seen, and what becomes of them."""

from pathlib import Path

import pytest

from sealift.collect.pip_words import Conflict, failure
from sealift.errors import DigestMismatch, NoSpace, UsageError
from sealift.target.target import Target

TARGET = Target(platform="linux-x86_64", python="3.11", glibc="2.28")
CONFLICT = """\
Looking in indexes: https://index.example/simple
ERROR: Cannot install numpy<2 and pandas==1.0 because these package versions have conflicting dependencies.

The conflict is caused by:
    The user requested numpy<2
    pandas 1.0 depends on numpy>=1.13
    The user requested (constraint) Typing_Extensions==4.6

Additionally, some packages in these conflicts have no matching distributions available for your environment:
    numpy

To fix this you could try to:
1. loosen the range of package versions you've specified

ERROR: ResolutionImpossible: for help visit a page
"""
OFFLINE = """\
WARNING: Retrying (Retry(total=0)) after connection broken by 'NameResolutionError("...")': /simple/six/
ERROR: Could not find a version that satisfies the requirement six==1.0 (from versions: none)
ERROR: No matching distribution found for six==1.0
"""
HASHES = """\
ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have updated the package
    six==1.17.0 from file:///six-1.17.0-py2.py3-none-any.whl:
        Expected sha256 00
             Got        4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274
"""


def translated(text: str) -> Exception:
    return failure(text.splitlines(), TARGET, Path("/wheels"))


def test_a_conflict_keeps_what_excludes_what_and_drops_the_advice() -> None:
    conflict = translated(CONFLICT)
    assert isinstance(conflict, Conflict)
    assert conflict.constrained == {"typing-extensions"}
    assert conflict.lines == (
        "Cannot install numpy<2 and pandas==1.0 because these package versions have conflicting dependencies.",
        "The user requested numpy<2",
        "pandas 1.0 depends on numpy>=1.13",
        "The user requested (constraint) Typing_Extensions==4.6",
    )


def test_no_network_is_not_mistaken_for_an_unknown_package() -> None:
    error = translated(OFFLINE)
    assert isinstance(error, UsageError)
    assert error.message == "No package index can be reached from here, looking for six==1.0."
    assert "wheels" in str(error.next_step)


def test_a_wrong_digest_is_a_matter_of_trust() -> None:
    error = translated(HASHES)
    assert isinstance(error, DigestMismatch)
    assert error.exit_code == 22
    assert [problem.split(" ")[0] for problem in error.problems] == ["six==1.17.0", "Expected", "Got"]


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("/usr/bin/python: No module named pip", UsageError, "pip is not installed"),
        (
            "ERROR: Could not install: [Errno 28] No space left on device",
            NoSpace,
            "No space left for wheels in /wheels",
        ),
        ("ERROR: something new\nTraceback", UsageError, "pip could not collect the wheels."),
    ],
)
def test_other_failures_are_said_in_words(text: str, kind: type[Exception], said: str) -> None:
    error = translated(text)
    assert isinstance(error, kind)
    assert said in str(error)


def test_an_unknown_failure_shows_pips_own_lines() -> None:
    error = translated("noise\nERROR: something new\nmore noise")
    assert isinstance(error, UsageError)
    assert error.problems == ("something new",)
