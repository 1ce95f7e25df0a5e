"""Which waiting requests share the next run: a pure decision, the clock is handed in.

Batch what is here, never wait for what might come (DESIGN 4): with a wait of 0 an idle engine always runs what
waits, and the next batch forms while the engine is busy.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Claim(Protocol):
    """Until when an answer is worth having (None: for ever), and whether nobody waits any more."""

    deadline: float | None
    abandoned: bool


class Waiting(Protocol):
    """What waits for a run: `rows` of one request.

    Only equal `key`s (shapes, datatypes) may share a run. `since`: when it began to wait, in seconds.
    """

    @property
    def claim(self) -> Claim: ...  # noqa: D102 - see the class
    @property
    def rows(self) -> int: ...  # noqa: D102
    @property
    def key(self) -> Hashable: ...  # noqa: D102
    @property
    def since(self) -> float: ...  # noqa: D102


Job = TypeVar("Job", bound=Waiting)


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """`max_rows`: rows of one run, 1: no batching. `wait_s`: how long a run waits for more, from its first request."""

    max_rows: int = 1
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Decision(Generic[Job]):
    """`batch`: to run now, in order. `late`: whose time is over. `rest`: those that wait on, in order.

    `look_at`: decide again then, even if nothing else happens; None: when something does.
    """

    batch: list[Job]
    late: list[Job]
    rest: list[Job]
    look_at: float | None = None


def decide(queue: Sequence[Job], policy: BatchPolicy, now: float, *, idle: bool) -> Decision[Job]:
    """What to do with a queue.

    The batch begins with the oldest request and takes the following ones of the same key, in order, while their
    rows fit; a request that is larger than `max_rows` runs alone. It is empty only if nothing may run now.

    Args:
        queue: oldest first.
        now: on the clock of the claims' deadlines.
        idle: whether an engine could begin now.
    """
    batch: list[Job] = []
    late: list[Job] = []
    rest: list[Job] = []
    key: Hashable = None
    rows, is_closed, most = 0, not idle, policy.max_rows
    for job in queue:
        claim = job.claim
        if claim.abandoned or (claim.deadline is not None and now >= claim.deadline):
            late.append(job)
        elif is_closed:
            rest.append(job)
        elif not batch:
            batch.append(job)
            key, rows = job.key, job.rows
            is_closed = rows >= most
        elif job.key != key:
            rest.append(job)
        elif rows + job.rows <= most:
            batch.append(job)
            rows += job.rows
            is_closed = rows == most
        else:
            rest.append(job)
            is_closed = True
    if policy.wait_s and batch and not is_closed:
        alive = [job for job in queue if job not in late]
        due = _due(alive, policy.wait_s)
        if now < due:
            return Decision([], late, alive, due)
    return Decision(batch, late, rest)


def _due(alive: Sequence[Waiting], wait_s: float) -> float:
    """When a batch that could take more runs anyway: waiting for others costs nobody more than half of their time."""
    halves = ((job.since + job.claim.deadline) / 2 for job in alive if job.claim.deadline is not None)
    return min((alive[0].since + wait_s, *halves))
