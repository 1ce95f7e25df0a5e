"""CUDA's libraries came as wheels -> in this process, before the engine asks the loader for them by name.

The loader does not look into `nvidia/*/lib` of a layer, and a release sets no LD_LIBRARY_PATH. A library that is
loaded already is found by its name (dlopen(3), DT_SONAME), whatever folder it came from. onnxruntime has a
function of its own for this from 1.21 on; it looks beside itself only, and the layers lie apart.
"""

from __future__ import annotations

import ctypes
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from sealift.errors import MalformedBundle
from sealift.target.elf import read_elf

log = logging.getLogger(__name__)

_OPENED_BY_NAME: Final = {"libcudnn.so": ("libcudnn_", "libnvrtc.so", "libnvrtc-builtins.so")}
"""Needed library -> the beginnings of what it opens itself, without naming it in its header."""


def load_from_wheels(
    engine: Iterable[Path],
    folders: Iterable[str] | None = None,
    load: Callable[[str], Any] = ctypes.CDLL,
) -> tuple[Path, ...]:
    """Load what the engine's own shared objects need, as far as wheels brought it; dependencies go first.

    Args:
        engine: shared objects that the engine will open; one that is not there needs nothing.
        folders: where packages are; None: `sys.path`. Of two libraries of one name the first is taken.
        load: opens a shared library or raises OSError with the loader's own words.
    Returns: what was loaded, in this order. What could not be is logged: the engine's own error names it.
    """
    carried = _carried(sys.path if folders is None else folders)
    if not carried:
        return ()
    loaded = []
    for path in _in_order(engine, carried):
        try:
            load(str(path))
        except OSError as error:
            log.warning("%s came with the release and does not load: %s", path, error)
            continue
        loaded.append(path)
    return tuple(loaded)


def _carried(folders: Iterable[str]) -> dict[str, Path]:
    """Libraries by file name: `nvidia/cublas/lib` of the wheels for CUDA 11 and 12, `nvidia/cu13/lib` of newer ones."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(Path(folder).glob("nvidia/*/lib/lib*.so*")) if folder else ():
            found.setdefault(path.name, path)
    return found


def _in_order(engine: Iterable[Path], carried: Mapping[str, Path]) -> Iterator[Path]:
    """Every carried library that is needed, each after those that it needs itself."""
    seen: set[str] = set()

    def visit(names: Iterable[str]) -> Iterator[Path]:
        for name in names:
            if name in carried and name not in seen:
                seen.add(name)
                yield from visit(_needed(carried[name]))
                yield carried[name]
                yield from visit(_opened_by(name, carried))

    for path in engine:
        yield from visit(_needed(path))


def _needed(path: Path) -> tuple[str, ...]:
    try:
        elf = read_elf(path)
    except (OSError, MalformedBundle) as error:
        log.debug("%s: %s", path, error)
        return ()
    return elf.needed if elf is not None else ()


def _opened_by(name: str, carried: Mapping[str, Path]) -> list[str]:
    starts = next((starts for key, starts in _OPENED_BY_NAME.items() if name.startswith(key)), ())
    return [other for other in carried if other.startswith(tuple(starts))]
