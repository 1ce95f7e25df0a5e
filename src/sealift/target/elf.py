"""ELF file -> what its loader will look for. Standard library only; nothing is executed.

Sources: System V gABI 4.1 (header, program header, dynamic section), Linux Standard Base 5.0 part II
section 10.7 (symbol versions). Read through the program headers only: a stripped file has no sections.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import BinaryIO, Final

from sealift.errors import MalformedBundle

_MACHINES: Final = {
    3: "i386",
    40: "arm",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
    21: "ppc64",
    22: "s390",
}
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NEEDED, _DT_STRTAB, _DT_STRSZ, _DT_SONAME, _DT_RPATH, _DT_RUNPATH = 1, 5, 10, 14, 15, 29
_DT_FLAGS_1, _DT_VERDEF, _DT_VERDEFNUM = 0x6FFFFFFB, 0x6FFFFFFC, 0x6FFFFFFD
_DT_VERNEED, _DT_VERNEEDNUM = 0x6FFFFFFE, 0x6FFFFFFF
_DF_1_PIE, _VER_FLG_BASE, _VER_FLG_WEAK = 0x08000000, 1, 2
_MOST_ENTRIES: Final = 1 << 16
"""Of the dynamic section, and reads in all: far more than any real file needs."""
_LONGEST_TEXT: Final = 4096


class Kind(Enum):
    """What the file is for."""

    SHARED = "shared object"
    EXECUTABLE = "executable"
    OBJECT = "object file"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Elf:
    """What one ELF file says of itself.

    `machine` is as `uname -m` says it (`x86_64`, `aarch64`; `machine 8` for one without a name here).
    `needed` keeps the order of DT_NEEDED. `rpath` and `runpath` keep `$ORIGIN`. `interpreter` is PT_INTERP.
    `versions` maps a needed library to the symbol versions without which it does not load; `weak_versions`
    holds those that may be absent (VER_FLG_WEAK). `defined` are the versions that the file itself offers.
    """

    machine: str
    bits: int
    kind: Kind
    soname: str | None = None
    needed: tuple[str, ...] = ()
    rpath: tuple[str, ...] = ()
    runpath: tuple[str, ...] = ()
    interpreter: str | None = None
    versions: Mapping[str, frozenset[str]] = field(default_factory=dict)
    weak_versions: Mapping[str, frozenset[str]] = field(default_factory=dict)
    defined: frozenset[str] = frozenset()

    def needs(self, prefix: str) -> frozenset[str]:
        """The needed symbol versions of every library that begin with `prefix`, such as `GLIBCXX_`."""
        return frozenset(v for names in self.versions.values() for v in names if v.startswith(prefix))


def read_elf(path: Path) -> Elf | None:
    """Read the headers of one file; its code and data are not read.

    Returns: None where it is no ELF file.
    Raises: MalformedBundle: it begins as ELF and is cut off, or contradicts itself. OSError: not readable.
    """
    with path.open("rb", buffering=0) as stream:
        ident = stream.read(16)
        if not ident.startswith(b"\x7fELF"):
            return None
        try:
            return _read(_Image(stream, ident))
        except _Broken as reason:
            raise MalformedBundle(f"{path} begins as an ELF file and is not a whole one: {reason}.") from None


class _Broken(Exception):
    """The text says what is wrong with the file."""


class _Image:
    """The bytes of one file, read where asked; `wide` is 64 bit."""

    def __init__(self, stream: BinaryIO, ident: bytes) -> None:
        if len(ident) < 16 or ident[4] not in (1, 2) or ident[5] not in (1, 2):
            raise _Broken("neither 32 nor 64 bit, or of no known byte order")
        self._stream = stream
        self._size = os.fstat(stream.fileno()).st_size
        self.wide = ident[4] == 2
        self._order = "<" if ident[5] == 1 else ">"
        self._reads = 0

    def unpack(self, form: str, offset: int) -> tuple[int, ...]:
        """Fields of `form` (struct's letters) at `offset`."""
        packed = self._order + form
        return struct.unpack(packed, self.bytes_at(offset, struct.calcsize(packed)))

    def records(self, form: str, offset: int, count: int) -> Iterator[tuple[int, ...]]:
        """`count` records of `form`, one after the other."""
        packed = self._order + form
        return struct.iter_unpack(packed, self.bytes_at(offset, count * struct.calcsize(packed)))

    def bytes_at(self, offset: int, size: int) -> bytes:
        self._reads += 1
        if self._reads > _MOST_ENTRIES:  # two lists within each other may point at the same bytes for ever
            raise _Broken(f"more than {_MOST_ENTRIES} entries")
        if offset < 0 or offset + size > self._size:
            raise _Broken(f"expected {size} bytes at {offset}, found {self._size} in all")
        found = os.pread(self._stream.fileno(), size, offset)
        if len(found) != size:
            raise _Broken(f"expected {size} bytes at {offset}, found {len(found)}")
        return found

    def text_at(self, offset: int, longest: int) -> str:
        """The text that ends with the first zero byte, within `longest` bytes."""
        room = min(longest, _LONGEST_TEXT, self._size - offset)
        text, end, _ = self.bytes_at(offset, max(room, 0)).partition(b"\0")
        if not end:
            raise _Broken(f"a text at {offset} does not end")
        return text.decode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int


def _read(image: _Image) -> Elf:
    kind, machine = image.unpack("HH", 16)
    segments = _segments(image)
    dynamic = _dynamic(image, segments)
    texts = _Texts(image, segments, dynamic)
    versions, weak = _needed_versions(image, segments, texts, dynamic)
    soname = texts.one(_DT_SONAME)
    interpreter = _interpreter(image, segments)
    return Elf(
        machine=_MACHINES.get(machine, f"machine {machine}"),
        bits=64 if image.wide else 32,
        kind=_kind_of(kind, dynamic, is_program=interpreter is not None and soname is None),
        soname=soname,
        needed=tuple(texts.all(_DT_NEEDED)),
        rpath=_search_path(texts.one(_DT_RPATH)),
        runpath=_search_path(texts.one(_DT_RUNPATH)),
        interpreter=interpreter,
        versions=versions,
        weak_versions=weak,
        defined=_defined_versions(image, segments, texts, dynamic),
    )


def _kind_of(number: int, dynamic: Mapping[int, list[int]], *, is_program: bool) -> Kind:
    """A position-independent program is an ET_DYN as a library is; libc.so.6 has an interpreter too."""
    if number == 3:
        is_pie = any(flags & _DF_1_PIE for flags in dynamic.get(_DT_FLAGS_1, ()))
        return Kind.EXECUTABLE if is_pie or is_program else Kind.SHARED
    return {1: Kind.OBJECT, 2: Kind.EXECUTABLE}.get(number, Kind.OTHER)


def _segments(image: _Image) -> list[_Segment]:
    (offset,) = image.unpack("Q", 32) if image.wide else image.unpack("I", 28)
    entry_size, count = image.unpack("HH", 54 if image.wide else 42)
    if not offset or not count:
        return []
    if entry_size != (56 if image.wide else 32):
        raise _Broken(f"expected program headers of {56 if image.wide else 32} bytes, found {entry_size}")
    if image.wide:
        return [_Segment(r[0], r[2], r[3], r[5]) for r in image.records("IIQQQQQQ", offset, count)]
    return [_Segment(r[0], r[1], r[2], r[4]) for r in image.records("IIIIIIII", offset, count)]


def _interpreter(image: _Image, segments: list[_Segment]) -> str | None:
    found = next((segment for segment in segments if segment.kind == _PT_INTERP), None)
    # A file of debug symbols keeps the header and has no bytes for it.
    return image.text_at(found.offset, found.size) if found is not None and found.size else None


def _dynamic(image: _Image, segments: list[_Segment]) -> dict[int, list[int]]:
    """Tag -> its values in order; empty for a static program."""
    table = next((segment for segment in segments if segment.kind == _PT_DYNAMIC), None)
    if table is None:
        return {}
    count = table.size // (16 if image.wide else 8)
    if count > _MOST_ENTRIES:
        raise _Broken(f"a dynamic section of {count} entries")
    found: dict[int, list[int]] = {}
    for tag, value in image.records("QQ" if image.wide else "II", table.offset, count):
        if tag == 0:
            break
        found.setdefault(tag, []).append(value)
    return found


def _offset_of(address: int, segments: list[_Segment]) -> int:
    """Where the bytes that are loaded at `address` lie in the file."""
    for segment in segments:
        if segment.kind == _PT_LOAD and segment.address <= address < segment.address + segment.size:
            return segment.offset + address - segment.address
    raise _Broken(f"address {address:#x} is in no loaded segment")


class _Texts:
    """The dynamic string table, read text by text: that of a large library is tens of megabytes."""

    def __init__(self, image: _Image, segments: list[_Segment], dynamic: Mapping[int, list[int]]) -> None:
        self._image = image
        self._dynamic = dynamic
        table, size = dynamic.get(_DT_STRTAB), dynamic.get(_DT_STRSZ)
        self._offset = _offset_of(table[0], segments) if table else 0
        self._size = size[0] if size else 0

    def at(self, index: int) -> str:
        if index >= self._size:
            raise _Broken(f"text {index} lies outside the string table of {self._size} bytes")
        return self._image.text_at(self._offset + index, self._size - index)

    def all(self, tag: int) -> Iterator[str]:
        return (self.at(index) for index in self._dynamic.get(tag, ()))

    def one(self, tag: int) -> str | None:
        return next(self.all(tag), None)


def _search_path(text: str | None) -> tuple[str, ...]:
    return tuple(folder for folder in (text or "").split(":") if folder)


Versions = dict[str, frozenset[str]]


def _needed_versions(
    image: _Image, segments: list[_Segment], texts: _Texts, dynamic: Mapping[int, list[int]]
) -> tuple[Versions, Versions]:
    """Library -> versions that it must have, and library -> versions that it may lack (LSB section 10.7.3)."""
    strong: dict[str, set[str]] = {}
    weak: dict[str, set[str]] = {}
    for record, offset in _chain(image, segments, dynamic, (_DT_VERNEED, _DT_VERNEEDNUM), "HHIII"):
        _, count, name, first, _ = record
        library = texts.at(name)
        for _, flags, _, version, _ in _auxiliaries(image, "IHHII", offset + first, count):
            (weak if flags & _VER_FLG_WEAK else strong).setdefault(library, set()).add(texts.at(version))
    return _frozen(strong), _frozen(weak)


def _defined_versions(
    image: _Image, segments: list[_Segment], texts: _Texts, dynamic: Mapping[int, list[int]]
) -> frozenset[str]:
    """The versions of the file's own symbols, without its base version (LSB section 10.7.2)."""
    found = set()
    for record, offset in _chain(image, segments, dynamic, (_DT_VERDEF, _DT_VERDEFNUM), "HHHHIII"):
        _, flags, _, count, _, first, _ = record
        if count and not flags & _VER_FLG_BASE:
            name, _ = image.unpack("II", offset + first)
            found.add(texts.at(name))
    return frozenset(found)


def _chain(
    image: _Image,
    segments: list[_Segment],
    dynamic: Mapping[int, list[int]],
    tags: tuple[int, int],
    form: str,
) -> Iterator[tuple[tuple[int, ...], int]]:
    """Records with their offsets, each of which ends with the distance to the next one (0: the last)."""
    start, count = (dynamic.get(tag, [0])[0] for tag in tags)
    if not start:
        return
    offset = _offset_of(start, segments)
    for _ in range(count):
        record = image.unpack(form, offset)
        yield record, offset
        if record[-1] == 0:
            return
        offset += record[-1]


def _auxiliaries(image: _Image, form: str, offset: int, count: int) -> Iterator[tuple[int, ...]]:
    for _ in range(count):
        record = image.unpack(form, offset)
        yield record
        if record[-1] == 0:
            return
        offset += record[-1]


def _frozen(found: Mapping[str, set[str]]) -> Versions:
    return {library: frozenset(names) for library, names in found.items()}


_FIRST_WITH_MARK: Final = {"DT_RELR": (2, 36)}
"""GLIBC_ABI_* says that the loader understands something, and since which glibc. Every other mark came with
2.42 or later (glibc's NEWS)."""


def glibc_needed(elf: Elf) -> str | None:
    """The oldest glibc that has every symbol version `elf` cannot do without, e.g. `2.34`; None: any."""
    found = [key for version in elf.needs("GLIBC_") if (key := glibc_key(version))]
    return ".".join(map(str, max(found))) if found else None


def glibc_key(version: str) -> tuple[int, ...] | None:
    """`GLIBC_2.34` -> (2, 34); a mark as the glibc that first has it; None for GLIBC_PRIVATE."""
    text = version.removeprefix("GLIBC_")
    if text.startswith("ABI_"):
        return _FIRST_WITH_MARK.get(text.removeprefix("ABI_"), (2, 42))
    parts = text.split(".")
    if not all(part.isascii() and part.isdigit() and len(part) < 6 for part in parts):
        return None  # GLIBC_PRIVATE: of glibc's own parts
    return tuple(map(int, parts))
