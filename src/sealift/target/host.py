"""Host: the facts of this machine. Standard library only."""

from __future__ import annotations

import ctypes
import os
import platform
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
_SAME_MACHINE = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True, slots=True)
class Host:
    """`platform` is like `linux-x86_64`; `glibc` is None where the C library is another one (musl);
    `kernel` is what `uname -r` prints; `cpu` holds the flags that all processors share, sorted."""

    platform: str
    glibc: str | None
    kernel: str
    cpu: tuple[str, ...]


def read_host(cpuinfo: Path = CPUINFO) -> Host:
    """Read this machine; an unreadable `cpuinfo` means no known flags."""
    system = os.uname()
    machine = _SAME_MACHINE.get(system.machine.lower(), system.machine.lower())
    return Host(f"{system.sysname.lower()}-{machine}", glibc_version(), system.release, _cpu_flags(cpuinfo))


def glibc_version() -> str | None:
    """The C library of the running interpreter, e.g. `2.36`; None if it is not glibc."""
    try:
        name = os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):
        name = None
    if name and name.startswith("glibc "):
        return name.removeprefix("glibc ").strip()
    return _glibc_from_symbol()


def _glibc_from_symbol() -> str | None:
    try:
        version = ctypes.CDLL(None).gnu_get_libc_version
    except (OSError, AttributeError):
        return None
    version.restype = ctypes.c_char_p
    found: bytes = version()
    return found.decode("ascii")


def _cpu_flags(cpuinfo: Path) -> tuple[str, ...]:
    """The flags of every processor; x86 calls the line `flags`, Arm `Features`."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    shared: set[str] | None = None
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            flags = set(value.split())
            shared = flags if shared is None else shared & flags
    return tuple(sorted(shared or ()))


def own_python() -> str:
    """`X.Y` of the running interpreter."""
    return ".".join(platform.python_version_tuple()[:2])
