"""Devices as a release declares them, tried strictly in order; and why one cannot be used here.

Nothing is imported and no device is opened unless one was refused: then the driver, its files and the
engine's libraries are tried one after the other, and the first that fails is named.
"""

from __future__ import annotations

import ctypes
import logging
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from sealift.errors import ModelError

log = logging.getLogger(__name__)

Opened = TypeVar("Opened")

_CUDA_ERRORS: Final = {
    3: "the driver is not initialised",
    34: "only the stub of the driver's library is here, not the driver",
    35: "the driver is older than its library",
    46: "the device is held exclusively by another process",
    100: "no CUDA device is visible to this process",
    101: "there is no device of this number",
    803: "the driver's library and the kernel module are of different versions",
    804: "forward compatibility was asked for on a device that does not support it",
    999: "the driver gives no reason; dmesg may",
}
"""cuda.h, CUresult."""


@dataclass(frozen=True, slots=True)
class Device:
    """`cuda:1` is number 1 of the family `cuda`. `text`: as it was declared."""

    text: str
    family: str
    number: int


class Refused(Exception):
    """A device cannot be used; the text says what is missing."""


def parse_device(text: str) -> Device:
    """A device as a project declares it."""
    family, _, number = text.partition(":")
    return Device(text, family, int(number) if number.isdecimal() else 0)


def first_usable(name: str, wanted: Sequence[str], open_on: Callable[[Device], Opened]) -> tuple[Opened, str]:
    """What `open_on` gives for the first device that it does not refuse.

    Args:
        name: the model's, for messages.
        open_on: opens the model on a device; raises `Refused`.
    Returns: what was opened, and why it is not on the first device ('' when it is).
    Raises: ModelError: every device is refused; and whatever else `open_on` raises.
    """
    refused: list[str] = []
    for text in wanted:
        try:
            found = open_on(parse_device(text))
        except Refused as reason:
            refused.append(f"{text} cannot be used: {reason}")
            continue
        degraded = "; ".join(refused)
        if degraded:
            log.warning("%s: runs on %s, degraded: %s", name, text, degraded)
        return found, degraded
    raise ModelError(
        f"{name}: device {', '.join(wanted)}: {'; '.join(refused)}",
        next_step='mend what is named, or permit another device: device = ["cuda", "cpu"]',
        problems=refused if len(refused) > 1 else (),
    )


def nvidia_problem(
    number: int,
    libraries: Iterable[Path] = (),
    *,
    devices: Path = Path("/dev"),
    load: Callable[[str], Any] = ctypes.CDLL,
) -> str:
    """What keeps this process from its NVIDIA device `number`; '' when nothing was found.

    Args:
        libraries: what the engine loads for it, in this order.
        devices: where device files are.
        load: opens a shared library or raises OSError with the loader's own words.
    """
    return _device_files(number, devices) or _driver(number, load) or _missing_library(libraries, load)


def _device_files(number: int, devices: Path) -> str:
    """Source: NVIDIA's driver README, "Device nodes": every CUDA process opens these."""
    for name in ("nvidiactl", f"nvidia{number}", "nvidia-uvm"):
        path = devices / name
        if not path.exists():
            return _missing_file(path, number, devices)
        if not os.access(path, os.R_OK | os.W_OK):
            return f"no permission on {path}: {_owner(path)}"
    return ""


def _missing_file(path: Path, number: int, devices: Path) -> str:
    cards = sorted(card.name for card in devices.glob("nvidia[0-9]*"))
    if path.name == f"nvidia{number}" and cards:
        return f"{path} is not there: device number {number} was asked for, here are {', '.join(cards)}"
    if path.name == "nvidia-uvm":
        return f"{path} is not there: the kernel module nvidia-uvm is not loaded (nvidia-modprobe -u -c 0)"
    return f"{path} is not there: no NVIDIA driver is loaded, or the device is kept from this process"


def _owner(path: Path) -> str:
    found = path.stat()
    mode = stat.S_IMODE(found.st_mode)
    return (
        f"it is of user {found.st_uid} and group {found.st_gid} with mode {mode:04o}, "
        f"this process is of user {os.geteuid()} and groups {', '.join(map(str, sorted(os.getgroups())))}"
    )


def _driver(number: int, load: Callable[[str], Any]) -> str:
    try:
        driver = load("libcuda.so.1")
    except OSError as error:
        return f"the driver's library cannot be loaded: {error}"
    problem: int = driver.cuInit(0)
    if problem:
        return f"the driver refuses (cuInit: {problem}): {_CUDA_ERRORS.get(problem, 'see CUresult')}"
    count = ctypes.c_int(0)
    driver.cuDeviceGetCount(ctypes.byref(count))
    if number >= count.value:
        return f"device number {number} was asked for, the driver has {count.value} (from 0)"
    return ""


def _missing_library(libraries: Iterable[Path], load: Callable[[str], Any]) -> str:
    for path in libraries:
        try:
            load(str(path))
        except OSError as error:
            return f"a library is missing: {error}"
    return ""
