"""Find the interpreter that a release runs on, and make it say what it is. Standard library only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sealift.errors import IncompatibleHost
from sealift.target.target import Target

SYSTEM_FOLDERS = (Path("/usr/bin"), Path("/usr/local/bin"))
# Parts that distributions split off (python3-minimal) or leave out of self-made builds.
NEEDED_MODULES = (
    "asyncio",
    "concurrent",
    "email",
    "json",
    "multiprocessing",
    "_ctypes",
    "_hashlib",
    "_ssl",
    "zlib",
)
_PROBE = """
import sys, os, json
from importlib.machinery import PathFinder
import importlib.util
libc = None
try:
    libc = os.confstr("CS_GNU_LIBC_VERSION")
except (ValueError, OSError):
    pass
print(json.dumps({
    "path": getattr(sys, "_base_executable", None) or sys.executable,
    "version": "%d.%d.%d" % sys.version_info[:3],
    "implementation": sys.implementation.name,
    "machine": os.uname().machine,
    "bits": 64 if sys.maxsize > 2**32 else 32,
    "glibc": libc.split()[-1] if libc and libc.startswith("glibc ") else None,
    "base_prefix": sys.base_prefix,
    "missing": [name for name in sys.argv[1:] if importlib.util.find_spec(name) is None],
}))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python that answered.

    `path` is the real interpreter, never one of a virtual environment; `version` is `3.11.7`;
    `glibc` is None for another C library; `missing` names standard modules it lacks.
    """

    path: Path
    version: str
    implementation: str
    machine: str
    glibc: str | None
    base_prefix: Path
    missing: tuple[str, ...] = ()

    @property
    def python(self) -> str:
        """`3.11`."""
        return ".".join(self.version.split(".")[:2])


class _NoAnswer(Exception):
    """The candidate did not run or did not answer; the text says why."""


def bundled_interpreter(tree: Path, python: str) -> Path:
    """Where a release that brings its interpreter has it; `python` is `3.11`.

    A bundle knows no links, so there is this one name and no `python3` beside it.
    """
    return tree / "runtime" / "python" / "bin" / f"python{python}"


def own_base() -> Path | None:
    """The interpreter under the running tool, outside any virtual environment.

    None where it came inside a release: it goes with that release, so no other may rely on it.
    """
    executable = getattr(sys, "_base_executable", None) or sys.executable
    if not executable or Path(executable).parts[-4:-1] == ("runtime", "python", "bin"):
        return None
    return Path(executable)


def find_interpreter(target: Target, *, environ: Mapping[str, str], own_base: Path | None) -> Interpreter:
    """The first interpreter that is what `target` asks for.

    For `system`: the running tool's own base interpreter, then `pythonX.Y` in /usr/bin, /usr/local/bin
    and the folders of `environ["PATH"]`. For a path: that one only. Not for `bundled`: the release's own is
    nowhere before the release is, see `bundled_interpreter`.

    Args:
        environ: only `PATH` is read, and is all that the candidates get to see.
        own_base: see `own_base()`; None leaves it out.
    Raises: IncompatibleHost: none fits; every candidate is listed with what is wrong with it.
    """
    problems: list[str] = []
    for candidate in _candidates(target, environ, own_base):
        try:
            found = probe(candidate, environ)
        except _NoAnswer as reason:
            problems.append(f"{candidate}: {reason}")
            continue
        unfit = misfits(target, found)
        if not unfit:
            return found
        problems += [f"{candidate}: {problem}" for problem in unfit]
    name = f"python{target.python}"
    wanted = name if target.interpreter == "system" else target.interpreter
    raise IncompatibleHost(
        f"No usable interpreter: this release needs {wanted} ({target.implementation}, {target.machine}).",
        next_step=f"install {name} with the system's package manager, or put it on PATH"
        if target.interpreter == "system"
        else f"install {name} at {target.interpreter}, or pack again with another [target] interpreter",
        problems=problems or [f"{name}: not in /usr/bin, /usr/local/bin or PATH"],
    )


def _candidates(target: Target, environ: Mapping[str, str], own_base: Path | None) -> Iterator[Path]:
    if target.interpreter != "system":
        yield Path(target.interpreter)
        return
    seen: set[Path] = set()
    folders = [
        *SYSTEM_FOLDERS,
        *(Path(p) for p in environ.get("PATH", "").split(os.pathsep) if p.startswith("/")),
    ]
    own = [own_base] if own_base is not None and _may_be(own_base, target, environ) else []
    for path in [*own, *(folder / f"python{target.python}" for folder in folders)]:
        if path not in seen and os.access(path, os.X_OK) and not path.is_dir():
            seen.add(path)
            yield path


def _may_be(own: Path, target: Target, environ: Mapping[str, str]) -> bool:
    """Claims that `own` could be the wanted X.Y: spares the operator a line about the tool's own Python."""
    try:
        return probe(own, environ).python == target.python
    except _NoAnswer:
        return False


def probe(path: Path, environ: Mapping[str, str]) -> Interpreter:
    """Run `path` and read what it says of itself.

    Raises: _NoAnswer: it does not run, or answers something else.
    """
    command = [str(path), "-I", "-S", "-c", _PROBE, *NEEDED_MODULES]
    try:
        # Nothing but PATH (wrapper scripts want it): a service has no LD_LIBRARY_PATH or PYTHONHOME of ours.
        lean = {"PATH": environ.get("PATH", os.defpath)}
        done = subprocess.run(command, env=lean, capture_output=True, text=True, timeout=20, check=True)
        answer = json.loads(done.stdout)
        return Interpreter(
            path=Path(answer["path"]),
            version=answer["version"],
            implementation=answer["implementation"],
            machine=answer["machine"] if answer["bits"] == 64 else f"{answer['machine']} (32 bit)",
            glibc=answer["glibc"],
            base_prefix=Path(answer["base_prefix"]),
            missing=tuple(answer["missing"]),
        )
    except FileNotFoundError:
        raise _NoAnswer("there is no such file") from None
    except OSError as error:
        raise _NoAnswer(f"does not start: {error.strerror}") from error
    except subprocess.TimeoutExpired:
        raise _NoAnswer("did not answer within 20 s") from None
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        raise _NoAnswer(f"ended with {error.returncode}: {last}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise _NoAnswer("did not answer as a Python interpreter does") from error


def misfits(target: Target, found: Interpreter) -> tuple[str, ...]:
    """What `found` lacks for `target`, one sentence each."""
    pairs = (
        ("Python", target.python, found.python),
        ("implementation", target.implementation, found.implementation),
        ("processor", target.machine, found.machine),
    )
    problems = [f"{what}: expected {wanted}, found {got}" for what, wanted, got in pairs if wanted != got]
    if found.missing:
        problems.append(
            f"standard library: lacks {', '.join(found.missing)}; install the full python package"
        )
    return tuple(problems)
