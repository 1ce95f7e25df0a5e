"""The batching policy: a pure decision, held against its promises and run through simulated time."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sealift.engine.batching import BatchPolicy, Decision, decide


@dataclass(eq=False)
class Claim:
    deadline: float | None = None
    abandoned: bool = False


@dataclass(eq=False)
class Job:
    """A request of a test; `number` counts arrivals."""

    number: int = 0
    rows: int = 1
    key: Hashable = "a"
    since: float = 0.0
    claim: Claim = field(default_factory=Claim)


NOW = 100.0


@st.composite
def queues(draw: st.DrawFn) -> list[Job]:
    """Oldest first; deadlines on both sides of `NOW` and on it."""
    ages = sorted(draw(st.lists(st.integers(0, 20), max_size=12)), reverse=True)
    deadlines = st.none() | st.integers(-10, 30)
    found = []
    for number, age in enumerate(ages):
        due = draw(deadlines)
        claim = Claim(None if due is None else NOW + due, draw(st.sampled_from([False, False, False, True])))
        rows, key = draw(st.integers(1, 6)), draw(st.sampled_from("ab"))
        found.append(Job(number, rows, key, NOW - age, claim))
    return found


policies = st.builds(BatchPolicy, st.integers(1, 8), st.sampled_from([0.0, 0.0, 1.0, 5.0, 15.0]))


def is_late(job: Job, now: float = NOW) -> bool:
    return job.claim.abandoned or (job.claim.deadline is not None and now >= job.claim.deadline)


def numbers(jobs: Sequence[Job]) -> list[int]:
    return [job.number for job in jobs]


@settings(deadline=None)
@given(queues(), policies, st.booleans())
def test_nothing_is_lost_nothing_is_doubled_and_order_is_kept(
    queue: list[Job], policy: BatchPolicy, idle: bool
) -> None:
    found = decide(queue, policy, NOW, idle=idle)
    parts = (found.batch, found.late, found.rest)
    assert sorted(number for part in parts for number in numbers(part)) == numbers(queue)
    assert all(numbers(part) == sorted(numbers(part)) for part in parts)


@settings(deadline=None)
@given(queues(), policies, st.booleans())
def test_exactly_those_whose_time_is_over_are_late(queue: list[Job], policy: BatchPolicy, idle: bool) -> None:
    found = decide(queue, policy, NOW, idle=idle)
    assert numbers(found.late) == numbers([job for job in queue if is_late(job)])


@settings(deadline=None)
@given(queues(), policies)
def test_a_batch_begins_with_the_oldest_and_takes_the_next_of_its_kind_while_they_fit(
    queue: list[Job], policy: BatchPolicy
) -> None:
    batch = decide(queue, policy, NOW, idle=True).batch
    alive = [job for job in queue if not is_late(job)]
    if not batch:
        return
    assert batch[0] is alive[0]
    alike = [job for job in alive if job.key == batch[0].key]
    assert batch == alike[: len(batch)], "nobody of a kind overtakes another"
    rows = sum(job.rows for job in batch)
    assert rows <= policy.max_rows or len(batch) == 1
    following = alike[len(batch) :]
    if following and rows < policy.max_rows:
        assert rows + following[0].rows > policy.max_rows, "the next one would have fitted"


@settings(deadline=None)
@given(queues(), st.integers(1, 8))
def test_without_a_wait_an_idle_engine_always_runs_what_is_here(queue: list[Job], max_rows: int) -> None:
    found = decide(queue, BatchPolicy(max_rows), NOW, idle=True)
    assert bool(found.batch) == any(not is_late(job) for job in queue)
    assert found.look_at is None


@settings(deadline=None)
@given(queues(), policies)
def test_a_busy_engine_gets_nothing_and_nobody_needs_to_look_again(
    queue: list[Job], policy: BatchPolicy
) -> None:
    found = decide(queue, policy, NOW, idle=False)
    assert (found.batch, found.look_at) == ([], None)


@settings(deadline=None)
@given(queues(), policies)
def test_who_waits_for_more_is_looked_at_in_time(queue: list[Job], policy: BatchPolicy) -> None:
    found = decide(queue, policy, NOW, idle=True)
    alive = [job for job in queue if not is_late(job)]
    if found.look_at is None:
        assert bool(found.batch) == bool(alive)
        return
    assert policy.wait_s
    assert not found.batch
    assert found.look_at > NOW
    assert found.look_at <= alive[0].since + policy.wait_s
    assert all(found.look_at < job.claim.deadline for job in alive if job.claim.deadline is not None)
    again = decide(found.rest, policy, found.look_at, idle=True)
    assert again.batch, "the second look runs it"
    assert not again.late


@settings(deadline=None)
@given(queues(), policies)
def test_a_full_batch_does_not_wait(queue: list[Job], policy: BatchPolicy) -> None:
    alike = [job for job in queue if not is_late(job)]
    alike = [job for job in alike if job.key == alike[0].key]
    if sum(job.rows for job in alike) >= policy.max_rows:
        assert decide(queue, policy, NOW, idle=True).batch


def test_a_larger_request_than_the_maximum_runs_alone_and_at_once() -> None:
    queue = [Job(0, rows=9, since=NOW), Job(1, since=NOW)]
    found = decide(queue, BatchPolicy(4, wait_s=5), NOW, idle=True)
    assert (numbers(found.batch), numbers(found.rest)) == ([0], [1])


def test_a_smaller_request_does_not_overtake_one_that_does_not_fit() -> None:
    queue = [Job(0, rows=3), Job(1, rows=2), Job(2, rows=1)]
    found = decide(queue, BatchPolicy(4), NOW, idle=True)
    assert (numbers(found.batch), numbers(found.rest)) == ([0], [1, 2])


def test_another_shape_between_two_alike_stays_where_it_is() -> None:
    queue = [Job(0), Job(1, key="b"), Job(2)]
    found = decide(queue, BatchPolicy(8), NOW, idle=True)
    assert (numbers(found.batch), numbers(found.rest)) == ([0, 2], [1])


def test_a_request_with_a_deadline_inside_the_window_is_run_before_it() -> None:
    """Waiting until the deadline itself would be refusing it with an idle engine."""
    job = Job(since=NOW, claim=Claim(deadline=NOW + 2))
    found = decide([job], BatchPolicy(8, wait_s=5), NOW, idle=True)
    assert found.look_at is not None
    assert NOW < found.look_at < NOW + 2
    assert decide([job], BatchPolicy(8, wait_s=5), found.look_at, idle=True).batch == [job]


# ---------------------------------------------------------------------- through simulated time


class Simulation:
    """An engine that takes `run_s` a run, whatever is in it, asked as a lane asks it."""

    def __init__(self, policy: BatchPolicy, run_s: float) -> None:
        self.policy = policy
        self.run_s = run_s
        self.batches: list[tuple[float, list[Job]]] = []
        self.late: list[tuple[float, Job]] = []
        self._queue: list[Job] = []
        self._events: list[tuple[float, int, Job | None]] = []
        self._busy_until: float | None = None
        self._number = 0

    def run(self, jobs: Sequence[Job]) -> None:
        """Everything from the first arrival to the last answer."""
        for job in jobs:
            self._at(job.since, job)
        while self._events:
            now, _, arrived = heapq.heappop(self._events)
            if arrived is not None:
                self._queue.append(arrived)
            if self._busy_until is not None and now >= self._busy_until:
                self._busy_until = None
            self._look(now)
        assert not self._queue, "somebody was forgotten"

    def _look(self, now: float) -> None:
        idle = self._busy_until is None
        found: Decision[Job] = decide(self._queue, self.policy, now, idle=idle)
        self._queue = found.rest
        self.late += [(now, job) for job in found.late]
        if found.batch:
            assert idle
            self.batches.append((now, found.batch))
            self._busy_until = now + self.run_s
            self._at(self._busy_until, None)
        elif found.look_at is not None:
            self._at(found.look_at, None)

    def _at(self, time: float, job: Job | None) -> None:
        self._number += 1
        heapq.heappush(self._events, (time, self._number, job))


def arrivals(seed: int, count: int, per_s: float, patience_s: float | None) -> list[Job]:
    draw = Random(seed)
    now, found = 0.0, []
    for number in range(count):
        now += draw.expovariate(per_s)
        deadline = None if patience_s is None else now + patience_s * draw.random()
        claim = Claim(deadline, draw.random() < 0.02)
        found.append(Job(number, draw.choice([1, 1, 1, 2, 5]), draw.choice("aab"), now, claim))
    return found


@pytest.mark.parametrize("wait_s", [0.0, 0.003], ids=["no wait", "wait"])
@pytest.mark.parametrize("patience_s", [None, 0.05], ids=["patient", "impatient"])
@pytest.mark.parametrize("per_s", [20.0, 200.0, 1000.0], ids=["idle", "busy", "overloaded"])
def test_every_request_is_run_once_or_late_once(
    per_s: float, patience_s: float | None, wait_s: float
) -> None:
    jobs = arrivals(7, 600, per_s, patience_s)
    simulation = Simulation(BatchPolicy(8, wait_s), 0.010)
    simulation.run(jobs)
    ran = [job.number for _, batch in simulation.batches for job in batch]
    assert sorted(ran + [job.number for _, job in simulation.late]) == numbers(jobs)
    assert all(len({job.key for job in batch}) == 1 for _, batch in simulation.batches)
    for began, batch in simulation.batches:
        assert all(job.claim.deadline is None or began < job.claim.deadline for job in batch)
        assert sum(job.rows for job in batch) <= 8
    for kind in "ab":
        of_kind = [job.number for _, batch in simulation.batches for job in batch if job.key == kind]
        assert of_kind == sorted(of_kind), "first come, first served"


@settings(deadline=None)
@given(st.integers(0, 2**16), st.sampled_from([0.0, 0.002, 0.02]))
@example(0, 0.0)
def test_nobody_starves(seed: int, wait_s: float) -> None:
    """With less work than the engine can do, everybody runs after a few batches at most."""
    jobs = [Job(job.number, 1, job.key, job.since) for job in arrivals(seed, 100, 150.0, None)]
    simulation = Simulation(BatchPolicy(4, wait_s), 0.010)
    simulation.run(jobs)
    waited = [began - job.since for began, batch in simulation.batches for job in batch]
    assert len(waited) == len(jobs)
    assert max(waited) < 0.3


def test_batches_grow_with_the_load_and_a_lone_request_never_waits() -> None:
    quiet = Simulation(BatchPolicy(8), 0.010)
    quiet.run([Job(number, since=number * 0.02) for number in range(50)])
    assert all(began == batch[0].since and len(batch) == 1 for began, batch in quiet.batches)
    busy = Simulation(BatchPolicy(8), 0.010)
    busy.run([Job(number, since=number * 0.002) for number in range(50)])
    assert max(len(batch) for _, batch in busy.batches) == 5


def test_a_wait_gathers_what_would_have_run_alone() -> None:
    jobs = [Job(number, since=number * 0.004) for number in range(40)]
    simulation = Simulation(BatchPolicy(4, wait_s=0.02), 0.001)
    simulation.run(jobs)
    assert [len(batch) for _, batch in simulation.batches] == [4] * 10
    for began, batch in simulation.batches:
        assert began == batch[-1].since, "a full batch runs when its last request comes"
