"""Locked wheels -> `pylock.toml` (PEP 751), the same bytes each time."""

from __future__ import annotations

from collections.abc import Iterable

from sealift.collect.found import Found
from sealift.collect.lock import Locked
from sealift.target.target import Target

PYLOCK = "pylock.toml"


def write_pylock(locked: Locked, target: Target) -> str:
    """The text of a lock for exactly this target: no markers, one wheel for each package, no index.

    A wheel is named as a file (`path`), which every index and folder has under the same name; only one that the
    project itself gives by its address keeps that. `[tool.sealift]` says what it was resolved for, and which of the
    packages belong to sealift's own box side.

    Source: PEP 751; https://packaging.python.org/en/latest/specifications/pylock-toml/
    """
    lines = [
        'lock-version = "1.0"',
        f"environments = [{_text(_environment(target))}]",
        f"requires-python = {_text(f'=={target.python}.*')}",
        'created-by = "sealift"',
    ]
    lines += [] if locked.packages else ["packages = []"]
    for package in locked.packages:
        lines += ["", "[[packages]]", f"name = {_text(package.name)}", f"version = {_text(package.version)}"]
        where = f"url = {_text(package.url)}" if package.url else f"path = {_text(package.filename)}"
        lines.append(f"wheels = [{{{where}, hashes = {{sha256 = {_text(package.sha256)}}}}}]")
    return "\n".join([*lines, "", *_own_table(locked, target)]) + "\n"


def _environment(target: Target) -> str:
    return (
        f"sys_platform == 'linux' and platform_machine == '{target.machine}' "
        f"and implementation_name == '{target.implementation}' and python_version == '{target.python}'"
    )


def _own_table(locked: Locked, target: Target) -> list[str]:
    names = [package.name for package in locked.packages]
    runtime = [name for name in names if name in locked.runtime]
    addressed = [package.name for package in locked.packages if package.url]
    lines = ["[tool.sealift]"]
    lines += ["unchecked = true"] if locked.unchecked else []
    lines += [f"addressed = {_texts(addressed)}"] if addressed else []
    lines += ["", "[tool.sealift.target]", f"platform = {_text(target.platform)}"]
    lines += [f"python = {_text(target.python)}", f"glibc = {_text(target.glibc)}"]
    lines += [f"cuda = {_text(target.cuda)}"] if target.cuda else []
    lines += ["", "[tool.sealift.layers]", f"runtime = {_texts(runtime)}"]
    return [*lines, f"dependencies = {_texts([name for name in names if name not in locked.runtime])}"]


def _texts(values: Iterable[str]) -> str:
    return f"[{', '.join(map(_text, values))}]"


def _text(value: str) -> str:
    """A basic string of TOML; what stands here (names, versions, digests, addresses) has no control characters."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def size_of(packages: Iterable[Found]) -> int | None:
    """Bytes of all these wheels; None where an index has not stated one."""
    sizes = [package.size for package in packages]
    return None if any(size is None for size in sizes) else sum(size or 0 for size in sizes)
