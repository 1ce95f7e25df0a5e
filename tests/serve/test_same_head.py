"""A connection that sends the same head again is answered as many fresh ones: the kept head changes nothing.

No sockets: the connection's own calls, one for each read, so that every cut is where the test wants it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.serve.running import Clock

from sealift.serve.http.connections import Connections
from sealift.serve.http.limits import HttpLimits
from sealift.serve.http.message import Outcome, Reply, Request, problem
from sealift.serve.http.protocol import HttpConnection

LIMITS = HttpLimits(head_bytes=2048, headers=20, body_bytes=1000, total_body_bytes=2500)


class Transport:
    """Remembers what was written."""

    def __init__(self) -> None:
        self.written = b""
        self.ended = False

    def write(self, data: bytes) -> None:
        assert not self.ended
        self.written += data

    def writelines(self, parts: Sequence[bytes]) -> None:
        self.write(b"".join(parts))

    def write_eof(self) -> None:
        self.ended = True

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return self.ended

    def close(self) -> None:
        self.ended = True

    abort = close

    def pause_reading(self) -> None:
        """The test goes on by itself."""

    resume_reading = pause_reading


class App:
    """Echoes; `/refused` is nowhere, `/slow` waits, and everything is refused while `refusing`."""

    def __init__(self) -> None:
        self.refusing = False
        self.waiting: list[Request] = []
        self.admitted: list[Request] = []
        self.finished_requests: list[Request] = []

    def admit(self, request: Request) -> Reply | None:
        assert request.route in (None, request.path), "a kept head brings its own route"
        request.route = request.path
        self.admitted.append(request)
        if self.refusing:
            return problem(503, "overloaded", "later")
        if request.path.startswith(b"/refused"):
            return problem(404, "not_found", "no such path")
        if request.method not in (b"GET", b"HEAD", b"POST"):
            return problem(405, "method_not_allowed", "no such method", headers=(("Allow", "GET"),))
        return None

    def again(self, request: Request) -> Outcome:
        request.refusal = self.admit(request)
        return request.refusal or self.answer(request)

    def answer(self, request: Request) -> Outcome:
        if request.path == b"/boom" and request.body == b"boom!":
            raise RuntimeError("a route that fails")
        if request.path == b"/slow":
            self.waiting.append(request)
            return None
        headers = b",".join(name + b"=" + value for name, value in sorted(request.headers.items()))
        line = b"%b %b?%b|" % (request.method, request.path, request.query)
        return Reply(200, line + headers + b"|" + request.body)

    def finished(self, request: Request, status: int, sent: int, now: float) -> None:
        assert (request.route is not None) == any(one is request for one in self.admitted)
        assert all(one is not request for one in self.finished_requests)
        assert now >= request.arrived
        self.finished_requests.append(request)


class Connection(HttpConnection):
    """Counts how often the kept head was used."""

    taken = 0

    def _take_again(self, data: bytes) -> None:
        self.taken += 1
        super()._take_again(data)


class Server:
    """The front without sockets."""

    def __init__(self) -> None:
        self.app = App()
        self.connections = Connections(self.app, "fraud@1.0.0", LIMITS, Clock())

    def connect(self) -> tuple[Connection, Transport]:
        connection, transport = Connection(self.connections), Transport()
        connection.connection_made(cast(asyncio.BaseTransport, transport))
        return connection, transport

    def alone(self, data: bytes) -> tuple[bytes, bool]:
        """What a fresh connection answers to it, and whether it is closed then."""
        connection, transport = self.connect()
        connection.data_received(data)
        written, ended = transport.written, transport.ended
        connection.connection_lost(None)
        return without_noise(written), ended

    def together(self, pieces: Sequence[bytes]) -> tuple[bytes, Connection]:
        """What one connection answers to all of it."""
        connection, transport = self.connect()
        for piece in pieces:
            connection.data_received(piece)
        connection.connection_lost(None)
        return without_noise(transport.written), connection


def without_noise(answer: bytes) -> bytes:
    """No date, and no request id of the server's own."""
    answer = re.sub(rb"\r\nDate: [^\r]+", b"", answer)
    return re.sub(rb"\r\nX-Request-Id: [0-9a-f]{12}-[0-9a-f]+", b"\r\nX-Request-Id: *", answer)


def request(
    body: bytes | None,
    path: bytes = b"/echo",
    more: bytes = b"",
    method: bytes = b"POST",
    version: bytes = b"1.1",
) -> bytes:
    length = b"" if body is None else b"Content-Length: %d\r\n" % len(body)
    return b"%b %b HTTP/%b\r\nHost: box\r\n%b%b\r\n%b" % (method, path, version, length, more, body or b"")


def chunked(body: bytes) -> bytes:
    head = b"POST /echo HTTP/1.1\r\nHost: box\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


# ---------------------------------------------------------------------- what clients send

bodies = st.sampled_from([
    b"", b"{}", b"12345", b"abcde", b"\r\n\r\n1", b"\r\n\r\n\r", b"GET /", b"\x00\xff\r\n\t",
    request(None, b"/smuggled", method=b"GET"), request(b"x", b"/smuggled"),
    b"POST /echo HTTP/1.1\r\nHost: box\r\n\r\n",
])  # fmt: skip
plain = st.builds(
    request,
    bodies,
    st.sampled_from([b"/echo", b"/echo", b"/echo", b"/other?q=1", b"/refused"]),
    st.sampled_from(
        [b"", b"", b"", b"X-Request-Id: abc-7\r\n", b"X-Request-Id: a b\r\n", b"Content-Type: text/x\r\n"]
    ),
)
odd = st.one_of(
    st.builds(lambda method: request(None, method=method), st.sampled_from([b"GET", b"HEAD", b"OPTIONS"])),
    st.builds(lambda body: request(body, method=b"PUT"), bodies),
    st.builds(chunked, bodies),
    st.builds(lambda body: request(body, more=b"Expect: 100-continue\r\n"), bodies),
    st.builds(lambda body: request(body, more=b"Connection: keep-alive\r\n", version=b"1.0"), bodies),
    st.builds(lambda body: request(body, more=b"Connection: Upgrade\r\nUpgrade: h2c\r\n"), bodies),
    st.builds(lambda body: b"\r\n" + request(body), bodies),
    st.builds(lambda body: request(body) + b"\r\n", bodies),
)
last = st.sampled_from([
    request(b"12345", more=b"Connection: close\r\n"), request(b"12345", version=b"1.0"), request(b"x" * 1001),
    request(b"12345", more=b"Content-Length: 5\r\n"), b"nonsense\r\n\r\n",
    request(b"12345", more=b"Expect: miracle\r\n"),
])  # fmt: skip


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[bytes], list[bytes]]:
    """Requests, some of them over and over, and the reads in which they arrive."""
    kinds = draw(st.lists(plain | plain | odd, min_size=1, max_size=4))
    requests = draw(st.lists(st.sampled_from(kinds) | plain, min_size=1, max_size=10))
    if draw(st.integers(0, 3)) == 0:
        requests.insert(draw(st.integers(0, len(requests))), draw(last))
    pieces: list[bytes] = []
    for each in requests:
        cuts = sorted(draw(st.just([]) | st.just([]) | st.lists(st.integers(0, len(each)), max_size=3)))
        parts = [each[a:b] for a, b in zip([0, *cuts], [*cuts, len(each)], strict=True)]
        if pieces and draw(st.integers(0, 4)) == 0:
            pieces[-1] += parts.pop(0)  # with the end of the one before, in one read
        pieces += [part for part in parts if part]
    return requests, pieces


@settings(max_examples=150, deadline=None)
@given(conversations())
@example(([request(b"12345")] * 2, [request(b"12345")[:-2], b"45" + request(b"12345")]))
@example(([request(b"12345")] * 3, [request(b"12345"), request(b"12345") * 2]))
def test_a_kept_connection_gets_what_fresh_ones_get(conversation: tuple[list[bytes], list[bytes]]) -> None:
    requests, pieces = conversation
    server = Server()
    expected = b""
    for each in requests:
        answer, closes = server.alone(each)
        expected += answer
        if closes:
            break
    found, _ = server.together(pieces)
    assert found == expected
    assert server.connections.held_bytes == 0
    assert len(server.app.admitted) <= len(server.app.finished_requests)


# ---------------------------------------------------------------------- when the head is kept


@pytest.mark.parametrize(
    "first",
    [
        request(b"12345"),
        request(None, method=b"GET"),
        request(None, method=b"HEAD"),
        request(b""),
        request(b"12345", more=b"X-Request-Id: abc-7\r\n"),
        request(b"\r\n\r\nx"),
        request(b"12345", more=b"Connection: Upgrade\r\nUpgrade: h2c\r\n"),
    ],
)
def test_the_same_head_is_read_once(first: bytes) -> None:
    server = Server()
    expected, _ = server.alone(first)
    found, connection = server.together([first] * 4)
    assert found == expected * 4
    assert connection.taken == 3


@pytest.mark.parametrize(
    "first",
    [
        chunked(b"12345"),
        request(b"12345", more=b"Expect: 100-continue\r\n"),
        request(b"12345", more=b"Connection: keep-alive\r\n", version=b"1.0"),
        request(b"12345", b"/refused"),
        request(b"12345", method=b"PUT"),
        b"\r\n\r\n" + request(b"12345"),
        request(b"12345") + b"\r\n",
        request(b"12345") * 2,
        request(b"12345", more=b"Connection: close\r\n"),
        request(b"12345", version=b"1.0"),
        request(b"x" * 1001),
    ],
    ids=[
        "chunked", "expect", "1.0 kept", "404", "405", "blank lines before", "a blank line behind", "two at once",
        "close", "1.0", "413",
    ],
)  # fmt: skip
def test_what_is_not_one_plain_request_is_read_anew_each_time(first: bytes) -> None:
    _, connection = Server().together([first] * 4)
    assert connection.taken == 0


def test_another_head_in_between_ends_what_was_kept() -> None:
    server = Server()
    a, b = request(b"12345"), request(b"12345", more=b"X-A: 1\r\n")
    _, connection = server.together([a, a, b, a, b, b])
    assert connection.taken == 2


@pytest.mark.parametrize("cut", [1, 20, len(request(b"12345")) - 5, len(request(b"12345")) - 1])
def test_a_request_that_comes_in_pieces_is_never_taken_for_a_whole_one(cut: int) -> None:
    server, whole = Server(), request(b"12345")
    found, connection = server.together([whole, whole[:cut], whole[cut:], whole, whole])
    assert found == server.alone(whole)[0] * 4
    assert connection.taken == 1


def test_a_body_that_is_a_request_stays_a_body() -> None:
    server = Server()
    inner = request(b"x", b"/smuggled")
    outer = request(inner)
    found, _ = server.together([outer, outer, outer[: -len(inner)], inner, inner])
    assert found == server.alone(outer)[0] * 3 + server.alone(inner)[0]


def test_ids_of_the_clients_are_echoed_and_others_are_new_each_time() -> None:
    server = Server()
    connection, transport = server.connect()
    for _ in range(5):
        connection.data_received(request(b"12345"))
    found = re.findall(rb"X-Request-Id: (\S+)", transport.written)
    assert len(set(found)) == 5
    connection.connection_lost(None)
    connection, transport = server.connect()
    for _ in range(3):
        connection.data_received(request(b"12345", more=b"X-Request-Id: abc-7\r\n"))
    assert re.findall(rb"X-Request-Id: (\S+)", transport.written) == [b"abc-7"] * 3


def statuses(transport: Transport) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", transport.written)]


def test_a_kept_head_is_admitted_each_time() -> None:
    """Overload begins and ends between two requests of one connection."""
    server = Server()
    connection, transport = server.connect()
    for refusing in (False, True, True, False):
        server.app.refusing = refusing
        connection.data_received(request(b"12345"))
    assert statuses(transport) == [200, 503, 503, 200]
    assert connection.taken == 3
    assert len(server.app.admitted) == len(server.app.finished_requests) == 4
    assert server.connections.held_bytes == 0


def test_all_bodies_together_stay_bounded() -> None:
    """Each of them waits for its answer; the third would be too much."""
    asyncio.run(three_large_bodies())


async def three_large_bodies() -> None:
    server = Server()
    made = [server.connect() for _ in range(3)]
    body = b"x" * 900
    for connection, transport in made:
        connection.data_received(request(b"y" * 900, b"/slow"))
        server.app.waiting[-1].connection.reply(server.app.waiting[-1], Reply(200, b"ok"))
        await asyncio.sleep(0)  # answers of several connections go out together
        assert statuses(transport) == [200]
    for connection, _ in made:
        connection.data_received(request(body, b"/slow"))
        assert connection.taken == 1
    assert server.connections.held_bytes == 1800
    assert [statuses(transport) for _, transport in made] == [[200], [200], [200, 503]]
    assert made[2][1].ended
    for connection, _ in made:
        connection.connection_lost(None)
    assert server.connections.held_bytes == 0
    assert len(server.app.finished_requests) == 6


def test_one_that_is_sent_before_the_answer_waits_its_turn() -> None:
    server = Server()
    connection, transport = server.connect()
    for body in (b"first", b"secon", b"third"):
        connection.data_received(request(body, b"/slow"))
    assert [waiting.body for waiting in server.app.waiting] == [b"first"]
    for _ in range(3):
        waiting = server.app.waiting[-1]
        waiting.connection.reply(waiting, Reply(200, waiting.body))
    assert re.findall(rb"\r\n\r\n(\w{5})", transport.written) == [b"first", b"secon", b"third"]
    assert connection.taken == 2


def test_a_client_that_goes_away_abandons_what_it_asked_with_a_kept_head() -> None:
    server = Server()
    connection, _ = server.connect()
    connection.data_received(request(b"first", b"/slow"))
    server.app.waiting[0].connection.reply(server.app.waiting[0], Reply(200, b"ok"))
    connection.data_received(request(b"secon", b"/slow"))
    connection.connection_lost(None)
    assert server.app.waiting[1].abandoned
    assert server.connections.held_bytes == 0
    answers: list[Any] = [one.body for one in server.app.finished_requests]
    assert answers == [b"first", b""]


def test_draining_closes_after_a_kept_head_too() -> None:
    server = Server()
    connection, transport = server.connect()
    connection.data_received(request(b"12345"))
    server.connections.drain(0.0)
    connection.data_received(request(b"abcde"))
    assert transport.written.count(b"Connection: close") == 1
    assert transport.ended
    connection.data_received(request(b"abcde"))
    assert statuses(transport) == [200, 200]


def test_a_route_that_fails_on_a_kept_head_answers_500(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    connection, transport = server.connect()
    for body in (b"quiet", b"boom!"):
        connection.data_received(request(body, b"/boom"))
    assert connection.taken == 1
    assert statuses(transport) == [200, 500]
    assert transport.ended
    assert "a route that fails" in caplog.text
    assert server.connections.held_bytes == 0
