"""Small ELF files with the headers that a test asks for, and no code."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MACHINES = {"x86_64": 62, "aarch64": 183, "cubin": 190}
START = 0x40 + 2 * 56


@dataclass(frozen=True)
class Made:
    """What a 64-bit little-endian file says; `versions` may be marked weak by a trailing `?`."""

    needed: Sequence[str] = ()
    soname: str | None = None
    rpath: str | None = None
    runpath: str | None = None
    versions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    defined: Sequence[str] = ()
    machine: str = "x86_64"
    kind: int = 3

    def content(self) -> bytes:
        """The whole file: header, two program headers, string table, version tables, dynamic section."""
        texts = _Texts()
        entries = [(1, texts.at(name)) for name in self.needed]
        for tag, text in ((14, self.soname), (15, self.rpath), (29, self.runpath)):
            if text is not None:
                entries.append((tag, texts.at(text)))
        need, define = self._need(texts), self._define(texts)
        strings = bytes(texts.table)
        after = START + len(strings)
        if self.versions:
            entries += [(0x6FFFFFFE, after), (0x6FFFFFFF, len(self.versions))]
        if self.defined:
            entries += [(0x6FFFFFFC, after + len(need)), (0x6FFFFFFD, len(self.defined))]
        entries += [(5, START), (10, len(strings)), (0, 0)]
        dynamic = b"".join(struct.pack("<QQ", *entry) for entry in entries)
        at = after + len(need) + len(define)
        size = at + len(dynamic)
        ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
        machine = MACHINES[self.machine]
        header = struct.pack(
            "<16sHHIQQQIHHHHHH", ident, self.kind, machine, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0
        )
        load = struct.pack("<IIQQQQQQ", 1, 4, 0, 0, 0, size, size, 1)
        table = struct.pack("<IIQQQQQQ", 2, 4, at, at, at, len(dynamic), len(dynamic), 8)
        return header + load + table + strings + need + define + dynamic

    def _need(self, texts: _Texts) -> bytes:
        out = b""
        for index, (library, versions) in enumerate(self.versions.items()):
            last = index == len(self.versions) - 1
            size = 16 + 16 * len(versions)
            out += struct.pack("<HHIII", 1, len(versions), texts.at(library), 16, 0 if last else size)
            for number, version in enumerate(versions):
                flags = 2 if version.endswith("?") else 0
                following = 0 if number == len(versions) - 1 else 16
                out += struct.pack("<IHHII", 0, flags, 2, texts.at(version.removesuffix("?")), following)
        return out

    def _define(self, texts: _Texts) -> bytes:
        out = b""
        for index, version in enumerate(self.defined):
            following = 0 if index == len(self.defined) - 1 else 28
            out += struct.pack("<HHHHIII", 1, 0, index + 2, 1, 0, 20, following)
            out += struct.pack("<II", texts.at(version), 0)
        return out


class _Texts:
    def __init__(self) -> None:
        self.table = bytearray(b"\0")

    def at(self, text: str) -> int:
        """Where the text begins; added each time."""
        index = len(self.table)
        self.table += text.encode() + b"\0"
        return index
