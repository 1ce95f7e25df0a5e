"""The crew's threads: bounded, fair, cancellable, and never silent about a death."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.serve.running import LoopThread
from tests.serve.simulated_runs import BAD, Asker, Works

from sealift.engine.concurrency import Layout, Layouts
from sealift.errors import DeadlinePassed, Unavailable
from sealift.serve.crew import Crew
from sealift.serve.ticket import Ticket


class Steps:
    """Works to prepare, each held at a gate; what they did, in order."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begun = threading.Semaphore(0)
        self.done: list[int] = []

    def __call__(self, number: int) -> Callable[[], None]:
        def work() -> None:
            self.begun.release()
            assert self.gate.wait(10)
            self.done.append(number)

        return work


MakeWorks = Callable[..., Works]


@pytest.fixture
def works() -> Iterator[MakeWorks]:
    """Makes crews; each is stopped, and none may have reported anything."""
    made: list[Works] = []

    def make(*arguments: int, **options: object) -> Works:
        made.append(Works(*arguments, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.close()


# ---------------------------------------------------------------------- requests to prepare


def test_work_is_done_in_order_and_the_queue_is_bounded(works: MakeWorks) -> None:
    crew, steps = works(1, 2).start().crew, Steps()
    for number in range(3):
        crew.begin(steps(number), Ticket())
    assert steps.begun.acquire(timeout=10)
    assert crew.waiting == 2
    with pytest.raises(Unavailable, match="2 requests are waiting already") as caught:
        crew.begin(steps(3), Ticket())
    assert (caught.value.status, caught.value.code) == (503, "queue_full")
    steps.gate.set()
    for _ in range(2):
        assert steps.begun.acquire(timeout=10)
    done = threading.Event()
    crew.begin(done.set, Ticket())
    assert done.wait(10)
    assert steps.done == [0, 1, 2]
    assert crew.waiting == 0


def test_cancelled_work_that_has_not_begun_is_never_done_and_frees_its_place(works: MakeWorks) -> None:
    crew, steps = works(1, 2).start().crew, Steps()
    crew.begin(steps(0), Ticket())
    assert steps.begun.acquire(timeout=10)
    gone = Ticket()
    crew.begin(steps(1), gone)
    crew.begin(steps(2), Ticket())
    gone.abandoned = True
    crew.begin(steps(3), Ticket())
    steps.gate.set()
    for _ in range(2):
        assert steps.begun.acquire(timeout=10)
    done = threading.Event()
    crew.begin(done.set, Ticket())
    assert done.wait(10)
    assert steps.done == [0, 2, 3]


def test_a_thread_that_dies_is_an_event(works: MakeWorks) -> None:
    one = works(1, 2).start()

    def die() -> None:
        raise KeyboardInterrupt

    one.crew.begin(die, Ticket())

    async def wait() -> None:
        await one.crew.failed

    with pytest.raises(RuntimeError, match="a work thread died: KeyboardInterrupt"):
        one.loop.run(wait())


def test_a_run_that_ends_its_thread_is_an_event_too(works: MakeWorks) -> None:
    one = works(1, 2).start()
    one.session.dies = GeneratorExit("not even this")
    one.put(1.0)

    async def wait() -> None:
        await one.crew.failed

    with pytest.raises(RuntimeError, match="a work thread died: GeneratorExit"):
        one.loop.run(wait())


def test_a_ticket_refuses_after_its_deadline_or_when_nobody_waits() -> None:
    Ticket().check()
    Ticket(time.perf_counter() + 60).check()
    with pytest.raises(DeadlinePassed, match="passed before its run") as caught:
        Ticket(time.perf_counter() - 0.001).check()
    assert caught.value.status == 504
    abandoned = Ticket()
    abandoned.abandoned = True
    with pytest.raises(DeadlinePassed, match="the client has gone"):
        abandoned.check()


def test_the_parts_of_a_request_are_done_in_their_order(works: MakeWorks) -> None:
    crew, steps = works(1, 2).start().crew, Steps()
    crew.begin(steps(0), Ticket())
    assert steps.begun.acquire(timeout=10)
    crew.spread([steps(number) for number in range(1, 9)], Ticket())
    steps.gate.set()
    for _ in range(8):
        assert steps.begun.acquire(timeout=10)
    done = threading.Event()
    crew.begin(done.set, Ticket())
    assert done.wait(10)
    assert steps.done == list(range(9))


@pytest.fixture(scope="module")
def loop() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.close()


@settings(deadline=None)
@given(
    threads=st.integers(1, 4),
    limit=st.integers(0, 5),
    steps=st.lists(st.sampled_from(["begin", "begin", "begin", "gone", "take", "end"]), max_size=60),
)
def test_the_queue_limit_is_exact_however_work_comes_and_goes(
    loop: LoopThread, threads: int, limit: int, steps: list[str]
) -> None:
    """Threads that never run: the test takes and ends their steps, so nothing is left to chance."""
    crew = loop.call(lambda: Crew(threads, limit, loop.loop))
    queued: list[Ticket] = []
    free, busy = list(range(threads)), list[int]()
    for step in steps:
        alive = [ticket for ticket in queued if not ticket.abandoned]
        if step == "begin":
            ticket = Ticket()
            try:
                crew.begin(lambda: None, ticket)
            except Unavailable:
                assert len(alive) - len(free) >= limit
                queued = alive
            else:
                assert len(alive) - len(free) < limit
                queued.append(ticket)
        elif step == "gone" and alive:
            alive[len(alive) // 2].abandoned = True
        elif step == "take" and alive and free:
            number = free.pop()
            assert crew._next(number) is not None
            del queued[: queued.index(alive[0]) + 1]
            busy.append(number)
        elif step == "end" and busy:
            number = busy.pop()
            crew._running[number] = None
            free.append(number)
        assert crew.waiting <= limit


# ---------------------------------------------------------------------- runs


def test_a_batch_forms_while_a_run_is_in_progress(works: MakeWorks) -> None:
    one = works(1, max_rows=4).start()
    first = one.occupy()
    askers = [one.put(float(number)) for number in range(1, 7)]
    assert one.crew.waiting == 6
    one.session.gate.set()
    assert first.wait() == [0.0]
    assert [asker.wait() for asker in askers] == [[2.0 * number] for number in range(1, 7)]
    assert one.session.runs == [[0.0], [1.0, 2.0, 3.0, 4.0], [5.0, 6.0]]
    assert one.tally.rows == [1, 4, 2]


def test_requests_of_several_rows_share_a_run_and_get_their_own(works: MakeWorks) -> None:
    one = works(1, max_rows=4).start()
    one.occupy()
    askers = [one.put(1.0, 2.0), one.put(3.0), one.put(4.0, 5.0)]
    one.session.gate.set()
    assert [asker.wait() for asker in askers] == [[2.0, 4.0], [6.0], [8.0, 10.0]]
    assert one.session.runs == [[0.0], [1.0, 2.0, 3.0], [4.0, 5.0]]


def test_one_bad_row_fails_alone(works: MakeWorks) -> None:
    one = works(1).start()
    one.occupy()
    askers = [one.put(value) for value in (1.0, BAD, 3.0)]
    one.session.gate.set()
    assert [asker.wait() for asker in askers] == [[2.0], "model_failed", [6.0]]
    assert one.session.runs == [[0.0], [1.0, BAD, 3.0], [1.0], [BAD], [3.0]]


def test_whoever_has_gone_or_is_late_is_never_run(works: MakeWorks) -> None:
    one = works(1).start()
    one.occupy()
    gone, late = Ticket(), Ticket(time.perf_counter() - 1.0)
    askers = [one.put(1.0, ticket=gone), one.put(2.0, ticket=late), one.put(3.0)]
    gone.abandoned = True
    one.session.gate.set()
    assert [asker.wait() for asker in askers] == ["abandoned", "deadline_passed", [6.0]]
    assert one.session.runs == [[0.0], [3.0]]
    assert one.tally.dropped == ["deadline"]  # who has gone is counted when he goes
    assert all(asker.answers == 1 for asker in askers)


def test_late_ones_are_told_even_while_nothing_can_run(works: MakeWorks) -> None:
    one = works(2).start()
    one.occupy()
    assert one.put(1.0, ticket=Ticket(time.perf_counter() - 1.0)).wait() == "deadline_passed"


def test_what_is_prepared_runs_before_anything_else_is_prepared(works: MakeWorks) -> None:
    one, steps = works(1, max_rows=1).start(), Steps()
    runs_before: list[int] = []
    one.crew.begin(steps(0), Ticket())
    assert steps.begun.acquire(timeout=10)
    one.crew.begin(lambda: runs_before.append(len(one.session.runs)), Ticket())
    askers = [one.put(1.0), one.put(2.0)]
    done = threading.Event()
    one.crew.begin(done.set, Ticket())
    steps.gate.set()
    assert done.wait(10)
    assert runs_before == [2]
    assert [asker.wait() for asker in askers] == [[2.0], [4.0]]


def test_a_full_queue_of_runs_is_a_full_queue(works: MakeWorks) -> None:
    one = works(1, 2, max_rows=1).start()
    one.occupy()
    for number in range(2):
        one.crew.check_room()
        one.put(float(number))
    with pytest.raises(Unavailable, match="2 requests are waiting"):
        one.crew.check_room()


def test_several_models_take_turns(works: MakeWorks) -> None:
    one = works(1, max_rows=1, names=("a", "b", "c")).start()
    log = one.session.log
    for session in one.sessions:
        session.log = log
    one.occupy()
    askers = [one.put(float(number), lane=lane) for lane in one.lanes for number in range(6)]
    one.session.gate.set()
    for asker in askers:
        asker.wait()
    longest = max(len(list(group)) for _, group in groupby(log[1:]))
    assert longest <= 2, log
    assert set(log[1:7]) == {"a", "b", "c"}


def test_two_cores_run_side_by_side_and_never_a_third(works: MakeWorks) -> None:
    one = works(3, max_rows=1, layouts=Layouts(2, 0.0)).start()
    one.session.gate.clear()
    askers = [one.put(float(number)) for number in range(5)]
    for _ in range(2):
        assert one.session.begun.acquire(timeout=10)
    one.loop.call(lambda: None)
    assert len(one.session.runs) == 2
    one.session.gate.set()
    for asker in askers:
        asker.wait()
    assert one.predictors[0].chosen == [Layout.NARROW] * 5


def test_a_lone_request_takes_all_cores(works: MakeWorks) -> None:
    one = works(2, layouts=Layouts(2, 1.6)).start()
    assert one.put(1.0).wait() == [2.0]
    assert one.predictors[0].chosen == [Layout.WIDE]


def test_the_oldest_work_is_known_whether_it_waits_or_runs(works: MakeWorks) -> None:
    one = works(1, max_rows=1).start()
    assert one.crew.oldest_s() == 0.0
    began = time.perf_counter()
    first = one.occupy()
    second = one.put(1.0)
    seen = time.perf_counter()
    assert one.crew.oldest_s() <= time.perf_counter() - began
    assert one.crew.oldest_s() >= time.perf_counter() - seen
    one.session.gate.set()
    for asker in (first, second):
        asker.wait()


@pytest.mark.parametrize("wait_s", [0.0, 60.0], ids=["at once", "in a window"])
def test_stopping_finishes_what_is_queued(works: MakeWorks, wait_s: float) -> None:
    """Also what would have waited for more: nobody will come any more."""
    one = works(2, wait_s=wait_s).start()
    steps = Steps()
    one.crew.begin(steps(0), Ticket())
    assert steps.begun.acquire(timeout=10)
    askers = [one.put(float(number)) for number in range(3)]
    one.crew.begin(steps(1), Ticket())
    one.loop.call(one.crew.stop)
    steps.gate.set()
    assert [asker.wait() for asker in askers] == [[0.0], [2.0], [4.0]]
    for thread in one.crew._threads:
        thread.join(10)
        assert not thread.is_alive()
    assert sorted(steps.done) == [0, 1]


def test_a_window_ends_when_the_batch_is_full(works: MakeWorks) -> None:
    one = works(2, max_rows=3, wait_s=60.0).start()
    askers = [one.put(float(number)) for number in range(3)]
    assert [asker.wait() for asker in askers] == [[0.0], [2.0], [4.0]]
    assert one.session.runs == [[0.0, 1.0, 2.0]]


def test_a_window_ends_by_itself(works: MakeWorks) -> None:
    one = works(1, max_rows=3, wait_s=0.001).start()
    assert one.put(1.0).wait() == [2.0]


def test_a_foreign_exception_is_an_answer(works: MakeWorks, caplog: pytest.LogCaptureFixture) -> None:
    one = works(1).start()
    one.session.dies = SystemExit(3)
    assert one.put(1.0).wait() == "model_failed"
    one.session.dies = None
    assert one.put(1.0).wait() == [2.0]
    assert "a run failed" in caplog.text


def test_answers_come_once_whoever_asks_and_however_it_ends(works: MakeWorks) -> None:
    """Many requests at once, some bad, some gone, some late, on several threads."""
    one = works(3, 1000, max_rows=4, layouts=Layouts(2, 1.5)).start()
    askers: list[tuple[float, Ticket, Asker]] = []
    for number in range(300):
        ticket = Ticket(time.perf_counter() - 1.0 if number % 11 == 3 else None)
        ticket.abandoned = number % 7 == 2
        value = BAD if number % 13 == 5 else float(number % 600)
        askers.append((value, ticket, one.put(value, ticket=ticket)))
    for value, ticket, asker in askers:
        answer = asker.wait()
        if ticket.abandoned:
            assert answer == "abandoned"
        elif ticket.deadline is not None:
            assert answer == "deadline_passed"
        else:
            assert answer == ("model_failed" if value == BAD else [2 * value])
        assert asker.answers == 1
    assert one.lane.admission.inside == 0
