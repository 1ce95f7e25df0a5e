"""A bundled interpreter runs in another folder, on a system that has nothing but the C library."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sealift.collect.interpreter.bring import bring_interpreter
from sealift.collect.interpreter.installed import source_of
from sealift.collect.interpreter.libraries import OF_THE_SYSTEM
from sealift.errors import IncompatibleHost, UsageError
from sealift.events import Silent
from sealift.target.elf import glibc_needed, read_elf
from sealift.target.host import own_python, read_host
from sealift.target.interpreter import probe
from sealift.target.target import Target, version_key

pytestmark = pytest.mark.slow

PYTHON = own_python()
SCRIPT = """
import asyncio, bz2, ctypes, hashlib, json, lzma, multiprocessing, os, sqlite3, ssl, sys, uuid, zlib, zoneinfo
import multiprocessing.shared_memory
print(json.dumps({
    "sqlite": sqlite3.connect(":memory:").execute("select 6 * 7").fetchone()[0],
    "lzma": lzma.decompress(lzma.compress(b"x" * 99)) == b"x" * 99,
    "bz2": bz2.decompress(bz2.compress(b"x" * 99)) == b"x" * 99,
    "sha3": hashlib.sha3_256(b"a").hexdigest() == hashlib.new("sha3-256", b"a").hexdigest(),
    "ctypes": ctypes.CDLL(None).getpid() == os.getpid(),
    "tls": ssl.create_default_context().minimum_version.name,
    "loop": asyncio.run(asyncio.sleep(0, "ran")),
    "version": sys.version.split()[0],
    "prefix": sys.prefix,
    "path": sys.path,
}))
"""


@pytest.fixture
def elsewhere(made: Path, tmp_path: Path) -> Path:
    """The made interpreter in another folder."""
    shutil.copytree(made, tmp_path / "another" / "place")
    return tmp_path / "another" / "place"


def in_an_empty_root(root: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `program` with `root` as its whole file system: no network, no environment.

    /proc is there, as on every system: the loader takes $ORIGIN from it.
    """
    inside = 'mount -t proc proc "$1/proc" && root="$1" && shift && exec chroot "$root" "$@"'
    command = ["unshare", "--map-root-user", "--mount", "--pid", "--net", "--fork", "sh", "-c", inside, "sh"]
    return subprocess.run(
        [*command, str(root), program, *arguments],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )


def root_with_glibc_only(root: Path) -> Path:
    """The loader and the C library's own parts of this machine, and nothing else."""
    (root / "proc").mkdir(parents=True)
    maps = Path("/proc/self/maps").read_text()
    libc = re.search(r"(/\S*)/libc\.so\.6$", maps, re.MULTILINE)
    program = read_elf(Path(sys.executable).resolve())
    assert libc is not None
    assert program is not None
    assert program.interpreter is not None
    parts = sorted(OF_THE_SYSTEM - {"libstdc++.so.6", "libgcc_s.so.1"})
    places = [Path(libc[1]) / name for name in parts] + [Path(program.interpreter)]
    for place in places:
        if place.is_file():
            (root / str(place)[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(place, root / str(place)[1:])
            (root / str(place)[1:]).chmod(0o755)
    return root


def test_it_works_in_a_root_that_has_glibc_and_no_libssl(made: Path, tmp_path: Path) -> None:
    root = root_with_glibc_only(tmp_path / "root")
    if in_an_empty_root(Path("/"), "/bin/true").returncode != 0:
        pytest.skip("this machine lets nobody make a root of its own (unshare)")
    shutil.copytree(made, root / "opt" / "some where" / "python")
    program = f"/opt/some where/python/bin/python{PYTHON}"
    done = in_an_empty_root(root, program, "-I", "-S", "-B", "-c", SCRIPT)
    assert done.stderr == ""
    said = json.loads(done.stdout)
    assert said["sqlite"] == 42
    assert [said[name] for name in ("lzma", "bz2", "sha3", "ctypes")] == [True] * 4
    assert said["tls"] == "TLSv1_2"
    assert said["loop"] == "ran"
    assert said["version"] == sys.version.split()[0]
    assert said["prefix"] == "/opt/some where/python"
    assert all(folder.startswith("/opt/some where/python/lib/") for folder in said["path"])


def test_no_file_names_a_folder_of_the_machine_that_made_it(made: Path) -> None:
    source = source_of(probe(Path(sys._base_executable), {}))  # type: ignore[attr-defined]
    if not source.built_for:
        pytest.skip("this machine's Python was built for /usr")
    for path in (path for path in made.rglob("*") if path.is_file()):
        data = path.read_bytes()
        assert not [folder for folder in source.built_for if folder.encode() in data], path


def test_each_object_finds_beside_itself_what_the_system_lacks(made: Path) -> None:
    beside = {path.name for path in (made / "lib").iterdir() if path.is_file()}
    objects = 0
    for path in (path for path in made.rglob("*") if path.is_file()):
        elf = read_elf(path)
        if elf is None:
            continue
        objects += 1
        ours = set(elf.needed) - OF_THE_SYSTEM
        assert ours <= beside, path
        paths = (*elf.rpath, *elf.runpath)
        assert all(folder.startswith("$ORIGIN") for folder in paths), path
        if ours:
            folders = [(path.parent / folder.removeprefix("$ORIGIN/")).resolve() for folder in paths]
            assert made / "lib" in folders or paths == ("$ORIGIN",), path
    assert objects > 40
    assert {"libssl.so.3", "libsqlite3.so.0", "libffi.so.8"} <= beside


def test_links_do_not_travel_and_modes_are_those_of_a_bundle(made: Path) -> None:
    for path in made.rglob("*"):
        assert not path.is_symlink()
        if path.is_file():
            assert path.stat().st_mode & 0o777 == (0o755 if path.parent.name == "bin" else 0o644)
    assert [path.name for path in (made / "bin").iterdir()] == [f"python{PYTHON}"]
    assert not list(made.rglob("__pycache__"))
    assert not (made / "include").exists()


def test_the_same_bytes_in_another_temporary_folder(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: Target, wish: Any
) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "other"))
    monkeypatch.setattr("tempfile.tempdir", None)
    again = tmp_path / "again"
    result = bring_interpreter(wish(), here, again, Silent())
    assert digests(again) == digests(made)
    assert list((tmp_path / "other").iterdir()) == []
    floors = {glibc_needed(elf) for path in again.rglob("*") if path.is_file() and (elf := read_elf(path))}
    assert result.glibc == max((floor for floor in floors if floor), key=version_key)
    assert result.version == sys.version.split()[0]


def digests(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


IMPORT_EVERYTHING = """
import importlib, json, pathlib, sys
root = pathlib.Path(sys.prefix, "lib", "python" + sys.argv[1])
names = {".".join(p.relative_to(root).with_suffix("").parts).removesuffix(".__init__") for p in root.rglob("*.py")}
names |= {p.name.partition(".")[0] for p in (root / "lib-dynload").iterdir()}
failed = {}
for name in sorted(names):
    if name.rpartition(".")[2] in ("__main__", "antigravity", "this") or "-" in name:
        continue
    try:
        importlib.import_module(name)
    except Exception as error:
        failed[name] = f"{type(error).__name__}: {error}"
print(json.dumps(failed))
"""
OF_OTHER_SYSTEMS = re.compile(
    r"'(winreg|_winreg|msvcrt|_msi|_winapi|_overlapped|_scproxy)'|mbcs|oem|win32 only|Windows"
)


def test_every_module_that_travels_imports_but_for_those_of_other_systems(elsewhere: Path) -> None:
    program = elsewhere / "bin" / f"python{PYTHON}"
    command = [str(program), "-I", "-S", "-B", "-W", "ignore", "-c", IMPORT_EVERYTHING, PYTHON]
    done = subprocess.run(command, env={}, capture_output=True, text=True, check=True)
    failed = json.loads(done.stdout.splitlines()[-1])
    ours = {name for name, reason in failed.items() if not OF_OTHER_SYSTEMS.search(reason)}
    assert ours <= {"dbm.gnu", "dbm.ndbm"}  # `dbm` tries them and takes another


def test_sealift_itself_starts_on_it_from_a_tree(elsewhere: Path) -> None:
    program = elsewhere / "bin" / f"python{PYTHON}"
    packages = Path(__file__).parents[3] / "src"
    script = f"import sys; sys.path.append({str(packages)!r}); import sealift.errors, sealift.target.elf"
    done = subprocess.run([str(program), "-I", "-S", "-B", "-c", script], env={}, check=False)
    assert done.returncode == 0


def test_the_licences_of_what_was_gathered_travel(made: Path) -> None:
    texts = [path.name for path in (made / "licences").glob("*.txt")] if shutil.which("dpkg-query") else []
    if not texts:
        pytest.skip("this machine's packages are not Debian's")
    assert {"zlib1g.txt", "libssl3.txt"} <= set(texts)
    assert "OpenSSL" in (made / "licences" / "libssl3.txt").read_text()
    assert (
        "PYTHON SOFTWARE FOUNDATION LICENSE" in (made / "lib" / f"python{PYTHON}" / "LICENSE.txt").read_text()
    )


def test_an_older_c_library_is_refused_with_the_way_out(tmp_path: Path, here: Target, wish: Any) -> None:
    old = replace(here, glibc="2.17")
    with pytest.raises(UsageError) as caught:
        bring_interpreter(wish(), old, tmp_path / "python", Silent())
    assert f"CPython {sys.version.split()[0]} of the packing machine needs glibc 2." in caught.value.message
    assert caught.value.message.endswith("the target has 2.17.")
    assert "python-build-standalone run from glibc 2.17" in (caught.value.next_step or "")
    assert any(
        re.fullmatch(rf"bin/python{PYTHON} needs glibc 2\.\d+", text) for text in caught.value.problems
    )
    assert list(tmp_path.iterdir()) == []


def test_another_processor_needs_an_archive(tmp_path: Path, here: Target, wish: Any) -> None:
    other = "linux-aarch64" if read_host().platform == "linux-x86_64" else "linux-x86_64"
    with pytest.raises(UsageError, match="cannot be made from one of this machine") as caught:
        bring_interpreter(wish(), replace(here, platform=other), tmp_path / "python", Silent())
    assert "interpreter_archive" in (caught.value.next_step or "")
    assert list(tmp_path.iterdir()) == []


def test_a_python_that_is_not_here_is_named(
    tmp_path: Path, here: Target, wish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    absent = next(
        p for p in ("3.13", "3.12", "3.11") if p != PYTHON and not shutil.which(f"python{p}", path="/usr/bin")
    )
    with pytest.raises(IncompatibleHost, match=f"No CPython {re.escape(absent)} on this machine") as caught:
        bring_interpreter(wish(), replace(here, python=absent), tmp_path / "python", Silent())
    assert "interpreter_archive" in (caught.value.next_step or "")
    assert list(tmp_path.iterdir()) == []
