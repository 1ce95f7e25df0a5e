"""The connection's rules, through real sockets: framing, order, limits, time-outs, refusals."""

from __future__ import annotations

import re
import socket
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.serve.running import Front

from sealift.serve.http.limits import HttpLimits
from sealift.serve.http.message import Reply
from sealift.serve.http.protocol import Reading

HOST = b"Host: box\r\n"


def get(path: bytes = b"/echo", more: bytes = b"") -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\n" + HOST + more + b"\r\n"


def post(body: bytes, path: bytes = b"/echo", more: bytes = b"") -> bytes:
    length = b"Content-Length: %d\r\n" % len(body)
    return b"POST " + path + b" HTTP/1.1\r\n" + HOST + length + more + b"\r\n" + body


def chunked(*chunks: bytes, path: bytes = b"/echo", more: bytes = b"", trailer: bytes = b"") -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    head = b"POST " + path + b" HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n" + more + b"\r\n"
    return head + body + b"0\r\n" + trailer + b"\r\n"


def test_every_answer_names_release_request_id_and_date(front: Front) -> None:
    answer = front.ask(get(more=b"X-Request-Id: order-66\r\n"))
    assert answer.status == 200
    assert answer.headers["x-sealift-release"] == "fraud@1.0.0"
    assert answer.headers["x-request-id"] == "order-66"
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} gmt", answer.headers["date"])


@pytest.mark.parametrize("bad", [b"", b"a b", b"x" * 129, b"\xff\xfe", b"tab\tbed"])
def test_an_insane_request_id_is_replaced(front: Front, bad: bytes) -> None:
    answer = front.ask(get(more=b"X-Request-Id: " + bad + b"\r\n"))
    assert re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", answer.headers["x-request-id"])


def test_new_request_ids_differ(front: Front) -> None:
    with front.connect() as client:
        ids = {client.send(get()).answer().headers["x-request-id"] for _ in range(20)}
    assert len(ids) == 20


def test_a_connection_is_kept_and_its_query_is_split_off(front: Front) -> None:
    with front.connect() as client:
        for number in range(3):
            path = b"/echo?n=%d" % number
            assert client.send(get(path)).answer().body == b"GET /echo?n=%d|" % number


def test_pipelined_requests_are_answered_in_order_even_behind_a_slow_one(front: Front) -> None:
    with front.connect() as client:
        client.send(get(b"/slow") + post(b"second") + get(b"/echo?third"))
        front.app.arrived.acquire(timeout=10)
        front.resolve(Reply(200, b"first"))
        assert [client.answer().body for _ in range(3)] == [
            b"first",
            b"POST /echo?|second",
            b"GET /echo?third|",
        ]


def test_a_thousand_pipelined_requests_are_all_answered(front: Front) -> None:
    with front.connect() as client:
        client.send(b"".join(get(b"/echo?%d" % number) for number in range(1000)))
        for number in range(1000):
            assert client.answer().body == b"GET /echo?%d|" % number


def test_head_has_the_headers_of_get_and_no_body(front: Front) -> None:
    with front.connect() as client:
        client.send(get().replace(b"GET", b"HEAD") + get(b"/echo?next"))
        assert client.answer(head_only=True).headers["content-length"] == str(len(b"HEAD /echo?|"))
        assert client.answer().body == b"GET /echo?next|"


def test_http_1_0_closes_unless_asked_to_stay(front: Front) -> None:
    with front.connect() as client:
        client.send(b"GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert client.answer().headers["connection"] == "keep-alive"
        client.send(b"GET /echo HTTP/1.0\r\n\r\n")
        assert client.answer().headers["connection"] == "close"
        assert client.is_closed()


def test_connection_close_is_honoured(front: Front) -> None:
    with front.connect() as client:
        answer = client.send(get(more=b"Connection: close\r\n") + get()).answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert client.is_closed()


def test_an_absolute_request_target_is_understood(front: Front) -> None:
    assert front.ask(get(b"http://box:8000/echo?a=1")).body == b"GET /echo?a=1|"


def test_an_answer_of_several_buffers_arrives_in_one_piece(front: Front) -> None:
    assert front.ask(get(b"/parts")).body == b"onetwothree"


def test_chunked_bodies_are_joined_and_trailers_ignored(front: Front) -> None:
    with front.connect() as client:
        client.send(chunked(b"one", b"two", trailer=b"X-Request-Id: stolen\r\nHost: evil\r\n"))
        assert client.answer().body == b"POST /echo?|onetwo"
        assert client.send(get()).answer().headers["x-request-id"] != "stolen"


def test_a_client_is_told_to_continue_only_once_its_headers_are_accepted(front: Front) -> None:
    expect = b"Content-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    with front.connect() as client:
        client.send(b"POST /echo HTTP/1.1\r\n" + HOST + expect)
        assert client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert client.send(b"body").answer().body == b"POST /echo?|body"
    with front.connect() as client:
        answer = client.send(b"POST /refused HTTP/1.1\r\n" + HOST + expect).answer()
        assert (answer.status, answer.headers["connection"]) == (404, "close")


def test_the_continue_of_a_pipelined_request_waits_for_the_answer_before_it(front: Front) -> None:
    with front.connect() as client:
        client.send(
            get(b"/slow")
            + b"POST /echo HTTP/1.1\r\n"
            + HOST
            + b"Content-Length: 1\r\nExpect: 100-continue\r\n\r\n"
        )
        front.app.arrived.acquire(timeout=10)
        front.resolve(Reply(200, b"first"))
        assert client.answer().body == b"first"
        assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 100")
        assert client.send(b"!").answer().body == b"POST /echo?|!"


def test_an_unknown_expectation_is_refused(front: Front) -> None:
    assert front.ask(post(b"x", more=b"Expect: a-miracle\r\n")).status == 417


def test_an_offered_upgrade_is_ignored_and_the_body_is_still_read(front: Front) -> None:
    """Java's HttpClient offers h2c on every plain request."""
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    with front.connect() as client:
        assert client.send(post(b"payload", more=offer) + get()).answer().body == b"POST /echo?|payload"
        assert client.answer().body == b"GET /echo?|"
        assert client.send(get(more=offer)).answer().body == b"GET /echo?|"
        assert client.send(chunked(b"one", b"two", more=offer)).answer().body == b"POST /echo?|onetwo"
        client.send(post(b"", more=offer)[:-2])
        assert client.send(b"\r\n").answer().body == b"POST /echo?|"
        assert client.send(post(b"end")).answer().body == b"POST /echo?|end"


def test_a_thousand_pipelined_offers_of_an_upgrade_are_all_answered(front: Front) -> None:
    offer = get(more=b"Connection: Upgrade\r\nUpgrade: websocket\r\n")
    with front.connect() as client:
        client.send(offer * 3000)
        assert [client.answer().status for _ in range(3000)] == [200] * 3000


def test_a_refusal_behind_an_offered_upgrade_keeps_its_own_status(front: Front) -> None:
    offer = get(more=b"Connection: Upgrade\r\nUpgrade: websocket\r\n")
    with front.connect() as client:
        client.send(offer + get(more=b"Host: other\r\n"))
        assert [client.answer().status for _ in range(2)] == [200, 400]
        assert client.is_closed()


def test_tiny_chunks_become_one_body_and_a_flood_of_them_is_refused() -> None:
    front = Front(HttpLimits())
    try:
        with front.connect() as client:
            body = b"".join(b"%d" % (number % 10) for number in range(5000))
            client.send(chunked(*(body[at : at + 1] for at in range(5000))))
            assert client.answer().body == b"POST /echo?|" + body
            client.send(chunked(*[b"x"] * 100_000))
            assert client.answer().json()["error"] == "chunk extensions or trailers are too long"
            assert client.is_closed()
    finally:
        front.close()


@pytest.mark.parametrize(
    "field", [b"Connection: close", b"upgrade: h2c", b"Proxy-Connection: close"], ids=str
)
def test_a_trailer_does_not_say_how_the_connection_goes_on(front: Front, field: bytes) -> None:
    with front.connect() as client:
        answer = client.send(chunked(b"x", trailer=field + b"\r\n")).answer()
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        assert client.is_closed()


def test_a_request_told_again_on_its_connection_counts_against_the_bodies_bound(front: Front) -> None:
    request = post(b"x" * 1000, b"/slow")
    clients = [front.connect() for _ in range(3)]
    for number, client in enumerate(clients):
        client.send(request)
        front.app.arrived.acquire(timeout=10)
        front.resolve(Reply(200, b"ok"), number)
        assert client.answer().status == 200
    for client in clients[:2]:
        client.send(request)
        front.app.arrived.acquire(timeout=10)
    answer = clients[2].send(request).answer()
    assert (answer.status, answer.json()["code"]) == (503, "busy")
    for number, client in enumerate(clients):
        if number < 2:
            front.resolve(Reply(200, b"ok"), 3 + number)
            assert client.answer().status == 200
        client.socket.close()
    assert front.thread.call(lambda: front.connections.held_bytes) == 0


def test_connect_is_refused(front: Front) -> None:
    assert front.ask(b"CONNECT bank:443 HTTP/1.1\r\n" + HOST + b"\r\n").status in (400, 405)


SMUGGLING = {
    "length and transfer encoding": post(b"x", more=b"Transfer-Encoding: chunked\r\n"),
    "transfer encoding and length": get(more=b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"),
    "two lengths": post(b"x", more=b"Content-Length: 2\r\n"),
    "the same length twice": post(b"x", more=b"Content-Length: 1\r\n"),
    "a list of lengths": get(more=b"Content-Length: 1, 1\r\n"),
    "a signed length": get(more=b"Content-Length: +1\r\n"),
    "a hexadecimal length": get(more=b"Content-Length: 0x1\r\n"),
    "a negative length": get(more=b"Content-Length: -1\r\n"),
    "a huge length": get(more=b"Content-Length: 99999999999999999999999\r\n"),
    "a space before the colon": get(more=b"Content-Length : 1\r\n"),
    "transfer encoding in HTTP/1.0": b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an unknown transfer encoding": get(more=b"Transfer-Encoding: gzip, chunked\r\n"),
    "transfer encoding twice": get(more=b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
    "chunked not last": get(more=b"Transfer-Encoding: chunked, identity\r\n"),
    "an obscured transfer encoding": get(more=b"Transfer-Encoding: xchunked\r\n"),
    "a folded header": get(more=b"X-A: 1\r\n 2\r\n"),
    "a bare line feed": b"GET /echo HTTP/1.1\nHost: box\n\n",
    "no host": b"GET /echo HTTP/1.1\r\n\r\n",
    "two hosts": get(more=b"Host: other\r\n"),
    "a null byte in a header": get(more=b"X-A: a\x00b\r\n"),
    "a bad chunk size": chunked().replace(b"0\r\n", b"zz\r\n"),
    "a bare line feed after a chunk size": chunked(b"abc").replace(b"3\r\n", b"3\n"),
    "an unknown method": get().replace(b"GET", b"BREW2"),
    "a wrong version": get().replace(b"HTTP/1.1", b"HTTP/2.0"),
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n",
}


@pytest.mark.parametrize("name", SMUGGLING)
def test_ambiguous_framing_is_refused_and_the_connection_closed(front: Front, name: str) -> None:
    with front.connect() as client:
        answer = client.send(SMUGGLING[name] + get(b"/smuggled")).answer()
        assert answer.status in (400, 413, 501, 505), answer
        assert set(answer.json()) == {"error", "code"}
        assert answer.headers["connection"] == "close"
        assert client.is_closed()
    assert (b"/smuggled", 200) not in front.app.finishes


def test_a_refusal_keeps_its_place_behind_earlier_requests(front: Front) -> None:
    with front.connect() as client:
        client.send(get(b"/slow") + b"nonsense\r\n\r\n")
        front.app.arrived.acquire(timeout=10)
        front.resolve(Reply(200, b"first"))
        assert client.answer().body == b"first"
        assert client.answer().status == 400
        assert client.is_closed()


def test_a_large_body_is_refused_on_its_headers(front: Front) -> None:
    with front.connect() as client:
        answer = client.send(post(b"")[:-2].replace(b": 0", b": 1001") + b"\r\n").answer()
        assert (answer.status, answer.json()["code"]) == (413, "too_large")
        assert client.is_closed()


def test_a_client_that_sends_its_large_body_anyway_still_reads_the_refusal(front: Front) -> None:
    body = b"x" * 3_000_000
    with front.connect() as client:
        assert client.send(post(body)).answer().status == 413
        assert client.is_closed()


def test_a_chunked_body_is_refused_as_soon_as_it_is_too_large(front: Front) -> None:
    with front.connect() as client:
        head = b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
        answer = client.send(head + (b"100\r\n" + b"x" * 256 + b"\r\n") * 4).answer()
        assert answer.status == 413
        assert client.is_closed()
    assert front.thread.call(lambda: front.connections.held_bytes) == 0


def test_all_bodies_together_are_bounded(front: Front) -> None:
    with front.connect() as one, front.connect() as two, front.connect() as three:
        for client in (one, two):
            client.send(post(b"x" * 1000, b"/slow"))
            front.app.arrived.acquire(timeout=10)
        answer = three.send(post(b"x" * 900)).answer()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        for number, client in enumerate((one, two)):
            front.resolve(Reply(200, b"ok"), number)
            assert client.answer().body == b"ok"
    assert front.thread.call(lambda: front.connections.held_bytes) == 0


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 3000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        get(more=b"X-Long: " + b"a" * 3000 + b"\r\n"),
        get(more=b"".join(b"X-%d: 1\r\n" % number for number in range(30))),
        get(more=b"X-Same: 1\r\n" * 30),
    ],
    ids=["target", "one header", "many headers", "repeated headers"],
)
def test_heads_are_bounded(front: Front, head: bytes) -> None:
    answer = front.ask(head)
    assert (answer.status, answer.json()["code"]) == (431, "headers_too_large")


def test_a_head_that_never_ends_is_refused(front: Front) -> None:
    with front.connect() as client:
        client.send(b"GET /echo HTTP/1.1\r\nX-A: ")
        front.thread.call(lambda: None)
        client.send(b"a" * 1500)
        front.thread.call(lambda: None)
        client.send(b"a" * 1500)
        assert client.answer().status == 431


def test_endless_chunk_extensions_are_refused(front: Front) -> None:
    with front.connect() as client:
        client.send(b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1;")
        for _ in range(6):
            client.send(b"a" * 20_000)
            front.thread.call(lambda: None)
        assert client.answer().status == 400


def test_a_refusal_without_a_body_keeps_the_connection(front: Front) -> None:
    with front.connect() as client:
        assert client.send(post(b"small", b"/refused")).answer().status == 404
        assert client.send(get()).answer().status == 200


def test_an_idle_connection_is_closed_after_its_time(front: Front) -> None:
    with front.connect() as client:
        assert client.send(get()).answer().status == 200
        front.pass_time(74)
        assert client.send(get()).answer().status == 200
        front.pass_time(76)
        assert client.is_closed()


@pytest.mark.parametrize(
    ("part", "seconds"), [(b"GET /echo HT", 11), (post(b"12345")[:-2], 61)], ids=["head", "body"]
)
def test_a_request_that_trickles_in_is_given_up(front: Front, part: bytes, seconds: float) -> None:
    with front.connect() as client:
        client.send(part)
        front.wait_until(lambda connection: connection._reading in (Reading.HEAD, Reading.BODY))
        front.pass_time(seconds)
        answer = client.answer()
        assert (answer.status, answer.json()["code"]) == (408, "request_timeout")
        assert client.is_closed()


def test_many_connections_are_looked_at_in_parts_and_each_of_them_once(front: Front) -> None:
    clients = [front.connect() for _ in range(7)]
    for client in clients:
        assert client.send(get()).answer().status == 200
    parts = front.thread.call(lambda: front.connections.parts(3))
    assert [len(part) for part in parts] == [3, 3, 1]
    clients[0].socket.close()
    front.wait_until(lambda _: len(front.connections) == 6)

    def look() -> None:
        front.clock.now += 76
        for part in parts:  # one of them has gone meanwhile
            front.connections.expire(front.clock.now, part)

    front.thread.call(look)
    for client in clients[1:]:
        assert client.is_closed()
        client.socket.close()
    front.wait_until(None)
    assert front.thread.call(lambda: front.connections.parts(3)) == [()]


def test_the_sweeper_finds_whoever_took_too_long(front: Front) -> None:
    with front.connect() as client:
        client.send(b"GET /")
        front.wait_until(lambda connection: connection._reading is Reading.HEAD)
        sweeping = front.thread.call(lambda: front.thread.loop.create_task(front.server.sweep(0.01)))
        front.clock.now += 11
        assert client.answer().status == 408
        front.thread.call(sweeping.cancel)


def test_a_slow_answer_is_no_reason_to_close(front: Front) -> None:
    with front.connect() as client:
        client.send(get(b"/slow"))
        front.app.arrived.acquire(timeout=10)
        front.pass_time(1000)
        front.resolve(Reply(200, b"late"))
        assert client.answer().body == b"late"
        front.pass_time(70)
        assert client.send(get()).answer().status == 200


def test_a_client_that_does_not_read_is_paused_and_finally_dropped(front: Front) -> None:
    with front.connect() as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.send(get(b"/big?3000000") * 40)
        front.wait_until(lambda connection: connection._stalled_at is not None)
        answered = front.thread.call(lambda: len(front.app.finishes))
        assert answered < 40
        front.pass_time(61)
        front.wait_until(None)
    assert front.thread.call(lambda: len(front.app.finishes)) <= 40


def test_a_client_that_reads_late_gets_everything(front: Front) -> None:
    with front.connect() as client:
        client.send(get(b"/big?1000000") * 10)
        front.wait_until(lambda connection: connection._stalled_at is not None)
        for _ in range(10):
            assert len(client.answer().body) == 1_000_000


def test_work_for_a_client_that_has_gone_is_cancelled(front: Front) -> None:
    with front.connect() as client:
        client.send(post(b"x" * 100, b"/slow"))
        front.app.arrived.acquire(timeout=10)
    front.app.ended.acquire(timeout=10)
    assert front.app.pending[0].abandoned
    assert front.app.finishes == [(b"/slow", 499)]
    assert front.thread.call(lambda: front.connections.held_bytes) == 0


def test_a_route_that_fails_gives_500_and_the_server_lives(
    front: Front, caplog: pytest.LogCaptureFixture
) -> None:
    answer = front.ask(get(b"/boom"))
    assert (answer.status, answer.json()["code"]) == (500, "internal")
    assert "a route that fails" in caplog.text
    assert front.ask(get()).status == 200


def test_one_connection_too_many_is_told_so() -> None:
    front = Front(HttpLimits(connections=1))
    try:
        with front.connect() as first, front.connect() as second:
            answer = second.answer()
            assert (answer.status, answer.json()["code"]) == (503, "too_many_connections")
            assert first.send(get()).answer().status == 200
    finally:
        front.close()


def test_draining_answers_what_is_here_and_closes(front: Front) -> None:
    with front.connect() as busy, front.connect() as idle, front.connect() as late:
        busy.send(get(b"/slow"))
        front.app.arrived.acquire(timeout=10)
        for client in (idle, late):
            assert "connection" not in client.send(get()).answer().headers
        draining = front.thread.loop.create_task
        task = front.thread.call(lambda: draining(front.server.drain(30, grace_s=5)))
        front.pass_time(1)
        answer = late.send(get()).answer()  # an idle connection is still served once
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert late.is_closed()
        front.pass_time(5)
        assert idle.is_closed()
        with pytest.raises(ConnectionRefusedError):
            front.connect()
        front.resolve(Reply(200, b"done"))
        answer = busy.answer()
        assert (answer.body, answer.headers["connection"]) == (b"done", "close")
        assert busy.is_closed()
    front.thread.run(_wait_for(task))


async def _wait_for(task: object) -> None:
    assert await task == 0  # type: ignore[misc]


def test_draining_ends_in_time_whatever_is_open(front: Front) -> None:
    with front.connect() as client:
        client.send(get(b"/slow"))
        front.app.arrived.acquire(timeout=10)
        assert front.thread.run(front.server.drain(0.05, 0)) == 1
        assert client.is_closed()


STREAM = (
    post(b"one", more=b"X-Request-Id: a\r\n")
    + chunked(b"two", b"three", trailer=b"X-T: 1\r\n")
    + get(b"/echo?q", more=b"Upgrade: h2c\r\nConnection: Upgrade\r\n")
    + post(b"four", more=b"Upgrade: h2c\r\nConnection: Upgrade\r\n")
    + get(b"/refused")
    + post(b"five" * 50)
)
EXPECTED = [
    b"POST /echo?|one",
    b"POST /echo?|twothree",
    b"GET /echo?q|",
    b"POST /echo?|four",
    None,
    b"POST /echo?|" + b"five" * 50,
]


@given(st.sets(st.integers(1, len(STREAM) - 1), max_size=12))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_answers_do_not_depend_on_where_the_stream_is_cut(front: Front, cuts: set[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    with front.connect() as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start, end in pairwise(edges):
            client.send(STREAM[start:end])
            front.thread.call(lambda: None)
        answers = [client.answer() for _ in EXPECTED]
    assert [answer.body if answer.status == 200 else None for answer in answers] == EXPECTED


@given(
    st.one_of(
        st.binary(max_size=300),
        st.lists(
            st.sampled_from([*SMUGGLING.values(), STREAM, b"\r\n", b"0\r\n\r\n", b"\x00"]), max_size=4
        ).map(b"".join),
        st.tuples(st.integers(0, len(STREAM) - 1), st.binary(min_size=1, max_size=4)).map(
            lambda flip: STREAM[: flip[0]] + flip[1] + STREAM[flip[0] + len(flip[1]) :]
        ),
    )
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_kill_the_server(front: Front, data: bytes) -> None:
    with front.connect() as client:
        client.send(data)
        client.socket.shutdown(socket.SHUT_WR)
        while not client.is_closed():
            pass
    assert front.ask(get()).status == 200
    assert front.thread.call(lambda: front.connections.held_bytes) == 0
