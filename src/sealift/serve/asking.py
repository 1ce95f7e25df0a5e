"""Ask a care without holding up the event loop. Standard library only."""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401 - asyncio.to_thread loads it late, from a tree that may be gone
import logging
from collections.abc import Callable
from typing import Final, TypeVar

from sealift.errors import SealiftError, StoreError

log = logging.getLogger("sealift.supervisor")

Result = TypeVar("Result")

_FOREIGN: Final = (Exception,)
"""What a care may raise: whatever it is, the service goes on."""


class Asking:
    """One call at a time, each on a thread.

    Args:
        on_failure: told the message of what `calmly` has swallowed.
    """

    def __init__(self, on_failure: Callable[[str], None]) -> None:
        self._on_failure = on_failure
        self._one = asyncio.Lock()

    async def ask(self, call: Callable[[], Result]) -> Result:
        """The call's result. Raises: SealiftError, also for what is a bug in it."""
        async with self._one:
            try:
                return await asyncio.to_thread(call)
            except SealiftError:
                raise
            except _FOREIGN as error:
                log.critical("a bug: %r", error, exc_info=error)
                raise StoreError(f"a bug: {error!r}") from error

    async def calmly(self, call: Callable[[], Result]) -> Result | None:
        """As `ask`; None after an error: that the service goes on is worth more."""
        try:
            return await self.ask(call)
        except SealiftError as error:
            self._on_failure(error.message)
            return None
