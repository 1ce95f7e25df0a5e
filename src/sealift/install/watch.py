"""Watch, then commit or go back: a pure policy over what a release did under traffic (DESIGN 3).

Time is what was watched, counted from beat to beat, never a clock's date: a box in 1970 commits as well, and a
power cut stops the count. 4xx are the client's mistakes and never count.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sealift.meter.beat import Advice, Beat, Seen

FEW_ERRORS: Final = 5
"""Fewer errors than this decide nothing, unless they are half of all."""
LEAST_ERRORS: Final = 2
ERROR_SHARE: Final = 0.01
"""Errors above this share of the requests, and above twice the release before's, are bad."""
ENOUGH_FOR_P99: Final = 200
ENOUGH_FOR_HALF: Final = 20
"""With fewer than 200 answers a p99 is an accident; that half of them are too slow is none."""
_BUCKET: Final = 1.25
"""What is read from a histogram is at most so much too high (LATENCY_BOUNDS_S)."""
SLOWER: Final = 3.0
SLOWER_S: Final = 0.020
"""Without a declared SLO: three times the p99 of the release before and 20 ms more is bad."""
CANARIES_IN_A_ROW: Final = 2
CRASHES: Final = 2
GROWTH: Final = 3.0
GROWTH_BYTES: Final = 256 * 10**6
"""Without a declared limit: three times what the check measured and 256 MB more is a leak."""
RECENT_S: Final = 30.0
"""A release that was good for a day and turns bad is judged by what it does now."""
_LONGEST_GAP_S: Final = 5.0
"""Time between two beats that counts as watched: a machine that slept was not watched."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a watch demands. Seconds, bytes; None: not declared.

    `checked_bytes` is what the check measured; `golden_checked` claims that canaries compare something.
    """

    window_s: float = 600.0
    requests: int = 200
    quiet_s: float = 86400.0
    canary_s: float = 10.0
    p99_s: float | None = None
    memory_bytes: int | None = None
    checked_bytes: int | None = None
    golden_checked: bool = True

    @property
    def most_bytes(self) -> int | None:
        """The resident memory above which a worker leaks."""
        if self.memory_bytes is not None:
            return self.memory_bytes
        return None if self.checked_bytes is None else int(self.checked_bytes * GROWTH) + GROWTH_BYTES


@dataclass(frozen=True, slots=True)
class Watched:
    """What was seen since the release became active: all of its workers, over restarts of the supervisor.

    `seen` sums all beats, `recent` those of the last `RECENT_S`; `before` is what the release before had seen.
    """

    seconds: float = 0.0
    seen: Beat = field(default_factory=Beat)
    recent: Beat = field(default_factory=Beat)
    before: Beat | None = None
    crashes: int = 0
    hung: int = 0
    failed_in_a_row: int = 0

    @property
    def requests(self) -> int:
        """Well-formed requests."""
        return _sound(self.seen)

    def to_json(self) -> dict[str, Any]:
        """As it is kept over restarts; whole milliseconds."""
        return {
            "before": None if self.before is None else _plain(self.before),
            "crashes": self.crashes,
            "failed_in_a_row": self.failed_in_a_row,
            "hung": self.hung,
            "milliseconds": int(self.seconds * 1000),
            "seen": _plain(self.seen),
        }

    @classmethod
    def from_json(cls, doc: Mapping[str, Any]) -> Watched:
        """Raises: KeyError, TypeError, ValueError: not what `to_json` wrote."""
        return cls(
            seconds=int(doc["milliseconds"]) / 1000,
            seen=Beat.decode(doc["seen"]),
            before=None if doc["before"] is None else Beat.decode(doc["before"]),
            crashes=int(doc["crashes"]),
            hung=int(doc["hung"]),
            failed_in_a_row=int(doc["failed_in_a_row"]),
        )


def _plain(beat: Beat) -> dict[str, Any]:
    """Without what was true at one moment only; canonical JSON has no fractions."""
    return {key: value for key, value in beat.encode().items() if not isinstance(value, float)}


@dataclass(frozen=True, slots=True)
class Judgement:
    """The advice, why, and what is still missing for a commit (seconds, requests)."""

    advice: Advice
    reasons: tuple[str, ...] = ()
    seconds_left: float = 0.0
    requests_left: int = 0


def judge(watched: Watched, bounds: Bounds) -> Judgement:
    """Bad goes first; then long enough with traffic, or long enough on golden inputs alone; else watch on."""
    bad = _bad(watched, bounds)
    if bad:
        return Judgement(Advice.FALL_BACK, bad)
    seconds_left = max(0.0, bounds.window_s - watched.seconds)
    requests_left = max(0, bounds.requests - watched.requests)
    if not seconds_left and not requests_left:
        said = f"watched {watched.seconds:.0f} s and {watched.requests} requests, nothing bad"
        return Judgement(Advice.COMMIT, (said,))
    if watched.seconds >= bounds.quiet_s:
        return Judgement(Advice.COMMIT, (_quiet(watched, bounds),))
    return Judgement(Advice.WATCH, (), seconds_left, requests_left)


def _quiet(watched: Watched, bounds: Bounds) -> str:
    seen = f"{watched.requests} of {bounds.requests} requests in {watched.seconds:.0f} s"
    if not bounds.golden_checked or not watched.seen.canaries:
        return f"committed without golden inputs: {seen}, nothing bad"
    return f"committed on golden inputs only: {watched.seen.canaries} of them as recorded, {seen}"


def _bad(watched: Watched, bounds: Bounds) -> tuple[str, ...]:
    found = (
        _crashes(watched),
        _canaries(watched),
        _errors(watched),
        _slow(watched, bounds),
        _leak(watched, bounds),
    )
    return tuple(reason for reason in found if reason)


def _crashes(watched: Watched) -> str:
    if watched.crashes < CRASHES:
        return ""
    hung = f", {watched.hung} of them hung" if watched.hung else ""
    return f"the worker ended unexpectedly {watched.crashes} times{hung} (fewer than {CRASHES} are borne)"


def _canaries(watched: Watched) -> str:
    if watched.failed_in_a_row < CANARIES_IN_A_ROW:
        return ""
    return f"golden inputs failed {watched.failed_in_a_row} times in a row: {watched.seen.canary_problem}"


def _errors(watched: Watched) -> str:
    before = _share(watched.before)
    for seen, when in ((watched.seen, ""), (watched.recent, f" in the last {RECENT_S:.0f} s")):
        share, failed = _share(seen), _failed(seen)
        enough = failed >= FEW_ERRORS or (failed >= LEAST_ERRORS and share >= 0.5)
        if enough and share > max(ERROR_SHARE, 2 * before):
            kinds = f"{seen.errors} errors, {seen.timeouts} time-outs, {seen.refused} refused"
            return f"{failed} of {_sound(seen)} requests failed{when} ({kinds}), {share:.1%}; before: {before:.1%}"
    return ""


def _failed(beat: Beat) -> int:
    return beat.errors + beat.timeouts + beat.refused


def _sound(beat: Beat) -> int:
    """Requests that say something of the release: those that were well formed."""
    return beat.requests - beat.client_errors


def _share(beat: Beat | None) -> float:
    return _failed(beat) / _sound(beat) if beat is not None and _sound(beat) else 0.0


def _slow(watched: Watched, bounds: Bounds) -> str:
    before = _measured(watched.before)
    if bounds.p99_s is not None:
        most, measure = bounds.p99_s * _BUCKET, f"the SLO says {_ms(bounds.p99_s)}"
    elif before is not None:
        most, measure = max(before * SLOWER, before + SLOWER_S), f"the release before had {_ms(before)}"
    else:
        return ""
    for seen, when in ((watched.seen, ""), (watched.recent, f" in the last {RECENT_S:.0f} s")):
        p99 = _measured(seen)
        if p99 is not None and p99 > most:
            return f"p99 is {_ms(p99)}{when}, {measure}"
        half = seen.quantile_s(0.5) if sum(seen.latency) >= ENOUGH_FOR_HALF else None
        if half is not None and half > most:
            return f"half of the answers take {_ms(half)} and more{when}, {measure} as p99"
    return ""


def _measured(beat: Beat | None) -> float | None:
    """Its p99 in seconds, None where too little was answered to say."""
    return beat.p99_s() if beat is not None and sum(beat.latency) >= ENOUGH_FOR_P99 else None


def _leak(watched: Watched, bounds: Bounds) -> str:
    most = bounds.most_bytes
    if most is None or watched.seen.resident_bytes <= most:
        return ""
    said = f"{watched.seen.resident_bytes / 1e6:.0f} MB resident, at most {most / 1e6:.0f} MB"
    return said + ("" if bounds.memory_bytes else " (three times what the check measured, and 256 MB)")


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"


class Watch:
    """Joins beats to `Watched`; keeps no clock of its own.

    Args:
        watched: what an earlier supervisor had seen.
    """

    def __init__(self, bounds: Bounds, watched: Watched) -> None:
        self.bounds = bounds
        self.watched = watched
        self._ended = watched.seen
        self._worker: int | None = None
        self._last: Beat = Beat()
        self._crashes, self._hung = 0, 0
        self._at_s: float | None = None
        self._past: deque[tuple[float, Beat]] = deque()

    def observe(self, seen: Seen) -> Judgement:
        """Take one beat or crash in, and judge."""
        if self._at_s is not None:
            passed = min(max(0.0, seen.now_s - self._at_s), _LONGEST_GAP_S)
            self.watched = replace(self.watched, seconds=self.watched.seconds + passed)
        self._at_s = seen.now_s
        self._count_crashes(seen)
        if seen.beat is not None:
            self._take(seen.worker, seen.beat)
            self._remember(seen.now_s)
        return judge(self.watched, self.bounds)

    def _count_crashes(self, seen: Seen) -> None:
        crashes, hung = max(0, seen.crashes - self._crashes), max(0, seen.hung - self._hung)
        self._crashes, self._hung = seen.crashes, seen.hung
        self.watched = replace(
            self.watched, crashes=self.watched.crashes + crashes, hung=self.watched.hung + hung
        )

    def _take(self, worker: int, beat: Beat) -> None:
        if worker != self._worker:
            self._worker, self._last = worker, Beat()
            self._ended = self.watched.seen
        new = beat.minus(self._last)
        failed = self.watched.failed_in_a_row
        if new.canaries:
            failed = failed + new.canary_failures if new.canary_failures == new.canaries else 0
        self._last = beat
        self.watched = replace(self.watched, seen=beat.plus(self._ended), failed_in_a_row=failed)

    def _remember(self, now_s: float) -> None:
        self._past.append((now_s, self.watched.seen))
        while self._past[0][0] < now_s - RECENT_S:
            self._past.popleft()
        recent = self.watched.seen.minus(self._past[0][1])
        self.watched = replace(self.watched, recent=recent)
