"""What long work tells whoever watches; the doors draw it, the rooms below only report."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """One bar at a time; calls come from one thread."""

    def start(self, title: str, total: int | None = None) -> None:
        """A new step begins; `total` in the step's own unit (bytes, files), None when unknown."""
        ...

    def advance(self, amount: int = 1) -> None:
        """So much more is done."""
        ...

    def note(self, text: str) -> None:
        """One sentence a person should see."""
        ...


class Silent:
    """Watches nothing."""

    def start(self, title: str, total: int | None = None) -> None:
        """As `Progress.start`."""

    def advance(self, amount: int = 1) -> None:
        """As `Progress.advance`."""

    def note(self, text: str) -> None:
        """As `Progress.note`."""
