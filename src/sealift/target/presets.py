"""`[target] preset`: what the systems that boxes run bring along. Standard library only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from sealift.target.known import entries, named_entries
from sealift.target.target import PLATFORMS, version_key


@dataclass(frozen=True, slots=True)
class GccRuntime:
    """The newest symbol versions of one GCC release's libraries: `3.4.28`, `1.3.12` and `7.0.0`."""

    release: str
    glibcxx: str
    cxxabi: str
    libgcc: str

    @property
    def levels(self) -> Mapping[str, str]:
        """Prefix of a symbol version -> the newest one there is."""
        return {"GLIBCXX_": self.glibcxx, "CXXABI_": self.cxxabi, "GCC_": self.libgcc}


@dataclass(frozen=True, slots=True)
class Preset:
    """An untouched installation of one system. `python` is that of its /usr/bin/python3, `3.8`."""

    name: str
    glibc: str
    kernel: str
    systemd: str
    python: str
    gcc_runtime: GccRuntime
    platforms: tuple[str, ...]
    source: str


class _ByName(Mapping[str, str]):
    """Preset -> its glibc; read from known.toml when first asked for."""

    def __getitem__(self, name: str) -> str:
        return presets()[name].glibc

    def __iter__(self) -> Iterator[str]:
        return iter(presets())

    def __len__(self) -> int:
        return len(presets())


PRESETS: Mapping[str, str] = _ByName()
"""Distribution -> its glibc. The interpreter is asked for separately: few ship a recent one."""


@cache
def gcc_runtimes() -> Mapping[str, GccRuntime]:
    """By GCC release, oldest first."""
    found = {}
    for entry in entries("gcc_runtime"):
        runtime = GccRuntime(
            entry.version("release"),
            entry.version("glibcxx"),
            entry.version("cxxabi"),
            entry.version("libgcc"),
        )
        entry.close()
        found[runtime.release] = runtime
    return found


@cache
def presets() -> Mapping[str, Preset]:
    """Every preset by name, in the order of known.toml."""
    found = {}
    for name, entry in named_entries("presets").items():
        found[name] = Preset(
            name=name,
            glibc=entry.version("glibc"),
            kernel=entry.version("kernel"),
            systemd=entry.version("systemd"),
            python=entry.version("python"),
            gcc_runtime=gcc_runtimes()[entry.version("gcc_runtime")],
            platforms=entry.texts("platforms"),
            source=entry.text("source"),
        )
        entry.close()
        if not set(found[name].platforms) <= set(PLATFORMS):
            raise ValueError(f"known.toml: {entry.name}: expected platforms of {PLATFORMS}")
    return found


def gcc_runtime_of(glibc: str) -> GccRuntime:
    """The oldest GCC run time among the known systems with that glibc, or with the next older one.

    A target records its glibc only, so the poorest system that it stands for decides.
    """
    wanted = version_key(glibc)
    keys = sorted({version_key(preset.glibc) for preset in presets().values()})
    level = max((key for key in keys if key <= wanted), default=keys[0])
    same = [preset.gcc_runtime for preset in presets().values() if version_key(preset.glibc) == level]
    return min(same, key=lambda runtime: version_key(runtime.glibcxx))
