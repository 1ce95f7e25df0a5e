"""One interpreter made of this machine's own CPython, and archives laid out as python-build-standalone's."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from sealift.collect.interpreter.bring import Brought, bring_interpreter
from sealift.events import Silent
from sealift.target.host import own_python, read_host
from sealift.target.target import Target


@dataclass(frozen=True, slots=True)
class Wish:
    """The fields of `[target]` that are read."""

    interpreter_archive: Path | str | None = None
    interpreter_sha256: str | None = None


def this_machine() -> Target:
    host = read_host()
    return Target(host.platform, own_python(), host.glibc or "2.28")


@pytest.fixture
def here() -> Target:
    return this_machine()


@pytest.fixture
def wish() -> type[Wish]:
    return Wish


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return brought(tmp_path_factory.mktemp("made") / "python")[0]


def brought(destination: Path) -> tuple[Path, Brought]:
    return destination, bring_interpreter(Wish(), this_machine(), destination, Silent())


def write_archive(
    path: Path,
    made: Path,
    *,
    root: str = "python",
    version: str,
    leave: str = "",
) -> Path:
    """`install_only` as the project lays it out: links, headers, pip and Tcl included."""
    python = own_python()
    folder = made / "lib" / f"python{python}"
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        tar.add(made / "bin" / f"python{python}", f"{root}/bin/python{python}")
        _link(tar, f"{root}/bin/python3", f"python{python}")
        _link(tar, f"{root}/bin/python", f"python{python}")
        for library in (path for path in sorted(made.glob("lib/*.so*")) if path.name != leave):
            tar.add(library, f"{root}/lib/{library.name}")
        tar.add(folder, f"{root}/lib/python{python}")
        _text(tar, f"{root}/lib/python{python}/site-packages/pip/__init__.py", "")
        _text(tar, f"{root}/lib/python{python}/idlelib/run.py", "")
        _text(tar, f"{root}/lib/tcl8.6/init.tcl", "")
        _text(tar, "python/licenses/LICENSE.openssl.txt", "Apache")
        _link(tar, f"{root}/lib/python{python}/also_this.py", "this.py")
        patchlevel = f'#define PY_VERSION "{version}"\n'
        _text(tar, f"{root}/include/python{python}/patchlevel.h", patchlevel)
    return path


def _link(tar: tarfile.TarFile, name: str, to: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, to
    tar.addfile(entry)


def _text(tar: tarfile.TarFile, name: str, text: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(text.encode())
    tar.addfile(entry, io.BytesIO(text.encode()))
