"""Wheel -> files of a layer.

Where a wheel's parts go: `purelib` and `platlib` to the root of the layer, as in site-packages; `data` to
`NAME-VERSION.data/data/`, for a release has no prefix of its own to spread it over, and dropping it would
lose files the code may look for; scripts, entry points and headers nowhere: nothing on the box runs them.
What no box needs stays out by the list of `leave_out.py`.
`.pth` files are kept and never executed there: a release's start-up reads no site-packages.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import stat
import warnings
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import installer
from installer.destinations import WheelDestination
from installer.exceptions import InstallerError
from installer.records import Hash, RecordEntry
from installer.sources import WheelFile

from sealift.collect.leave_out import LeaveOut, left_out
from sealift.collect.wheel import normalised
from sealift.errors import UsageError

if TYPE_CHECKING:
    import os

    from installer.scripts import ScriptSection
    from installer.utils import Scheme


@dataclass(frozen=True, slots=True)
class Unpacked:
    """`files`: paths below the destination, sorted. `notes`: what was left out, one sentence each.
    `left`: (entry of the list, bytes) of each file that no box needs."""

    files: tuple[str, ...]
    notes: tuple[str, ...] = ()
    left: tuple[tuple[LeaveOut, int], ...] = ()


def unpack_wheels(wheels: Sequence[Path], destination: Path) -> Unpacked:
    """Unpack all wheels of a layer into one folder.

    Raises: UsageError: two wheels bring the same path with different content, or one is unsafe; all
        collisions are named. The folder is then not usable.
    """
    owners: dict[str, tuple[str, str]] = {}
    collisions: list[str] = []
    notes: list[str] = []
    left: list[tuple[LeaveOut, int]] = []
    for wheel in wheels:
        target = _unpack(wheel, destination, owners)
        collisions += target.collisions
        notes += target.notes
        left += target.left
    if collisions:
        raise UsageError(
            "Wheels bring different files of the same name; only one of them could be loaded.",
            next_step="drop one of these packages from the project's requirements",
            problems=collisions,
        )
    return Unpacked(tuple(sorted(owners)), tuple(notes), tuple(left))


def unpack_wheel(wheel: Path, destination: Path) -> Unpacked:
    """Unpack one wheel; files already there count as another wheel's.

    Raises: UsageError: the wheel is unsafe or unreadable, or differs from what is there; nothing that was
        there is changed.
    """
    return unpack_wheels([wheel], destination)


def layer_clashes(runtime: Unpacked, dependencies: Unpacked) -> tuple[str, ...]:
    """Importable names that both layers bring, one sentence each: the runtime's would hide the other.

    A folder without `__init__.py` in either layer is a namespace that both may fill (`google`).
    """
    ours, theirs = _importable(runtime.files), _importable(dependencies.files)
    return tuple(
        f"{name}: brought by sealift's box side and by the application's packages"
        for name in sorted(ours.keys() & theirs.keys())
        if ours[name] or theirs[name]
    )


def _importable(files: Iterable[str]) -> dict[str, bool]:
    """Top-level import name -> whether it is a real package or module rather than a namespace."""
    names: dict[str, bool] = {}
    for file in files:
        top, _, rest = file.partition("/")
        if rest and not top.endswith((".dist-info", ".data")) and top != "__pycache__":
            names[top] = names.get(top, False) or rest == "__init__.py"
        elif not rest and top.endswith((".py", ".so")):
            names[top.partition(".")[0]] = True
    return names


@dataclass(slots=True)
class _LayerDestination(WheelDestination):
    """pypa/installer's protocol, writing below one folder. `owners`: path -> (sha256, wheel)."""

    root: Path
    wheel: str
    package: str
    data_prefix: str
    owners: dict[str, tuple[str, str]]
    written: dict[str, tuple[str, int]] = field(default_factory=dict)
    collisions: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left: list[tuple[LeaveOut, int]] = field(default_factory=list)

    def write_script(self, name: str, module: str, attr: str, section: ScriptSection) -> RecordEntry:
        """Left out."""
        return RecordEntry(f"{section}:{name}={module}:{attr}", None, None)

    def write_file(
        self, scheme: Scheme, path: str | os.PathLike[str], stream: BinaryIO, is_executable: bool
    ) -> RecordEntry:
        """Write a file of the layer; scripts, headers and what no box needs are left out."""
        name = str(path)
        if scheme in ("scripts", "headers"):
            return RecordEntry(name, None, None)
        if scheme == "data":
            name = f"{self.data_prefix}/data/{name}"
        content = stream.read()
        entry = left_out(self.package, name)
        if entry is not None:
            self.left.append((entry, len(content)))
            return RecordEntry(name, None, None)
        encoded = self._write(name, content, is_executable)
        return RecordEntry(name, Hash("sha256", encoded), len(content))

    def finalize_installation(
        self,
        scheme: Scheme,  # noqa: ARG002  the protocol's
        record_file_path: str,
        records: Iterable[tuple[Scheme, RecordEntry]],  # noqa: ARG002
    ) -> None:
        """Write RECORD: only what is there, sorted, so that it is the same wherever it is unpacked."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        for name in sorted(self.written):
            digest, size = self.written[name]
            rows.writerow((name, f"sha256={digest}", size))
        rows.writerow((record_file_path, "", ""))
        self._write(record_file_path, text.getvalue().encode("utf-8"), executable=False)

    def _write(self, name: str, content: bytes, executable: bool) -> str:
        """Put the file where it is not yet; returns its digest as RECORD spells it."""
        hashed = hashlib.sha256(content)
        encoded = base64.urlsafe_b64encode(hashed.digest()).rstrip(b"=").decode("ascii")
        self.written[name] = (encoded, len(content))
        self._place(name, content, hashed.hexdigest(), executable)
        return encoded

    def _place(self, name: str, content: bytes, digest: str, executable: bool) -> None:
        if name in self.owners:
            self._meet(name, digest, self.owners[name])
            return
        path = self.root / name
        if path.exists():
            self._meet(name, digest, (hashlib.sha256(path.read_bytes()).hexdigest(), "the folder"))
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            self.collisions.append(f"{name}: {self.wheel} has a folder where another wheel has a file")
            return
        path.chmod(0o755 if executable else 0o644)
        self.owners[name] = (digest, self.wheel)

    def _meet(self, name: str, digest: str, other: tuple[str, str]) -> None:
        if digest != other[0]:
            self.collisions.append(f"{name}: {other[1]} and {self.wheel}")


def _unpack(wheel: Path, destination: Path, owners: dict[str, tuple[str, str]]) -> _LayerDestination:
    try:
        with WheelFile.open(wheel) as source:
            with zipfile.ZipFile(wheel) as archive:
                _refuse_unsafe(archive, wheel)
                notes = _notes(archive, wheel)
            target = _LayerDestination(
                destination, wheel.name, normalised(source.distribution), source.data_dir, owners, notes=notes
            )
            with warnings.catch_warnings():
                # installer warns of __pycache__ and leaves it out; the note says the same.
                warnings.simplefilter("ignore", RuntimeWarning)
                installer.install(source, target, additional_metadata={})
            return target
    except (InstallerError, zipfile.BadZipFile, KeyError, ValueError, NotImplementedError) as error:
        raise UsageError(f"{wheel.name} cannot be unpacked: {error}") from error


def _refuse_unsafe(archive: zipfile.ZipFile, wheel: Path) -> None:
    problems = []
    seen: set[str] = set()
    for entry in archive.infolist():
        name = entry.filename
        parts = name.removesuffix("/").split("/")
        mode = entry.external_attr >> 16
        if name in seen:
            problems.append(f"{name!r}: twice in the archive")
        elif "\\" in name or any(ord(c) < 32 for c in name) or name.startswith("/"):
            problems.append(f"{name!r}: not a relative path")
        elif any(part in ("", ".", "..") for part in parts):
            problems.append(f"{name!r}: leaves its folder or has an empty part")
        elif mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            problems.append(f"{name!r}: a link or device")
        seen.add(name)
    if problems:
        raise UsageError(f"{wheel.name} is not safe to unpack.", problems=problems)


def _notes(archive: zipfile.ZipFile, wheel: Path) -> list[str]:
    names = archive.namelist()
    notes = []
    if any(name.endswith(".pth") and "/" not in name for name in names):
        notes.append(f"{wheel.name}: its .pth file travels but is not executed on the box")
    if any("/__pycache__/" in f"/{name}" for name in names):
        notes.append(f"{wheel.name}: its __pycache__ is left out; sealift compiles anew")
    return notes
