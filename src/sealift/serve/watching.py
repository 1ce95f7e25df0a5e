"""The engineer's inner loop: switch to a new worker when the project's files change."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sealift.errors import SealiftError
from sealift.serve.supervisor import Supervisor

log = logging.getLogger("sealift.watch")
PERIOD_S: Final = 0.5
MAX_FILES: Final = 5000
_SKIPPED: Final = {"__pycache__", "node_modules", "venv", "env"}

Stamp = tuple[int, int]


class Watcher:
    """Polls size and modification time of a project's files; no daemon, no extra package."""

    def __init__(self, directory: Path, period_s: float = PERIOD_S) -> None:
        self._directory = directory
        self._period_s = period_s

    def stamps(self) -> dict[Path, Stamp]:
        """Every visible file below the project, at most 5,000 of them."""
        found: dict[Path, Stamp] = {}
        for path in self._files():
            try:
                info = path.stat()
            except OSError:
                continue
            found[path] = (info.st_mtime_ns, info.st_size)
            if len(found) >= MAX_FILES:
                break
        return found

    async def follow(self, supervisor: Supervisor) -> None:
        """Switch once the files have changed and then stood still for one period.

        A project that does not load keeps the old worker; what is wrong was said by the new one.
        """
        served = self.stamps()
        while True:
            await asyncio.sleep(self._period_s)
            now = self.stamps()
            if now == served:
                continue
            await asyncio.sleep(self._period_s)
            if self.stamps() != now:
                continue
            served = now
            try:
                await supervisor.reload()
                log.info("reloaded after a change")
            except SealiftError as error:
                log.error("%s; the old version serves on", error.message)

    def _files(self) -> Iterator[Path]:
        for base, folders, files in os.walk(self._directory):
            folders[:] = sorted(f for f in folders if not f.startswith(".") and f not in _SKIPPED)
            yield from (Path(base) / name for name in sorted(files) if not name.startswith("."))
