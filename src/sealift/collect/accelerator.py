"""`[target] cuda` -> the engine's GPU build and NVIDIA's libraries, as requirements; or why there are none.

NVIDIA's own package `cuda-toolkit` pins every library of one CUDA release, so no table of theirs is kept here.
Which releases of an engine were built for which CUDA stands in target/known.toml.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from packaging.requirements import Requirement

from sealift.errors import UsageError
from sealift.model.engines import default_engine
from sealift.target.cuda import GpuBuild, builds_for, cuda_families, cuda_release, gpu_builds
from sealift.target.target import Target, version_key

NVIDIA_DEVICES: Final = ("cuda", "tensorrt")
"""Families of devices that need NVIDIA's driver on the box, and CUDA's libraries in the release."""

_FIRST_WHEELS: Final = "11.8"
"""The oldest release of `cuda-toolkit`; nvidia-cublas-cu11 and its like begin with 11.7."""
_TOOLKIT: Final = {
    "11": "cublas,cudart,cufft,curand,nvrtc",
    "12": "cublas,cudart,cufft,curand,nvrtc",
    "13": "cublas,cudart,cufft,curand,nvjitlink,nvrtc",
}
"""Extras of `cuda-toolkit` that hold what libonnxruntime_providers_cuda.so and cuDNN load. Source: the extra `cuda`
of onnxruntime-gpu 1.31.1; cuBLAS comes with cuDNN there, unpinned. From 13 on cuFFT asks for any nvJitLink."""
_CUDNN: Final = {"8": ">=8.9,<9", "9": ">=9,<10"}
_BESIDE: Final = {"11": ("numpy<2",)}
"""onnxruntime-gpu 1.18.1 says so itself, 1.16.3 crashes with numpy 2."""
_PYTHONS: Final = {"11": ("3.11", "3.12")}
"""Wheels of 1.16 to 1.18 exist for these."""


@dataclass(frozen=True, slots=True)
class GpuDemands:
    """What a GPU asks of the resolver and of sealift's own set.

    `lines` are requirements beside the project's own. `replaced` are packages of the box side that do not travel;
    `roots` stand in their place. `notes` are sentences for the engineer.
    """

    lines: tuple[str, ...] = ()
    replaced: frozenset[str] = frozenset()
    roots: tuple[Requirement, ...] = ()
    notes: tuple[str, ...] = ()


NO_GPU: Final = GpuDemands()
"""What a box without a GPU asks for."""


class Placed(Protocol):
    """What is read of a model here: a `ServedModel` and a `ModelEntry` have it."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def path(self) -> Path: ...  # noqa: D102
    @property
    def engine(self) -> str: ...  # noqa: D102
    @property
    def device(self) -> tuple[str, ...]: ...  # noqa: D102


def gpu_demands(target: Target, models: Sequence[Placed]) -> GpuDemands:
    """What must travel beside the application so that `models` find their GPU; nothing without `[target] cuda`.

    Raises: UsageError: a model and the target contradict each other, or no engine has such a build; all of it.
    """
    problems = _contradictions(target, models)
    if problems:
        raise UsageError(
            "The models' devices and [target] cuda do not fit together.",
            problems=problems,
            next_step='with a GPU: [target] cuda = "12.4" and device = ["cuda"]; without: device = ["cpu"], no cuda',
        )
    if target.cuda is None:
        return NO_GPU
    if any(_engine_of(model) == "onnxruntime" for model in models if _wants_nvidia(model)):
        return _onnxruntime(target, _build_for(target, target.cuda))
    note = f"CUDA {target.cuda}: torch brings CUDA's libraries itself ([python] requirements)"
    return GpuDemands(notes=(note,))


def _contradictions(target: Target, models: Sequence[Placed]) -> list[str]:
    wanting = [model for model in models if _wants_nvidia(model)]
    if target.cuda is None:
        return [f"{m.name}: device {', '.join(m.device)}, but [target] names no cuda" for m in wanting]
    if not wanting:
        return [f'[target] cuda = "{target.cuda}", but no model has device = ["cuda"]']
    problems = []
    for model in wanting:
        if any(device.startswith("tensorrt") for device in model.device):
            problems.append(f'{model.name}: no release carries TensorRT; device = ["cuda"] needs none of it')
        engine = _engine_of(model)
        if not builds_for(target.cuda, engine):
            problems.append(f"{model.name}: {engine} has no build for CUDA {target.cuda}; {_who_has()}")
    return problems


def _who_has() -> str:
    """Every engine that has a build, with the releases of CUDA."""
    found: dict[str, dict[str, None]] = {}
    for build in gpu_builds():
        found.setdefault(build.engine, {})[f"{build.cuda}.x"] = None
    return "; ".join(f"{engine} has for {', '.join(names)}" for engine, names in found.items())


def _wants_nvidia(model: Placed) -> bool:
    return any(device.partition(":")[0] in NVIDIA_DEVICES for device in model.device)


def _engine_of(model: Placed) -> str:
    return model.engine or default_engine(model.path) or "onnxruntime"  # weights become ONNX


def _build_for(target: Target, cuda: str) -> GpuBuild:
    """The newest line that the target takes. Raises: UsageError: none, or CUDA's libraries are no wheels."""
    if version_key(cuda) < version_key(_FIRST_WHEELS):
        raise UsageError(
            f"The libraries of CUDA {cuda} do not come as wheels; those of {_FIRST_WHEELS} do, and run on the same "
            f"drivers ({cuda_families()['11']} or newer).",
            next_step=f'[target] cuda = "{_FIRST_WHEELS}"',
        )
    builds = builds_for(cuda, "onnxruntime")
    fitting = [build for build in builds if _fits(build, target)]
    if fitting and target.python in _PYTHONS.get(fitting[0].cuda, (target.python,)):
        return fitting[0]
    raise UsageError(
        f"onnxruntime's build for CUDA {cuda} does not run on {target}.",
        problems=_misfits(builds, target),
        next_step='change [target], or serve on the processor: device = ["cpu"], without cuda',
    )


def _fits(build: GpuBuild, target: Target) -> bool:
    return target.platform in build.platforms and version_key(target.glibc) >= version_key(build.glibc)


def _misfits(builds: Sequence[GpuBuild], target: Target) -> list[str]:
    problems = []
    platforms = sorted({platform for build in builds for platform in build.platforms})
    if target.platform not in platforms:
        problems.append(f"platform: expected {' or '.join(platforms)}, found {target.platform}")
    oldest = min((build.glibc for build in builds), key=version_key)
    if version_key(target.glibc) < version_key(oldest):
        others = {b.cuda for b in gpu_builds() if b.engine == builds[0].engine and _fits(b, target)}
        ways = f" (CUDA {', '.join(sorted(others))}.x needs less)" if others else ""
        problems.append(f"C library: expected glibc {oldest} or newer, found {target.glibc}{ways}")
    pythons = _PYTHONS.get(builds[0].cuda, (target.python,))
    if target.python not in pythons:
        problems.append(f"Python: expected {' or '.join(pythons)}, found {target.python}")
    return problems


def _onnxruntime(target: Target, build: GpuBuild) -> GpuDemands:
    cuda = cuda_release(target.cuda or "")
    engine = Requirement(build.requirement if "<" in build.requirement else f"{build.requirement},<2")
    return GpuDemands(
        lines=(
            str(engine),
            f"cuda-toolkit[{_TOOLKIT[build.cuda]}]=={cuda.release}.*",
            f"nvidia-cudnn-cu{build.cuda}{_CUDNN[build.cudnn]}",
            *_BESIDE.get(build.cuda, ()),
        ),
        replaced=frozenset({"onnxruntime"}),
        roots=(engine,),
        notes=(
            f"CUDA {cuda.release}: {engine} instead of onnxruntime, with NVIDIA's libraries; the box's driver must be "
            f"{cuda.driver} or newer",
        ),
    )
