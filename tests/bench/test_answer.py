"""Answers are cut out of a connection's bytes wherever these are split."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealift.bench.answer import Answer, AnswerReader, NotHttp

SIZED = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n"
CLOSING = b"HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno"
CONTINUED = b"HTTP/1.1 100 Continue\r\n\r\n" + SIZED
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"


def read(*parts: bytes) -> list[Answer]:
    reader = AnswerReader()
    return [answer for part in parts if (answer := reader.feed(part)) is not None]


@pytest.mark.parametrize(
    ("message", "status", "body", "keeps"),
    [
        (SIZED, 200, b"hello", True),
        (CHUNKED, 200, b"hello", True),
        (CLOSING, 503, b"no", False),
        (CONTINUED, 200, b"hello", True),
        (EMPTY, 204, b"", True),
    ],
    ids=["sized", "chunked", "closing", "continued", "empty"],
)
@given(cut=st.integers(1, 200))
def test_an_answer_is_whole_wherever_it_was_split(
    message: bytes, status: int, body: bytes, keeps: bool, cut: int
) -> None:
    [answer] = read(message[:cut], message[cut:])
    assert (answer.status, answer.body, answer.keeps) == (status, body, keeps)


def test_the_next_answer_on_the_connection_begins_anew() -> None:
    assert [answer.body for answer in read(CHUNKED, SIZED, CHUNKED)] == [b"hello"] * 3


def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    reader = AnswerReader()
    assert reader.feed(b"HTTP/1.0 200 OK\r\n\r\nall of") is None
    assert reader.feed(b" it") is None
    answer = reader.end()
    assert answer is not None
    assert (answer.body, answer.keeps) == (b"all of it", False)


def test_a_connection_that_ends_between_or_within_answers_gives_none() -> None:
    reader = AnswerReader()
    assert reader.end() is None
    reader.feed(SIZED[:-1])
    assert reader.end() is None


def test_headers_are_found_whatever_their_case() -> None:
    [answer] = read(SIZED)
    assert answer.header(b"content-type") == b"text/plain"
    assert answer.header(b"content") is None


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
    ],
    ids=["ssh", "status", "length", "chunk", "endless"],
)
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(NotHttp):
        read(data)
