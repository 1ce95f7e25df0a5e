"""What others do on this machine while something is measured; the figures are quoted with it."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sealift.optimize.machine import this_machine

FOREIGN_CORES: Final = 0.25
"""More than this used by others: not a quiet moment."""
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass
class Surroundings:
    """Cores that others used in the span, on average, and the load average at its end."""

    foreign: float = 0.0
    load: float = 0.0

    def as_json(self) -> dict[str, float]:
        return {"foreign_cores": round(self.foreign, 2), "load": round(self.load, 2)}


@contextlib.contextmanager
def surroundings() -> Iterator[Surroundings]:
    """Filled in at the end of the span; this process and its ended children do not count as others."""
    found = Surroundings()
    before, began = _spent(), time.perf_counter()
    yield found
    after, took = _spent(), time.perf_counter() - began
    busy, own = (now - then for now, then in zip(after, before, strict=True))
    found.foreign, found.load = max(0.0, busy - own) / took, os.getloadavg()[0]


def wait_quiet(limit_s: float) -> None:
    """Wait for two seconds in which others leave the machine alone, but no longer than the limit."""
    end = time.perf_counter() + limit_s
    while time.perf_counter() < end:
        with surroundings() as found:
            time.sleep(2)
        if found.foreign < FOREIGN_CORES:
            return


def description() -> dict[str, Any]:
    """This machine in words, for the page that quotes the figures."""
    machine = this_machine()
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": machine.cpu,
        "cores": machine.cores,
        "features": list(machine.features),
        "int8": machine.int8,
        "engines": machine.engines,
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _spent() -> tuple[float, float]:
    """CPU seconds so far of everybody, and of this process with its ended children."""
    fields = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    own = os.times()
    busy = sum(fields) - fields[3] - fields[4] - fields[7]
    return busy / _TICKS, own.user + own.system + own.children_user + own.children_system
