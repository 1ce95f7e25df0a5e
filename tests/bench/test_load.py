"""The generator against small servers of ours: what is sent when, and what is counted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

import pytest

from sealift.bench.asked import Asked
from sealift.bench.ladder import Plan, measure
from sealift.bench.line import Address
from sealift.bench.load import Generator
from sealift.bench.tally import Step
from sealift.errors import NotServing, UsageError

pytestmark = pytest.mark.slow

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
CLOSING = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"
ASKED = Asked("case", "/predict", {}, b"{}")

Reply = Callable[[], "tuple[float, bytes]"]
"""What a server answers to its next request: after so many seconds, these bytes; b'': it drops the connection."""


class Served(asyncio.Protocol):
    """One connection of the server."""

    def __init__(self, reply: Reply, transports: list[asyncio.Transport]) -> None:
        self._reply, self._transports = reply, transports
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transports.append(self._transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if self._data.endswith(b"\r\n\r\n{}"):
            self._data = b""
            delay_s, answer = self._reply()
            asyncio.get_running_loop().call_later(delay_s, self._answer, answer)

    def _answer(self, answer: bytes) -> None:
        self._transport.write(answer)
        if not answer or b"close" in answer:
            self._transport.close()


@contextlib.asynccontextmanager
async def serving(reply: Reply) -> AsyncIterator[Address]:
    transports: list[asyncio.Transport] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Served(reply, transports), "127.0.0.1", 0)
    try:
        yield Address("127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for transport in transports:
            transport.abort()
        await server.wait_closed()
        await asyncio.sleep(0)


def always(answer: bytes) -> Reply:
    return lambda: (0.0, answer)


async def closed(reply: Reply, connections: int = 4, seconds: float = 0.2) -> Step:
    async with serving(reply) as address:
        generator = Generator(address, [ASKED])
        try:
            return await generator.closed(connections, seconds)
        finally:
            await generator.close()


async def constant(reply: Reply, rate: float, seconds: float, most: int = 8) -> Step:
    async with serving(reply) as address:
        generator = Generator(address, [ASKED])
        try:
            return await generator.constant(rate, seconds, most)
        finally:
            await generator.close()


def test_clients_send_their_next_request_when_they_have_the_answer() -> None:
    asked = 0

    def reply() -> tuple[float, bytes]:
        nonlocal asked
        asked += 1
        return 0.001, OK

    step = asyncio.run(closed(reply, connections=3))
    assert step.statuses.keys() == {200}
    assert asked == step.statuses[200] + 3, "each client has one request under way, to the end"
    assert step.errors == 0
    assert step.p50_ms is not None
    assert step.p50_ms >= 1.0
    assert step.generator_cores > 0


def test_a_constant_rate_is_kept_whatever_the_answers_do() -> None:
    step = asyncio.run(constant(always(OK), 200, 0.5))
    assert step.statuses == {200: 100}
    assert step.offered_rps == 200


def test_a_latency_begins_when_the_request_was_due_not_when_it_could_be_sent() -> None:
    """Coordinated omission: one stall of 0.3 s delays 30 requests at 100/s, and every one of them counts."""
    count = 0

    def reply() -> tuple[float, bytes]:
        nonlocal count
        count += 1
        return (0.3 if count == 20 else 0.0), OK

    step = asyncio.run(constant(reply, 100, 1.0, most=1))
    assert step.statuses == {200: 100}
    assert step.p90_ms is not None
    assert step.p90_ms > 100, "only the stalled request was slow, by the clock of its own connection"


def test_what_nobody_answers_is_counted_with_the_time_it_waited() -> None:
    asked = 0

    def reply() -> tuple[float, bytes]:
        nonlocal asked
        asked += 1
        return 3600.0, OK

    step = asyncio.run(constant(reply, 50, 0.2, most=4))
    assert asked == 4
    assert (step.unanswered, step.errors, step.achieved_rps) == (10, 10, 0.0)
    assert step.p50_ms is not None
    assert step.p50_ms > 1000


def test_refusals_are_counted_by_their_status() -> None:
    step = asyncio.run(closed(always(BUSY)))
    assert step.statuses.keys() == {503}
    assert step.rejected == step.statuses[503]
    assert (step.achieved_rps, step.p50_ms) == (0.0, None)


@pytest.mark.parametrize(
    "load", [closed, lambda reply: constant(reply, 100, 0.3)], ids=["closed", "constant"]
)
def test_a_server_that_closes_is_connected_to_again(load: Callable[[Reply], Awaitable[Step]]) -> None:
    async def measured() -> Step:
        return await load(always(CLOSING))

    step = asyncio.run(measured())
    assert step.statuses[200] > 8
    assert step.failures == 0


@pytest.mark.parametrize(
    "load", [closed, lambda reply: constant(reply, 100, 0.3)], ids=["closed", "constant"]
)
def test_connections_that_break_under_a_request_are_failures(
    load: Callable[[Reply], Awaitable[Step]],
) -> None:
    async def measured() -> Step:
        return await load(always(b""))

    step = asyncio.run(measured())
    assert step.failures > 8
    assert step.statuses == {}


def test_what_is_no_http_is_a_failure() -> None:
    assert asyncio.run(closed(always(b"SSH-2.0-x\r\n\r\n"))).failures > 0


async def whole(reply: Reply, plan: Plan) -> list[str]:
    said: list[str] = []
    async with serving(reply) as address:
        generator = Generator(address, [ASKED])
        try:
            curve = await measure(
                generator, plan, lambda what, number, count: said.append(f"{number}/{count} {what}")
            )
        finally:
            await generator.close()
    assert len(curve.closed) == len(plan.connections)
    assert curve.knee.step is not None
    return said


def test_the_plan_is_run_step_by_step() -> None:
    said = asyncio.run(whole(always(OK), Plan((1, 2), (50.0, 100.0), 0.2, slo_ms=1000.0)))
    assert said == ["1/4 1 client", "2/4 2 clients", "3/4 50 requests/s", "4/4 100 requests/s"]


def test_a_first_answer_other_than_200_stops_with_the_servers_words() -> None:
    answer = b'HTTP/1.1 422 No\r\ncontent-length: 14\r\n\r\n{"error":"no"}'
    with pytest.raises(UsageError, match=r'case: .* answered 422: \{"error":"no"\}'):
        asyncio.run(whole(always(answer), Plan((1,), (), 0.1)))


def test_a_first_answer_that_never_comes_stops() -> None:
    with pytest.raises(NotServing, match="gave no answer to case"):
        asyncio.run(whole(always(b""), Plan((1,), (), 0.1)))


def test_nobody_there_is_said() -> None:
    async def nobody() -> None:
        async with serving(always(OK)) as address:
            pass
        await Generator(address, [ASKED]).first_answers()

    with pytest.raises(NotServing, match="does not answer"):
        asyncio.run(nobody())


def test_a_first_answer_of_a_server_in_trouble_is_not_the_inputs_fault() -> None:
    with pytest.raises(NotServing, match=r"case: .* answered 503"):
        asyncio.run(whole(always(BUSY), Plan((1,), (), 0.1)))
