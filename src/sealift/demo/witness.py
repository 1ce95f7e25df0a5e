"""The traffic client as the story uses it: started beside a command, stopped after it, its report told."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sealift.demo.project import PROJECT_NAME
from sealift.demo.stage import Box, Stage
from sealift.demo.traffic import Answers, Report
from sealift.errors import SealiftError

CONNECTIONS: Final = 4
PER_SECOND: Final = 25
FLOWING_WITHIN_S: Final = 30.0
_FLOWING: Final = "traffic-flows"
_TRAFFIC: Final = (sys.executable, "-m", "sealift.demo.traffic")


class Witness:
    """Sends from a second before it is made until `report`; the runner ends it where the story breaks off.

    `started_s`: seconds since the epoch.

    Args:
        photos: relative to the demo's folder.
    Raises: CommandFailed: no answers came.
    """

    def __init__(self, stage: Stage, box: Box, photos: Sequence[Path]) -> None:
        self._stage = stage
        flowing = stage.folder / _FLOWING
        flowing.unlink(missing_ok=True)
        argv = [*_TRAFFIC, box.url, str(CONNECTIONS), str(PER_SECOND), flowing.name, *map(str, photos)]
        self._client = stage.runner.start(box.gap.wrap(argv))
        self._wait(flowing)
        self.started_s = time.time()

    def _wait(self, flowing: Path) -> None:
        deadline = time.monotonic() + FLOWING_WITHIN_S
        while not flowing.exists():
            if self._client.ended() is not None or time.monotonic() > deadline:
                self._stage.fail(self._client.stop())
            time.sleep(0.02)

    def report(self) -> Report:
        """Stop sending; what came back. Raises: CommandFailed: the client itself broke."""
        done = self._client.stop()
        if done.code != 0:
            self._stage.fail(done)
        return Report.from_json(json.loads(done.output))


def tell(stage: Stage, report: Report) -> None:
    """The report as a table, one line a release, and a sentence about the connections."""
    rows = [
        (
            _version(name),
            f"{answers.good:,}",
            f"{answers.failed:,}",
            f"{answers.median_ms:.0f}",
            f"{answers.slowest_ms:.0f}",
        )
        for name, answers in report.releases.items()
    ]
    stage.screen.table([("answered by", "photos", "failed", "median, ms", "slowest, ms"), *rows])
    whole = f"all but {report.contradictions} answers" if report.contradictions else "every answer"
    stage.screen.note(
        f"{report.sent:,} photos, none sent twice; {whole} came from the release in its header; the server "
        f"asked {report.moved} times to go on over a new connection; longest time between two answers "
        f"{report.silence_ms:.0f} ms"
    )


def release_answers(report: Report, version: str) -> Answers:
    """What `version` answered. Raises: SealiftError: nothing."""
    found = report.releases.get(f"{PROJECT_NAME}@{version}")
    if found is None:
        raise SealiftError(f"{version} answered no photo; those that did: {', '.join(report.releases)}")
    return found


def require_whole(report: Report, *, may_fail: str = "") -> None:
    """Hold the report to what was promised: no request failed, and no answer was of two releases.

    Args:
        may_fail: the version whose own answers may be errors.
    Raises: SealiftError: something else than that came back.
    """
    problems = [
        f"{_version(name)}: {times} x {what}"
        for name, answers in report.releases.items()
        for what, times in answers.failures.items()
        if _version(name) != may_fail
    ]
    if report.contradictions:
        problems.append(f"{report.contradictions} answers did not come from the release in their header")
    if problems:
        raise SealiftError("the service did not answer every photo as promised", problems=problems)


def _version(name: str) -> str:
    return name.rpartition("@")[2]
