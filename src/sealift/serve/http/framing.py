"""Whether a request's head is clear and small enough: what two servers could read in two ways is refused.

Source: RFC 9112 3.2 (Host, request target), 6.3 (length of a body); RFC 9110 10.1.1 (Expect).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import httptools

from sealift.serve.http.limits import HttpLimits
from sealift.serve.http.message import Reply, problem

ONCE: Final = frozenset(
    (
        b"host", b"content-length", b"transfer-encoding", b"content-type", b"content-encoding", b"expect",
        b"inference-header-content-length",
    )
)  # fmt: skip
"""Headers that decide how a body is read; a second one would leave open which of them counts."""


_HOST: Final = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(:[0-9]{0,5})?").fullmatch
_NOT_IN_TRAILERS: Final = frozenset((b"connection", b"proxy-connection", b"upgrade"))


class Refusal(Exception):
    """Leaves the parser from inside a callback; `reply` is the last answer of its connection."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.reply: Reply = problem(status, code, text)


class Framing(NamedTuple):
    """How the body comes: `length` bytes, or in chunks."""

    http10: bool
    chunked: bool
    length: int


def origin_form(url: bytes) -> bytes:
    """The path and query of an absolute request target, as proxies send it; anything else as it is.

    The target's host counts no more than the Host header does: neither decides anything here.

    Raises: Refusal: another scheme than http or https, or a user name in it.
    """
    try:
        parsed = httptools.parse_url(url)
    except httptools.HttpParserInvalidURLError:
        return url
    if not parsed.schema:
        return url
    if parsed.schema.lower() not in (b"http", b"https") or parsed.userinfo:
        text = "an absolute request target is http://HOST/PATH or https://HOST/PATH, without a user name"
        raise Refusal(400, "bad_request", text)
    return (parsed.path or b"/") + (b"?" + parsed.query if parsed.query else b"")


def check_framing(headers: Mapping[bytes, bytes], version: str, limits: HttpLimits) -> Framing:
    """Read the body's framing off the headers.

    Raises: Refusal: another protocol version, no Host, ambiguous or unknown framing, too large a body.
    """
    http10 = version == "1.0"
    if version != "1.1" and not http10:
        raise Refusal(505, "http_version", f"HTTP/{version} is not spoken here; use HTTP/1.1")
    host = headers.get(b"host")
    if host is None and not http10:
        raise Refusal(400, "bad_request", "the Host header is missing")
    if host and not _HOST(host.strip()):
        raise Refusal(400, "bad_request", "the Host header is not a host with an optional port")
    coding = headers.get(b"transfer-encoding")
    if coding is not None:
        if b"content-length" in headers or http10:
            text = "Transfer-Encoding with Content-Length or in HTTP/1.0 is refused"
            raise Refusal(400, "bad_request", text)
        if coding.strip().lower() != b"chunked":
            raise Refusal(501, "transfer_encoding", "the only Transfer-Encoding spoken here is chunked")
        return Framing(http10, True, 0)
    length = int(headers.get(b"content-length", 0))
    if length > limits.body_bytes:
        raise body_too_large(limits)
    return Framing(http10, False, length)


def check_trailer(name: bytes) -> None:
    """Raises: Refusal: a field behind a chunked body would say how the connection goes on (RFC 9110 6.5.1)."""
    if name.lower() in _NOT_IN_TRAILERS:
        raise Refusal(400, "bad_request", f"{name.decode('latin-1')} has no place in a trailer")


def check_head_size(url: bytes, headers: Mapping[bytes, bytes], repeats: int, limits: HttpLimits) -> None:
    """Raises: Refusal: more bytes or more header fields than allowed."""
    size = len(url) + sum(len(name) + len(value) + 4 for name, value in headers.items())
    if size > limits.head_bytes or len(headers) + repeats > limits.headers:
        raise head_too_large(limits)


def expects_continue(headers: Mapping[bytes, bytes]) -> bool:
    """Whether the client waits for `100 Continue`. Raises: Refusal: it expects something else."""
    expectation = headers.get(b"expect")
    if expectation is None:
        return False
    if expectation.strip().lower() != b"100-continue":
        raise Refusal(417, "expectation", "the only expectation met here is 100-continue")
    return True


def head_too_large(limits: HttpLimits) -> Refusal:
    """431."""
    text = f"request line and headers are limited to {limits.head_bytes} bytes and {limits.headers} fields"
    return Refusal(431, "headers_too_large", text)


def body_too_large(limits: HttpLimits) -> Refusal:
    """413."""
    return Refusal(413, "too_large", f"the body is larger than the {limits.body_bytes} bytes allowed")
