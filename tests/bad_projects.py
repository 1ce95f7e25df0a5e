"""Projects that pack without a complaint and must not get into traffic on a box, each for one reason.

Loaded by path as `tests.bad_projects`. Every maker writes a whole project of the service `fraud` into a folder of
its own below `folder` and returns it; `BAD` names them with what the check on the box must say. They know the box by
where their handler lies: below `releases/`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from onnx import TensorProto, numpy_helper
from tests.models_zoo import info, model, node, save

PAYLOAD: Final = '{"amount": 12.5}'
HANDLER: Final = "def preprocess(body):\n    return [body['amount'], 1.0, 2.0]\n"
ON_BOX: Final = "import os, signal, time\nON_BOX = '/releases/' in __file__\n"
LIMIT_MB: Final = 260


def write_project(
    folder: Path,
    version: str,
    *,
    handler: str = HANDLER,
    model_keys: str = "",
    more: str = "",
    width: int = 3,
) -> Path:
    """A net that doubles its inputs, with a handler in front and one golden input."""
    net = model(
        [node("Mul", ["x", "w"], ["y"])],
        [info("x", TensorProto.FLOAT, ["batch", width])],
        [info("y", TensorProto.FLOAT, ["batch", width])],
        [numpy_helper.from_array(np.array([2.0], np.float32), "w")],
    )
    save(net, folder)
    (folder / "handler.py").write_text(handler)
    (folder / "golden").mkdir(exist_ok=True)
    (folder / "golden" / "one.json").write_text(PAYLOAD)
    (folder / "sealift.toml").write_text(
        f'[project]\nname = "fraud"\nversion = "{version}"\n[model]\npath = "net.onnx"\n{model_keys}'
        f'[handler]\nmodule = "handler.py"\n[checks]\ngolden = "golden"\n{more}'
    )
    return folder


def good(folder: Path, version: str = "1.0") -> Path:
    """Nothing is wrong with it; its handler prints, which must not stand in the report's way."""
    return write_project(folder / "good", version, handler=f"print('hello from the handler')\n{HANDLER}")


def golden_mismatch(folder: Path, version: str = "2.0") -> Path:
    """Its handler answers otherwise on the box (another locale, host name, library...)."""
    handler = f"{ON_BOX}{HANDLER}".replace("body['amount']", "body['amount'] + ON_BOX")
    return write_project(folder / "golden_mismatch", version, handler=handler)


def wrong_device(folder: Path, version: str = "2.0") -> Path:
    """It must run on a GPU unless this box says otherwise, and the box has none."""
    device = '[settings]\ndevice = { choices = ["cpu", "cuda"], default = ["cuda"] }\n'
    return write_project(folder / "wrong_device", version, more=device)


def over_memory(folder: Path, version: str = "2.0", held_mb: int = 190) -> Path:
    """It holds more memory than it promised: a little, so that the check can still say how much."""
    handler = f"HELD = bytearray({held_mb}_000_000)\n{HANDLER}"
    return write_project(
        folder / f"over_memory_{held_mb}",
        version,
        handler=handler,
        more=f"[limits]\nmax_memory_mb = {LIMIT_MB}\n",
    )


def far_over_memory(folder: Path, version: str = "2.0") -> Path:
    """So much that the check has to be ended from outside."""
    return over_memory(folder, version, held_mb=1500)


def over_p99(folder: Path, version: str = "2.0") -> Path:
    """It answers slower than it promised."""
    handler = f"import time\n{HANDLER}".replace("    return", "    time.sleep(0.02)\n    return")
    return write_project(folder / "over_p99", version, handler=handler, more="[slo]\nlatency_p99_ms = 5\n")


def crash_at_start(folder: Path, version: str = "2.0") -> Path:
    """A library in it crashes on the box's processor."""
    handler = f"{ON_BOX}if ON_BOX:\n    os.kill(os.getpid(), signal.SIGSEGV)\n{HANDLER}"
    return write_project(folder / "crash_at_start", version, handler=handler)


def import_error(folder: Path, version: str = "2.0") -> Path:
    """A shared library that the packing machine had is not on the box."""
    handler = (
        f"{ON_BOX}if ON_BOX:\n    raise ImportError('libGL.so.1: cannot open shared object file')\n{HANDLER}"
    )
    return write_project(folder / "import_error", version, handler=handler)


def dies_as_worker(folder: Path, version: str = "2.0") -> Path:
    """Checks out, and no worker of it ever gets ready: the switch must not happen."""
    handler = f"{ON_BOX}import sys\nif '_worker' in sys.argv:\n    os._exit(3)\n{HANDLER}"
    return write_project(folder / "dies_as_worker", version, handler=handler)


@dataclass(frozen=True)
class Bad:
    """`says`: what the check's findings must contain, a regular expression."""

    make: Callable[[Path], Path]
    says: str


_MS = r"\d+\.\d\d ms"

BAD: Final = {
    "golden_mismatch": Bad(
        golden_mismatch,
        r"golden inputs of fraud: golden input one\.json: output y: differs by 2, tolerance 0\.\d+",
    ),
    "wrong_device": Bad(
        wrong_device,
        r"model fraud: model\.onnx: device cuda: cuda cannot be used: .*; next: mend what is named, or permit another "
        r"device: .*",
    ),
    "over_memory": Bad(
        over_memory,
        rf"memory: expected at most {LIMIT_MB} MB \(limits\.max_memory_mb\), found (2\d\d|3[0-2]\d) MB at the peak; .*",
    ),
    "far_over_memory": Bad(
        far_over_memory,
        rf"check process: took more than \d+ MB of memory, permitted are {LIMIT_MB}: it was ended: .*",
    ),
    "over_p99": Bad(
        over_p99,
        rf"latency of fraud: expected a p99 of at most 5 ms \(slo\.latency_p99_ms\), found (p99|at most) {_MS} .*, "
        rf"then (p99|at most) {_MS} .*; give it more threads, .*",
    ),
    "crash_at_start": Bad(crash_at_start, r"check process: ended by SIGSEGV: .*"),
    "import_error": Bad(
        import_error,
        r"model fraud: handler \S+ does not load: ImportError: libGL\.so\.1: cannot open shared object file .*",
    ),
}  # fmt: skip


def problem_of(name: str, problems: tuple[str, ...]) -> str:
    """The one problem of a bad project. Raises: AssertionError: another one, or several."""
    assert len(problems) == 1, problems
    assert re.fullmatch(BAD[name].says, problems[0], re.DOTALL), problems[0]
    return problems[0]
