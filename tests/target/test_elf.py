"""The reader says what binutils' readelf says, and any bytes end in a result, None or one error."""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealift.errors import MalformedBundle
from sealift.target.elf import Elf, Kind, glibc_needed, read_elf

SITE = Path(sysconfig.get_paths()["platlib"])
SMALL = next(p for p in sorted(SITE.rglob("*.so")) if 10_000 < p.stat().st_size < 60_000)


def shared_objects() -> list[Path]:
    """Of every package in the environment the three largest libraries."""
    found: dict[str, list[Path]] = {}
    for path in sorted(SITE.rglob("*.so*"), key=lambda p: -p.stat().st_size):
        if not path.is_symlink():
            found.setdefault(path.relative_to(SITE).parts[0], []).append(path)
    return [path for paths in found.values() for path in paths[:3] if path.stat().st_size < 20_000_000]


def readelf(*paths: Path) -> dict[Path, str]:
    """What `readelf -dVW` prints of each file."""
    tool = shutil.which("readelf")
    if tool is None:
        pytest.skip("binutils is not installed")
    done = subprocess.run([tool, "-hdVW", *map(str, paths)], capture_output=True, text=True, check=True)
    parts = re.split(r"^File: (.*)\n", done.stdout, flags=re.MULTILINE)[1:]
    return {Path(parts[i]): parts[i + 1] for i in range(0, len(parts), 2)}


def tagged(text: str, tag: str) -> list[str]:
    return re.findall(rf"\({tag}\).*\[(.*)\]", text)


def needed_versions(text: str) -> Iterator[tuple[str, str, bool]]:
    """(library, version, weak) of the section that `readelf -V` calls version needs."""
    library = ""
    section = text.partition("Version needs section")[2]
    for line in section.splitlines():
        if match := re.search(r"File: (\S+)", line):
            library = match[1]
        elif match := re.search(r"Name: (\S+)\s+Flags: (.*?)\s+Version:", line):
            yield library, match[1], "WEAK" in match[2]


def pairs(elf: Elf) -> set[tuple[str, str, bool]]:
    strong = {(lib, name, False) for lib, names in elf.versions.items() for name in names}
    return strong | {(lib, name, True) for lib, names in elf.weak_versions.items() for name in names}


def test_every_library_of_this_environment_reads_as_readelf_reads_it() -> None:
    texts = readelf(*shared_objects())
    assert len(texts) > 40
    for path, text in texts.items():
        elf = read_elf(path)
        assert elf is not None
        assert list(elf.needed) == tagged(text, "NEEDED"), path
        assert elf.soname == (tagged(text, "SONAME")[0] if tagged(text, "SONAME") else None), path
        assert ":".join(elf.rpath) == "".join(tagged(text, "RPATH")), path
        assert ":".join(elf.runpath) == "".join(tagged(text, "RUNPATH")), path
        assert pairs(elf) == set(needed_versions(text)), path
        defined = text.partition("Version definition section")[2].partition("Version needs section")[0]
        names = {m[2] for m in re.finditer(r"Flags: (\S+).*Name: (\S+)", defined) if m[1] != "BASE"}
        assert elf.defined == names, path


def test_the_parts_of_the_c_library_say_what_they_are() -> None:
    libc = read_elf(Path("/lib/x86_64-linux-gnu/libc.so.6"))
    if libc is None:
        pytest.skip("not Debian's layout")
    assert (libc.kind, libc.soname, libc.bits) == (Kind.SHARED, "libc.so.6", 64)
    assert {"GLIBC_2.2.5", "GLIBC_2.34"} <= libc.defined
    program = read_elf(Path("/bin/sh").resolve())
    assert program is not None
    assert program.kind is Kind.EXECUTABLE
    assert program.interpreter is not None
    assert "libc.so.6" in program.needed


def test_what_is_no_elf_is_none(tmp_path: Path) -> None:
    for name, data in {"empty": b"", "short": b"\x7fEL", "text": b"#!/bin/sh\n"}.items():
        (tmp_path / name).write_bytes(data)
        assert read_elf(tmp_path / name) is None


def test_a_library_that_is_cut_off_is_refused_by_name(tmp_path: Path) -> None:
    cut = tmp_path / "cut.so"
    cut.write_bytes(SMALL.read_bytes()[:2000])
    with pytest.raises(MalformedBundle, match=r"cut\.so begins as an ELF file and is not a whole one: "):
        read_elf(cut)


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ({"libc.so.6": {"GLIBC_2.9", "GLIBC_2.17"}, "libm.so.6": {"GLIBC_2.29"}}, "2.29"),
        ({"libc.so.6": {"GLIBC_2.2.5", "GLIBC_PRIVATE"}}, "2.2.5"),
        ({"libc.so.6": {"GLIBC_2.17", "GLIBC_ABI_DT_RELR"}}, "2.36"),
        ({"libc.so.6": {"GLIBC_2.17", "GLIBC_ABI_GNU2_TLS"}}, "2.42"),
        ({"libstdc++.so.6": {"GLIBCXX_3.4.29"}}, None),
        ({"libc.so.6": {"GLIBC_PRIVATE"}}, None),
        ({}, None),
    ],
)
def test_the_newest_symbol_version_is_the_glibc_needed(
    versions: dict[str, set[str]], expected: str | None
) -> None:
    frozen = {library: frozenset(names) for library, names in versions.items()}
    assert glibc_needed(Elf("x86_64", 64, Kind.SHARED, versions=frozen)) == expected


def test_a_version_that_may_be_absent_asks_for_nothing() -> None:
    weak = {"libc.so.6": frozenset({"GLIBC_2.38"})}
    assert glibc_needed(Elf("x86_64", 64, Kind.SHARED, weak_versions=weak)) is None


ELF_START = st.sampled_from([b"\x7fELF\x02\x01", b"\x7fELF\x01\x02", b"\x7fELF\x02\x02", b"\x7fELF", b""])


@settings(max_examples=150, deadline=500)
@given(ELF_START, st.binary(max_size=600))
def test_any_bytes_end_in_an_elf_nothing_or_the_one_error(
    tmp_path_factory: pytest.TempPathFactory, start: bytes, rest: bytes
) -> None:
    check(tmp_path_factory.getbasetemp() / "any", start + rest)


@settings(max_examples=150, deadline=500)
@given(st.data())
def test_any_damage_to_a_real_library_ends_so_too(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(SMALL.read_bytes())
    # Most of the headers' fields lie in the first bytes; the tables they point to, anywhere.
    places = st.one_of(st.integers(0, 1000), st.integers(0, len(content) - 1))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(places)] = data.draw(st.integers(0, 255))
    check(tmp_path_factory.getbasetemp() / "damaged", bytes(content))


def test_lists_that_point_into_each_other_end(tmp_path: Path) -> None:
    """Every entry names the next one a byte further on, and as many versions: 65,535 times 65,535."""
    path = tmp_path / "loop.so"
    path.write_bytes(endless())
    with pytest.raises(MalformedBundle, match="more than 65536 entries"):
        read_elf(path)


def endless() -> bytes:
    """A library whose version records are all 0x01 bytes: each of a large count, each with a next one."""
    import struct

    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0
    )
    size = 20_000_000
    load = struct.pack("<IIQQQQQQ", 1, 4, 0, 0, 0, size, size, 1)
    entries = [(5, 400), (10, 1000), (0x6FFFFFFE, 1000), (0x6FFFFFFF, 0xFFFFFFFF), (0, 0)]
    dynamic = b"".join(struct.pack("<QQ", *entry) for entry in entries)
    at = struct.pack("<IIQQQQQQ", 2, 4, 64 + 112, 0, 0, len(dynamic), len(dynamic), 1)
    record = struct.pack("<HHIII", 1, 0xFFFF, 8, 16, 16)
    body = header + load + at + dynamic
    return (body.ljust(400, b"\0") + b"libc.so.6\0").ljust(1000, b"\0") + record * 100_000


def check(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        found = read_elf(path)
    except MalformedBundle:
        return
    assert found is None or glibc_needed(found) is None or found.versions
