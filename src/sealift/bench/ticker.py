"""A clock that wakes an event loop to within some ten microseconds: the loop's own timers have a millisecond.

Linux `timerfd` (man timerfd_create), by way of ctypes; the standard library has it from Python 3.13.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
from collections.abc import Callable
from types import TracebackType
from typing import Final

_CLOCK_MONOTONIC: Final = 1
_NS: Final = 1_000_000_000


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _Timers(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("first", _Timespec))


class Ticker:
    """Calls `on_tick` every `period_s` seconds, the first time at once, in the running loop. Raises: OSError."""

    def __init__(self, period_s: float, on_tick: Callable[[], None]) -> None:
        self._period_s = period_s
        self._on_tick = on_tick
        self._descriptor = -1

    def __enter__(self) -> Ticker:
        libc = ctypes.CDLL(None, use_errno=True)
        descriptor = libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._descriptor = descriptor
        whole, rest = divmod(max(1, round(self._period_s * _NS)), _NS)
        wanted = _Timers(_Timespec(whole, rest), _Timespec(0, 1))
        if libc.timerfd_settime(descriptor, 0, ctypes.byref(wanted), None):
            raise OSError(ctypes.get_errno(), "timerfd_settime")
        asyncio.get_running_loop().add_reader(descriptor, self._tick)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)

    def _tick(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._descriptor, 8)
            self._on_tick()
