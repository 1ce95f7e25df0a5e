"""Request smuggling: every way of saying a request's end twice is refused, or read as RFC 9112 has it.

The rows stand in docs/reference/http-api.md word for word. Behind each request another one is sent: if the
first was refused, its connection closes and the second is never understood.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from tests.serve.running import Front

HOST: Final = b"Host: box\r\n"
NEXT: Final = b"GET /next HTTP/1.1\r\nHost: box\r\n\r\n"


def get(
    more: bytes = b"", target: bytes = b"/echo", method: bytes = b"GET", version: bytes = b"HTTP/1.1"
) -> bytes:
    return method + b" " + target + b" " + version + b"\r\n" + HOST + more + b"\r\n"


def post(length: bytes, body: bytes = b"x", *, named: bytes = b"Content-Length: ") -> bytes:
    return b"POST /echo HTTP/1.1\r\n" + HOST + named + length + b"\r\n\r\n" + body


def chunked(body: bytes, coding: bytes = b"Transfer-Encoding: chunked\r\n") -> bytes:
    return b"POST /echo HTTP/1.1\r\n" + HOST + coding + b"\r\n" + body


def coded(*codings: bytes) -> tuple[bytes, ...]:
    """One chunked request for each way of naming its coding."""
    return tuple(chunked(b"0\r\n\r\n", coding + b"\r\n") for coding in codings)


@dataclass(frozen=True)
class Row:
    """One row of the table: what is sent, in words and in bytes, and the status of its refusal."""

    words: str
    status: int
    requests: tuple[bytes, ...]


@dataclass(frozen=True)
class Reading:
    """One row of what is read, and as what."""

    words: str
    as_what: str
    requests: tuple[bytes, ...]
    body: bytes


TE: Final = b"Transfer-Encoding"
LF_HEAD: Final = b"GET /echo HTTP/1.1\nHost: box\n\n"

REFUSED = (
    Row("`Content-Length` and `Transfer-Encoding` in one request, in either order (CL.TE, TE.CL)", 400, (
        chunked(b"0\r\n\r\n", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        chunked(b"0\r\n\r\n", b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        chunked(b"x", b"Content-Length: 1\r\nTransfer-Encoding: identity\r\n"),
        chunked(b"x", b"Transfer-Encoding: identity\r\nContent-Length: 1\r\n"),
    )),
    Row("`Transfer-Encoding` twice (TE.TE)", 400, (
        *coded(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
               b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
               b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
               b"Transfer-Encoding: x\r\ntransfer-encoding: chunked"),
    )),
    Row("`Transfer-Encoding` that ends in another coding, a comma or a blank, names `chunked` twice, or is empty", 400,
        coded(
        TE + b": chunked, chunked", TE + b": chunked, identity", TE + b": chunked,", TE + b":", TE + b": chunked \t",
    )),
    Row("any other `Transfer-Encoding` than `chunked`: obscured, quoted, with parameters, behind another", 501, coded(
        TE + b": xchunked", TE + b": chunkedx", TE + b': "chunked"', TE + b": chunked;q=1", TE + b": identity",
        TE + b": gzip", TE + b": gzip, chunked", TE + b": , chunked", TE + b": identity, chunked",
    )),
    Row("control characters around a field's name or value (VT, FF, NUL, DEL)", 400, (
        *coded(TE + b": \x0bchunked", TE + b": chunked\x0c", TE + b": chunked\x00", TE + b"\x00: chunked"),
        post(b" 1\x00"), post(b"\x0b1"), get(b"A: a\x00b\r\n"), get(b"A: \x01\r\n"), get(b"A: \x7f\r\n"),
    )),
    Row("white space between a field's name and its colon, or before the name", 400, (
        *coded(TE + b" : chunked", TE + b"\t: chunked", b" " + TE + b": chunked", TE + b"\xa0: chunked"),
        post(b"1", named=b"Content-Length : "), get(b" A: b\r\n"), b"GET /echo HTTP/1.1\r\n Host: box\r\n\r\n",
    )),
    Row("a folded field (obs-fold)", 400, (
        get(b"A: b\r\n c\r\n"), get(b"A: b\r\n\tc\r\n"), get(b"A:\r\n b\r\n"), post(b"\r\n 1"),
        *coded(TE + b":\r\n chunked", TE + b": identity\r\n chunked"),
    )),
    Row("`Content-Length` twice, equal or not, or a list", 400, (
        post(b"1\r\nContent-Length: 2"), post(b"1\r\nContent-Length: 1"), post(b"1\r\nContent-Length: 0"),
        post(b"1, 1"), post(b"1,"), post(b"1 1"),
    )),
    Row("`Content-Length` that is not digits: `+1`, `-1`, `0x1`, `1_0`, `1.0`, empty, other digits than ASCII", 400, (
        *map(post, (b"+1", b"-1", b"0x1", b"1_0", b"1.0", b"1e0", b"", b" ", b'"1"', b"1;", "١".encode())),
        post(b"18446744073709551617"),
    )),
    Row("`Content-Length` above the limit", 413, (post(b"1001"), post(b"18446744073709551615"), post(b"9" * 19))),
    Row("`Transfer-Encoding` in HTTP/1.0", 400, (
        chunked(b"0\r\n\r\n").replace(b"HTTP/1.1", b"HTTP/1.0"),
    )),
    Row("a line that ends in a bare LF or a bare CR: request line, field, end of the head, chunk, trailer", 400, (
        LF_HEAD, LF_HEAD.replace(b"1.1\n", b"1.1\r\n"), b"GET /echo HTTP/1.1\r\nHost: box\r\n\n",
        b"GET /echo HTTP/1.1\rHost: box\r\r", get(b"A: b\rC: d\r\n"), get(b"A: b\nC: d\r\n"), get(b"A: b\r\r\n"),
        chunked(b"3\nabc\r\n0\r\n\r\n"), chunked(b"3\r\nabc\n0\r\n\r\n"), chunked(b"3\r\nabc\r0\r\n\r\n"),
        chunked(b"0\n\n"), chunked(b"0\r\n\n"), chunked(b"0\r\nA: b\n\r\n"),
    )),
    Row("a chunk's size that is not hexadecimal digits: `0x3`, `+3`, `-3`, white space around it, empty", 400, tuple(
        chunked(size + b"\r\nabc\r\n0\r\n\r\n")
        for size in (b"0x3", b"+3", b"-3", b" 3", b"3 ", b"3\t", b"", b"g", b"3 ; a")
    )),
    Row("a chunk's size beyond 64 bits", 400, (
        chunked(b"10000000000000003\r\nabc\r\n0\r\n\r\n"), chunked(b"f" * 40 + b"\r\nabc\r\n0\r\n\r\n"),
    )),
    Row("a chunk that is longer or shorter than its size says", 400, (
        chunked(b"2\r\nabc\r\n0\r\n\r\n"), chunked(b"3\r\nabcXX0\r\n\r\n"), chunked(b"3\r\nabc0\r\n\r\n"),
    )),
    Row("line ends, control or non-ASCII characters in a chunk's extensions, or empty ones", 400, tuple(
        chunked(b"3;" + extension + b"\r\nabc\r\n0\r\n\r\n")
        for extension in (b"a\nb", b"a\rb", b'a="\n"', b'a="\r\n"', b"a\x00", b"\xff", b"")
    )),
    Row("framing or connection fields in a trailer", 400, tuple(
        chunked(b"0\r\n" + field + b"\r\n\r\n")
        for field in (b"Content-Length: 3", b"Transfer-Encoding: chunked", b"Connection: close", b"upgrade: h2c")
    )),
    Row("a trailer that is no field", 400, (
        chunked(b"0\r\nGET /next HTTP/1.1\r\n\r\n"), chunked(b"0\r\nA: b\r\n c\r\n\r\n"),
        chunked(b"0\r\nA: \x00\r\n\r\n"),
    )),
    Row("a field's name with other characters than a token's, or none; a line without a colon", 400, (
        *(get(name + b": c\r\n") for name in (b"A(b", b"A@b", b"A/b", b'A"', b"A b", b"A\xff", b"")), get(b"Abc\r\n"),
    )),
    Row("no `Host`, two of them, or one that is no host", 400, (
        b"GET /echo HTTP/1.1\r\n\r\n", get(b"Host: box\r\n"), get(b"host: other\r\n"),
        *(get().replace(b"box", host) for host in (b"a b", b"a/b", b"a@b", b"a, b", b"a:b", b"[::1", b"a\\b")),
    )),
    Row("an absolute target with a user name, or of another scheme", 400, (
        get(target=b"http://user@box/echo"), get(target=b"ftp://box/echo"), get(target=b"ws://box/echo"),
    )),
    Row("a target that is neither a path nor absolute, or with spaces, control or non-ASCII characters", 400, tuple(
        get(target=target)
        for target in (b"echo", b"box:80", b"/a b", b"/a\tb", b"/a\x00b", b"/a\x7fb", b"/a\xffb", b"/a\rb", b"/a\x0cb")
    )),
    Row("a method in small letters or unknown, tabs or a leading space in the request line", 400, (
        get(method=b"get"), get(method=b"GETX"), b" " + get(), b"GET\t/echo HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /echo HTTP/1.1 \r\n" + HOST + b"\r\n",
    )),
    Row("HTTP/1.2, HTTP/1.10, `http/1.1`", 400, tuple(
        get(version=version) for version in (b"HTTP/1.2", b"HTTP/1.10", b"http/1.1", b"HTTP/1.", b"ICE/1.0")
    )),
    Row("HTTP/0.9 (a request line without a version), HTTP/2.0", 505, (
        b"GET /echo\r\n\r\n", get(version=b"HTTP/0.9"), get(version=b"HTTP/2.0"),
    )),
    Row("the preface of HTTP/2, a TLS handshake", 400, (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    )),
    Row("`CONNECT`", 405, (
        b"CONNECT bank:443 HTTP/1.1\r\nHost: bank:443\r\n\r\n", get(method=b"CONNECT"),
    )),
    Row("`Expect` with anything but `100-continue`", 417, (get(b"Expect: 200-ok\r\n"), get(b"Expect:\r\n"))),
)  # fmt: skip

READ = (
    Reading("other letters' case, blanks or tabs before a value, zeros before a number", "what it says", (
        post(b"\t 0001"), post(b"1", named=b"CONTENT-LENGTH:"), post(b"1 \t"),
        chunked(b"1\r\nx\r\n0\r\n\r\n", b"TRANSFER-ENCODING:\tCHUNKED\r\n"), chunked(b"0001\r\nx\r\n000\r\n\r\n"),
    ), b"POST /echo?|x"),
    Reading("`Content_Length`, `Transfer_Encoding`, `X-Content-Length`", "unknown fields: the body is empty", (
        post(b"5", b"", named=b"Content_Length: "), chunked(b"", b"Transfer_Encoding: chunked\r\n"),
        post(b"5", b"", named=b"X-Content-Length: "),
    ), b"POST /echo?|"),
    Reading("a body behind `GET`", "a body, by its length", (
        get(b"Content-Length: 1\r\n") + b"x", get(b"Transfer-Encoding: chunked\r\n") + b"1\r\nx\r\n0\r\n\r\n",
    ), b"GET /echo?|x"),
    Reading("`POST` without a length", "an empty body", (get(method=b"POST"),), b"POST /echo?|"),
    Reading("chunk extensions of tokens or quoted strings", "ignored", (
        *(chunked(b"1;" + each + b"\r\nx\r\n0;last\r\n\r\n") for each in (b"a=b", b'a="b;c"', b"a=")),
    ), b"POST /echo?|x"),
    Reading("other fields in a trailer, `Host` and `X-Request-Id` too", "ignored", (
        chunked(b"1\r\nx\r\n0\r\nHost: evil\r\nX-Request-Id: evil\r\n\r\n"),
    ), b"POST /echo?|x"),
    Reading("an absolute target whose host is not `Host`", "the target's path; neither host counts", (
        get(target=b"http://other/echo"), get(target=b"HTTPS://[::1]:80/echo"),
    ), b"GET /echo?|"),
    Reading("`Upgrade` to `h2c` or `websocket`", "ignored: the request is answered in HTTP/1.1", (
        post(b"1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk"),
        post(b"1\r\nConnection: Upgrade\r\nUpgrade: websocket"),
        chunked(b"1\r\nx\r\n0\r\n\r\n", b"Connection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n"),
    ), b"POST /echo?|x"),
    Reading("empty lines before a request, several blanks behind its method", "skipped", (
        b"\r\n\r\n" + get(), b"\n" + get(), get(method=b"GET "),
    ), b"GET /echo?|"),
    Reading("`RTSP/1.1` for `HTTP/1.1` in the request line", "HTTP/1.1: the parser knows both", (
        get(version=b"RTSP/1.1"),
    ), b"GET /echo?|"),
    Reading("bytes above 127 in a field's value", "bytes like others", (get(b"A: \xff\xfe\r\n"),), b"GET /echo?|"),
)  # fmt: skip

REFUSALS = {
    f"{row.words[:40]} {number}": (row.status, data)
    for row in REFUSED
    for number, data in enumerate(row.requests)
}
READINGS = {
    f"{row.words[:40]} {number}": (row.body, data) for row in READ for number, data in enumerate(row.requests)
}


@pytest.mark.parametrize("pieces", [1, 3], ids=["at once", "byte by byte"])
@pytest.mark.parametrize("name", REFUSALS)
def test_it_is_refused_and_what_follows_is_not_understood(front: Front, name: str, pieces: int) -> None:
    status, data = REFUSALS[name]
    with front.connect() as client:
        send(client.socket, data + NEXT, pieces)
        answer = client.answer()
        assert (answer.status, answer.headers["connection"]) == (status, "close"), answer
        assert set(answer.json()) == {"error", "code"}
        assert client.is_closed()
    assert b"/next" not in [path for path, _ in front.app.finishes]
    assert front.thread.call(lambda: front.connections.held_bytes) == 0


@pytest.mark.parametrize("pieces", [1, 3], ids=["at once", "byte by byte"])
@pytest.mark.parametrize("name", READINGS)
def test_it_is_read_in_one_way_and_the_next_request_is_the_next(front: Front, name: str, pieces: int) -> None:
    body, data = READINGS[name]
    with front.connect() as client:
        send(client.socket, data + NEXT, pieces)
        assert client.answer().body == body
        assert client.answer().body == b"GET /next?|"


def send(client: socket.socket, data: bytes, pieces: int) -> None:
    """All at once, or the first 400 bytes one by one: the parser must not care."""
    if pieces == 1:
        client.sendall(data)
        return
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        for at in range(min(len(data), 400)):
            client.send(data[at : at + 1])
        client.sendall(data[400:])
    except (BrokenPipeError, ConnectionResetError):
        return  # refused meanwhile; the answer is there to read


def test_the_reference_has_the_table() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/http-api.md").read_text(encoding="utf-8")
    chapter = page.partition("## Ambiguous requests")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.*) \| (.*) \|$", chapter, re.MULTILINE)
    refused = [(row.words, str(row.status)) for row in REFUSED]
    read = [(row.words, row.as_what) for row in READ]
    heads = [("sent", "answer"), ("sent", "read as")]
    assert [row for row in rows if row not in heads] == [*refused, *read]
