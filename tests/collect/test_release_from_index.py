"""The real box side from the real index: the only tests here that need a network."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sealift.collect.box_side import copy_box_side
from sealift.collect.bytecode import compile_tree
from sealift.collect.lock import collect_wheels
from sealift.collect.pip_download import CollectOptions
from sealift.collect.unpack import unpack_wheels
from sealift.project.project import PythonSources
from sealift.target.target import Target

pytestmark = pytest.mark.slow
IMPORTS = "cryptography.hazmat.primitives.asymmetric.ed25519, httptools, msgspec, numpy, onnxruntime, PIL.Image, uvloop"


def test_the_locked_box_side_runs_on_this_machine_without_any_installed_package(
    tmp_path: Path, target: Target
) -> None:
    collected = collect_wheels(PythonSources(), target, CollectOptions(tmp_path / "wheels"))
    assert all(wheel.licence for wheel in collected.wheels)
    runtime = tmp_path / "release" / "runtime"
    unpack_wheels([wheel.path for wheel in collected.runtime], runtime)
    copy_box_side(runtime)
    compiled = compile_tree(runtime, Path(sys.executable))
    assert compiled.skipped == ()
    (tmp_path / "application.py").write_text(
        f"import sys\nsys.path.append({str(runtime)!r})\nimport {IMPORTS}\n"
        "print('\\n'.join(m.__file__ for m in list(sys.modules.values()) if getattr(m, '__file__', None)))\n"
    )
    command = [sys.executable, "-I", "-S", "-B", str(tmp_path / "application.py")]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    foreign = [f for f in loaded if not f.startswith((str(runtime), sys.base_prefix, str(tmp_path)))]
    assert foreign == []


def test_the_box_side_of_another_processor_and_python_can_be_collected_here(
    tmp_path: Path, target: Target
) -> None:
    foreign = replace(target, platform="linux-aarch64", python="3.13", glibc="2.31")
    collected = collect_wheels(PythonSources(), foreign, CollectOptions(tmp_path / "wheels"))
    names = " ".join(wheel.filename for wheel in collected.wheels)
    assert "x86_64" not in names
    assert "onnxruntime" in names
    assert collected.glibc == "2.28"
