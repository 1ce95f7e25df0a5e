"""HTTP/2 by itself: the h2 library as the client, frames written by hand where a client would not behave."""

from __future__ import annotations

from collections.abc import Sequence

import h2.config
import h2.connection
import h2.events
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealift.serve.grpc import frames
from sealift.serve.grpc.frames import Code, frame
from sealift.serve.grpc.http2 import Http2
from sealift.serve.grpc.stream import Http2Error, Http2Limits, Stream

REQUEST = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/a/b"),
    (b":authority", b"box"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
)
OPENING = frames.PREFACE + frames.settings(())


class Server:
    """Notes what comes, answers only when told."""

    def __init__(self, limits: Http2Limits | None = None) -> None:
        self.http2 = Http2(self, limits or Http2Limits())
        self.seen: list[tuple[str, int]] = []
        self.bodies: dict[int, bytes] = {}
        self.streams: dict[int, Stream] = {}

    def began(self, stream: Stream) -> None:
        self.seen.append(("began", stream.number))
        self.streams[stream.number] = stream
        self.bodies[stream.number] = b""

    def received(self, stream: Stream, piece: memoryview) -> None:
        self.bodies[stream.number] += bytes(piece)

    def ended(self, stream: Stream) -> None:
        self.seen.append(("ended", stream.number))

    def cancelled(self, stream: Stream) -> None:
        self.seen.append(("cancelled", stream.number))

    def take(self) -> bytes:
        return b"".join(self.http2.take())

    def answer(self, number: int, *parts: bytes) -> None:
        head, trailers = b"\x88", frames.literal(b"grpc-status", b"0")
        self.http2.sender.respond(self.streams[number], head, list(parts), trailers)


class Pair:
    """Our server and an h2 client, joined without a network."""

    def __init__(self, limits: Http2Limits | None = None) -> None:
        self.server = Server(limits)
        self.client = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding=None)
        )
        self.client.initiate_connection()
        self.events: list[h2.events.Event] = []
        self.exchange()

    def exchange(self) -> None:
        for _ in range(50):
            sent = self.client.data_to_send()
            self.server.http2.receive(sent)
            answer = self.server.take()
            self.events += self.client.receive_data(answer) if answer else []
            if not sent and not answer:
                return
        raise AssertionError("they never stop talking")

    def request(self, body: bytes = b"", *, ends: bool = True) -> int:
        number = self.client.get_next_available_stream_id()
        self.client.send_headers(number, REQUEST)
        self.send(number, body, ends=ends)
        return number

    def send(self, number: int, body: bytes, *, ends: bool = True) -> None:
        while body:
            self.exchange()
            size = min(
                self.client.local_flow_control_window(number), self.client.max_outbound_frame_size, len(body)
            )
            assert size, "the window stays shut"
            self.client.send_data(number, body[:size])
            body = body[size:]
        if ends:
            self.client.end_stream(number)
        self.exchange()

    def received(self, number: int) -> bytes:
        found = b""
        for event in self.events:
            if isinstance(event, h2.events.DataReceived) and event.stream_id == number:
                found += event.data or b""
                self.client.acknowledge_received_data(event.flow_controlled_length or 0, number)
        return found

    def of(self, kind: type[h2.events.Event]) -> list[h2.events.Event]:
        return [event for event in self.events if isinstance(event, kind)]


def test_a_request_and_its_answer() -> None:
    pair = Pair()
    number = pair.request(b"hello")
    assert pair.server.bodies[number] == b"hello"
    assert pair.server.streams[number].headers[b":path"] == b"/a/b"
    pair.server.answer(number, b"wor", b"ld")
    pair.exchange()
    assert pair.received(number) == b"world"
    (trailers,) = pair.of(h2.events.TrailersReceived)
    assert isinstance(trailers, h2.events.TrailersReceived)
    assert trailers.headers == [(b"grpc-status", b"0")]
    assert pair.server.http2.streams == {}


def test_a_body_of_many_windows_arrives_once_it_is_wanted() -> None:
    pair = Pair(Http2Limits(window_bytes=1000))
    number = pair.request(b"x" * 500, ends=False)
    pair.server.http2.widen(pair.server.streams[number], 50_000_000)
    pair.exchange()
    body = bytes(range(256)) * 100_000
    pair.send(number, body)
    assert pair.server.bodies[number] == b"x" * 500 + body


def test_a_large_answer_waits_for_the_client_s_windows() -> None:
    pair = Pair()
    first, second = pair.request(), pair.request()
    body = bytes(range(256)) * 1000
    for number in (first, second):
        pair.server.answer(number, body)
    pair.exchange()
    came = sum(len(event.data or b"") for event in pair.events if isinstance(event, h2.events.DataReceived))
    assert came == frames.DEFAULT_WINDOW  # the connection's window is used up
    assert pair.server.http2.sender.waits_to_send
    found = {first: b"", second: b""}
    while pair.events:
        events, pair.events = pair.events, []
        for event in events:
            if isinstance(event, h2.events.DataReceived):
                found[event.stream_id or 0] += event.data or b""
                pair.client.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
        pair.exchange()
    assert found == {first: body, second: body}
    assert not pair.server.http2.sender.waits_to_send


def test_an_answer_waits_while_the_socket_is_full() -> None:
    pair = Pair()
    number = pair.request()
    pair.server.http2.sender.pause()
    pair.server.answer(number, b"later")
    pair.exchange()
    assert pair.received(number) == b""
    pair.server.http2.sender.resume()
    pair.exchange()
    assert pair.received(number) == b"later"


def test_streams_beyond_the_limit_are_refused_unread() -> None:
    """The client may send those again: REFUSED_STREAM says that nothing was done (RFC 9113 8.7)."""
    server = started(Http2Limits(streams=2))
    for number in (1, 3, 5):
        server.http2.receive(head(number))
    assert server.seen == [("began", 1), ("began", 3)]
    assert frame(frames.RST_STREAM, 0, 5, frames.WORD.pack(Code.REFUSED_STREAM)) in server.take()


def test_going_away_answers_all_that_was_sent_before_the_client_knew() -> None:
    server = started()
    server.http2.receive(head(1) + frame(frames.DATA, frames.END_STREAM, 1))
    server.http2.go_away()
    told = server.take()
    assert told.startswith(frames.goaway(frames.LARGEST, Code.NO_ERROR))
    ping = told[-8:]
    server.http2.receive(head(3, flags=frames.END_HEADERS | frames.END_STREAM))  # has not heard of it yet
    assert not server.http2.was_told
    known = frame(frames.PING, frames.ACK, 0, ping)
    server.http2.receive(
        known + head(5, flags=frames.END_HEADERS | frames.END_STREAM)
    )  # was under way behind it
    assert server.http2.was_told
    assert [number for what, number in server.seen if what == "ended"] == [1, 3, 5]
    for number in (1, 3, 5):
        assert not server.http2.is_over
        server.answer(number)
    assert server.http2.is_over
    assert server.http2.last_words() == frames.goaway(5, Code.NO_ERROR)


def test_an_early_answer_ends_what_is_still_being_sent() -> None:
    server = started()
    server.http2.receive(head(1))
    server.answer(1)
    assert frame(frames.RST_STREAM, 0, 1, frames.WORD.pack(Code.NO_ERROR)) in server.take()
    server.http2.receive(frame(frames.DATA, frames.END_STREAM, 1, b"late"))
    assert server.bodies[1] == b""


# ---------------------------------------------------------------------- clients that do not behave


def started(limits: Http2Limits | None = None) -> Server:
    server = Server(limits)
    server.http2.receive(OPENING + frame(frames.SETTINGS, frames.ACK, 0))
    server.take()
    return server


def block(*fields: tuple[bytes, bytes]) -> bytes:
    return b"".join(frames.literal(name, value) for name, value in fields or REQUEST)


def head(number: int, *fields: tuple[bytes, bytes], flags: int = frames.END_HEADERS) -> bytes:
    return frame(frames.HEADERS, flags, number, block(*fields))


BAD = {
    "no preface": (b"GET / HTTP/1.1\r\nHost: box\r\n\r\n", Code.PROTOCOL_ERROR),
    "no settings": (frames.PREFACE + frame(frames.PING, 0, 0, bytes(8)), Code.PROTOCOL_ERROR),
    "settings on a stream": (OPENING + frame(frames.SETTINGS, 0, 1), Code.PROTOCOL_ERROR),
    "half a setting": (OPENING + frame(frames.SETTINGS, 0, 0, b"abc"), Code.FRAME_SIZE_ERROR),
    "window too large": (
        OPENING + frames.settings(((frames.INITIAL_WINDOW_SIZE, 2**31),)), Code.FLOW_CONTROL_ERROR,
    ),
    "frame size too small": (OPENING + frames.settings(((frames.MAX_FRAME_SIZE, 100),)), Code.PROTOCOL_ERROR),
    "an even stream": (OPENING + head(2), Code.PROTOCOL_ERROR),
    "data on nothing": (OPENING + frame(frames.DATA, 0, 1, b"x"), Code.PROTOCOL_ERROR),
    "reset on nothing": (OPENING + frame(frames.RST_STREAM, 0, 1, bytes(4)), Code.PROTOCOL_ERROR),
    "window on nothing": (OPENING + frame(frames.WINDOW_UPDATE, 0, 1, b"\0\0\0\1"), Code.PROTOCOL_ERROR),
    "window of nothing": (OPENING + frame(frames.WINDOW_UPDATE, 0, 0, bytes(4)), Code.PROTOCOL_ERROR),
    "window overflow": (
        OPENING + frame(frames.WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), Code.FLOW_CONTROL_ERROR,
    ),
    "continuation alone": (OPENING + frame(frames.CONTINUATION, 4, 1, b""), Code.PROTOCOL_ERROR),
    "interrupted block": (OPENING + head(1, flags=0) + frame(frames.PING, 0, 0, bytes(8)), Code.PROTOCOL_ERROR),
    "another's continuation": (
        OPENING + head(1, flags=0) + frame(frames.CONTINUATION, 4, 3, b""), Code.PROTOCOL_ERROR,
    ),
    "bad header block": (OPENING + frame(frames.HEADERS, 4, 1, b"\xff\xff\xff\xff\xff\x7f"), Code.COMPRESSION_ERROR),
    "padding only": (OPENING + frame(frames.HEADERS, 0xC, 1, b"\x09ab"), Code.PROTOCOL_ERROR),
    "push": (OPENING + frame(frames.PUSH_PROMISE, 4, 1, bytes(4)), Code.PROTOCOL_ERROR),
    "large ping": (OPENING + frame(frames.PING, 0, 0, bytes(9)), Code.FRAME_SIZE_ERROR),
    "large frame": (OPENING + frame(frames.SETTINGS, 0, 0, bytes(6 * 4000)), Code.FRAME_SIZE_ERROR),
    "short priority": (OPENING + frame(frames.PRIORITY, 0, 1, bytes(4)), Code.PROTOCOL_ERROR),
}  # fmt: skip


@pytest.mark.parametrize("what", sorted(BAD))
def test_a_broken_connection_is_ended_with_the_code_of_the_rfc(what: str) -> None:
    sent, code = BAD[what]
    with pytest.raises(Http2Error) as caught:
        Server().http2.receive(sent)
    assert caught.value.code is code


FLOODS = {
    "ping": frame(frames.PING, 0, 0, bytes(8)),
    "settings": frames.settings(()),
    "priority": frame(frames.PRIORITY, 0, 1, bytes(5)),
}


@pytest.mark.parametrize("what", sorted(FLOODS))
def test_a_flood_of_frames_that_carry_nothing_is_ended(what: str) -> None:
    server = started(Http2Limits(controls=50))
    with pytest.raises(Http2Error) as caught:
        server.http2.receive(FLOODS[what] * 100)
    assert caught.value.code is Code.ENHANCE_YOUR_CALM


def test_a_client_that_cancels_and_cancels_is_ended() -> None:
    """Rapid reset (CVE-2023-44487)."""
    server = started(Http2Limits(controls=50))
    cancelled = [head(number) + frame(frames.RST_STREAM, 0, number, bytes(4)) for number in range(1, 1000, 2)]
    with pytest.raises(Http2Error) as caught:
        server.http2.receive(b"".join(cancelled))
    assert caught.value.code is Code.ENHANCE_YOUR_CALM
    assert len(server.streams) < 60


def test_header_floods_are_ended() -> None:
    """A block that never ends (CVE-2024-27316), and one that grows when it is decoded."""
    server = started(Http2Limits(head_bytes=2000))
    with pytest.raises(Http2Error) as caught:
        server.http2.receive(head(1, flags=0) + frame(frames.CONTINUATION, 0, 1, bytes(500)) * 10)
    assert caught.value.code is Code.ENHANCE_YOUR_CALM
    server = started(Http2Limits(head_bytes=2000))
    indexed = b"\x40\x01a\x7f\x49" + b"x" * 200  # into the table
    with pytest.raises(Http2Error) as caught:
        server.http2.receive(frame(frames.HEADERS, 4, 1, indexed + b"\xbe" * 100))
    assert caught.value.code is Code.ENHANCE_YOUR_CALM


def test_more_data_than_the_windows_is_refused() -> None:
    server = started(Http2Limits(window_bytes=100))
    server.http2.receive(head(1) + frame(frames.DATA, 0, 1, bytes(101)))
    assert server.seen == [("began", 1), ("cancelled", 1)]
    assert frame(frames.RST_STREAM, 0, 1, frames.WORD.pack(Code.FLOW_CONTROL_ERROR)) in server.take()


MALFORMED: dict[str, Sequence[tuple[bytes, bytes]]] = {
    "no path": [field for field in REQUEST if field[0] != b":path"],
    "empty path": [*(field for field in REQUEST if field[0] != b":path"), (b":path", b"")],
    "two paths": [(b":path", b"/x"), *REQUEST],
    "pseudo behind": [*REQUEST, (b":method", b"POST")],
    "unknown pseudo": [(b":status", b"200"), *REQUEST],
    "capitals": [*REQUEST, (b"X-Y", b"1")],
    "connection": [*REQUEST, (b"connection", b"close")],
    "chunked": [*REQUEST, (b"transfer-encoding", b"chunked")],
    "te": [*REQUEST, (b"te", b"gzip")],
}


@pytest.mark.parametrize("what", sorted(MALFORMED))
def test_a_malformed_request_is_reset_and_the_connection_lives(what: str) -> None:
    server = started()
    server.http2.receive(head(1, *MALFORMED[what]) + head(3))
    assert server.seen == [("began", 3)]
    assert frame(frames.RST_STREAM, 0, 1, frames.WORD.pack(Code.PROTOCOL_ERROR)) in server.take()


def test_padding_priorities_and_unknown_frames_are_taken() -> None:
    server = started()
    padded = frame(frames.HEADERS, 0x2C, 1, b"\x03" + bytes(5) + block() + bytes(3))
    data = frame(frames.DATA, frames.PADDED | frames.END_STREAM, 1, b"\x02abc" + bytes(2))
    server.http2.receive(padded + frame(0x42, 0xFF, 7, b"whatever") + data)
    assert server.seen == [("began", 1), ("ended", 1)]
    assert server.bodies[1] == b"abc"


@settings(max_examples=60, deadline=None)
@given(cuts=st.lists(st.integers(1, 40), min_size=1, max_size=40))
def test_bytes_may_come_in_any_pieces(cuts: list[int]) -> None:
    whole = OPENING + head(1, flags=0)[: 9 + len(block())]
    whole += frame(frames.CONTINUATION, frames.END_HEADERS, 1, frames.literal(b"a", b"b"))
    whole += frame(frames.DATA, frames.PADDED, 1, b"\x04hello" + bytes(4)) + frame(
        frames.DATA, 1, 1, b" world"
    )
    server = Server()
    at = turn = 0
    while at < len(whole):
        size = cuts[turn % len(cuts)]
        server.http2.receive(whole[at : at + size])
        at, turn = at + size, turn + 1
    assert server.seen == [("began", 1), ("ended", 1)]
    assert server.bodies[1] == b"hello world"
    assert server.streams[1].headers[b"a"] == b"b"


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.builds(
            frame,
            st.integers(0, 11),
            st.integers(0, 255),
            st.integers(0, 7),
            st.one_of(st.binary(max_size=30), st.just(block())),
        ),
        max_size=12,
    )
)
def test_any_frames_are_answered_or_refused(sent: list[bytes]) -> None:
    server = Server()
    try:
        server.http2.receive(OPENING + b"".join(sent))
    except Http2Error as error:
        assert error.code is not Code.NO_ERROR  # noqa: PT017 - either is right
    for stream in tuple(server.http2.streams.values()):
        server.http2.sender.respond(stream, b"\x88", [b"answer"], b"")
    server.http2.sender.resume()
    assert len(server.take()) > 0
