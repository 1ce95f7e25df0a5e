"""Release tree + Target -> what its shared objects cannot find or cannot run on. Standard library only.

As the dynamic loader of glibc searches (ld.so(8)), decided from the headers alone: nothing is executed, and
`LD_LIBRARY_PATH`, the loader's cache and the packing machine's own libraries do not count.
"""

from __future__ import annotations

import os
import posixpath
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from sealift.errors import MalformedBundle
from sealift.target.base import base_libraries, beside, excuses
from sealift.target.elf import Elf, Kind, glibc_key, read_elf
from sealift.target.interpreter import bundled_interpreter
from sealift.target.presets import gcc_runtime_of
from sealift.target.target import Target, version_key

_CPUS: Final = ("i386", "arm", "x86_64", "aarch64", "riscv64", "ppc64", "s390")
"""ELF files for other machines (NVIDIA's cubins) are data."""
_SHARED_PACKAGES: Final = ("nvidia",)
"""Their libraries are loaded by name for others: onnxruntime and torch look for them there."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`path` is inside the tree; `reason` is why it may stay so, empty where it may not."""

    path: str
    expected: str
    found: str
    reason: str = ""

    def __str__(self) -> str:
        tail = f" ({self.reason})" if self.reason else ""
        return f"{self.path}: expected {self.expected}, found {self.found}{tail}"


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one release may do without.

    `never_loaded` are patterns of paths inside a layer (`cv2/qt/plugins/*`), as the project names them;
    `brought` are names of libraries that the release's system packages install on the box.
    """

    never_loaded: tuple[str, ...] = ()
    brought: frozenset[str] = frozenset()

    def skips(self, path: str) -> bool:
        """Claims that the project says the object at `path` (inside the tree) is never loaded."""
        inside = path.partition("/")[2]
        return any(fnmatchcase(inside, pattern) for pattern in self.never_loaded)


NONE: Final = Allowance()


@dataclass(frozen=True, slots=True)
class Resolution:
    """What was found about `objects` shared objects and programs; everything by path."""

    objects: int
    unresolved: tuple[Finding, ...] = ()
    too_new: tuple[Finding, ...] = ()
    wrong_machine: tuple[Finding, ...] = ()
    broken: tuple[Finding, ...] = ()
    excused: tuple[Finding, ...] = ()

    @property
    def problems(self) -> tuple[Finding, ...]:
        """Everything that the target cannot live with."""
        return (*self.broken, *self.wrong_machine, *self.too_new, *self.unresolved)


def read_objects(tree: Path) -> tuple[dict[str, Elf], tuple[Finding, ...]]:
    """The shared objects and programs below `tree` by path inside it, and the files that are broken ones.

    Only the first bytes of other files are read. Links are left out: bundles know none.
    """
    found: dict[str, Elf] = {}
    broken = []
    for path in _files(tree):
        try:
            elf = read_elf(path)
        except MalformedBundle as error:
            broken.append(Finding(path.relative_to(tree).as_posix(), "a whole ELF file", error.message))
            continue
        if elf is not None and elf.kind in (Kind.SHARED, Kind.EXECUTABLE) and elf.machine in _CPUS:
            found[path.relative_to(tree).as_posix()] = elf
    return found, tuple(broken)


def _files(tree: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(tree):
        folders.sort()
        yield from (path for name in sorted(names) if not (path := Path(folder, name)).is_symlink())


def resolve(tree: Path, target: Target, allowance: Allowance = NONE) -> Resolution:
    """Search what every shared object of `tree` needs, in the release and among the target's base libraries.

    Args:
        tree: of a release, with its layers `runtime`, `dependencies` and `application`, or one such layer's
            parent.
    """
    objects, broken = read_objects(tree)
    fitting = {path: elf for path, elf in objects.items() if _machine(elf) == target.machine}
    search = _Search(fitting, bundled_interpreter(Path(), target.python).as_posix())
    sorted_out = _Sorted(target, allowance)
    for path, elf in objects.items():
        if path not in fitting:
            sorted_out.machine(path, elf)
            continue
        for library in elf.needed:
            verdict = search.verdict(path, library)
            if verdict.inside is not None:
                sorted_out.inside(path, library, elf, (verdict.inside, objects[verdict.inside]))
            else:
                sorted_out.outside(path, library, elf, verdict)
    return Resolution(
        len(objects),
        tuple(sorted_out.unresolved),
        tuple(sorted_out.too_new),
        tuple(sorted_out.wrong_machine),
        tuple(finding for finding in broken if not allowance.skips(finding.path)),
        tuple(sorted_out.excused),
    )


def _machine(elf: Elf) -> str:
    return elf.machine if elf.bits == 64 else f"{elf.machine} ({elf.bits} bit)"


@dataclass(frozen=True, slots=True)
class _Verdict:
    """`inside`: the object of the release that the loader takes. `by_package`: one of that name lies in the
    same package, where no search path leads; something has to load it first."""

    inside: str | None = None
    is_base: bool = False
    by_package: str | None = None


class _Search:
    """The loader's search, over the objects of one release."""

    def __init__(self, objects: Mapping[str, Elf], program: str) -> None:
        self._objects = objects
        self._inherited: dict[str, set[str]] = {path: set() for path in objects}
        self._hand_down()
        self._by_package = self._names_by_package()
        self._process = self._loaded_by(program)
        self._opened = self._opened_by_path()

    def verdict(self, path: str, library: str) -> _Verdict:
        found = self._on_path(path, library)
        if found is not None:
            return _Verdict(inside=found)
        if library in base_libraries():
            return _Verdict(is_base=True)
        if library in self._process:
            return _Verdict(inside=self._process[library])
        for package in (_package(path), *_SHARED_PACKAGES):
            near = self._by_package.get((package, library))
            if near is not None and ((package, library) in self._opened or package in _SHARED_PACKAGES):
                return _Verdict(inside=near)
            if near is not None:
                return _Verdict(by_package=near)
        return _Verdict()

    def _on_path(self, path: str, library: str) -> str | None:
        """DT_RPATH of the object and of those that loaded it, unless it has a DT_RUNPATH; then that."""
        elf = self._objects[path]
        for folder in (
            *(() if elf.runpath else (*_folders(path, elf.rpath), *sorted(self._inherited[path]))),
            *_folders(path, elf.runpath),
        ):
            if f"{folder}/{library}" in self._objects:
                return f"{folder}/{library}"
        return None

    def _hand_down(self) -> None:
        """A library is also sought on the DT_RPATH of whoever loaded the object that asks for it."""
        queue = deque(self._objects)
        while queue:
            path = queue.popleft()
            elf = self._objects[path]
            passed = self._inherited[path] | (set() if elf.runpath else set(_folders(path, elf.rpath)))
            for library in elf.needed:
                found = self._on_path(path, library)
                if found is not None and not passed <= self._inherited[found]:
                    self._inherited[found] |= passed
                    queue.append(found)

    def _names_by_package(self) -> dict[tuple[str, str], str]:
        names: dict[tuple[str, str], str] = {}
        for path, elf in self._objects.items():
            for name in (posixpath.basename(path), elf.soname):
                if name is not None:
                    names.setdefault((_package(path), name), path)
        return names

    def _opened_by_path(self) -> set[tuple[str, str]]:
        """(package, library) that an object of the package finds: loaded once, it is there for all by its name."""
        return {
            (_package(path), library)
            for path, elf in self._objects.items()
            for library in elf.needed
            if self._on_path(path, library) is not None
        }

    def _loaded_by(self, program: str) -> dict[str, str]:
        """Name -> object of what the release's own interpreter has loaded before any module."""
        found: dict[str, str] = {}
        queue = deque([program] if program in self._objects else [])
        while queue:
            path = queue.popleft()
            for library in self._objects[path].needed:
                inside = self._on_path(path, library)
                if inside is not None and library not in found:
                    found[library] = inside
                    queue.append(inside)
        return found


def _folders(path: str, search: tuple[str, ...]) -> tuple[str, ...]:
    """The folders inside the tree that a search path means; what is absolute is of the building machine."""
    origin = posixpath.dirname(path)
    found = []
    for folder in search:
        for token in ("$ORIGIN", "${ORIGIN}"):
            if folder == token or folder.startswith(f"{token}/"):
                found.append(posixpath.normpath(posixpath.join(origin, "." + folder.removeprefix(token))))
    return tuple(folder for folder in found if not folder.startswith(".."))


def _package(path: str) -> str:
    """`dependencies/numpy.libs/x.so` -> `numpy`: the first name inside the layer."""
    parts = path.split("/")
    return (parts[1] if len(parts) > 2 else parts[0]).removesuffix(".libs")


@dataclass(slots=True)
class _Sorted:
    """The findings as they come."""

    target: Target
    allowance: Allowance = NONE
    unresolved: list[Finding] = field(default_factory=list)
    too_new: list[Finding] = field(default_factory=list)
    wrong_machine: list[Finding] = field(default_factory=list)
    excused: list[Finding] = field(default_factory=list)

    def machine(self, path: str, elf: Elf) -> None:
        """An object for another processor."""
        found = Finding(path, self.target.machine, _machine(elf))
        self._add(found, self._excuse(path, elf.machine), self.wrong_machine)

    def inside(self, path: str, library: str, elf: Elf, given: tuple[str, Elf]) -> None:
        """One DT_NEEDED that the release itself meets: with every version, unless it defines none at all."""
        where, offered = given
        lacking = sorted(elf.versions.get(library, frozenset()) - offered.defined) if offered.defined else []
        if lacking:
            wanted = f"{', '.join(lacking)} of {library}"
            self._add(
                Finding(path, wanted, f"{where} without it"), self._excuse(path, library), self.unresolved
            )

    def outside(self, path: str, library: str, elf: Elf, verdict: _Verdict) -> None:
        """One DT_NEEDED that the release does not meet itself."""
        if library in self.allowance.brought:
            return
        if verdict.is_base:
            for finding in self._newer(path, library, elf):
                self._add(finding, self._excuse(path, library), self.too_new)
            return
        reason = self._excuse(path, library)
        if not reason and verdict.by_package is not None:
            reason = f"{verdict.by_package} is of the same package, which has to load it first"
        if not reason and library in beside():
            one = beside()[library]
            reason = f"a small server lacks it; the package {one.deb} (Debian) or {one.rpm} (RPM) brings it"
        self._add(Finding(path, library, "nothing of that name in the release"), reason, self.unresolved)

    def _add(self, finding: Finding, reason: str, problems: list[Finding]) -> None:
        if reason:
            self.excused.append(Finding(finding.path, finding.expected, finding.found, reason))
        else:
            problems.append(finding)

    def _excuse(self, path: str, name: str) -> str:
        if self.allowance.skips(path):
            return "the project says that it is never loaded"
        inside = path.partition("/")[2]
        has_card = self.target.cuda is not None
        return next((x.reason for x in excuses() if x.excuses(inside, name, cuda=has_card)), "")

    def _newer(self, path: str, library: str, elf: Elf) -> Iterator[Finding]:
        """The newest symbol version of a base library that the target does not have."""
        limits = {"GLIBC_": self.target.glibc, **gcc_runtime_of(self.target.glibc).levels}
        for prefix, limit in limits.items():
            needed = [v for v in elf.versions.get(library, ()) if v.startswith(prefix)]
            keys = {key: version for version in needed if (key := _key(prefix, version))}
            if keys and max(keys) > version_key(limit):
                yield Finding(path, f"at most {prefix}{limit} of {library}", keys[max(keys)])


def _key(prefix: str, version: str) -> tuple[int, ...] | None:
    return glibc_key(version) if prefix == "GLIBC_" else version_key(version.removeprefix(prefix)) or None
