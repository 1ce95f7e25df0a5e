import os
import sys
import venv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sealift.errors import IncompatibleHost
from sealift.target.host import own_python, read_host
from sealift.target.interpreter import find_interpreter, own_base
from sealift.target.target import Target

MINE = Target(platform=read_host().platform, python=own_python(), glibc="2.17")
FOREIGN = Target(platform="linux-x86_64", python="3.12", glibc="2.17")
FakePython = Callable[..., Path]


def test_the_running_tools_own_base_interpreter_comes_first() -> None:
    found = find_interpreter(MINE, environ={"PATH": "/nowhere"}, own_base=own_base())
    assert found.path == own_base()
    assert found.version == ".".join(map(str, sys.version_info[:3]))
    assert found.base_prefix == Path(sys.base_prefix)
    assert found.glibc == read_host().glibc
    assert found.missing == ()


def test_a_virtual_environment_leads_to_the_interpreter_under_it(tmp_path: Path) -> None:
    """The environment may be deleted; the release must not notice."""
    venv.create(tmp_path / "env", symlinks=True, with_pip=False)
    target = replace(MINE, interpreter=str(tmp_path / "env" / "bin" / "python"))
    found = find_interpreter(target, environ={}, own_base=None)
    assert not found.path.is_relative_to(tmp_path)
    assert found.python == own_python()


def test_folders_of_path_are_searched_by_version(tmp_path: Path, fake_python: FakePython) -> None:
    path = fake_python("python3.99", version="3.99.4")
    environ = {"PATH": f"relative{os.pathsep}{tmp_path}{os.pathsep}/usr/bin"}
    found = find_interpreter(replace(FOREIGN, python="3.99"), environ=environ, own_base=own_base())
    assert (found.path, found.version, found.glibc) == (path, "3.99.4", "2.31")


def test_nothing_found_names_the_package_to_install() -> None:
    target = replace(FOREIGN, python="3.99")
    with pytest.raises(IncompatibleHost) as caught:
        find_interpreter(target, environ={"PATH": ""}, own_base=own_base())
    assert caught.value.exit_code == 31
    assert caught.value.message == "No usable interpreter: this release needs python3.99 (cpython, x86_64)."
    assert caught.value.problems == ("python3.99: not in /usr/bin, /usr/local/bin or PATH",)
    assert "install python3.99" in str(caught.value.next_step)


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        ({"version": "3.10.2"}, "Python: expected 3.12, found 3.10"),
        ({"implementation": "pypy"}, "implementation: expected cpython, found pypy"),
        ({"machine": "aarch64"}, "processor: expected x86_64, found aarch64"),
        ({"bits": 32}, "processor: expected x86_64, found x86_64 (32 bit)"),
        (
            {"missing": ["asyncio", "_ssl"]},
            "standard library: lacks asyncio, _ssl; install the full python package",
        ),
    ],
)
def test_an_interpreter_of_another_kind_is_refused_with_the_reason(
    fake_python: FakePython, facts: dict[str, object], problem: str
) -> None:
    path = fake_python(**facts)
    with pytest.raises(IncompatibleHost) as caught:
        find_interpreter(replace(FOREIGN, interpreter=str(path)), environ={}, own_base=None)
    assert caught.value.problems == (f"{path}: {problem}",)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("#!/bin/sh\necho 3.12\n", "did not answer as a Python interpreter does"),
        ("#!/bin/sh\necho 'no such version' >&2; exit 127\n", "ended with 127: no such version"),
        ("#!/no/such/shell\n", "there is no such file"),
        ("no script at all", "does not start: Exec format error"),
    ],
)
def test_a_program_that_is_no_interpreter_is_refused(tmp_path: Path, script: str, reason: str) -> None:
    path = tmp_path / "python3.12"
    path.write_text(script)
    path.chmod(0o755)
    with pytest.raises(IncompatibleHost) as caught:
        find_interpreter(replace(FOREIGN, interpreter=str(path)), environ={}, own_base=None)
    assert caught.value.problems == (f"{path}: {reason}",)


def test_a_named_interpreter_is_never_replaced_by_another(tmp_path: Path) -> None:
    wanted = tmp_path / "python"
    with pytest.raises(IncompatibleHost) as caught:
        find_interpreter(replace(MINE, interpreter=str(wanted)), environ=os.environ, own_base=own_base())
    assert caught.value.problems == (f"{wanted}: there is no such file",)


def test_the_candidate_sees_nothing_of_our_environment(tmp_path: Path, fake_python: FakePython) -> None:
    answer = fake_python("real")
    path = tmp_path / "python"
    path.write_text(f'#!/bin/sh\n[ -z "$PYTHONHOME$LD_LIBRARY_PATH" ] || exit 9\nexec {answer}\n')
    path.chmod(0o755)
    environ = {"PATH": os.environ["PATH"], "PYTHONHOME": "/x", "LD_LIBRARY_PATH": "/y"}
    found = find_interpreter(replace(FOREIGN, interpreter=str(path)), environ=environ, own_base=None)
    assert found.python == "3.12"
