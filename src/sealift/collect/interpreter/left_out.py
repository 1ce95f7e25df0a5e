"""What of a CPython no service needs; each entry with its reason, all of them tested."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final


@dataclass(frozen=True, slots=True)
class LeftOut:
    """`pattern` is matched against the path below `lib/pythonX.Y`; `*` spans folders."""

    pattern: str
    reason: str


STDLIB: Final = (
    LeftOut("test/*", "CPython's own tests: 25 MB that nothing imports"),
    LeftOut("*/test/*", "tests of one package (ctypes, unittest, sqlite3)"),
    LeftOut("*/tests/*", "tests of one package (distutils, lib2to3, tkinter)"),
    LeftOut("*/idle_test/*", "tests of IDLE"),
    LeftOut("lib-dynload/_test*", "modules that only CPython's tests load"),
    LeftOut("lib-dynload/_ctypes_test*", "a module that only CPython's tests load"),
    LeftOut("lib-dynload/_xxtest*", "a module that only CPython's tests load"),
    LeftOut("lib-dynload/xx*", "examples for authors of extension modules"),
    LeftOut("__phello__/*", "an example of a frozen package"),
    LeftOut("__phello__.foo.py", "an example of a frozen package"),
    LeftOut("idlelib/*", "an editor with windows"),
    LeftOut("tkinter/*", "windows; a server has none, and Tk is 8 MB more"),
    LeftOut("lib-dynload/_tkinter*", "windows"),
    LeftOut("turtle.py", "draws in a window"),
    LeftOut("turtledemo/*", "draws in a window"),
    LeftOut(
        "lib-dynload/readline*",
        "editing at a prompt; GNU readline is GPL and would travel with every release",
    ),
    LeftOut("curses/*", "pages on a terminal; a service has none"),
    LeftOut("lib-dynload/_curses*", "pages on a terminal"),
    LeftOut(
        "lib-dynload/_dbm*", "Debian builds it with Berkeley DB (AGPL); shelve and dbm.dumb work without"
    ),
    LeftOut("lib-dynload/_gdbm*", "GNU dbm is GPL; shelve and dbm.dumb work without"),
    LeftOut("lib-dynload/nis*", "Sun's yellow pages, removed in 3.13; wants libnsl, libtirpc and Kerberos"),
    LeftOut("lib-dynload/_crypt*", "passwords of /etc/shadow, removed in 3.13; wants libcrypt"),
    LeftOut("crypt.py", "needs _crypt"),
    LeftOut("lib-dynload/ossaudiodev*", "sound devices, removed in 3.13"),
    LeftOut("ensurepip/*", "two wheels of pip and setuptools; nothing is installed by pip on the box"),
    LeftOut("venv/*", "makes virtual environments; needs ensurepip"),
    LeftOut("lib2to3/*", "rewrites Python 2, removed in 3.13"),
    LeftOut("pydoc_data/*", "the texts of `help('topics')`"),
    LeftOut("config-*", "the static library and Makefile for embedding CPython"),
    LeftOut("site-packages/*", "packages of the machine; a release runs its own only"),
    LeftOut("dist-packages/*", "packages of the machine; a release runs its own only"),
    LeftOut("sitecustomize.py", "what the machine does at start-up; a release is started with -S"),
    LeftOut("usercustomize.py", "what a user does at start-up; a release is started with -S"),
    LeftOut("*.pth", "what the machine does at start-up; a release is started with -S"),
    LeftOut("*.exe", "launchers for Windows"),
    LeftOut("*.bat", "scripts for Windows"),
    LeftOut("*.a", "a static library"),
    LeftOut("EXTERNALLY-MANAGED", "Debian's word to its own pip"),
    LeftOut("*/__pycache__/*", "compiled for another folder; sealift compiles anew"),
    LeftOut("__pycache__/*", "compiled for another folder; sealift compiles anew"),
)
"""Below `lib/pythonX.Y`. `bin` keeps the one interpreter, `lib` what it links to; `include` and `share` stay."""


def left_out(path: str) -> LeftOut | None:
    """The entry that keeps a file of the standard library (`idlelib/run.py`) at home, or None."""
    return next((entry for entry in STDLIB if fnmatchcase(path, entry.pattern)), None)
