"""Forms: what clients write is read, everything else is refused with its reason."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealift.errors import InvalidInput, TooLarge
from sealift.serve.http.multipart import Part, parse

TYPE = "multipart/form-data; boundary=xyz"


def form(*parts: bytes, end: bytes = b"--xyz--\r\n") -> bytes:
    return b"".join(b"--xyz\r\n" + part + b"\r\n" for part in parts) + end


def field(name: str, value: bytes, more: str = "") -> bytes:
    return f'Content-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value


def test_fields_and_files_are_read_as_curl_writes_them() -> None:
    image = field("image", b"\x89PNG\r\n\r\n--xy", '; filename="cat \\"1\\".png"\r\nContent-Type: image/png')
    assert parse(form(field("amount", b"12.5"), image), TYPE) == [
        Part("amount", None, "", b"12.5"),
        Part("image", 'cat "1".png', "image/png", b"\x89PNG\r\n\r\n--xy"),
    ]


def test_a_quoted_boundary_preamble_and_padding_are_allowed() -> None:
    body = (
        b"for old mail readers\r\n--x y\r\n".replace(b"\r\n--x y\r\n", b"\r\n--x y \t\r\n")
        + field("a", b"1")
        + b"\r\n--x y--"
    )
    assert parse(body, 'multipart/form-data; charset=utf-8; boundary="x y"') == [Part("a", None, "", b"1")]


def test_a_file_with_an_encoded_name_only_is_still_a_file() -> None:
    assert parse(form(field("f", b"1", "; filename*=UTF-8''%e2%82%ac.png")), TYPE)[0].filename is not None


BAD = [
    ("multipart/form-data", form(field("a", b"1")), "no valid boundary"),
    ("multipart/form-data; boundary=" + "x" * 71, form(field("a", b"1")), "no valid boundary"),
    (TYPE, b"", "closing boundary is missing"),
    (TYPE, form(), "closing boundary is missing"),
    (TYPE, form(field("a", b"1"), end=b""), "closing boundary is missing"),
    (TYPE, form(b"no header at all"), "part 1 has no proper header"),
    (TYPE, form(b"X-A: 1\r\n\r\nvalue"), "part 1 has no Content-Disposition"),
    (TYPE, form(b'Content-Disposition: attachment; name="a"\r\n\r\n1'), "part 1 has no Content-Disposition"),
    (TYPE, form(b"Content-Disposition: form-data\r\n\r\n1"), "part 1 has no Content-Disposition"),
    (TYPE, form(b"nonsense\r\n\r\n1"), "without a colon"),
    (TYPE, form(field("a", b"1"), b"X: " + b"y" * 5000 + b"\r\n\r\n1"), "part 2 has no proper header"),
    (
        TYPE,
        form(b'Content-Disposition: form-data; name="a"\r\nContent-Transfer-Encoding: base64\r\n\r\nMQ=='),
        "not used in forms",
    ),
]


@pytest.mark.parametrize(("content_type", "body", "message"), BAD)
def test_malformed_forms_are_refused(content_type: str, body: bytes, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        parse(body, content_type)


def test_the_number_of_parts_is_bounded() -> None:
    with pytest.raises(TooLarge, match="more than 1000 parts"):
        parse(form(*[field("a", b"1")] * 1001), TYPE)


@given(
    st.lists(
        st.tuples(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), st.binary(max_size=40)),
        min_size=1,
        max_size=5,
    )
)
def test_contents_come_back_byte_for_byte(fields: list[tuple[str, bytes]]) -> None:
    body = form(*(field(name, content) for name, content in fields))
    if any(b"\r\n--xyz" in b"\r\n" + content for _, content in fields):
        return
    assert [(part.name, part.content) for part in parse(body, TYPE)] == fields


@given(
    st.binary(max_size=200),
    st.sampled_from([TYPE, "multipart/form-data; boundary=-", 'multipart/form-data; boundary="a;b"']),
)
def test_any_bytes_are_parts_or_a_refusal(body: bytes, content_type: str) -> None:
    with suppress(InvalidInput, TooLarge):
        parse(body, content_type)
