"""Host: the facts of this machine. Standard library only."""

from __future__ import annotations

import ctypes
import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
DRIVER = Path("/proc/driver/nvidia/version")
# "NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.57.02  Tue Jul 13 ...", and with the open module
# "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  575.57.08  Release Build ...".
_DRIVER_LINE = re.compile(r"^NVRM version:.*?\s(\d{2,}\.\d+(?:\.\d+)*)\s", re.MULTILINE)
_SAME_MACHINE = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True, slots=True)
class Host:
    """`platform` is like `linux-x86_64`; `glibc` is None where the C library is another one (musl);
    `kernel` is what `uname -r` prints; `cpu` holds the flags that all processors share, sorted; `driver` is
    the version of the NVIDIA driver that is loaded, None where none is."""

    platform: str
    glibc: str | None
    kernel: str
    cpu: tuple[str, ...]
    driver: str | None = None


def read_host(cpuinfo: Path = CPUINFO, driver: Path = DRIVER) -> Host:
    """Read this machine; an unreadable `cpuinfo` means no known flags, an unreadable `driver` that there is none."""
    system = os.uname()
    machine = _SAME_MACHINE.get(system.machine.lower(), system.machine.lower())
    return Host(
        f"{system.sysname.lower()}-{machine}",
        glibc_version(),
        system.release,
        _cpu_flags(cpuinfo),
        driver_version(driver),
    )


def driver_version(path: Path = DRIVER) -> str | None:
    """The version of the loaded NVIDIA kernel driver, `470.57.02`; None where none is loaded or it says no version."""
    try:
        found = _DRIVER_LINE.search(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return found[1] if found else None


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
