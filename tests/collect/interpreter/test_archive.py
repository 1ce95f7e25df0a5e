"""An archive becomes files and nothing else: what is hostile or of another system is refused by name."""

from __future__ import annotations

import gzip
import io
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zstandard
from tests.collect.interpreter.conftest import write_archive

from sealift.collect.interpreter.archive import processor_note, unpacked_archive
from sealift.collect.interpreter.bring import bring_interpreter
from sealift.collect.wheel import sha256_of
from sealift.errors import DigestMismatch, UsageError
from sealift.events import Silent
from sealift.target.host import own_python
from sealift.target.target import Target

PYTHON = own_python()
Add = Callable[[tarfile.TarFile], None]


def entry(name: str, kind: bytes = tarfile.REGTYPE, to: str = "", data: bytes = b"") -> Add:
    def add(tar: tarfile.TarFile) -> None:
        item = tarfile.TarInfo(name)
        item.type, item.linkname, item.size = kind, to, len(data)
        tar.addfile(item, io.BytesIO(data))

    return add


def small(
    path: Path, *more: Add, version: str = f"{PYTHON}.9", python: str = PYTHON, root: str = "python"
) -> Path:
    """Laid out as an archive, with files of a few bytes."""
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name, data in (
            (f"{root}/bin/python{python}", b"\x7fELF program"),
            (f"{root}/lib/python{python}/os.py", b"name = 'posix'\n"),
            (f"{root}/include/python{python}/patchlevel.h", f'#define PY_VERSION "{version}+"\n'.encode()),
        ):
            entry(name, data=data)(tar)
        for add in more:
            add(tar)
    return path


def unpack(path: Path, tmp_path: Path) -> Any:
    (tmp_path / "in").mkdir()
    return unpacked_archive(path, PYTHON, tmp_path / "in", Silent())


def test_the_parts_and_the_version_are_found_and_links_become_files(tmp_path: Path) -> None:
    more = (
        entry("python/bin/python3", tarfile.SYMTYPE, f"python{PYTHON}"),
        entry(f"python/lib/python{PYTHON}/again.py", tarfile.SYMTYPE, "os.py"),
        entry(f"python/lib/python{PYTHON}/third.py", tarfile.LNKTYPE, f"python/lib/python{PYTHON}/again.py"),
        entry("python/share/man/python.1", data=b"x" * 99),
    )
    source = unpack(small(tmp_path / "a.tar.gz", *more), tmp_path)
    assert source.version == f"{PYTHON}.9"
    assert source.label == "a.tar.gz"
    assert not source.borrows
    assert source.executable.read_bytes() == b"\x7fELF program"
    for name in ("again.py", "third.py"):
        assert (source.stdlib / name).read_text() == "name = 'posix'\n"
    assert not [path for path in (tmp_path / "in").rglob("*") if path.is_symlink()]
    assert not (tmp_path / "in" / "python" / "share").exists()


@pytest.mark.parametrize(
    ("add", "said"),
    [
        (entry("python/lib/../../../evil", data=b"x"), "leaves its folder"),
        (entry("/etc/passwd", data=b"x"), "leaves its folder"),
        (entry("python/lib/out", tarfile.SYMTYPE, "../../../etc/passwd"), "a link that leaves the archive"),
        (entry("python/lib/out", tarfile.SYMTYPE, "/etc/passwd"), "a link that leaves the archive"),
        (entry("python/lib/out", tarfile.LNKTYPE, "../etc/passwd"), "a link that leaves the archive"),
        (entry("python/lib/dev", tarfile.CHRTYPE), "a device or another special file"),
        (entry("python/lib/pipe", tarfile.FIFOTYPE), "a device or another special file"),
    ],
)
def test_what_is_not_safe_is_refused_by_name(tmp_path: Path, add: Add, said: str) -> None:
    with pytest.raises(UsageError, match="is not safe to unpack") as caught:
        unpack(small(tmp_path / "a.tar.gz", add), tmp_path)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].endswith(said)
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar.gz", "in"}


def test_all_that_is_not_safe_is_named_at_once(tmp_path: Path) -> None:
    adds = (entry("../a", data=b"x"), entry("python/lib/b", tarfile.BLKTYPE))
    with pytest.raises(UsageError) as caught:
        unpack(small(tmp_path / "a.tar.gz", *adds), tmp_path)
    assert len(caught.value.problems) == 2


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    adds = (entry("python/lib/a", tarfile.SYMTYPE, "b"), entry("python/lib/b", tarfile.SYMTYPE, "a"))
    with pytest.raises(UsageError, match="is not safe") as caught:
        unpack(small(tmp_path / "a.tar.gz", *adds), tmp_path)
    assert caught.value.problems == ("'python/lib/a': a link in a circle",)


def test_the_same_name_twice_is_refused(tmp_path: Path) -> None:
    again = entry(f"python/lib/python{PYTHON}/os.py", data=b"other")
    with pytest.raises(UsageError, match="cannot be unpacked"):
        unpack(small(tmp_path / "a.tar.gz", again), tmp_path)


@pytest.mark.parametrize("part", [0.3, 0.9])
def test_one_that_is_cut_off_is_refused_with_what_to_take(tmp_path: Path, part: float) -> None:
    whole = small(tmp_path / "a.tar.gz", entry("python/lib/x", data=bytes(range(256)) * 4096))
    data = whole.read_bytes()
    whole.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(UsageError, match=r"a\.tar\.gz cannot be unpacked") as caught:
        unpack(whole, tmp_path)
    assert "install_only.tar.gz of python-build-standalone, whole" in (caught.value.next_step or "")


def test_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(b"no archive"))
    with pytest.raises(UsageError, match="cannot be unpacked"):
        unpack(tmp_path / "a.tar.gz", tmp_path)
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        entry("readme.txt", data=b"x")(tar)
    with pytest.raises(UsageError, match="is no python-build-standalone archive"):
        unpacked_archive(tmp_path / "b.tar", PYTHON, tmp_path / "in", Silent())


def test_another_python_is_refused(tmp_path: Path) -> None:
    archive = small(tmp_path / "a.tar.gz", version="3.9.18", python="3.9")
    with pytest.raises(UsageError, match=rf"another Python: expected {PYTHON}, found 3\.9\.18"):
        unpack(archive, tmp_path)


def test_one_for_newer_processors_says_so() -> None:
    name = "cpython-3.11.9+20240726-x86_64_v3-unknown-linux-gnu-install_only.tar.gz"
    assert processor_note(name) == f"{name} runs only on processors with x86-64-v3"
    assert processor_note(name.replace("_v3", "")) is None


def test_one_for_another_processor_is_refused(tmp_path: Path, here: Target, wish: Any) -> None:
    program = bytearray(b"\x7fELF\x02\x01\x01".ljust(64, b"\0"))
    program[16:20] = (2).to_bytes(2, "little") + (183).to_bytes(2, "little")
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        entry(f"python/bin/python{PYTHON}", data=bytes(program))(tar)
        entry(f"python/lib/python{PYTHON}/os.py")(tar)
        entry("python/include/python3/patchlevel.h", data=f'#define PY_VERSION "{PYTHON}.1"\n'.encode())(tar)
    other = replace(here, platform="linux-x86_64")
    with pytest.raises(UsageError, match="expected x86_64 with glibc, found aarch64") as caught:
        bring_interpreter(wish(archive), other, tmp_path / "python", Silent())
    assert caught.value.next_step == "take the archive for x86_64-unknown-linux-gnu"
    assert list(tmp_path.iterdir()) == [archive]


def test_a_digest_that_does_not_agree_ends_it(tmp_path: Path, here: Target, wish: Any) -> None:
    archive = small(tmp_path / "a.tar.gz")
    with pytest.raises(DigestMismatch, match=rf"expected sha256 {'0' * 64}, found {sha256_of(archive)}"):
        bring_interpreter(wish(archive, "0" * 64), here, tmp_path / "python", Silent())
    assert list(tmp_path.iterdir()) == [archive]


@pytest.mark.parametrize("root", ["python", "python/install"])
def test_both_forms_are_read(tmp_path: Path, root: str) -> None:
    plain = small(tmp_path / "a.tar.gz", root=root)
    packed = tmp_path / "b.tar.zst"
    packed.write_bytes(zstandard.ZstdCompressor(level=1).compress(gzip.decompress(plain.read_bytes())))
    source = unpack(packed, tmp_path)
    assert source.executable == tmp_path / "in" / root / "bin" / f"python{PYTHON}"
    assert source.stdlib.parent in source.libraries


@pytest.mark.slow
def test_an_archive_becomes_an_interpreter_that_runs(
    tmp_path: Path, made: Path, here: Target, wish: Any
) -> None:
    archive = write_archive(tmp_path / "a.tar.gz", made, root="python", version=version_of(made))
    python = tmp_path / "python"
    brought = bring_interpreter(wish(archive.as_uri(), sha256_of(archive)), here, python, Silent())
    assert brought.source == archive.name
    assert brought.version == version_of(made)
    there = {path.relative_to(python).as_posix() for path in python.rglob("*") if path.is_file()}
    before = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()}
    before = {name for name in before if not name.startswith("licences/")}
    assert there == before | {f"lib/python{PYTHON}/also_this.py", "licences/LICENSE.openssl.txt"}
    assert (python / "bin" / f"python{PYTHON}").read_bytes() == (
        made / "bin" / f"python{PYTHON}"
    ).read_bytes()


def version_of(made: Path) -> str:
    command = [
        str(made / "bin" / f"python{PYTHON}"),
        "-I",
        "-S",
        "-B",
        "-c",
        "import sys; print(sys.version.split()[0])",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True, env={}).stdout.strip()


@pytest.mark.slow
def test_one_that_lacks_a_library_takes_none_of_this_machine(
    tmp_path: Path, made: Path, here: Target, wish: Any
) -> None:
    archive = write_archive(tmp_path / "a.tar.gz", made, leave="libssl.so.3", version=version_of(made))
    with pytest.raises(UsageError, match="lacks libraries that it needs") as caught:
        bring_interpreter(wish(archive), here, tmp_path / "python", Silent())
    assert [text for text in caught.value.problems if text.startswith("libssl.so.3: needed by _ssl")]
    assert not (tmp_path / "python").exists()
