"""What a caller may watch."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called from one thread, in order, as work goes on."""

    def __call__(self, message: str, done: int, total: int) -> None:
        """`message` is one short line; `done` of `total` steps, or `total` 0 when it is not known."""
        ...


def silent(message: str, done: int, total: int) -> None:
    """A Progress that shows nothing."""
