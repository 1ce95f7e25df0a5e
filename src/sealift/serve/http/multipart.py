"""`multipart/form-data`, strictly and within bounds.

Own code because the body is whole and bounded already, and the box then carries one package less: the
standard library's `email` parser reads leniently and copies, the maintained parsers are made for streams.
Source: RFC 7578, RFC 2046 5.1; the form that curl, browsers and requests write.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sealift.errors import InvalidInput, TooLarge

_MAX_PARTS: Final = 1000
_MAX_PART_HEAD: Final = 4096
_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER: Final = re.compile(rf';\s*({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_WORD}))\s*')
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]").fullmatch


@dataclass(frozen=True, slots=True)
class Part:
    """One part; `filename` is None for a plain field."""

    name: str
    filename: str | None
    content_type: str
    content: bytes


def parameters(header: str) -> dict[str, str]:
    """The `; name=value` pairs behind a header's first value, names in lower case.

    Raises: ValueError: something else stands there.
    """
    found: dict[str, str] = {}
    at = header.find(";")
    if at < 0:
        return found
    rest = header[at:].rstrip().rstrip(";")
    at = 0
    while at < len(rest):
        match = _PARAMETER.match(rest, at)
        if match is None:
            raise ValueError(rest[at:])
        name, quoted, token = match.groups()
        found[name.lower()] = token if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        at = match.end()
    return found


def parse(body: bytes, content_type: str) -> list[Part]:
    """The parts in order.

    Raises:
        InvalidInput: not a well-formed multipart body.
        TooLarge: more than 1000 parts.
    """
    try:
        boundary = parameters(content_type).get("boundary", "")
    except ValueError:
        boundary = ""
    if not _BOUNDARY(boundary):
        raise _bad("the Content-Type names no valid boundary")
    # A preamble is allowed: the first delimiter may stand at the very start.
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary.encode())
    if len(pieces) - 2 > _MAX_PARTS:
        raise TooLarge(f"more than {_MAX_PARTS} parts", code="too_large")
    if len(pieces) < 3 or not pieces[-1].startswith(b"--"):
        raise _bad("the closing boundary is missing")
    return [_part(piece, number) for number, piece in enumerate(pieces[1:-1], 1)]


def _part(piece: bytes, number: int) -> Part:
    line_end = piece.find(b"\r\n")
    head_end = piece.find(b"\r\n\r\n")
    if line_end < 0 or piece[:line_end].strip(b" \t") or head_end < 0 or head_end > _MAX_PART_HEAD:
        raise _bad(f"part {number} has no proper header")
    fields: dict[str, str] = {}
    for line in piece[line_end + 2 : head_end].split(b"\r\n"):
        name, colon, value = line.decode("utf-8", "replace").partition(":")
        if not colon:
            raise _bad(f"part {number} has a header line without a colon")
        fields[name.strip().lower()] = value.strip()
    disposition = fields.get("content-disposition", "")
    try:
        named = parameters(disposition)
    except ValueError:
        named = {}
    if disposition.partition(";")[0].strip().lower() != "form-data" or "name" not in named:
        raise _bad(f'part {number} has no Content-Disposition: form-data; name="..."')
    if fields.get("content-transfer-encoding", "binary").lower() not in ("binary", "8bit", "7bit"):
        raise _bad(f"part {number}: Content-Transfer-Encoding is not used in forms (RFC 7578 4.7)")
    filename = named.get("filename", "" if "filename*" in named else None)
    return Part(named["name"], filename, fields.get("content-type", ""), piece[head_end + 4 :])


def _bad(text: str) -> InvalidInput:
    return InvalidInput(f"multipart/form-data: {text}", code="invalid_multipart")
