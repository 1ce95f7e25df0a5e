"""This machine's base libraries -> the lowest layer of an image that is built from nothing.

They are those that every target has (`target.base`), which is all that a release asks of the system.
Its packages' licence texts travel along, and whatever common texts they refer to. Only machines that keep a
dpkg database are read: it says which package a library came from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from sealift.errors import IncompatibleHost
from sealift.scale.oci.layer import ImageFile
from sealift.target.base import base_libraries
from sealift.target.elf import read_elf
from sealift.target.target import version_key

MAY_LACK: Final = frozenset(
    ("libdl.so.2", "libpthread.so.0", "librt.so.1", "libutil.so.1", "libanl.so.1", "libmvec.so.1")
)
"""Since glibc 2.34 they are in libc.so.6, and what was linked before asks for their names; the last one is not
everywhere."""
NAME_SERVICE: Final = frozenset(("libnss_files.so.2", "libnss_dns.so.2"))
"""Loaded by libc.so.6 for the names in nsswitch.conf, by a glibc before 2.34."""
LOADERS: Final = {"x86_64": "lib64/ld-linux-x86-64.so.2", "aarch64": "lib/ld-linux-aarch64.so.1"}
"""Where every program says that its loader is (System V ABI, supplements of the processors)."""
USER: Final = 65532
FOLDERS: Final[dict[str, int]] = {"tmp": 0o1777, "run": 0o755, "proc": 0o555, "sys": 0o555, "dev": 0o755}
TEXTS: Final[dict[str, str]] = {
    "etc/passwd": f"root:x:0:0:root:/root:/nologin\nsealift:x:{USER}:{USER}:sealift:/tmp:/nologin\n",
    "etc/group": f"root:x:0:\nsealift:x:{USER}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
NEXT_STEP: Final = "name an OCI layout to build on: --base LAYOUT"
_COMMON: Final = re.compile(r"/usr/share/common-licenses/([A-Za-z0-9.+-]*[A-Za-z0-9])")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where to look; `libc` is the file that the running interpreter has loaded, `root` is `/`."""

    libc: Path
    machine: str
    root: Path = Path("/")


@dataclass(frozen=True, slots=True)
class CLibrary:
    """The files of the layer, `libc6 2.36-9` for each package they came from, and which `glibc` it is (`2.36`)."""

    files: tuple[ImageFile, ...]
    packages: tuple[str, ...]
    glibc: str | None


def loaded_libc(maps: Path = Path("/proc/self/maps")) -> Path | None:
    """The glibc that this process runs with; None: another C library."""
    for line in maps.read_text().splitlines():
        name = line.rpartition(" ")[2]
        if re.fullmatch(r"/.*/libc(\.so\.6|-[0-9.]+\.so)", name):
            return Path(name)
    return None


def c_library(machine: Machine) -> CLibrary:
    """Gather it. Raises: IncompatibleHost: something is not here; all of it is named."""
    loader = LOADERS[machine.machine]
    libraries = {loader: machine.root / loader}
    problems = [] if libraries[loader].is_file() else [f"/{loader}: not here"]
    for name in sorted((base_libraries() | NAME_SERVICE) - {Path(each).name for each in LOADERS.values()}):
        path = _find(name, machine)
        if path is not None:
            libraries[str(path.relative_to(machine.root))] = path
        elif name not in MAY_LACK | NAME_SERVICE:
            problems.append(f"{name}: not beside {machine.libc}")
    owners = _owners(machine.root, libraries)
    problems += [
        f"/{path}: of no Debian package, so its licence is unknown"
        for path in libraries
        if path not in owners
    ]
    versions = _versions(machine.root, set(owners.values()))
    texts, without = _licences(machine.root, versions)
    problems += [
        f"{package}: its licence text is not here (/usr/share/doc/{package}/copyright)" for package in without
    ]
    if problems:
        raise IncompatibleHost(
            "This machine's C library cannot be put into an image.", problems=problems, next_step=NEXT_STEP
        )
    files = [_file(path, source, executable=path == loader) for path, source in libraries.items()]
    files += [_text(path, text.encode()) for path, text in TEXTS.items()]
    files += [_file(path, source) for path, source in texts.items()]
    elf = read_elf(machine.libc)
    return CLibrary(
        tuple(files),
        tuple(f"{name} {version}" for name, version in sorted(versions.items())),
        glibc_of(elf.defined) if elf is not None else None,
    )


def glibc_of(defined: frozenset[str]) -> str | None:
    """The glibc that defines these symbol versions: `GLIBC_2.36` is its newest."""
    numbers = [version.removeprefix("GLIBC_") for version in defined if version.startswith("GLIBC_2")]
    return max(numbers, key=version_key, default=None)


def _find(name: str, machine: Machine) -> Path | None:
    folder = machine.libc.parent
    beside = [folder, machine.root / "usr" / folder.relative_to(machine.root)]
    return next((each / name for each in beside if (each / name).is_file()), None)


def _owners(root: Path, paths: Iterable[str]) -> dict[str, str]:
    """Path -> package. A list may name a file as it was before /usr was merged."""
    wanted = {f"/{name}": path for path in paths for name in (path, path.removeprefix("usr/"), f"usr/{path}")}
    found: dict[str, str] = {}
    for listing in sorted((root / "var/lib/dpkg/info").glob("*.list")):
        for line in listing.read_text(errors="replace").splitlines():
            if line in wanted:
                found[wanted[line]] = listing.stem.partition(":")[0]
    return found


def _versions(root: Path, packages: set[str]) -> dict[str, str]:
    status = root / "var/lib/dpkg/status"
    found: dict[str, str] = {}
    for paragraph in status.read_text(errors="replace").split("\n\n") if status.is_file() else ():
        fields = dict(
            line.split(": ", 1) for line in paragraph.splitlines() if re.match(r"(Package|Version): ", line)
        )
        if fields.get("Package") in packages and "Version" in fields:
            found[fields["Package"]] = fields["Version"]
    return found


def _licences(root: Path, packages: Mapping[str, str]) -> tuple[dict[str, Path], list[str]]:
    """Path in the image -> the text, and the packages without one."""
    texts: dict[str, Path] = {}
    without = []
    for package in sorted(packages):
        path = f"usr/share/doc/{package}/copyright"
        if not (root / path).is_file():
            without.append(package)
            continue
        texts[path] = root / path
        for name in _COMMON.findall((root / path).read_text(errors="replace")):
            if (root / "usr/share/common-licenses" / name).is_file():
                texts[f"usr/share/common-licenses/{name}"] = root / "usr/share/common-licenses" / name
    return texts, without


def _file(path: str, source: Path, *, executable: bool = False) -> ImageFile:
    def copy(sink: IO[bytes]) -> None:
        with source.open("rb") as stream:
            for chunk in _chunks(stream):
                sink.write(chunk)

    return ImageFile(path, source.stat().st_size, executable, copy)


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(1 << 20):
        yield chunk


def _text(path: str, data: bytes) -> ImageFile:
    return ImageFile(path, len(data), executable=False, copy=lambda sink: sink.write(data))
