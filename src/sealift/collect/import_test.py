"""Chosen wheels -> does each module that the application asked for import, under the target's interpreter?

What installs cleanly may still crash when it is imported; better here than on the box.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

from sealift.collect.fetch import fetch_pins
from sealift.collect.lock import Collected, Locked
from sealift.collect.pip_download import CollectOptions
from sealift.collect.tags import glibc_floor
from sealift.collect.unpack import unpack_wheels
from sealift.collect.wheel import read_wheel
from sealift.errors import IncompatibleHost
from sealift.target.host import read_host
from sealift.target.interpreter import Interpreter, find_interpreter, own_base
from sealift.target.target import Target, version_key

ENGINES = frozenset({"onnxruntime", "onnxruntime-gpu", "openvino", "torch"})
"""What serves models: imported too, with the numpy that the application brought."""
_TIMEOUT_S = 180
_ASIDE = frozenset(
    {"test", "tests", "testing", "doc", "docs", "example", "examples", "benchmarks", "scripts"}
)
_IMPORTS = """
import importlib, json, sys
told = open(sys.argv[1], "a", buffering=1)
sys.path += json.loads(sys.argv[2])
for name in sys.argv[3:]:
    told.write(json.dumps([name, None]) + "\\n")
    try:
        importlib.import_module(name)
    except BaseException as error:
        text = str(error).strip().splitlines()
        told.write(json.dumps([name, f"{type(error).__name__}: {text[-1] if text else ''}"]) + "\\n")
    else:
        told.write(json.dumps([name, ""]) + "\\n")
"""


@dataclass(frozen=True, slots=True)
class Imports:
    """`failures`: `import MODULE (PACKAGE VERSION): LAST LINE`, which stop a release. `notes`: what was not tested and
    why, and libraries of the system that this machine lacks. `tested`: modules that were imported."""

    failures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    tested: tuple[str, ...] = ()


def interpreter_for(target: Target, filenames: Iterable[str]) -> Interpreter | str:
    """An interpreter here that can run these wheels of `target`, or a sentence that says why there is none.

    One of the system, on PATH, or of pyenv.
    """
    host = read_host()
    if host.platform != target.platform:
        return f"not import-tested: this machine is {host.platform}"
    floor = glibc_floor(filenames, target)
    if host.glibc is None or version_key(host.glibc) < version_key(floor):
        return f"not import-tested: the wheels need glibc {floor}, this machine has {host.glibc}"
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = sorted(str(path) for path in pyenv.glob(f"{target.python}.*/bin"))
    environ = {"PATH": os.pathsep.join([os.environ.get("PATH", os.defpath), *found])}
    try:
        here = replace(target, interpreter="system")
        return find_interpreter(here, environ=environ, own_base=own_base())
    except IncompatibleHost:
        return f"not import-tested: no Python {target.python} on this machine"


def try_locked(locked: Locked, target: Target, options: CollectOptions) -> Imports:
    """Fetch what was chosen, with sealift's own side, and import it from a temporary tree in `options.folder`.

    Raises: as `fetch_pins`; UsageError: wheels that collide.
    """
    filenames = [package.filename for package in locked.packages]
    interpreter = interpreter_for(target, filenames)
    if isinstance(interpreter, str):
        return Imports(notes=(interpreter,))
    with tempfile.TemporaryDirectory(dir=options.folder, prefix=".import-") as scratch:
        folder = Path(scratch)
        theirs = [package for package in locked.packages if package.path is None]
        paths = [package.path for package in locked.packages if package.path is not None]
        pins = [package.pin() for package in theirs]
        paths += fetch_pins(pins, target, options, folder / "theirs", locked.options)
        paths += fetch_pins(locked.own, target, options, folder / "own")
        options.progress.start("import what was asked for")
        runtime = [path for path in paths if read_wheel(path).wheel.name in locked.runtime]
        rest = [path for path in paths if path not in runtime]
        trees = [folder / "tree" / "runtime", folder / "tree" / "dependencies"]
        for wheels, tree in zip((runtime, rest), trees, strict=True):
            tree.mkdir(parents=True)
            unpack_wheels(wheels, tree)
        return _imported(_modules(paths, locked.asked), trees, interpreter.path)


def try_tree(collected: Collected, tree: Path, interpreter: Path) -> Imports:
    """Import from a release's own layers, which `write_layers` wrote below `tree`.

    Args:
        interpreter: one that runs the release here.
    """
    modules = _modules([wheel.path for wheel in collected.wheels], collected.asked)
    return _imported(modules, [tree / "runtime", tree / "dependencies"], interpreter)


def _modules(wheels: Sequence[Path], asked: frozenset[str]) -> dict[str, str]:
    """Module -> `PACKAGE VERSION`, of the packages that were asked for by name, and of engines."""
    found: dict[str, str] = {}
    for wheel in map(read_wheel, wheels):
        if wheel.wheel.name in asked | ENGINES:
            label = f"{wheel.wheel.name} {wheel.version}"
            found |= dict.fromkeys(top_modules(wheel.wheel.path), label)
    return dict(sorted(found.items()))


def top_modules(wheel: Path) -> tuple[str, ...]:
    """What `import` takes of a wheel: its modules and packages at the top, sorted.

    Of a namespace (a folder without `__init__.py`), what lies below it. Private ones only where there is nothing else.
    """
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if ".dist-info/" not in name and ".data/" not in name}
    found: set[str] = set()
    for name in files:
        *folders, file = name.split("/")
        if file == "__init__.py" and folders and not _is_below(folders, files):
            found.add(".".join(folders))
        elif not folders and (match := re.fullmatch(r"([A-Za-z_]\w*)(\.[\w-]+)*\.(py|so)", file)):
            found.add(match[1])
    named = {
        n for n in found if all(p.isidentifier() for p in n.split(".")) and not _ASIDE & set(n.split("."))
    }
    public = {n for n in named if not any(part.startswith("_") for part in n.split("."))}
    return tuple(sorted(public or named))


def _is_below(folders: Sequence[str], files: Set[str]) -> bool:
    """Claims that a folder above is a package itself."""
    above = ("/".join([*folders[:depth], "__init__.py"]) for depth in range(1, len(folders)))
    return any(name in files for name in above)


def _imported(modules: Mapping[str, str], trees: Sequence[Path], interpreter: Path) -> Imports:
    """Import all in one process, and the rest in another one where an import takes the process down."""
    failures: list[str] = []
    notes: list[str] = []
    left = list(modules)
    while left:
        told = _run(left, trees, interpreter)
        for module, said in told.items():
            if not said:
                continue
            sentence = f"import {module} ({modules[module]}): {said}"
            if library := re.search(r"(\S+): cannot open shared object file", said):
                notes.append(f"{sentence}; this machine lacks {library[1]}, the box must not")
            else:
                failures.append(sentence)
        left = [module for module in left if module not in told]
    return Imports(tuple(failures), tuple(notes), tuple(modules))


def _run(modules: Sequence[str], trees: Sequence[Path], interpreter: Path) -> dict[str, str]:
    """Module -> what went wrong, empty for nothing; those after one that ended the process are left out."""
    with tempfile.TemporaryDirectory(prefix="sealift-import-") as home:
        told = Path(home) / "told.jsonl"
        told.touch()
        command = [str(interpreter), "-I", "-S", "-B", "-c", _IMPORTS, str(told)]
        command += [json.dumps([str(tree) for tree in trees]), *modules]
        ended = _ended(command, home)
        lines = [json.loads(line) for line in told.read_text("utf-8").splitlines()]
    result = {name: said for name, said in lines if said is not None}
    begun = [name for name, said in lines if said is None] or list(modules[:1])
    if begun[-1] not in result:
        result[begun[-1]] = ended
    return result


def _ended(command: Sequence[str], home: str) -> str:
    """How the process ended, for the module that it was importing then."""
    environ = {"PATH": os.environ.get("PATH", os.defpath), "HOME": home}
    try:
        done = subprocess.run(
            command,
            cwd=home,
            env=environ,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"did not come to an end within {_TIMEOUT_S} s"
    except OSError as error:
        return f"{command[0]} does not start: {error.strerror}"
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    how = (
        f"was killed by signal {-done.returncode}" if done.returncode < 0 else f"ended with {done.returncode}"
    )
    return f"the interpreter {how}: {last}"
