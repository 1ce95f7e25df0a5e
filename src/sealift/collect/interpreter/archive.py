"""A python-build-standalone archive -> Source.

Both of its forms: `install_only` (`python/bin`, `python/lib`) and the full one (`python/PYTHON.json`,
`python/install/bin`, ...). Source: the project's own description of its distributions.
"""

from __future__ import annotations

import re
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Final

import zstandard

from sealift.collect.interpreter.source import Source
from sealift.errors import UsageError
from sealift.events import Progress

MOST_BYTES: Final = 2 * 2**30
MOST_FILES: Final = 60_000
_PATCHLEVEL = re.compile(r'^#define\s+PY_VERSION\s+"(\d+\.\d+\.\d+)[^"]*"', re.MULTILINE)
_MOST_LINKS: Final = 16
_NEWER_PROCESSOR = re.compile(r"x86_64_(v[234])")


def unpacked_archive(archive: Path, python: str, scratch: Path, progress: Progress) -> Source:
    """Unpack what a release may need of `archive` into `scratch`, an empty folder.

    Links are followed to the files that they name; headers, documents and built objects stay inside.

    Raises: UsageError: not such an archive, one for another Python, or one that is not safe to unpack.
    """
    progress.start(f"unpack {archive.name}")
    try:
        with _opened(archive) as tar:
            links = _write(tar, scratch, archive)
    except (tarfile.TarError, zstandard.ZstdError, EOFError, OSError) as error:
        raise UsageError(f"{archive} cannot be unpacked: {error}", next_step=_GET_ONE) from error
    _follow(links, scratch, archive)
    return _source(scratch, python, archive)


_GET_ONE: Final = (
    "take the file cpython-X.Y...-unknown-linux-gnu-install_only.tar.gz of python-build-standalone, whole"
)


@contextmanager
def _opened(archive: Path) -> Iterator[tarfile.TarFile]:
    with archive.open("rb") as file:
        if archive.name.endswith((".tar.zst", ".tzst")):
            stream: IO[bytes] = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
            with stream, tarfile.open(fileobj=stream, mode="r|") as tar:
                yield tar
        else:
            with tarfile.open(fileobj=file, mode="r|*") as tar:
                yield tar


def _write(tar: tarfile.TarFile, scratch: Path, archive: Path) -> dict[str, str]:
    """Regular files to `scratch`; returns link -> the path inside the archive that it names."""
    links: dict[str, str] = {}
    problems: list[str] = []
    total = files = 0
    for member in tar:
        name = member.name.removeprefix("./").rstrip("/")
        problem = _problem(name, member)
        total, files = total + member.size, files + 1
        if total > MOST_BYTES or files > MOST_FILES:
            raise UsageError(f"{archive} unpacks to more than {MOST_BYTES} bytes or {MOST_FILES} files.")
        if problem:
            problems.append(f"{name!r}: {problem}")
        elif member.issym():
            links[name] = _normal(str(PurePosixPath(name).parent / member.linkname))
        elif member.islnk():
            links[name] = _normal(member.linkname.removeprefix("./"))
        elif member.isreg() and _is_wanted(name):
            _write_file(tar, member, scratch / name)
    problems += [f"{name!r}: a link that leaves the archive" for name, to in links.items() if to == ".."]
    if problems:
        raise UsageError(f"{archive} is not safe to unpack.", problems=sorted(problems))
    return {name: to for name, to in links.items() if _is_wanted(name)}


def _problem(name: str, member: tarfile.TarInfo) -> str | None:
    parts = name.split("/")
    if name.startswith("/") or any(part in ("", "..") for part in parts) or "\\" in name or "\0" in name:
        return "leaves its folder"
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        return "a device or another special file"
    if member.issym() and member.linkname.startswith("/"):
        return "a link that leaves the archive"
    return None


def _normal(path: str) -> str:
    """`a/b/../c` -> `a/c`; `..` where it climbs out."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if not parts:
                return ".."
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _is_wanted(name: str) -> bool:
    """Spares unpacking 200 MB of built objects: the interpreter, its libraries and its version."""
    inner = name.removeprefix("python/").removeprefix("install/")
    return inner.startswith(("bin/python", "lib/", "licenses/")) or inner.endswith("/patchlevel.h")


def _write_file(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    content = tar.extractfile(member)
    assert content is not None  # noqa: S101  a regular file
    path.parent.mkdir(parents=True, exist_ok=True)
    with content, path.open("xb") as file:
        shutil.copyfileobj(content, file)
    path.chmod(0o755 if member.mode & 0o100 else 0o644)


def _follow(links: dict[str, str], scratch: Path, archive: Path) -> None:
    """Links become copies of the files that they name; those to a folder, or into nothing, are left."""
    for name in sorted(links):
        to = name
        for _ in range(_MOST_LINKS):
            if to not in links:
                break
            to = links[to]
        else:
            raise UsageError(f"{archive} is not safe to unpack.", problems=[f"{name!r}: a link in a circle"])
        if (scratch / to).is_file() and not (scratch / name).exists():
            (scratch / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(scratch / to, scratch / name)


def _source(scratch: Path, python: str, archive: Path) -> Source:
    root = next((p for p in (scratch / "python/install", scratch / "python") if (p / "bin").is_dir()), None)
    if root is None:
        raise UsageError(
            f"{archive} holds no python/bin: it is no python-build-standalone archive.", next_step=_GET_ONE
        )
    version = _version(root)
    if version is None or not version.startswith(f"{python}."):
        raise UsageError(
            f"{archive} is for another Python: expected {python}, found {version or 'none'}.",
            next_step=f"take the archive for {python}, or change [target] python",
        )
    stdlib = root / "lib" / f"python{python}"
    executable = root / "bin" / f"python{python}"
    if not executable.is_file() or not (stdlib / "os.py").is_file():
        raise UsageError(
            f"{archive} lacks bin/python{python} or lib/python{python}/os.py.", next_step=_GET_ONE
        )
    return Source(
        label=archive.name,
        version=version,
        platlibdir="lib",
        executable=executable,
        stdlib=stdlib,
        extensions=stdlib / "lib-dynload",
        libraries=(root / "lib",),
        licences=tuple(sorted((scratch / "python" / "licenses").glob("*.txt"))),
    )


def _version(root: Path) -> str | None:
    for header in sorted(root.glob("include/python3*/patchlevel.h")):
        match = _PATCHLEVEL.search(header.read_text(encoding="utf-8", errors="replace"))
        if match:
            return match[1]
    return None


def processor_note(archive: str) -> str | None:
    """A sentence where the archive's name says that it is for newer processors only."""
    match = _NEWER_PROCESSOR.search(archive)
    return f"{archive} runs only on processors with x86-64-{match[1]}" if match else None
