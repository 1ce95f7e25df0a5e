"""Imports under the target's interpreter: what is asked for, what fails, and what is not tried."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sealift.collect.import_test import interpreter_for, top_modules, try_locked, try_tree
from sealift.collect.layers import write_layers
from sealift.collect.lock import collect_wheels, lock_wheels
from sealift.collect.pip_download import CollectOptions
from sealift.collect.runtime import BoxSide
from sealift.events import Silent
from sealift.project.project import PythonSources
from sealift.target.target import Target

MakeWheel = Callable[..., Path]


def test_the_top_of_a_wheel_is_what_import_takes(tmp_path: Path, make_wheel: MakeWheel) -> None:
    files = dict.fromkeys(
        (
            "single.py",
            "_inner.py",
            "quick.cpython-311-x86_64-linux-gnu.so",
            "whole/__init__.py",
            "whole/part/__init__.py",
            "spread/one/__init__.py",
            "spread/two/deep/__init__.py",
            "tests/__init__.py",
            "data/table.csv",
            "not-a-name/__init__.py",
        ),
        "",
    )
    wheel = make_wheel(tmp_path, "x", files=files)
    assert top_modules(wheel) == ("quick", "single", "spread.one", "spread.two.deep", "whole")
    assert top_modules(make_wheel(tmp_path, "y", files={"_only.py": ""})) == ("_only",)


@pytest.mark.slow
def test_each_import_that_fails_is_named_even_after_a_crash(
    tmp_path: Path, shelf: Path, target: Target, options: CollectOptions, box: BoxSide, make_wheel: MakeWheel
) -> None:
    make_wheel(
        shelf, "a-dead", files={"a_dead.py": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)\n"}
    )
    make_wheel(shelf, "b-old", files={"b_old.py": "import boxnum\nraise ImportError('built for boxnum 1')\n"})
    make_wheel(
        shelf,
        "c-lib",
        files={"c_lib.py": "raise ImportError('libGL.so.1: cannot open shared object file')\n"},
    )
    make_wheel(
        shelf, "d-well", files={"d_well/__init__.py": "import app_core, boxrun\n"}, requires=["app-core"]
    )
    make_wheel(shelf, "e-quits", files={"e_quits.py": "raise SystemExit(3)\n"})
    (tmp_path / "requirements.txt").write_text("a-dead\nb-old\nc-lib\nd-well\ne-quits\nboxrun\n")
    sources = PythonSources(requirements=tmp_path / "requirements.txt")
    locked = lock_wheels(sources, target, options, box=box)
    imports = try_locked(locked, target, options)
    assert imports.tested == ("a_dead", "b_old", "boxrun", "c_lib", "d_well", "e_quits")
    assert imports.failures == (
        "import a_dead (a-dead 1.0): the interpreter was killed by signal 11: no message",
        "import b_old (b-old 1.0): ImportError: built for boxnum 1",
        "import e_quits (e-quits 1.0): SystemExit: 3",
    )
    assert len(imports.notes) == 1
    assert "this machine lacks libGL.so.1" in imports.notes[0]
    assert list(options.folder.iterdir()) == []

    collected = collect_wheels(sources, target, options, box=box)
    write_layers(collected, tmp_path / "tree", Path(sys.executable), Silent())
    assert try_tree(collected, tmp_path / "tree", Path(sys.executable)) == imports


@pytest.mark.slow
def test_what_this_machine_cannot_run_says_why(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    other = "linux-aarch64" if target.machine == "x86_64" else "linux-x86_64"
    assert (
        interpreter_for(replace(target, platform=other), [])
        == f"not import-tested: this machine is {target.platform}"
    )
    new = replace(target, glibc="2.99")
    names = [f"x-1-cp311-cp311-manylinux_2_99_{target.machine}.whl"]
    assert str(interpreter_for(new, names)).startswith("not import-tested: the wheels need glibc 2.99")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("PYENV_ROOT", "/nowhere")
    assert (
        interpreter_for(replace(target, python="3.5"), [])
        == "not import-tested: no Python 3.5 on this machine"
    )
    assert os.environ["PATH"] == "/nowhere"
