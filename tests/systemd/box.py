"""A box of the bank's: a machine on which sealift is installed and run as an operator would."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from tests.systemd.machine import Machine, Said, until

SERVICE, SOCKET = "sealift@fraud.service", "sealift@fraud.socket"
PORT = 8000
CARRIED = (  # the tool as it comes on the medium; later calls use the prefix's own
    "env", "PYTHONPATH=/tool/src:/tool/packages", "PYTHONDONTWRITEBYTECODE=1",
    "/usr/bin/python3.11", "-m", "sealift",
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What a client of the service got."""

    status: int
    release: str
    body: Any


@dataclass(frozen=True)
class Box:
    """`fraud` on port 8000 of its loopback."""

    machine: Machine

    def install(self, version: str, *options: str) -> Said:
        """Install from the medium."""
        return self.machine.run(*CARRIED, "install", f"/media/{version}", *options, "--no-input")

    def start_install(self, version: str, *options: str) -> subprocess.Popen[str]:
        """The same, not waited for."""
        return self.machine.start(*CARRIED, "install", f"/media/{version}", *options, "--no-input")

    def sealift(self, *words: str, ok: bool = True) -> Said:
        """The prefix's own command."""
        return self.machine.run("/opt/sealift/bin/sealift", *words, "--no-input", ok=ok)

    def status(self) -> dict[str, Any]:
        """What `sealift status --json` says of `fraud`, whatever its exit status."""
        answer: dict[str, Any] = json.loads(self.sealift("status", "--json", ok=False).out)
        found: dict[str, Any] = answer["services"][0]
        return found

    def predict(self, timeout_s: float = 60) -> Answer:
        """One inference on a connection of its own."""
        body = {"inputs": {"x": [[1.0, 2.0, 3.0]]}}
        status, headers, answer = self.machine.ask(PORT, "/predict", body, timeout_s)
        return Answer(status, headers.get("X-Sealift-Release", ""), answer)

    def serves(self) -> Answer:
        """The first answer, however long the machine needs to come up. Raises: AssertionError: none in 60 s."""

        def answered() -> Answer | None:
            try:
                answer = self.predict()
            except OSError:
                return None
            return answer if answer.status == 200 else None

        found: Answer = until(answered, 60, "the service answers")
        return found

    def unit(self, unit: str, key: str) -> str:
        """A property of a unit."""
        return self.machine.run("systemctl", "show", "--property", key, "--value", unit).out.strip()
