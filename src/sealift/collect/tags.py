"""Target -> the wheel tags and marker values that hold on it."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable

from packaging.tags import Tag, compatible_tags, cpython_tags

from sealift.target.target import Target, version_key

# PEP 600: the older names of three levels of the C library.
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_OLDEST = {"x86_64": 5, "aarch64": 17}
_GLIBC_OF_NAME = {name: (2, minor) for minor, name in _LEGACY.items()}


def platforms_of(target: Target) -> tuple[str, ...]:
    """Every platform tag that runs on `target`, a local build first, then the newest C library."""
    newest = version_key(target.glibc)[1]
    names: list[str] = []
    for minor in range(newest, _OLDEST[target.machine] - 1, -1):
        names.append(f"manylinux_2_{minor}_{target.machine}")
        if minor in _LEGACY:
            names.append(f"{_LEGACY[minor]}_{target.machine}")
    return (f"linux_{target.machine}", *names)


def abi_of(target: Target) -> str:
    """`cp311`."""
    return "cp" + target.python.replace(".", "")


def tags_of(target: Target) -> tuple[Tag, ...]:
    """The wheel tags that `target` takes, best first, as pip's own resolver ranks them."""
    version, abi, platforms = version_key(target.python), abi_of(target), platforms_of(target)
    return (
        *cpython_tags(version, [abi], platforms),
        *compatible_tags(version, abi, platforms),
    )


def markers_of(target: Target) -> dict[str, str]:
    """The values of PEP 508 environment markers on `target`."""
    own = platform.python_version()
    full = own if own.startswith(target.python + ".") else f"{target.python}.0"
    return {
        "implementation_name": "cpython",
        "implementation_version": full,
        "os_name": "posix",
        "platform_machine": target.machine,
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": full,
        "platform_python_implementation": "CPython",
        "python_version": target.python,
        "sys_platform": "linux",
    }


def glibc_floor(filenames: Iterable[str], target: Target) -> str:
    """The oldest C library on which all these wheels run: what a release may honestly ask for.

    A wheel with several tags needs only the lowest of them. Returns "2.17" where none names more.
    """
    floor = (2, 17)
    for filename in filenames:
        levels = [level for part in filename[:-4].split("-")[-1].split(".") if (level := _level(part))]
        floor = max(floor, min(levels, default=floor))
    return ".".join(str(part) for part in min(floor, version_key(target.glibc)))


def _level(platform_tag: str) -> tuple[int, int] | None:
    if match := re.fullmatch(r"manylinux_(\d+)_(\d+)_\w+", platform_tag):
        return int(match[1]), int(match[2])
    return _GLIBC_OF_NAME.get(platform_tag.partition("_")[0])
