"""`[target] cuda` -> the engine's GPU build and NVIDIA's libraries, as requirements; or why there are none.

NVIDIA's own package `cuda-toolkit` pins every library of one CUDA release (11.8 to 13.x), so no table of theirs
is kept here. What is kept is which releases of `onnxruntime-gpu` were built for which CUDA.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from sealift.errors import UsageError
from sealift.model.engines import default_engine
from sealift.target.target import Target, version_key

NVIDIA_DEVICES: Final = ("cuda", "tensorrt")
"""Families of devices that need NVIDIA's driver on the box, and CUDA's libraries in the release."""


@dataclass(frozen=True, slots=True)
class GpuBuild:
    """Releases of onnxruntime-gpu that were built for CUDA `first` up to, not including, `below`.

    `parts` are extras of `cuda-toolkit`; `beside` are further requirements. `glibc`: of the oldest wheel.
    """

    first: str
    below: str
    engine: SpecifierSet
    parts: str
    beside: tuple[str, ...]
    glibc: str
    pythons: tuple[str, ...]
    source: str

    def covers(self, cuda: str) -> bool:
        """Claims that this build runs with the libraries of that CUDA release."""
        return version_key(self.first) <= version_key(cuda) < version_key(self.below)

    @property
    def name(self) -> str:
        """`CUDA 11.8`, `CUDA 12.x`."""
        whole = self.first.partition(".")[0]
        return f"CUDA {self.first}" if self.first == "11.8" else f"CUDA {whole}.x"


_PARTS: Final = "cublas,cudart,cufft,curand,nvrtc"
GPU_BUILDS: Final = (
    GpuBuild(
        first="11.8",
        below="12",
        engine=SpecifierSet(">=1.16,<1.19"),
        parts=_PARTS,
        beside=("nvidia-cudnn-cu11>=8.9,<9", "numpy<2"),
        glibc="2.17",
        pythons=("3.11", "3.12"),
        source="wheels 1.16.3 (manylinux_2_17, cp311) and 1.18.1 (manylinux_2_27; wants numpy below 2); "
        "onnxruntime's page of the CUDA provider: cuDNN 8",
    ),
    GpuBuild(
        first="12.0",
        below="13",
        engine=SpecifierSet(">=1.19,<1.27"),
        parts=_PARTS,
        beside=("nvidia-cudnn-cu12>=9,<10",),
        glibc="2.27",
        pythons=("3.11", "3.12", "3.13"),
        source="metadata of wheels 1.21.1 to 1.26.0: extra cuda wants nvidia-*-cu12, extra cudnn "
        "nvidia-cudnn-cu12~=9.0; 1.19 and 1.20: onnxruntime's page of the CUDA provider",
    ),
    GpuBuild(
        first="13.0",
        below="14",
        engine=SpecifierSet(">=1.27,<2"),
        parts=f"{_PARTS},nvjitlink",
        beside=("nvidia-cudnn-cu13>=9,<10",),
        glibc="2.27",
        pythons=("3.11", "3.12", "3.13"),
        source="metadata of wheels 1.27.0 to 1.31.1: extra cuda wants nvidia-*~=13.0, extra cudnn "
        "nvidia-cudnn-cu13~=9.0",
    ),
)
_KNOWN: Final = "11.8, 12.0 and newer 12.x, 13.0 and newer 13.x"


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
    engines = {_engine_of(model) for model in models if _wants_nvidia(model)}
    if "onnxruntime" in engines:
        return _onnxruntime(target, _build_for(target, target.cuda))
    return GpuDemands(notes=(f"CUDA {target.cuda}: torch brings its own libraries ([python] requirements)",))


def _contradictions(target: Target, models: Sequence[Placed]) -> list[str]:
    wanting = [model for model in models if _wants_nvidia(model)]
    if target.cuda is None:
        return [f"{m.name}: device {', '.join(m.device)}, but [target] names no cuda" for m in wanting]
    if not wanting:
        return [f'[target] cuda = "{target.cuda}", but no model has device = ["cuda"]']
    return [
        f"{model.name}: {_engine_of(model)} has no CUDA build; onnxruntime has (CUDA {_KNOWN}), and torch"
        for model in wanting
        if _engine_of(model) not in ("onnxruntime", "torch")
    ]


def _wants_nvidia(model: Placed) -> bool:
    return any(device.partition(":")[0] in NVIDIA_DEVICES for device in model.device)


def _engine_of(model: Placed) -> str:
    return model.engine or default_engine(model.path) or "onnxruntime"  # weights become ONNX


def _build_for(target: Target, cuda: str) -> GpuBuild:
    """Raises: UsageError: onnxruntime has no such build for the target."""
    build = next((each for each in GPU_BUILDS if each.covers(cuda)), None)
    if build is None:
        raise UsageError(
            f"onnxruntime has no build for CUDA {cuda} whose libraries come as wheels; it has for {_KNOWN}.",
            next_step=f'[target] cuda = "{_nearest(cuda)}" (the driver on the box decides how new it may be)',
        )
    problems = []
    if target.machine != "x86_64":
        problems.append(
            f"platform: expected linux-x86_64 (no GPU wheels for others), found {target.platform}"
        )
    if version_key(target.glibc) < version_key(build.glibc):
        older = f"{_others(build, target)}"
        problems.append(f"C library: expected glibc {build.glibc} or newer, found {target.glibc}{older}")
    if target.python not in build.pythons:
        problems.append(f"Python: expected {' or '.join(build.pythons)}, found {target.python}")
    if problems:
        raise UsageError(
            f"onnxruntime's build for {build.name} does not run on {target}.",
            problems=problems,
            next_step='change [target], or serve on the processor: device = ["cpu"] without cuda',
        )
    return build


def _others(build: GpuBuild, target: Target) -> str:
    """The builds that the target's C library would take."""
    fits = [b.name for b in GPU_BUILDS if b != build and version_key(b.glibc) <= version_key(target.glibc)]
    return f"; its build for {' or '.join(fits)} needs less" if fits else ""


def _nearest(cuda: str) -> str:
    firsts = [build.first for build in GPU_BUILDS]
    older = [first for first in firsts if version_key(first) <= version_key(cuda)]
    return older[-1] if older else firsts[0]


def _onnxruntime(target: Target, build: GpuBuild) -> GpuDemands:
    engine = Requirement(f"onnxruntime-gpu{build.engine}")
    return GpuDemands(
        lines=(str(engine), f"cuda-toolkit[{build.parts}]=={target.cuda}.*", *build.beside),
        replaced=frozenset({"onnxruntime"}),
        roots=(engine,),
        notes=(f"CUDA {target.cuda}: onnxruntime-gpu instead of onnxruntime, with NVIDIA's libraries",),
    )
