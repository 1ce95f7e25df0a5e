"""CUDA's libraries are found in the layers that wheels were unpacked into, without LD_LIBRARY_PATH.

Stand-ins of the real names, in the layouts of the wheels for CUDA 12 (one folder each) and 13 (one for all).
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

import sealift
from sealift.engine.nvidia_libraries import load_from_wheels

HOUSE = str(Path(sealift.__file__).parents[1])
ASK = """
import ctypes, sys
from pathlib import Path
house, provider, *folders = sys.argv[1:]
sys.path[:] = [*sys.path, house, *folders]
from sealift.engine.nvidia_libraries import load_from_wheels
loaded = [path.name for path in load_from_wheels([Path(provider)])] if folders else []
try:
    print(ctypes.CDLL(provider).answer(), *loaded)
except OSError as error:
    print(error)
"""
CUDA_12 = {
    "libcublasLt.so.12": "cublas", "libcublas.so.12": "cublas", "libcudart.so.12": "cuda_runtime",
    "libcudnn.so.9": "cudnn", "libcudnn_ops.so.9": "cudnn", "libcufft.so.11": "cufft",
}  # fmt: skip
CUDA_13 = dict.fromkeys(CUDA_12, "cu13")
NEEDS = {
    "libcublas.so.12": ("libcublasLt.so.12",),
    "libcudnn_ops.so.9": ("libcublas.so.12",),
    "provider.so": ("libcudnn.so.9", "libcublas.so.12", "libcudart.so.12"),
}
OPENS = {"libcudnn.so.9": "libcudnn_ops.so.9"}
"""As cuDNN does: by name, when it is first called."""


def build(folder: Path, homes: Mapping[str, str]) -> Path:
    """The stand-ins below `folder`/nvidia, and the engine's shared object that needs them; returns that."""
    made: dict[str, Path] = {}
    for name in ("libcublasLt.so.12", "libcublas.so.12", "libcudart.so.12", "libcufft.so.11", "libcudnn_ops.so.9",
                 "libcudnn.so.9"):  # fmt: skip
        home = folder / "nvidia" / homes[name] / "lib"
        home.mkdir(parents=True, exist_ok=True)
        made[name] = compiled(home / name, [made[n] for n in NEEDS.get(name, ())], OPENS.get(name))
    return compiled(folder.parent / "provider.so", [made[n] for n in NEEDS["provider.so"]], None)


def compiled(path: Path, needs: Sequence[Path], opens: str | None) -> Path:
    body = f'return dlopen("{opens}", RTLD_LAZY) ? 42 : 0;' if opens else "return 1;"
    calls = "libcudnn_answer()" if path.name == "provider.so" else ""
    word = path.name.partition(".")[0]
    code = f"#include <dlfcn.h>\nint {word}_answer(void) {{ {body} }}\n"
    code += f"int {calls};\nint answer(void) {{ return {calls}; }}\n" if calls else ""
    options = [
        "-shared",
        "-fPIC",
        "-x",
        "c",
        "-",
        "-x",
        "none",
        "-Wl,--no-as-needed",
        f"-Wl,-soname,{path.name}",
    ]
    options += ["-Wl,--allow-shlib-undefined", *map(str, needs), "-o", str(path)]
    subprocess.run(["gcc", *options], input=code, text=True, check=True)
    return path


def ask(provider: Path, *folders: Path) -> str:
    clean = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    command = [sys.executable, "-I", "-S", "-c", ASK, HOUSE, str(provider), *map(str, folders)]
    return subprocess.run(command, env=clean, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("homes", [CUDA_12, CUDA_13], ids=["a folder each", "one folder"])
def test_the_engine_opens_after_what_it_needs_and_nothing_else_is_loaded(
    tmp_path: Path, homes: Mapping[str, str]
) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    provider = build(tmp_path / "dependencies", homes)
    assert "cannot open shared object file" in ask(provider), "the loader finds them by itself here"
    answer, *loaded = ask(provider, runtime, tmp_path / "dependencies").split()
    assert answer == "42", "cuDNN did not find the part that it opens by name"
    assert loaded == [
        "libcudnn.so.9",
        "libcublasLt.so.12",
        "libcublas.so.12",
        "libcudnn_ops.so.9",
        "libcudart.so.12",
    ]


def fake(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"no ELF")
    return path


def loader(broken: str = "") -> tuple[list[str], Callable[[str], object]]:
    seen: list[str] = []

    def load(path: str) -> object:
        seen.append(path)
        if broken and broken in path:
            raise OSError(f"{broken}: file too short")
        return object()

    return seen, load


def test_without_such_wheels_nothing_is_read_or_loaded(tmp_path: Path) -> None:
    seen, load = loader()
    assert load_from_wheels([tmp_path / "not there.so"], [str(tmp_path), ""], load) == ()
    assert seen == []


def test_an_engine_that_is_no_shared_object_needs_nothing(tmp_path: Path) -> None:
    fake(tmp_path / "nvidia/cublas/lib/libcublas.so.12")
    seen, load = loader()
    assert (
        load_from_wheels([fake(tmp_path / "provider.so"), tmp_path / "gone.so"], [str(tmp_path)], load) == ()
    )
    assert seen == []


def test_the_first_folder_wins_and_what_does_not_load_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    provider = build(tmp_path / "one", CUDA_12)
    build(tmp_path / "two", CUDA_12)
    seen, load = loader("libcublas.so.12")
    with caplog.at_level(logging.WARNING):
        loaded = load_from_wheels([provider], [str(tmp_path / "one"), str(tmp_path / "two")], load)
    assert all(path.startswith(str(tmp_path / "one")) for path in seen)
    assert "libcublas.so.12" not in {path.name for path in loaded}
    assert "came with the release and does not load: libcublas.so.12: file too short" in caplog.text
