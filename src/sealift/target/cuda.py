"""The version matrix: CUDA -> driver, cuDNN, engine builds, processors. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from sealift.errors import UsageError
from sealift.target.known import entries, within
from sealift.target.target import version_key


@dataclass(frozen=True, slots=True)
class Cuda:
    """One CUDA release.

    `driver` is the oldest NVIDIA driver that runs it; from `driver_of_release` on (None: not known) nothing
    is left out. `compute` is the span of compute capabilities that its compiler knows, both ends included.
    """

    release: str
    driver: str
    driver_of_release: str | None
    compute: tuple[str, str]
    source: str

    @property
    def major(self) -> str:
        """`12`."""
        return self.release.partition(".")[0]


@dataclass(frozen=True, slots=True)
class GpuBuild:
    """One line of an engine's releases that is built for a major release of CUDA and of cuDNN.

    `versions` is half-open, "" for an open end. `glibc` is what its wheels ask for.
    """

    engine: str
    package: str
    versions: tuple[str, str]
    cuda: str
    cudnn: str
    glibc: str
    platforms: tuple[str, ...]

    @property
    def requirement(self) -> str:
        """`onnxruntime-gpu>=1.19,<1.27`."""
        start, end = self.versions
        bounds = [f">={start}"] * bool(start) + [f"<{end}"] * bool(end)
        return self.package + ",".join(bounds)

    def has(self, version: str) -> bool:
        """Claims that this is the line of that version."""
        return within(version, self.versions)


@cache
def cuda_families() -> Mapping[str, str]:
    """Major release -> the oldest driver that runs any release of it."""
    found = {}
    for entry in entries("cuda_family"):
        found[entry.version("major")] = entry.version("driver")
        entry.close()
    return found


@cache
def cuda_releases() -> Mapping[str, Cuda]:
    """Every known CUDA release, oldest first."""
    found = {}
    for entry in entries("cuda"):
        release = entry.version("release")
        least, most = entry.texts("compute")
        found[release] = Cuda(
            release=release,
            driver=cuda_families()[release.partition(".")[0]],
            driver_of_release=entry.optional("driver_of_release"),
            compute=(least, most),
            source=entry.text("source"),
        )
        entry.close()
    return found


@cache
def gpu_builds() -> tuple[GpuBuild, ...]:
    """Every build of an engine for CUDA, by engine, oldest first."""
    found = []
    for entry in entries("gpu_build"):
        found.append(
            GpuBuild(
                engine=entry.text("engine"),
                package=entry.text("package"),
                versions=entry.span("versions"),
                cuda=entry.version("cuda"),
                cudnn=entry.version("cudnn"),
                glibc=entry.version("glibc"),
                platforms=entry.texts("platforms"),
            )
        )
        entry.close()
    return tuple(found)


def cuda_problem(cuda: str) -> str | None:
    """Why `cuda` (`12.4`) is no release, with the nearest ones; None if it is one."""
    if cuda in cuda_releases():
        return None
    key = version_key(cuda)
    older = [release for release in cuda_releases() if version_key(release) < key]
    newer = [release for release in cuda_releases() if version_key(release) > key]
    near = " or ".join([*older[-1:], *newer[:1]])
    return f"expected a CUDA release, {near} for example; got {cuda!r}"


def cuda_release(cuda: str) -> Cuda:
    """The release `cuda` (`12.4`). Raises: UsageError: there is none; names the nearest."""
    problem = cuda_problem(cuda)
    if problem is not None:
        raise UsageError(f"[target] cuda: {problem}")
    return cuda_releases()[cuda]


def driver_floor(cuda: str) -> str:
    """The oldest NVIDIA driver that runs what was built for `cuda` (`12.4` -> `525.60.13`).

    Known for every release of a known major, also one that is newer than the table.

    Raises: UsageError: a major release that is not known.
    """
    driver = cuda_families().get(cuda.partition(".")[0])
    return driver if driver is not None else cuda_release(cuda).driver


def builds_for(cuda: str, engine: str) -> tuple[GpuBuild, ...]:
    """The lines of `engine` that run with `cuda` (`12.4`), newest first; empty where it has none."""
    major = cuda.partition(".")[0]
    return tuple(b for b in reversed(gpu_builds()) if b.engine == engine and b.cuda == major)


def driver_problem(cuda: str, driver: str | None) -> str | None:
    """Why the box's NVIDIA `driver` (None: there is none) does not run `cuda`; None if it does."""
    floor = cuda_families().get(cuda.partition(".")[0])
    if floor is None:
        return f"NVIDIA driver: this sealift does not know CUDA {cuda}; carry a newer sealift"
    if driver is not None and version_key(driver) >= version_key(floor):
        return None
    return f"NVIDIA driver: expected {floor} or newer for CUDA {cuda}, found {driver or 'none'}"
