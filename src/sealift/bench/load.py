"""The two kinds of load on one server: so many clients at a time, or so many requests a second."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any, Final

from sealift.bench.answer import Answer
from sealift.bench.asked import Asked
from sealift.bench.line import Address, Done, Line
from sealift.bench.tally import Step, Tally
from sealift.bench.ticker import Ticker
from sealift.errors import NotServing, SealiftError, UsageError

CONNECT_S: Final = 5.0
PATIENCE_S: Final = 2.0
"""After the last intended request of a step: what has no answer by then counts as unanswered."""
_SHORTEST_TICK_S: Final = 0.0002
_FIRST_ANSWER_S: Final = 60.0


class Generator:
    """Load for one server; one step at a time, everything in the running event loop.

    Args:
        asked: the requests, sent in turn.
    """

    def __init__(self, address: Address, asked: Sequence[Asked]) -> None:
        self._address = address
        self._asked = tuple(asked)
        self._messages = [one.message(address.authority) for one in self._asked]
        self._lines: set[Line] = set()
        self._opening: set[asyncio.Future[None]] = set()
        self._turn = 0

    async def first_answers(self) -> list[str]:
        """Ask each request once, alone; returns what is not as recorded.

        Raises:
            NotServing: nobody answers.
            UsageError, NotServing: an answer is not 200 (4xx, 5xx); with the server's own words.
        """
        problems = []
        for index, asked in enumerate(self._asked):
            answer = await self._one(index)
            if answer.status != 200:
                raise self._refusal(asked, answer)
            if problem := asked.difference(answer):
                problems.append(f"golden input {asked.name}: {problem}")
        return problems

    async def closed(self, connections: int, seconds: float) -> Step:
        """`connections` clients; each sends its next request when it has the answer to the last."""
        tally, ending = Tally(), False

        def done(line: Line, answer: Answer | None) -> None:
            if ending:
                return
            if answer is None:
                tally.fail()
            else:
                tally.answer(line.index, answer, line.intended)
            if line.is_open:
                self._send(line, time.perf_counter())
            else:
                self._lines.discard(line)
                self._keep(self._reopen(done))

        lines = [await self._open(done) for _ in range(connections)]
        began = tally.begin(seconds)
        for line in lines:
            self._send(line, began)
        await asyncio.sleep(seconds)
        ending = True
        until = time.perf_counter()
        # One that has had no answer at all for the whole step is no client that waits a little longer.
        stuck = [line.intended for line in self._lines if line.is_busy and until - line.intended >= seconds]
        step = tally.finish(connections, waiting=stuck)
        self._close()
        return self._judged(step, tally)

    async def constant(self, rate: float, seconds: float, most: int = 128) -> Step:
        """`rate` requests a second, whatever the answers do; a latency begins when its request was due.

        What is due while all of `most` connections wait for answers is sent when one is free, and its wait counts
        (no coordinated omission: Gil Tene, "How NOT to Measure Latency"; wrk2).
        """
        return await _ConstantRate(self, rate, seconds, most).run()

    async def close(self) -> None:
        """Drop every connection."""
        self._close()
        await asyncio.gather(*self._opening, return_exceptions=True)
        self._close()  # one that was just being opened
        await asyncio.sleep(0)

    def _send(self, line: Line, intended: float) -> None:
        index = self._turn
        self._turn = (index + 1) % len(self._messages)
        line.ask(index, self._messages[index], intended)

    def _refusal(self, asked: Asked, answer: Answer) -> SealiftError:
        said = answer.body[:300].decode("utf-8", "replace")
        message = f"{asked.name}: {self._address.authority} answered {answer.status}: {said}"
        if answer.status < 500:
            return UsageError(message, next_step="send what the model takes: --input FILE")
        return NotServing(message, next_step="sealift status --why")

    async def _one(self, index: int) -> Answer:
        answered: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()

        def done(_line: Line, answer: Answer | None) -> None:
            if not answered.done():
                answered.set_result(answer)

        line = await self._open(done)
        line.ask(index, self._messages[index], time.perf_counter())
        try:
            answer = await asyncio.wait_for(answered, _FIRST_ANSWER_S)
        except TimeoutError:
            answer = None
        line.close()
        self._lines.discard(line)
        if answer is None:
            raise NotServing(
                f"{self._address.authority} gave no answer to {self._asked[index].name}",
                next_step="sealift status --why",
            )
        return answer

    async def _open(self, done: Done) -> Line:
        loop, address = asyncio.get_running_loop(), self._address
        try:
            connecting = loop.create_connection(
                lambda: Line(done), address.host, address.port, ssl=address.tls,
                server_hostname=address.host if address.tls else None,
            )  # fmt: skip
            _, line = await asyncio.wait_for(connecting, CONNECT_S)
        except (OSError, TimeoutError) as error:
            raise NotServing(
                f"{address.authority} does not answer: {str(error) or 'no connection in time'}",
                next_step="sealift status",
            ) from error
        self._lines.add(line)
        return line

    async def _reopen(self, done: Done) -> None:
        with contextlib.suppress(NotServing):
            self._send(await self._open(done), time.perf_counter())

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def _close(self) -> None:
        for task in self._opening:
            task.cancel()
        for line in self._lines:
            line.done = _ignore
            line.close()
        self._lines.clear()

    def _judged(self, step: Step, tally: Tally) -> Step:
        """With what the sampled answers say, looked at when the clock does not run."""
        for index, answer in tally.samples:
            if problem := self._asked[index].difference(answer):
                return replace(step, wrong=f"golden input {self._asked[index].name}: {problem}")
        return step


class _ConstantRate:
    """One constant-rate step: due -> a free connection or the queue -> the answer."""

    def __init__(self, generator: Generator, rate: float, seconds: float, most: int) -> None:
        self._generator = generator
        self._rate = rate
        self._seconds = seconds
        self._most = most
        self._tally = Tally()
        self._free: deque[Line] = deque()
        self._due: deque[float] = deque()
        self._sent = self._open = 0
        self._began = 0.0
        self._over = asyncio.Event()

    async def run(self) -> Step:
        generator = self._generator
        for _ in range(min(self._most, 8)):
            self._free.append(await generator._open(self._done))
            self._open += 1
        self._began = self._tally.begin(self._seconds)
        with Ticker(max(_SHORTEST_TICK_S, 1 / self._rate), self._tick), contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), self._seconds + PATIENCE_S)
        waiting = [*self._due, *(line.intended for line in generator._lines if line.is_busy)]
        step = self._tally.finish(self._open, offered_rps=self._rate, waiting=waiting)
        generator._close()
        return generator._judged(step, self._tally)

    def _tick(self) -> None:
        """Send what is due by now; ask for more connections where none is free."""
        now = time.perf_counter()
        last = round(self._rate * self._seconds)
        while self._sent < last and (intended := self._began + self._sent / self._rate) <= now:
            self._sent += 1
            self._due.append(intended)
            if self._free:
                self._tally.lags.append(now - intended)
        self._flow()
        for _ in range(min(len(self._due), self._most - self._open)):
            self._open += 1
            self._generator._keep(self._grow())
        if self._sent >= last and not self._due and not any(line.is_busy for line in self._generator._lines):
            self._over.set()

    def _flow(self) -> None:
        while self._due and self._free:
            line = self._free.popleft()
            if line.is_open:
                self._generator._send(line, self._due.popleft())
            else:
                self._lose(line)

    def _done(self, line: Line, answer: Answer | None) -> None:
        if answer is None:
            self._tally.fail()
        else:
            self._tally.answer(line.index, answer, line.intended)
        if line.is_open:
            self._free.append(line)
            self._flow()
        else:
            self._lose(line)

    async def _grow(self) -> None:
        try:
            self._free.append(await self._generator._open(self._done))
        except NotServing:
            self._open -= 1
            return
        self._flow()

    def _lose(self, line: Line) -> None:
        self._open -= 1
        self._generator._lines.discard(line)


def _ignore(_line: Line, _answer: Answer | None) -> None:
    """What comes after the end of a step counts no more."""
