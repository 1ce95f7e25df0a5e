"""Logs for tests: a clock that stands still, and a few records."""

from __future__ import annotations

from pathlib import Path

from sealift.ledger.log import Fsync, append
from sealift.ledger.record import Event, Record

NOW = 1_795_403_520.9
TIME = "2026-11-23T03:12:00Z"


def add(path: Path, event: Event = Event.INSTALL, **facts: object) -> Record:
    """One record by alice."""
    return append(path, event, facts, who="alice", clock=lambda: NOW, policy=Fsync.NONE)


def written(path: Path, count: int) -> Path:
    """A log with `count` records."""
    events = (Event.PACK, Event.SIGN, Event.INSTALL)
    for number in range(count):
        add(path, events[number % 3], version=f"1.{number}", files=number, ok=True, layers=["a", "b"])
    return path
