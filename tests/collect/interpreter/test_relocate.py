"""What a copied interpreter says of the machine that it came from, and what becomes of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sealift.collect.interpreter.lean import without_debug_symbols
from sealift.collect.interpreter.left_out import STDLIB, left_out
from sealift.collect.interpreter.libraries import gather
from sealift.collect.interpreter.relocate import (
    clean_build_values,
    forget_folders,
    patchelf_program,
    set_search_paths,
)
from sealift.collect.interpreter.source import Source
from sealift.errors import UsageError
from sealift.target.elf import read_elf
from sealift.target.host import read_host

HOME = "/home/someone/.pyenv/versions/3.11.7"


def test_folders_are_replaced_in_place_and_the_tail_stays() -> None:
    data = f"\0{HOME}\0{HOME}/lib\0-L{HOME}/lib -I{HOME}/include\0rest".encode()
    new = forget_folders(data, [HOME])
    assert len(new) == len(data)
    assert b"someone" not in new
    assert new.endswith(b"/3.11.7/include\0rest")
    # A linker may have let "3.11.7" begin inside of the longer text.
    assert new[data.index(b"3.11.7\0") :][:7] == b"3.11.7\0"
    assert new.startswith(b"\0/install/////")


def test_a_short_folder_is_replaced_as_well_and_one_without_a_head_stays() -> None:
    assert forget_folders(b"\0/opt/py311\0", ["/opt/py311"]) == b"\0/////py311\0"[:1] + b"////" + b"/py311\0"
    assert forget_folders(b"\0/py311\0", ["/py311"]) == b"\0/py311\0"
    assert forget_folders(b"data", []) == b"data"


def test_build_values_keep_what_is_asked_at_run_time_and_lose_the_folders() -> None:
    text = (
        "# system configuration\n"
        f"build_time_vars = {{'EXT_SUFFIX': '.cpython-311-x86_64-linux-gnu.so', 'LIBDIR': '{HOME}/lib',\n"
        f"  'LDFLAGS': '-L{HOME}/lib -Wl,-rpath,{HOME}/lib', 'SHELL': '/bin/sh', 'Py_DEBUG': 0,\n"
        "  'VPATH': '/tmp/build.77/Python', 'CONFIG': \"'--prefix=/tmp/build.77'\", 'CC': 'gcc -I/srv/inc'}\n"
    )
    cleaned = clean_build_values(text, [HOME])
    values: dict[str, object] = {}
    exec(cleaned, values)
    assert values["build_time_vars"] == {
        "EXT_SUFFIX": ".cpython-311-x86_64-linux-gnu.so",
        "LDFLAGS": "-L/install/lib -Wl,-rpath,/install/lib",
        "LIBDIR": "/install/lib",
        "Py_DEBUG": 0,
        "SHELL": "/bin/sh",
    }
    assert clean_build_values(text, [HOME]) == cleaned


@pytest.mark.parametrize("text", ["", "build_time_vars = open('x')\n", "a = 1\nb = 2\n", "a b"])
def test_build_values_of_another_form_are_not_guessed_at(text: str) -> None:
    with pytest.raises(UsageError, match="is not what CPython writes"):
        clean_build_values(text, [HOME])


def extension() -> Path:
    """A shared object of this Python."""
    import _ssl

    return Path(_ssl.__file__)


def test_debug_symbols_go_and_the_loader_sees_the_same(tmp_path: Path) -> None:
    data = extension().read_bytes()
    lean = without_debug_symbols(data)
    (tmp_path / "lean.so").write_bytes(lean)
    assert len(lean) <= len(data)
    assert b".debug_info" not in lean
    assert b".symtab" not in lean
    assert read_elf(tmp_path / "lean.so") == read_elf(extension())
    assert without_debug_symbols(lean) == lean
    command = [sys.executable, "-c", LOAD, str(tmp_path / "lean.so")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.startswith("OpenSSL")


LOAD = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("_ssl", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(module.OPENSSL_VERSION)
"""


def test_what_is_no_elf_file_or_is_cut_off_stays_as_it_is() -> None:
    data = extension().read_bytes()
    for part in (b"", b"text", b"\x7fELF\x02\x01", data[:64], data[:1000], data[: len(data) // 2]):
        assert without_debug_symbols(part) == part


def test_search_paths_are_relative_or_gone(tmp_path: Path) -> None:
    folder = tmp_path / "lib" / "python3.11" / "lib-dynload"
    folder.mkdir(parents=True)
    (tmp_path / "lib" / "libssl.so.3").write_bytes(b"stands for the library")
    needs, needs_none = folder / "_ssl.so", folder / "_bisect.so"
    shutil.copyfile(extension(), needs)
    shutil.copyfile(needs, needs_none)
    set_search_paths(tmp_path, [needs], tmp_path / "lib")
    (tmp_path / "lib" / "libssl.so.3").unlink()
    subprocess.run([patchelf_program(), "--set-rpath", HOME, needs_none], check=True)
    set_search_paths(tmp_path, [needs_none], tmp_path / "lib")
    with_path, without = read_elf(needs), read_elf(needs_none)
    assert with_path is not None
    assert without is not None
    assert with_path.runpath == ("$ORIGIN/../../../lib",)
    assert (*without.rpath, *without.runpath) == ()
    again = needs.read_bytes()
    (tmp_path / "lib" / "libssl.so.3").write_bytes(b"stands for the library")
    set_search_paths(tmp_path, [needs], tmp_path / "lib")
    assert needs.read_bytes() == again


def test_libraries_are_gathered_with_what_they_need_and_what_is_missing_is_named(tmp_path: Path) -> None:
    source = Source("a", "3.11.0", "lib", extension(), tmp_path, tmp_path, borrows=True)
    machine = read_host().platform.partition("-")[2]
    found, problems = gather([extension()], source, machine)
    assert problems == ()
    assert {"libssl.so.3", "libcrypto.so.3"} <= found.keys()
    assert not found.keys() & {"libc.so.6", "libm.so.6"}
    alone = Source("a", "3.11.0", "lib", extension(), tmp_path, tmp_path)
    copied = shutil.copy(extension(), tmp_path / "_ssl.so")
    subprocess.run([patchelf_program(), "--remove-rpath", copied], check=True)
    found, problems = gather([Path(copied)], alone, machine)
    assert not found
    assert "libssl.so.3: needed by _ssl.so, found nowhere" in problems
    assert gather([extension()], source, "aarch64" if machine == "x86_64" else "x86_64")[0] == {}


def test_a_library_that_is_asked_for_by_its_place_is_found_there(tmp_path: Path) -> None:
    """As python-build-standalone links its program."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "lib").mkdir()
    program = Path(shutil.copy(extension(), tmp_path / "bin" / "program"))
    library = Path(shutil.copy(extension(), tmp_path / "lib" / "libssl.so.3"))
    for path in (program, library):
        subprocess.run([patchelf_program(), "--remove-rpath", path], check=True)
    to = "$ORIGIN/../lib/libssl.so.3"
    subprocess.run([patchelf_program(), "--replace-needed", "libssl.so.3", to, program], check=True)
    source = Source("a", "3.11.0", "lib", program, tmp_path, tmp_path, borrows=False)
    found, _ = gather([program], source, read_host().platform.partition("-")[2])
    assert found["libssl.so.3"] == library


def test_what_is_left_out_has_a_reason_and_what_services_import_is_not() -> None:
    assert all(entry.reason for entry in STDLIB)
    assert len({entry.pattern for entry in STDLIB}) == len(STDLIB)
    for path in (
        "os.py", "asyncio/events.py", "unittest/mock.py", "doctest.py", "lib-dynload/_ssl.so",
        "lib-dynload/_sqlite3.so", "lib-dynload/_ctypes.cpython-311-x86_64-linux-gnu.so", "distutils/version.py",
        "zoneinfo/_tzpath.py", "LICENSE.txt", "encodings/utf_8.py", "dbm/dumb.py", "sysconfig.py",
    ):  # fmt: skip
        assert left_out(path) is None, path
    for path in (
        "test/test_os.py", "ctypes/test/test_x.py", "distutils/tests/x.py", "idlelib/run.py", "tkinter/__init__.py",
        "lib-dynload/_tkinter.cpython-311-x86_64-linux-gnu.so", "lib-dynload/_testcapi.so", "lib-dynload/xxlimited.so",
        "lib-dynload/readline.so", "ensurepip/_bundled/pip.whl", "site-packages/x/y.py", "dist-packages/x.py",
        "__pycache__/os.cpython-311.pyc", "json/__pycache__/x.pyc", "config-3.11-x86_64-linux-gnu/Makefile",
        "pydoc_data/topics.py", "lib2to3/pgen2/x.py", "sitecustomize.py", "lib-dynload/_dbm.so", "turtle.py",
    ):  # fmt: skip
        assert left_out(path) is not None, path
