"""Every parser of the format beside the second reader of tests/docs: any bytes, and both must say the same.

A target raises only for a finding: a crash, a refusal with another code than 10 to 29, an accepted document that
is not what it is written back as, or a disagreement between the two readers.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard
from tests.docs import second_reader as page

from sealift import canonical
from sealift.bundle import tar
from sealift.bundle.codec import copy_object
from sealift.bundle.documents import decode_manifest, decode_release, encode_manifest
from sealift.bundle.fields import exactly
from sealift.bundle.transport import StoredObject, decode_transport
from sealift.errors import SealiftError
from sealift.trust.keys import signatures_from_json, signatures_to_json
from sealift.trust.root import decode_root

WORDS = b"words and words " * 40
DIGEST = hashlib.sha256(WORDS).hexdigest()
OLD = b"old words, and then " + WORDS[:300]
OLD_DIGEST = hashlib.sha256(OLD).hexdigest()


class Finding(AssertionError):
    """What a fuzzer looks for."""


@dataclass(frozen=True)
class Target:
    """`ours` returns the bytes that the accepted value is written back as; both raise what a refusal raises."""

    name: str
    ours: Callable[[bytes], bytes]
    second: Callable[[bytes], Any]
    seeds: tuple[bytes, ...]

    def run(self, data: bytes) -> bool:
        """True if both accept. Raises: Finding, or whatever a parser raised that it must not."""
        try:
            written: bytes | None = self.ours(data)
        except SealiftError as error:
            if not 10 <= error.exit_code < 30:
                raise Finding(f"{self.name}: exit code {error.exit_code}") from error
            written = None
        try:
            self.second(data)
            accepted = True
        except page.Refused:
            accepted = False
        if accepted != (written is not None):
            raise Finding(f"{self.name}: ours {written is not None}, the second reader {accepted}: {data!r}")
        if written is not None and written != data:
            raise Finding(f"{self.name}: {data!r} is written back as {written!r}")
        return accepted


def _canonical(data: bytes) -> bytes:
    return canonical.encode(canonical.decode(data, "x"))


def _signatures(data: bytes) -> bytes:
    doc = canonical.decode(data, "x")
    exactly(doc, {"signatures"}, "x")
    found = signatures_from_json(doc["signatures"], "x")
    return canonical.encode({"signatures": signatures_to_json(found)})


def _tar(data: bytes) -> bytes:
    index = tar.read_index(io.BytesIO(data), len(data))
    parts = {name: data[extent.offset : extent.offset + extent.size] for name, extent in index.items()}
    stream = io.BytesIO()
    tar.write_parts(stream, [(name, len(part), iter((part,))) for name, part in parts.items()])
    return stream.getvalue()


def _frame(data: bytes) -> bytes:
    """A stored object whose key went bad: digest and size are signed truthfully."""
    stored = StoredObject("zstd", len(WORDS), len(data), hashlib.sha256(data).hexdigest())
    copy_object(lambda: io.BytesIO(data), stored, DIGEST, None)
    return data


def _second_frame(data: bytes) -> None:
    stored = {
        "codec": "zstd",
        "size": len(WORDS),
        "stored_sha256": page.digest(data),
        "stored_size": len(data),
    }
    page.check_object(DIGEST, stored, data)


def _patch(data: bytes) -> bytes:
    """As `_frame`, for a patch of OLD."""
    stored = StoredObject(
        "zstd-prefix", len(WORDS), len(data), hashlib.sha256(data).hexdigest(), source=OLD_DIGEST
    )
    with tempfile.NamedTemporaryFile() as base:
        base.write(OLD)
        base.flush()
        copy_object(lambda: io.BytesIO(data), stored, DIGEST, None, Path(base.name))
    return data


def _second_patch(data: bytes) -> None:
    stored = {
        "codec": "zstd-prefix",
        "from": OLD_DIGEST,
        "size": len(WORDS),
        "stored_sha256": page.digest(data),
        "stored_size": len(data),
    }
    page.check_object(DIGEST, stored, data, {OLD_DIGEST: OLD})


A, B, C = (
    "0" * 63 + "a",
    "b" * 64,
    "c" * 64,
)
ENTRY = b'{"executable":false,"sha256":"' + A.encode() + b'","size":3}'
MANIFESTS = (
    b'{"files":{},"format":"sealift-manifest/1"}',
    b'{"files":{"a/B":'
    + ENTRY
    + b',"a/c.txt":'
    + ENTRY
    + b',"z":'
    + ENTRY
    + b'},"format":"sealift-manifest/1"}',
    b'{"files":{"stra\xc3\x9fe/x":' + ENTRY + b',"strasse":' + ENTRY + b'},"format":"sealift-manifest/1"}',
)
LAYER = b'{"files":1,"manifest":"' + B.encode() + b'","size":3}'
RELEASES = (
    b'{"checks":{},"created":"2026-11-22T17:00:00Z","floor_seq":0,"format":"sealift-release/1","layers":{"application":'
    + LAYER + b',"dependencies":' + LAYER + b',"runtime":' + LAYER
    + b'},"min_sealift":"0.1","product":"fraud","provenance":{"x":[1,"two",null]},"seq":7,"target":{"cpu":[]},'
    b'"total_size":9,"version":"1.0"}',
)  # fmt: skip
TRANSPORTS = (
    b'{"format":"sealift-transport/1","manifests":["' + B.encode() + b'"],"objects":{"' + A.encode()
    + b'":{"codec":"raw","size":3,"stored_sha256":"' + A.encode() + b'","stored_size":3},"' + C.encode()
    + b'":{"codec":"zstd","size":9,"stored_sha256":"' + B.encode() + b'","stored_size":3}},"release":"'
    + B.encode() + b'"}',
    b'{"format":"sealift-transport/1","manifests":[],"objects":{},"release":"' + B.encode() + b'"}',
    b'{"bases":[{"identity":"' + A.encode() + b'","seq":5,"version":"5.0"},{"identity":"' + C.encode()
    + b'","seq":6,"version":"5.1"}],"format":"sealift-transport/2","manifests":["' + B.encode() + b'"],"objects":{"'
    + A.encode() + b'":{"codec":"zstd-prefix","from":"' + C.encode() + b'","size":9,"stored_sha256":"' + B.encode()
    + b'","stored_size":3}},"release":"' + B.encode() + b'"}',
)  # fmt: skip
RAW = b'"' + b"A" * 86 + b'=="'
SIGNATURES = (
    b'{"signatures":[{"alg":"ed25519","key":"' + A.encode() + b'","signature":' + RAW + b'},'
    b'{"alg":"ed25519","key":"' + B.encode() + b'","signature":' + RAW + b"}]}",
    b'{"signatures":[]}',
)  # fmt: skip
DOCUMENTS = (
    b"{}",
    rb'{"a":"\"\\\b\t\n\f\r\u0001","b":[-1,0,9007199254740991,null,true],"c":{"\xc3\xa9":"x"}}'.replace(
        rb"\xc3\xa9", b"\xc3\xa9"
    ),
)


def _roots() -> tuple[bytes, ...]:
    """Made, not written down: a root is signed by keys of its own."""
    from tests.attacks.forge import ROOT, root_part, signed_root

    return ROOT, signed_root(
        root_part(2, officers=(), officer_threshold=0, revoked=()), ("root2", "root3", "old")
    )


def _containers() -> tuple[bytes, ...]:
    from tests.attacks.forge import container

    parts = {"release.json": b"{}", "transport.json": b"x" * 512, "roots/2.json": b"2", "roots/10.json": b""}
    return container(parts | {f"objects/bb/{B}": b"o" * 700}), container({})


def _frames() -> tuple[bytes, ...]:
    whole = zstandard.ZstdCompressor(level=3, write_checksum=True).compress(WORDS)
    plain = zstandard.ZstdCompressor(level=3).compress(WORDS)
    raw = b"\x28\xb5\x2f\xfd\x60" + (len(WORDS) - 256).to_bytes(2, "little")
    raw += (len(WORDS) << 3 | 1).to_bytes(3, "little") + WORDS  # one block as it is
    return whole, plain, raw, plain + b"\x50\x2a\x4d\x18\x01\x00\x00\x00x"


def _patches() -> tuple[bytes, ...]:
    from tests.attacks.forge import frame_of, patch_of

    good = patch_of(WORDS, OLD)
    return good, bytes(8) + frame_of(WORDS), good + patch_of(b"more", OLD), patch_of(WORDS, OLD, 1), good[:8]


TARGETS = {
    target.name: target
    for target in (
        Target("document", _canonical, page.json_object, DOCUMENTS),
        Target("release", lambda data: decode_release(data).encode(), page.release_of, RELEASES),
        Target("manifest", lambda data: encode_manifest(decode_manifest(data, "m")), page.manifest_of, MANIFESTS),
        Target("transport", lambda data: decode_transport(data).encode(), page.transport_of, TRANSPORTS),
        Target("root", lambda data: decode_root(data).encode(), page.root_of, _roots()),
        Target(
            "signatures",
            _signatures,
            lambda data: page.signatures_of(page.document(data, "signatures")["signatures"]),
            SIGNATURES,
        ),
        Target("container", _tar, page.file_parts, _containers()),
        Target("frame", _frame, _second_frame, _frames()),
        Target("patch", _patch, _second_patch, _patches()),
    )
}  # fmt: skip
