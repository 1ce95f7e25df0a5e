"""Attacks on documents: edited after signing, or signed by a key gone bad and not in their one form."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.attacks.forge import ONE, ROOT, Doc, Forge, root_part, signed_root
from tests.attacks.scene import Scene
from tests.attacks.table import attack

from sealift import canonical
from sealift.bundle import layout


def manifest_with(parts: dict[str, bytes], words: bytes) -> str:
    return next(name for name in parts if name.startswith("manifests/") and words in parts[name])


@attack("an edited manifest", 22, "manifest of application: expected sha256:.* found another")
def edited_manifest(scene: Scene) -> Path:
    parts = Forge().parts()
    name = manifest_with(parts, b"one.bin")
    parts[name] = parts[name].replace(b"one.bin", b"0ne.bin")
    return scene.as_file(parts)


@attack("a missing manifest", 12, "1 part.s. are missing")
def missing_manifest(scene: Scene) -> Path:
    parts = Forge().parts()
    del parts[manifest_with(parts, b"one.bin")]
    return scene.as_folder(parts)


@attack("an extra manifest", 11, "1 part.s. that it does not name")
def extra_manifest(scene: Scene) -> Path:
    return scene.as_file(Forge().parts() | {layout.manifest("ab" * 32): b"{}"})


@attack(
    "a manifest that does not travel and is not on the box",
    12,
    "the manifest of application .* neither travels",
)
def absent_manifest(scene: Scene) -> Path:
    parts = Forge().parts()
    digest = manifest_with(parts, b"one.bin").partition("/")[2].removesuffix(".json")
    parts = Forge(bend_transport=lambda doc: doc["manifests"].remove(digest)).parts()
    del parts[layout.manifest(digest)]
    return scene.as_file(parts)


@attack(
    "objects left at home that the box has not", 12, "neither travel nor are on this box", about_bytes=False
)
def absent_objects(scene: Scene) -> Path:
    parts = Forge(bend_transport=lambda doc: doc["objects"].pop(ONE)).parts()
    del parts[layout.object_(ONE)]
    return scene.as_file(parts)


def edit(data: bytes, change: Callable[[Doc], None]) -> bytes:
    doc = json.loads(data)
    change(doc)
    return canonical.encode(doc)


@attack("an edited release.json", 11, "transport.json carries sha256:.*, release.json is sha256:")
def edited_release(scene: Scene) -> Path:
    parts = Forge().parts()
    parts[layout.RELEASE] = edit(parts[layout.RELEASE], lambda doc: doc.update(version="7.1"))
    return scene.as_file(parts)


@attack(
    "an edited release.json with the transport.json to match",
    21,
    "fraud: the signature of .* does not verify",
)
def edited_both(scene: Scene) -> Path:
    parts = Forge().parts()
    parts[layout.RELEASE] = edit(parts[layout.RELEASE], lambda doc: doc.update(version="7.1"))
    identity = canonical.digest(parts[layout.RELEASE])
    parts[layout.TRANSPORT] = edit(parts[layout.TRANSPORT], lambda doc: doc.update(release=identity))
    return scene.as_file(parts)


@attack("an edited transport.json", 21, "transport.json: the signature of .* does not verify")
def edited_transport(scene: Scene) -> Path:
    parts = Forge().parts()
    parts[layout.TRANSPORT] = edit(parts[layout.TRANSPORT], lambda doc: doc["objects"].pop(ONE))
    del parts[layout.object_(ONE)]
    return scene.as_file(parts)


@attack("an edited root", 21, "the signature of root key .* is wrong")
def edited_root(scene: Scene) -> Path:
    def weaken(doc: Doc) -> None:
        doc["signed"]["release"]["threshold"] = 1

    return scene.as_file(Forge(roots={1: edit(ROOT, weaken)}).parts())


@attack("a root under another version's name", 11, "roots/2.json: holds version 1")
def misnamed_root(scene: Scene) -> Path:
    return scene.as_file(Forge(roots={1: ROOT, 2: ROOT}).parts())


@attack("a root in which one key has two roles", 11, "a key has two roles")
def two_roles(scene: Scene) -> Path:
    part = root_part(2, officers=("ada", "officer"))
    return scene.as_file(Forge(roots={1: ROOT, 2: signed_root(part)}).parts())


@attack("more trust roots than anybody may bring", 11, "65 trust roots, at most 64")
def many_roots(scene: Scene) -> Path:
    return scene.as_file(Forge(roots=dict.fromkeys(range(1, 66), ROOT)).parts())


ENCODINGS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "duplicate keys": (lambda data: data.replace(b'"seq":7', b'"seq":9,"seq":7'), "key 'seq' stands twice"),
    "a space": (lambda data: data.replace(b'"seq":7', b'"seq": 7'), "found another encoding"),
    "a line feed at the end": (lambda data: data + b"\n", "found another encoding"),
    "keys out of order": (
        lambda data: json.dumps(dict(reversed(json.loads(data).items())), separators=(",", ":")).encode(),
        "found another encoding",
    ),
    "a needless escape": (lambda data: data.replace(b"fraud", rb"\u0066raud"), "found another encoding"),
    "a byte order mark": (lambda data: b"\xef\xbb\xbf" + data, "canonical JSON"),
    "UTF-16": (lambda data: data.decode().encode("utf-16"), "canonical JSON"),
    "a fraction": (lambda data: data.replace(b'"seq":7', b'"seq":7.0'), "7.0 is not an integer"),
    "a huge number": (lambda data: data.replace(b'"seq":7', b'"seq":9007199254740993'), "no canonical form"),
    "not a number": (lambda data: data.replace(b'"seq":7', b'"seq":NaN'), "NaN is not an integer"),
    "a lone surrogate": (lambda data: data.replace(b"{}", rb'{"x":"\ud800"}', 1), "canonical JSON"),
    "half a document": (lambda data: data[: len(data) // 2], "not a canonical JSON document"),
    "a list instead of an object": (lambda data: b"[%s]" % data, "expected a JSON object"),
    "nothing at all": (lambda _: b"", "not a canonical JSON document"),
    "nesting without end": (lambda data: b"[" * 100_000, "not a canonical JSON document"),
    "a depth of 200": (
        lambda data: data.replace(b"{}", b'{"x":%s}' % (b"[" * 200 + b"]" * 200), 1),
        "nested deeper than 32",
    ),
    "a string as sequence": (
        lambda data: data.replace(b'"seq":7', b'"seq":"7"'),
        "seq is '7', expected a count",
    ),
    "a negative sequence": (
        lambda data: data.replace(b'"seq":7', b'"seq":-7'),
        "seq is -7, expected a count",
    ),
}


def _register(name: str, bend: Callable[[bytes], bytes], words: str) -> None:
    @attack(f"a signed release.json with {name}", 11, words)
    def make(scene: Scene) -> Path:
        return scene.as_file(Forge(coded={layout.RELEASE: bend}).parts())


for _name, (_bend, _words) in ENCODINGS.items():
    _register(_name, _bend, _words)


FIELDS: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown key": ({"surprise": 1}, r"unknown keys \['surprise'\]"),
    "another format": ({"format": "sealift-release/2"}, "expected format sealift-release/1"),
    "a product named like a path": ({"product": "../fraud"}, "product is '../fraud'"),
    "a version named like a path": ({"version": "7/../../etc"}, "version is '7/../../etc'"),
    "a floor above its own sequence": ({"floor_seq": 8}, "floor_seq 8 is above its own seq 7"),
    "another total": ({"total_size": 1}, "total_size is not the sum"),
    "a wrong date": ({"created": "tomorrow"}, "created is 'tomorrow'"),
}


def _register_field(name: str, change: dict[str, Any], words: str) -> None:
    @attack(f"a signed release.json with {name}", 11, words)
    def make(scene: Scene) -> Path:
        return scene.as_file(Forge(bend_release=lambda doc: doc.update(change)).parts())


for _name, (_change, _words) in FIELDS.items():
    _register_field(_name, _change, _words)


@attack("a million tiny files, announced", 11, "files is 1000000, at most 200000 are permitted")
def million_files(scene: Scene) -> Path:
    def bend(doc: Doc) -> None:
        doc["layers"]["application"]["files"] = 1_000_000

    return scene.as_file(Forge(bend_release=bend).parts())


@attack("a million tiny objects, listed", 11, "transport.json: more than 2000000 values")
def million_objects(scene: Scene) -> Path:
    def bend(data: bytes) -> bytes:
        listed = b",".join(b'"%x":{}' % number for number in range(1_000_000))
        return data.replace(b'"objects":{', b'"objects":{' + listed + b",")

    return scene.as_folder(Forge(coded={layout.TRANSPORT: bend}).parts())


@attack("a file count that is not the manifest's", 11, "not the file count and size that release.json gives")
def other_count(scene: Scene) -> Path:
    def bend(doc: Doc) -> None:
        doc["layers"]["application"]["files"] += 1

    return scene.as_file(Forge(bend_release=bend).parts())


@attack(
    "a manifest in the place of another layer's", 11, "not the file count and size that release.json gives"
)
def swapped_manifests(scene: Scene) -> Path:
    def bend(doc: Doc) -> None:
        layers = doc["layers"]
        one, two = layers["runtime"], layers["application"]
        one["manifest"], two["manifest"] = two["manifest"], one["manifest"]

    return scene.as_file(Forge(bend_release=bend).parts())


@attack("a transport.json of another bundle", 11, "transport.json carries sha256:")
def other_transport(scene: Scene) -> Path:
    other = Forge(version="8.0", seq=8).parts()
    return scene.as_file(Forge().parts() | {layout.TRANSPORT: other[layout.TRANSPORT]})


@attack("a signature file without signatures", 11, "without signatures it must not be there")
def empty_signatures(scene: Scene) -> Path:
    return scene.as_file(Forge().parts() | {layout.TRANSPORT_SIGNATURES: b'{"signatures":[]}'})


BIG_SIGNATURES = {layout.RELEASE_SIGNATURES: b'{"approvals":[]}' + bytes(1 << 21)}


@attack("a signature file of 2 MiB", 11, "bytes, at most 1048576 are permitted")
def big_signatures(scene: Scene) -> Path:
    return scene.as_file(Forge().parts() | BIG_SIGNATURES)


@attack("a signature file of 2 MiB in a folder", 11, "more than 1048576 bytes")
def big_signatures_in_folder(scene: Scene) -> Path:
    return scene.as_folder(Forge().parts() | BIG_SIGNATURES)
