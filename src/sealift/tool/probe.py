"""The tool that is active now, asked through the prefix's own command as a person would."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sealift.store.prefix import Prefix

TIMEOUT_S: Final = 60.0
_STATUS_CODES: Final = (0, 50, 51)
"""What `sealift status` ends with where it works: all serve, one does not, one does so degraded."""
_PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"
_LAST: Final = 3
_LONGEST: Final = 300


@dataclass(frozen=True, slots=True)
class Probe:
    """`served`: the services whose supervisors answered before the switch."""

    prefix: Prefix
    version: str
    served: tuple[str, ...]

    def ask(self) -> tuple[str, ...]:
        """What does not hold, a sentence each; empty where the new command works on this box."""
        return (*self._version(), *self._status())

    def _version(self) -> tuple[str, ...]:
        code, out, said = self._run("--version")
        if code != 0 or out.strip() != f"sealift {self.version}":
            return (
                f"--version: expected sealift {self.version}, found {out.strip() or said!r} (code {code})",
            )
        return ()

    def _status(self) -> tuple[str, ...]:
        code, out, said = self._run("status", "--json", "--no-input", "--prefix", str(self.prefix.root))
        if code not in _STATUS_CODES:
            return (f"status: ended with {code}: {said}",)
        try:
            answers = {service["name"]: service["serving"] for service in json.loads(out)["services"]}
        except (ValueError, KeyError, TypeError) as error:
            return (f"status: not readable: {error}",)
        return tuple(
            f"status: the supervisor of {name} no longer answers"
            for name in self.served
            if not answers.get(name)
        )

    def _run(self, *words: str) -> tuple[int, str, str]:
        """Code, stdout, and the last lines of stderr; -1 where it could not be run to its end."""
        command: Sequence[Any] = [self.prefix.bin / "sealift", *words]
        try:
            done = subprocess.run(
                command,
                env={"PATH": _PATH},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return -1, "", f"no answer within {TIMEOUT_S:.0f} s"
        except OSError as error:
            return -1, "", f"does not start: {error.strerror}"
        return done.returncode, done.stdout, " | ".join(done.stderr.strip().splitlines()[-_LAST:])[:_LONGEST]
