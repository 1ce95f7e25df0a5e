"""Must show: whose code runs. The packing environment and the source tree go away; the release serves on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.journey.conftest import Server, make_keys, sealift

import sealift as package

pytestmark = pytest.mark.slow

HANDLER = """
import sys

import farewell
from beside import double


def preprocess(data):
    return {name: double(value) for name, value in data["numbers"].items()}


def postprocess(outputs):
    files = sorted({getattr(module, "__file__", None) or "" for module in list(sys.modules.values())})
    return {"prediction": outputs["y"], "files": files, "path": sys.path, "farewell": farewell.WORD}
"""


@dataclass(frozen=True)
class Orphan:
    """A release that serves although everything it was packed with is gone."""

    folder: Path
    server: Server
    worker: int

    def predict(self) -> dict[str, Any]:
        body = {"numbers": {"x": [1.0, 2.0]}}
        answer = requests.post(f"{self.server.url}/predict", json=body, timeout=30)
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()
        return result


def make_wheel(folder: Path) -> Path:
    """A dependency of the application's own, as a wheel: `farewell` 1.0."""
    import zipfile

    path = folder / "farewell-1.0-py3-none-any.whl"
    info = "farewell-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("farewell.py", "WORD = 'goodbye'\n")
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: farewell\nVersion: 1.0\nLicense: MIT\n"
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(
            f"{info}/RECORD", f"farewell.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n"
        )
    return path


def make_project(folder: Path) -> None:
    """A model that adds, a handler with a sibling module, and the wheel it imports."""
    import onnx
    from onnx import TensorProto, helper

    folder.mkdir()
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "adder", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    (folder / "handler.py").write_text(HANDLER)
    (folder / "beside.py").write_text("def double(values):\n    return [2 * value for value in values]\n")
    make_wheel(folder)
    (folder / "sealift.toml").write_text(
        '[project]\nname = "orphan"\nversion = "1.0"\n[model]\npath = "model.onnx"\n'
        '[handler]\nmodule = "handler.py"\n[python]\nwheels = ["*.whl"]\n'
    )


def make_packing_environment(folder: Path) -> Path:
    """A virtual environment with a copy of sealift's source; returns its interpreter."""
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    shutil.copytree(Path(package.__file__).parent, folder / "source" / "sealift")
    site = next((folder / "venv" / "lib").glob("python*")) / "site-packages"
    ours = [path for path in sys.path if path.endswith("site-packages")]
    (site / "packing.pth").write_text("\n".join([str(folder / "source"), *ours]))
    return folder / "venv" / "bin" / "python"


@pytest.fixture(scope="module")
def orphan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orphan]:
    folder = tmp_path_factory.mktemp("orphan")
    python = make_packing_environment(folder)
    make_project(folder / "project")
    make_keys(folder)
    signing = ("--keys", "keys", "--passphrase-file", "phrase")
    sealift("pack", "project", "-o", "bundle", *signing, cwd=folder, python=python)
    sealift("install", "bundle", "--trust", "keys/root.json", "--prefix", "box", cwd=folder, python=python)
    for gone in ("venv", "source", "project", "bundle", "keys"):
        shutil.rmtree(folder / gone)
    server = Server([str(folder / "box" / "bin" / "sealift"), "serve", "orphan", "--port", "0"], folder)
    status = subprocess.run(
        [folder / "box" / "bin" / "sealift", "status", "--json"], capture_output=True, text=True, check=True
    )
    yield Orphan(folder, server, json.loads(status.stdout)["services"][0]["serving"]["worker"])
    assert server.stop() == 0
    server.log.close()


def release_of(orphan: Orphan) -> Path:
    return (orphan.folder / "box" / "current" / "orphan").resolve()


def test_the_release_serves_after_everything_it_was_packed_with_is_gone(orphan: Orphan) -> None:
    assert orphan.predict()["prediction"] == [4.0, 8.0]
    assert orphan.predict()["farewell"] == "goodbye"


def test_every_module_of_the_worker_is_of_the_release_or_the_interpreter(orphan: Orphan) -> None:
    release = release_of(orphan)
    allowed = (f"{release}/", f"{sys.base_prefix}/")
    files = [file for file in orphan.predict()["files"] if file and not file.startswith("<")]
    assert len(files) > 200
    assert [file for file in files if not file.startswith(allowed)] == []
    assert [file for file in files if "site-packages" in file or "dist-packages" in file] == []


def test_no_search_path_of_the_worker_leads_outside(orphan: Orphan) -> None:
    release = release_of(orphan)
    outside = [
        path for path in orphan.predict()["path"] if not path.startswith((f"{release}/", sys.base_prefix))
    ]
    assert outside == []


def test_every_mapped_file_is_of_the_release_the_interpreter_or_the_c_library(orphan: Orphan) -> None:
    orphan.predict()
    maps = Path(f"/proc/{orphan.worker}/maps").read_text().splitlines()
    files = {line.split(maxsplit=5)[5] for line in maps if line.count(" ") and "/" in line}
    release = f"{release_of(orphan)}/"
    store = f"{orphan.folder}/box/store/"
    system = interpreter_libraries() | c_library()
    foreign = [
        file
        for file in sorted(files)
        if not file.startswith((release, store, f"{sys.base_prefix}/", "/usr/lib/locale/"))
        and Path(file).resolve() not in system
    ]
    assert foreign == []


def interpreter_libraries() -> set[Path]:
    """What the declared interpreter's own files (it and its extension modules) are linked with."""
    roots = [Path(sys._base_executable), *Path(sys.base_prefix).glob("lib/python3.*/lib-dynload/*.so")]  # type: ignore[attr-defined]
    shown = subprocess.run(["ldd", *map(str, roots)], capture_output=True, text=True, check=False).stdout
    paths = [word for line in shown.splitlines() for word in line.split() if word.startswith("/")]
    return {Path(path).resolve() for path in paths if os.path.exists(path)}  # noqa: PTH110


def c_library() -> set[Path]:
    """glibc and the compiler's runtime: the libraries that every manylinux wheel may expect (PEP 600)."""
    names = (
        "libc.so.6",
        "libm.so.6",
        "libdl.so.2",
        "librt.so.1",
        "libpthread.so.0",
        "libgcc_s.so.1",
        "libstdc++.so.6",
    )
    folders = (
        Path("/lib/x86_64-linux-gnu"),
        Path("/lib64"),
        Path("/usr/lib"),
        Path("/lib/aarch64-linux-gnu"),
    )
    found = {(folder / name).resolve() for folder in folders for name in names if (folder / name).exists()}
    return found | {path.resolve() for path in Path("/").glob("lib*/ld-linux*")} | gconv()


def gconv() -> set[Path]:
    """glibc's own table of character sets."""
    return {path.resolve() for path in Path("/usr/lib").glob("*/gconv/gconv-modules.cache")}
