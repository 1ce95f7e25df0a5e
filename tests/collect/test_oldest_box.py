"""The oldest set of wheels, installed for real (`make box-2.17`), and packages that need not be there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.oldest_box import ROOT, command

from sealift.collect.runtime import PARTS, TIERS, UNNEEDED, BoxSide
from sealift.target.elf import read_elf
from sealift.target.host import read_host
from sealift.target.known_bad import known_bad
from sealift.target.target import Target, version_key

pytestmark = pytest.mark.slow

OLDEST = TIERS[-1]
PYTHON = ROOT / ".venv-box-2.17" / "bin" / "python"
TARGET = Target(read_host().platform, OLDEST.pythons[0], OLDEST.glibc)
installed = pytest.mark.skipif(not PYTHON.exists(), reason="make box-2.17 builds its environment")

LISTED = """
import importlib.metadata as meta, json, sys
found = {name: meta.distribution(name) for name in sys.argv[1:]}
files = [str(file.locate()) for each in found.values() for file in each.files or ()]
print(json.dumps([{name: each.version for name, each in found.items()}, files]))
"""

SESSION = """
import sys
blocked = set(sys.argv[2].split(","))
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ImportError(f"{name} is not carried")
        return None
sys.meta_path.insert(0, Wall())
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
(shown,) = session.run(None, {"x": numpy.array([[-1.0, 2.0]], numpy.float32)})
assert shown.tolist() == [[0.0, 2.0]], shown
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
key = Ed25519PrivateKey.generate()
key.public_key().verify(key.sign(b"signed"), b"signed")
assert not blocked & set(sys.modules)
"""


def run(python: str | Path, code: str, *arguments: str) -> str:
    done = subprocess.run([python, "-I", "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def relu(folder: Path) -> Path:
    import onnx
    from onnx import TensorProto, helper

    edges = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", edges[:1], edges[1:])
    path = folder / "relu.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def not_carried() -> str:
    """What the metadata of the engine and of cffi asks for, by the name that is imported."""
    names = UNNEEDED["onnxruntime"] | UNNEEDED["cffi"]
    return ",".join(sorted({"google" if name == "protobuf" else name for name in names}))


def objects(files: Sequence[str]) -> dict[str, str]:
    """Shared object -> the newest glibc whose symbols it needs."""
    found = {}
    for file in files:
        elf = read_elf(Path(file)) if ".so" in Path(file).name else None
        if elf is not None:
            needed = [name.removeprefix("GLIBC_") for name in elf.needs("GLIBC_")]
            found[file] = max((v for v in needed if v[0].isdigit()), key=version_key, default="2.0")
    return found


def test_a_session_and_a_signature_need_none_of_what_is_left_behind(tmp_path: Path) -> None:
    run(sys.executable, SESSION, str(relu(tmp_path)), not_carried())


@installed
def test_neither_does_the_oldest_engine(tmp_path: Path) -> None:
    run(PYTHON, SESSION, str(relu(tmp_path)), not_carried())


@installed
def test_what_is_installed_is_what_the_lock_says_and_needs_no_newer_c_library() -> None:
    pins = {pin.name: pin.version for pin in BoxSide(OLDEST.lock, parts=frozenset(PARTS)).pins(TARGET)}
    versions, files = json.loads(run(PYTHON, LISTED, *pins))
    assert versions == pins
    assert known_bad(TARGET, versions) == ()
    found = objects(files)
    assert len(found) > 40
    assert {file for file, glibc in found.items() if version_key(glibc) > version_key(OLDEST.glibc)} == set()
    assert "2.17" in found.values(), "the reader reads: something needs just that"


@installed
def test_the_box_sides_own_tests_pass_on_it() -> None:
    """A part of them; `make test-box-2.17` runs them all."""
    clean = {name: value for name, value in os.environ.items() if name != "SEALIFT_REQUIRE_ALL"}
    done = subprocess.run(
        command(str(PYTHON), ["--part", "-x"]),
        cwd=ROOT,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
