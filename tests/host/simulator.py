"""A systemd that keeps its state in a few sets and can be told to refuse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sealift.host.systemd import Completed, Systemd


@dataclass
class SimulatedSystemd:
    """What was asked of it, in order, and what it would refuse: argv prefix -> its complaint."""

    root: Path
    enabled: set[str] = field(default_factory=set)
    active: set[str] = field(default_factory=set)
    refuses: dict[tuple[str, ...], str] = field(default_factory=dict)
    journal: str = ""
    asked: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def systemd(self) -> Systemd:
        """It, as `host` sees it."""
        return Systemd(self.root, self.run)

    @property
    def changes(self) -> list[str]:
        """The commands that are no mere questions."""
        questions = ("--quiet", "--unit")
        return [" ".join(argv) for argv in self.asked if not argv[1].startswith(questions)]

    def run(self, argv: Sequence[str]) -> Completed:
        """Do as systemctl does."""
        words = tuple(argv)
        self.asked.append(words)
        for prefix, complaint in self.refuses.items():
            if words[: len(prefix)] == prefix:
                return Completed(1, err=f"{complaint}\n")
        if words[0] == "journalctl":
            return Completed(0, out=self.journal)
        if words[0] == "systemctl":
            return Completed(0 if self._does(words[1:]) else 1)
        return Completed(0)

    def _does(self, words: tuple[str, ...]) -> bool:
        verb, units = words[0], set(words[1:]) - {"--now"}
        if verb == "--quiet":
            asked_for = self.active if words[1] == "is-active" else self.enabled
            return words[2] in asked_for
        if verb == "enable":
            self.enabled |= units
        elif verb == "start":
            self.active |= units
        elif verb in ("stop", "disable"):
            self.active -= units
        if verb == "disable":
            self.enabled -= units
        return True
