"""`[target] cuda`: which engine build and which of NVIDIA's libraries travel, and what is refused with a way out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sealift.collect.accelerator import NO_GPU, gpu_demands
from sealift.collect.layers import write_layers
from sealift.collect.lock import collect_wheels, lock_wheels
from sealift.collect.pip_download import CollectOptions
from sealift.collect.runtime import BoxSide
from sealift.collect.write_pylock import write_pylock
from sealift.errors import UsageError
from sealift.events import Silent
from sealift.project.project import ModelEntry, PythonSources
from sealift.target.host import own_python
from sealift.target.interpreter import own_base
from sealift.target.target import Target

UBUNTU = Target("linux-x86_64", "3.11", "2.31")
CENTOS = Target("linux-x86_64", "3.11", "2.17")
SO = {"nvidia/__init__.py": ""}


def model(*device: str, path: str = "m.onnx", engine: str = "") -> ModelEntry:
    return ModelEntry("m", Path(path), device=device or ("cpu",), engine=engine)


@pytest.mark.parametrize(
    ("target", "cuda", "lines"),
    [
        (UBUNTU, "11.8", ["onnxruntime-gpu<1.19,>=1.17", "==11.8.*", "nvidia-cudnn-cu11>=8.9,<9", "numpy<2"]),
        (CENTOS, "11.8", ["onnxruntime-gpu<1.17,>=1.16", "==11.8.*", "nvidia-cudnn-cu11>=8.9,<9", "numpy<2"]),
        (UBUNTU, "12.4", ["onnxruntime-gpu<1.27,>=1.19", "==12.4.*", "nvidia-cudnn-cu12>=9,<10"]),
        (UBUNTU, "13.0", ["onnxruntime-gpu<2,>=1.27", "==13.0.*", "nvidia-cudnn-cu13>=9,<10"]),
    ],
)
def test_each_cuda_has_its_engine_build_and_libraries(target: Target, cuda: str, lines: list[str]) -> None:
    found = gpu_demands(replace(target, cuda=cuda), [model("cuda", "cpu"), model()])
    toolkit = found.lines[1]
    assert toolkit.startswith("cuda-toolkit[cublas,cudart,cufft,curand,")
    assert [found.lines[0], toolkit.partition("]")[2], *found.lines[2:]] == lines
    assert found.replaced == {"onnxruntime"}
    assert [str(root) for root in found.roots] == lines[:1]
    assert any(f"CUDA {cuda}: onnxruntime-gpu" in note and "driver must be" in note for note in found.notes)


def test_without_a_gpu_nothing_is_asked_for() -> None:
    assert gpu_demands(UBUNTU, [model()]) == NO_GPU


def test_torch_brings_its_own_libraries() -> None:
    found = gpu_demands(replace(UBUNTU, cuda="12.4"), [model("cuda", path="m.pt")])
    assert (found.lines, found.replaced) == ((), frozenset())
    assert "torch brings CUDA's libraries itself" in found.notes[0]


@pytest.mark.parametrize(
    ("target", "models", "says"),
    [
        (UBUNTU, [model("cuda:1", "cpu")], "m: device cuda:1, cpu, but [target] names no cuda"),
        (UBUNTU, [model("tensorrt")], "m: device tensorrt, but [target] names no cuda"),
        (replace(UBUNTU, cuda="12.4"), [model("tensorrt", "cuda")], "m: no release carries TensorRT"),
        (replace(UBUNTU, cuda="12.4"), [model()], '[target] cuda = "12.4", but no model has device = ["cuda"]'),
        (
            replace(UBUNTU, cuda="12.4"),
            [model("cuda", engine="openvino")],
            "m: openvino has no build for CUDA 12.4; onnxruntime has for 11.x, 12.x, 13.x; torch has for 11.x",
        ),
        (replace(CENTOS, cuda="12.4"), [model("cuda")], "glibc 2.27 or newer, found 2.17 (CUDA 11.x needs less)"),
        (
            Target("linux-aarch64", "3.11", "2.31", cuda="12.4"),
            [model("cuda")],
            "platform: expected linux-x86_64, found linux-aarch64",
        ),
        (replace(UBUNTU, python="3.13", cuda="11.8"), [model("cuda")], "Python: expected 3.11 or 3.12, found 3.13"),
        (replace(UBUNTU, cuda="11.4"), [model("cuda")], "CUDA 11.4 do not come as wheels; those of 11.8 do"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused_with_a_way_out(
    target: Target, models: list[ModelEntry], says: str
) -> None:
    with pytest.raises(UsageError) as caught:
        gpu_demands(target, models)
    assert any(says in text for text in (caught.value.message, *caught.value.problems)), caught.value.problems
    assert caught.value.next_step is not None
    assert "cuda" in caught.value.next_step or "[target]" in caught.value.next_step


@pytest.fixture
def gpu_shelf(shelf: Path, make_wheel: Callable[..., Path]) -> Path:
    """An index with NVIDIA's and the engine's packages, a few bytes each: names and demands as the real ones have."""
    for version, numpy in (("1.16.3", ""), ("1.18.1", "<2"), ("1.26.0", ""), ("1.31.1", "")):
        make_wheel(
            shelf,
            "onnxruntime-gpu",
            version,
            files={"onnxruntime/__init__.py": f"VERSION = {version!r}\n"},
            requires=[f"numpy{numpy}", "sympy"],
        )
    make_wheel(shelf, "sympy", "1.14.0")
    for version in ("1.26.4", "2.4.6"):
        make_wheel(shelf, "numpy", version)
    for tail, cuda, cudnn in (
        ("-cu11", "11.8", "8.9.6"),
        ("-cu12", "12.4", "9.28"),
        ("-cu12", "12.6", "9.29"),
    ):
        _toolkit(shelf, make_wheel, tail, cuda)
        lib = {**SO, "nvidia/cudnn/__init__.py": "", "nvidia/cudnn/lib/libcudnn.so.9": b"so"}
        make_wheel(shelf, f"nvidia-cudnn{tail}", cudnn, files=lib, requires=[f"nvidia-cublas{tail}"])
    return shelf


def _toolkit(shelf: Path, make_wheel: Callable[..., Path], tail: str, cuda: str) -> None:
    parts = {
        "cublas": "cublas",
        "cudart": "cuda-runtime",
        "cufft": "cufft",
        "curand": "curand",
        "nvrtc": "cuda-nvrtc",
    }
    requires = []
    for extra, part in parts.items():
        folder = part.replace("-", "_")
        lib = {**SO, f"nvidia/{folder}/__init__.py": "", f"nvidia/{folder}/lib/lib{part}.so.1": b"so"}
        make_wheel(shelf, f"nvidia-{part}{tail}", f"{cuda}.1", files=lib)
        requires.append(f"nvidia-{part}{tail}=={cuda}.1.*; sys_platform == 'linux' and extra == '{extra}'")
    extras = [f"Provides-Extra: {extra}" for extra in parts]
    make_wheel(
        shelf, "cuda-toolkit", f"{cuda}.1", files={}, requires=requires, metadata=["License: N", *extras]
    )


@pytest.fixture
def target_here(target: Target) -> Target:
    """This machine, as one that can take any of the wheels: their tags name no platform."""
    if target.platform != "linux-x86_64" or own_python() not in ("3.11", "3.12"):
        pytest.skip("GPU wheels are for linux-x86_64, those of CUDA 11 for Python 3.11 and 3.12")
    return target


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cuda", "engine", "numpy"), [("11.8", "1.18.1", "1.26.4"), ("12.4", "1.26.0", "2.4.6")]
)
def test_the_set_is_resolved_sorted_into_its_layers_and_unpacked(
    cuda: str, engine: str, numpy: str, gpu_shelf: Path, target_here: Target, box: BoxSide, options: CollectOptions,
    tmp_path: Path,
) -> None:  # fmt: skip
    target = replace(target_here, cuda=cuda)
    gpu = gpu_demands(target, [model("cuda")])
    unneeded = {"onnxruntime-gpu": frozenset({"sympy"})}
    found = collect_wheels(PythonSources(), target, options, box=replace(box, gpu=gpu, unneeded=unneeded))
    runtime = {wheel.name: wheel.version for wheel in found.runtime}
    assert (runtime["onnxruntime-gpu"], runtime["numpy"]) == (engine, numpy)
    nvidia = {wheel.name: wheel.version for wheel in found.dependencies}
    tail = f"-cu{cuda[:2]}"
    parts = ("cublas", "cuda-nvrtc", "cuda-runtime", "cudnn", "cufft", "curand")
    assert set(nvidia) == {"cuda-toolkit", *(f"nvidia-{part}{tail}" for part in parts)}
    assert nvidia[f"nvidia-cuda-runtime{tail}"] == f"{cuda}.1"
    interpreter = own_base()
    assert interpreter is not None
    write_layers(found, tmp_path / "tree", interpreter, Silent())
    assert (tmp_path / "tree/dependencies/nvidia/cudnn/lib/libcudnn.so.9").is_file()
    assert (tmp_path / "tree/runtime/onnxruntime/__init__.py").is_file()


@pytest.mark.slow
def test_the_lock_holds_them_too_and_brings_the_same_back(
    gpu_shelf: Path, target_here: Target, box: BoxSide, options: CollectOptions, tmp_path: Path
) -> None:
    target = replace(target_here, cuda="12.4")
    with_gpu = replace(
        box, gpu=gpu_demands(target, [model("cuda")]), unneeded={"onnxruntime-gpu": frozenset({"sympy"})}
    )
    locked = lock_wheels(PythonSources(), target, options, box=with_gpu)
    assert {"onnxruntime-gpu", "cuda-toolkit", "nvidia-cudnn-cu12"} <= {each.name for each in locked.packages}
    assert "sympy" not in {each.name for each in locked.packages}
    lock = tmp_path / "pylock.toml"
    lock.write_text(write_pylock(locked, target))
    again = collect_wheels(PythonSources(lock=lock), target, options, box=with_gpu)
    assert {wheel.name: wheel.version for wheel in again.wheels if wheel.name in again.application} == {
        each.name: each.version for each in locked.packages
    }
    assert "onnxruntime-gpu" in {wheel.name for wheel in again.runtime}
