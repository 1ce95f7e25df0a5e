"""ELF file -> the same file without debug symbols, the same bytes wherever it is done.

Sources: System V gABI 4.1, section header table. binutils' `strip` is not on every machine, and two versions
of it write two files. The program headers and everything they load stay where they are, byte for byte.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Final

_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION: Final = struct.Struct("<IIQQQQIIQQ")
_SEGMENT: Final = struct.Struct("<IIQQQQQQ")
_SHF_ALLOC, _SHT_NOBITS, _SHT_STRTAB = 2, 8, 3
_IDENT: Final = b"\x7fELF\x02\x01"  # 64 bit, little endian: x86_64 and aarch64


@dataclass(frozen=True, slots=True)
class _Section:
    name: int
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entry: int

    def packed(self) -> bytes:
        return _SECTION.pack(
            self.name, self.kind, self.flags, self.address, self.offset,
            self.size, self.link, self.info, self.align, self.entry,
        )  # fmt: skip

    @property
    def loaded(self) -> bool:
        return bool(self.flags & _SHF_ALLOC)

    @property
    def end(self) -> int:
        return self.offset + (0 if self.kind == _SHT_NOBITS else self.size)


def without_debug_symbols(data: bytes) -> bytes:
    """Drop the sections that no loader reads, where they follow everything that is loaded.

    Returns: `data` itself where there is nothing to drop, or where the file is laid out in another way.
    """
    if not data.startswith(_IDENT) or len(data) < _HEADER.size:
        return data
    fields = list(_HEADER.unpack_from(data))
    program, table, (segment_size, segments, section_size, count, names) = fields[5], fields[6], fields[9:14]
    if section_size != _SECTION.size or segment_size != _SEGMENT.size or not 0 < names < count:
        return data
    if table + count * section_size > len(data) or program + segments * segment_size > len(data):
        return data
    sections = [_Section(*_SECTION.unpack_from(data, table + n * section_size)) for n in range(count)]
    kept = [section for section in sections[1:] if section.loaded]
    ends = [_segment_end(data, program + n * segment_size) for n in range(segments)]
    end = max([_HEADER.size, program + segments * segment_size, *ends, *(s.end for s in kept)])
    dropped = sections[1 + len(kept) :]
    if any(section.loaded for section in dropped) or not _reducible(kept, dropped, end):
        return data
    body, new_table = _rebuilt(data[:end], sections, kept, _names(data, sections[names]))
    fields[6], fields[12], fields[13] = new_table, len(kept) + 2, len(kept) + 1
    return _HEADER.pack(*fields) + body[_HEADER.size :]


def _segment_end(data: bytes, at: int) -> int:
    _, _, offset, _, _, size, _, _ = _SEGMENT.unpack_from(data, at)
    return int(offset + size)


def _reducible(kept: list[_Section], dropped: list[_Section], end: int) -> bool:
    """Claims that nothing kept points at what is dropped, and that what is dropped lies behind."""
    last = len(kept)
    points_out = any(
        section.link > last or (section.flags & 0x40 and section.info > last) for section in kept
    )
    return len(dropped) > 1 and not points_out and all(s.offset >= end for s in dropped if s.size)


def _names(data: bytes, section: _Section) -> bytes:
    return data[section.offset : section.offset + section.size]


def _rebuilt(body: bytes, sections: list[_Section], kept: list[_Section], names: bytes) -> tuple[bytes, int]:
    """The loaded part, a new table of names, and the sections that stay; and where their table begins."""
    texts = bytearray(b"\0")
    table = [sections[0]]
    for section in [*kept, None]:
        text = b".shstrtab" if section is None else names[section.name :].partition(b"\0")[0]
        place = len(texts)
        texts += text + b"\0"
        if section is None:
            table.append(_Section(place, _SHT_STRTAB, 0, 0, len(body), 0, 0, 0, 1, 0))
        else:
            table.append(replace(section, name=place))
    table[-1] = replace(table[-1], size=len(texts))
    body += bytes(texts)
    body += b"\0" * (-len(body) % 8)
    return body + b"".join(section.packed() for section in table), len(body)
