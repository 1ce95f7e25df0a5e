"""Work threads: bounded, cancellable, and never silent about a death."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest
from tests.serve.running import LoopThread

from sealift.errors import DeadlinePassed, Unavailable
from sealift.serve.http.message import Reply
from sealift.serve.ticket import Ticket, WorkThreads


class Workshop:
    """One work thread with room for two more requests, in a running loop."""

    def __init__(self) -> None:
        self.loop = LoopThread()
        self.threads = self.loop.call(lambda: WorkThreads(1, 2, self.loop.loop))
        self.loop.call(self.threads.start)
        self.gate = threading.Event()
        self.begun = threading.Semaphore(0)
        self.done: list[int] = []

    def work(self, number: int) -> Reply:
        self.begun.release()
        assert self.gate.wait(10)
        self.done.append(number)
        return Reply(200, b"%d" % number)

    def submit(self, number: int, ticket: Ticket | None = None) -> asyncio.Future[Reply]:
        return self.loop.call(lambda: self.threads.submit(lambda: self.work(number), ticket or Ticket()))

    def result(self, future: asyncio.Future[Reply]) -> Reply:
        async def wait() -> Reply:
            return await future

        return self.loop.run(wait())


@pytest.fixture
def workshop() -> Iterator[Workshop]:
    workshop = Workshop()
    yield workshop
    workshop.gate.set()
    workshop.loop.call(workshop.threads.stop)
    workshop.loop.close()
    assert workshop.loop.reported == []


def test_work_is_done_in_order_and_the_queue_is_bounded(workshop: Workshop) -> None:
    futures = [workshop.submit(number) for number in range(3)]
    assert workshop.loop.call(lambda: workshop.threads.waiting) == 2
    with pytest.raises(Unavailable, match="2 requests are waiting already") as caught:
        workshop.submit(3)
    assert (caught.value.status, caught.value.code) == (503, "queue_full")
    workshop.gate.set()
    assert [workshop.result(future).body for future in futures] == [b"0", b"1", b"2"]
    assert workshop.loop.call(lambda: workshop.threads.waiting) == 0


def test_cancelled_work_that_has_not_begun_is_never_done_and_frees_its_place(workshop: Workshop) -> None:
    workshop.submit(0)
    assert workshop.begun.acquire(timeout=10)
    ticket = Ticket()
    second = workshop.submit(1, ticket)
    workshop.loop.call(second.cancel)
    workshop.loop.call(lambda: None)
    assert ticket.abandoned
    futures = [workshop.submit(number) for number in (2, 3)]
    workshop.gate.set()
    workshop.result(futures[1])
    assert workshop.done == [0, 2, 3]


def test_a_thread_that_dies_is_an_event(workshop: Workshop) -> None:
    def die() -> Reply:
        raise KeyboardInterrupt

    workshop.loop.call(lambda: workshop.threads.submit(die, Ticket()))

    async def wait() -> None:
        await workshop.threads.failed

    with pytest.raises(RuntimeError, match="a work thread died: KeyboardInterrupt"):
        workshop.loop.run(wait())


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
