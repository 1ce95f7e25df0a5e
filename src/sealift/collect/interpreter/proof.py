"""A made interpreter is started before it travels, where this machine can start it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Final

from sealift.errors import UsageError
from sealift.target.host import read_host
from sealift.target.target import Target, version_key

WORKS: Final = (
    "asyncio",
    "bz2",
    "ctypes",
    "datetime",
    "decimal",
    "email",
    "hashlib",
    "http.client",
    "json",
    "logging.handlers",
    "lzma",
    "mmap",
    "multiprocessing.shared_memory",
    "resource",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "tomllib",
    "unittest",
    "uuid",
    "xml.etree.ElementTree",
    "zipfile",
    "zlib",
    "zoneinfo",
)
"""Imported by the made interpreter itself: what sealift and applications lean on, every library behind it."""
_SCRIPT = """
import importlib, json, sys
failed = {}
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ImportError as error:
        failed[name] = str(error)
print(json.dumps({"failed": failed, "prefix": sys.prefix, "version": sys.version.split()[0]}))
"""


def prove(made: Path, version: str, target: Target, floor: str) -> tuple[str, ...]:
    """Start it with nothing in its environment, and import what services lean on.

    Returns: a sentence where it cannot be started on this machine.
    Raises: UsageError: it does not start, or lacks modules; all are named.
    """
    host = read_host()
    if host.platform != target.platform or host.glibc is None or version_key(floor) > version_key(host.glibc):
        return (f"the bundled interpreter was not started here: it is for {target.platform}, glibc {floor}",)
    program = made / "bin" / f"python{target.python}"
    command = [str(program), "-I", "-S", "-B", "-c", _SCRIPT, *WORKS]
    done = subprocess.run(command, env={}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
        raise UsageError(f"The bundled interpreter does not start: {last}", next_step=_ANOTHER)
    answer = json.loads(done.stdout)
    problems = [f"{name}: {reason}" for name, reason in answer["failed"].items()]
    if Path(answer["prefix"]) != made:
        problems.append(f"it looks for its standard library in {answer['prefix']}")
    if answer["version"] != version:
        problems.append(f"it says that it is Python {answer['version']}, expected {version}")
    if problems:
        raise UsageError(
            "The bundled interpreter lacks what services need.", next_step=_ANOTHER, problems=problems
        )
    return ()


_ANOTHER: Final = "name a python-build-standalone archive in [target] interpreter_archive, or another Python"
