"""The files of a vulnerability list -> its entries by package, its date and its digest."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sealift.pack.osv import Advisory, NotOsv, parse

MAX_ENTRY_BYTES: Final = 16 * 2**20


@dataclass(frozen=True, slots=True)
class OsvList:
    """A list that was read in full.

    `count` is of all entries, whatever their ecosystem; `newest` is the day of the latest change in it. `sha256`
    is that of the zip file; of a folder, what this prints inside it (file names without spaces):
    `find . -name '*.json' | LC_ALL=C sort | xargs sha256sum | sha256sum`.
    """

    by_name: Mapping[str, tuple[Advisory, ...]]
    count: int
    newest: str
    sha256: str


@dataclass(slots=True)
class _Reading:
    by_name: dict[str, list[Advisory]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    count: int = 0
    newest: str = ""

    def take(self, name: str, data: bytes) -> None:
        """Note one file's entry, or what is wrong with it."""
        try:
            entry = parse(json.loads(data))
        except NotOsv as error:
            self.problems.append(f"{name}: {error}")
        except (ValueError, RecursionError):
            self.problems.append(f"{name}: not JSON")
        else:
            self.count += 1
            self.newest = max(self.newest, entry.modified)
            for package in {item.name for item in entry.affected}:
                self.by_name.setdefault(package, []).append(entry)


def read_list(path: Path) -> OsvList | tuple[str, ...]:
    """Read every `.json` file of a folder, its folders below, or a zip.

    Returns: the list, or everything that is wrong with it, one sentence each: a list that is not understood
        in full must not pass anything.
    """
    reading = _Reading()
    try:
        digest = _read_folder(path, reading) if path.is_dir() else _read_zip(path, reading)
    except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError) as error:
        reading.problems.append(f"{path.name}: expected a folder or a zip of OSV files: {error}")
        digest = ""
    if not reading.count and not reading.problems:
        reading.problems.append(f"{path.name}: holds no .json file; an empty list would pass everything")
    if reading.problems:
        return tuple(f"vulnerability list: {problem}" for problem in reading.problems)
    return OsvList(
        by_name={name: tuple(entries) for name, entries in reading.by_name.items()},
        count=reading.count,
        newest=reading.newest[:10],
        sha256=digest,
    )


def _read_folder(folder: Path, reading: _Reading) -> str:
    whole = hashlib.sha256()
    for name in sorted(_names(folder), key=os.fsencode):
        path = folder / name
        if path.stat().st_size > MAX_ENTRY_BYTES:
            reading.problems.append(f"{name}: larger than 16 MiB")
            continue
        data = path.read_bytes()
        reading.take(name, data)
        whole.update(f"{hashlib.sha256(data).hexdigest()}  ".encode() + os.fsencode(f"./{name}") + b"\n")
    return whole.hexdigest()


def _names(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*.json"):
        if path.is_file():
            yield path.relative_to(folder).as_posix()


def _read_zip(path: Path, reading: _Reading) -> str:
    with zipfile.ZipFile(path) as archive:
        for info in sorted(archive.infolist(), key=lambda info: info.filename):
            if info.is_dir() or not info.filename.endswith(".json"):
                continue
            with archive.open(info) as stream:
                data = stream.read(MAX_ENTRY_BYTES + 1)
            if len(data) > MAX_ENTRY_BYTES:
                reading.problems.append(f"{info.filename}: larger than 16 MiB")
            else:
                reading.take(info.filename, data)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
