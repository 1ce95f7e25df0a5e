"""A second reader of bundles, written from docs/reference/bundle-format.md alone: nothing of sealift is imported.

Each function names the clause that it follows. It says yes or no; the words are for the first reader.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import zstandard
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

LAYERS = ("runtime", "dependencies", "application")
DIGEST, MOST = re.compile(r"[0-9a-f]{64}"), 8_589_934_591
NOTHING: Mapping[str, bytes] = MappingProxyType({})
VERSION = r"[0-9A-Za-z][0-9A-Za-z._+-]{0,63}"
FIRST = ["release.json", "release.sig.json", "transport.json", "transport.sig.json"]
PART = re.compile(
    r"(roots)/([1-9]\d{0,8})\.json|(manifests)/[0-9a-f]{64}\.json|(objects)/(..)/\5[0-9a-f]{62}"
)


class Refused(Exception):
    """The second reader says no."""


def need(holds: object) -> None:
    if not holds:
        raise Refused


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def canonical(value: Any, depth: int = 0) -> bytes:
    """Clause 1."""
    need(depth <= 32)
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return b"{%s}" % b",".join(canonical(key) + b":" + canonical(value[key], depth + 1) for key in keys)
    if isinstance(value, list):
        return b"[%s]" % b",".join(canonical(item, depth + 1) for item in value)
    need(value is None or isinstance(value, bool | str) or (isinstance(value, int) and abs(value) < 2**53))
    return json.dumps(value, ensure_ascii=False).encode()


def json_object(data: bytes) -> Any:
    """Clause 1: the only encoding; clause 7.4: the marks."""
    need(sum(data.count(mark) for mark in (b",", b"[", b"{")) <= 2_000_000)
    try:
        value = json.loads(data)
        need(isinstance(value, dict) and canonical(value) == data)
    except (ValueError, RecursionError) as error:
        raise Refused from error
    return value


def document(data: bytes, keys: str) -> dict[str, Any]:
    """Clause 1: exactly these keys."""
    return exactly(json_object(data), keys)


def exactly(value: Any, keys: str) -> dict[str, Any]:
    need(isinstance(value, dict) and set(value) == set(keys.split()))
    return dict(value)


def is_count(value: object, most: int = 2**53) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def is_text(value: object, form: str | re.Pattern[str]) -> bool:
    return isinstance(value, str) and re.fullmatch(form, value) is not None


def release_of(data: bytes) -> dict[str, Any]:
    """Clause 2."""
    doc = document(
        data, "format product version seq floor_seq min_sealift created target layers checks provenance total_size"
    )  # fmt: skip
    need(doc["format"] == "sealift-release/1" and is_text(doc["product"], r"[a-z0-9][a-z0-9._-]{0,63}"))
    need(is_text(doc["version"], VERSION) and is_text(doc["min_sealift"], VERSION))
    need(is_text(doc["created"], r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"))
    need(all(is_count(doc[key]) for key in ("seq", "floor_seq")) and doc["floor_seq"] <= doc["seq"])
    need(all(isinstance(doc[key], dict) for key in ("target", "checks", "provenance")))
    for ref in exactly(doc["layers"], " ".join(LAYERS)).values():
        exactly(ref, "files manifest size")
        need(is_count(ref["files"], 200_000) and is_count(ref["size"]) and is_text(ref["manifest"], DIGEST))
    need(is_count(doc["total_size"]))
    need(doc["total_size"] == sum(ref["size"] for ref in doc["layers"].values()))
    return doc


def manifest_of(data: bytes) -> dict[str, Any]:
    """Clauses 3.1 to 3.3."""
    doc = document(data, "files format")
    need(doc["format"] == "sealift-manifest/1" and isinstance(doc["files"], dict))
    names: set[str] = set()
    for path, entry in doc["files"].items():
        exactly(entry, "executable sha256 size")
        need(isinstance(entry["executable"], bool) and is_count(entry["size"], MOST))
        need(is_text(entry["sha256"], DIGEST) and is_path(path))
        parts = path.split("/")
        names |= {"/".join(parts[:end]) for end in range(1, len(parts) + 1)}
        need(not any("/".join(parts[:end]) in doc["files"] for end in range(1, len(parts))))
    folded = {"/".join(fold(part) for part in name.split("/")) for name in names}
    need(len(folded) == len(names) and len(names) - len(doc["files"]) <= 200_000)
    return dict(doc["files"])


def fold(part: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", part).casefold())


def is_path(path: str) -> bool:
    """Clause 3.2."""
    parts = path.split("/")
    return (
        not re.search(r'[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\\<>:"|?*]', path)
        and (len(path.encode()) <= 1024 and len(parts) <= 32)
        and all(part not in ("", ".", "..") and part[-1] not in ". " for part in parts)
        and all(len(part.encode()) <= 200 for part in parts)
        and not any(re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", part) for part in parts)
    )


def transport_of(data: bytes) -> dict[str, Any]:
    """Clauses 4.1, 4.2, 4.4 and 4.6."""
    doc = json_object(data)
    delta = doc.get("format") == "sealift-transport/2"
    exactly(doc, "format manifests objects release" + " bases" * delta)
    need((delta or doc["format"] == "sealift-transport/1") and isinstance(doc["manifests"], list))
    need(all(is_text(item, DIGEST) for item in doc["manifests"]) and len(doc["manifests"]) <= 3)
    need(doc["manifests"] == sorted(set(doc["manifests"])) and is_text(doc["release"], DIGEST))
    need(isinstance(doc["objects"], dict) and len(doc["objects"]) <= 600_000)
    if delta:
        need(isinstance(doc["bases"], list) and 1 <= len(doc["bases"]) <= 16)
        for base in doc["bases"]:
            exactly(base, "identity seq version")
            need(
                is_text(base["identity"], DIGEST)
                and is_count(base["seq"])
                and is_text(base["version"], VERSION)
            )
        need(is_sorted([base["identity"] for base in doc["bases"]]))
    for name, stored in doc["objects"].items():
        need(isinstance(stored, dict))
        patch = delta and stored.get("codec") == "zstd-prefix"
        exactly(stored, "codec size stored_sha256 stored_size" + " from" * patch)
        need(is_text(name, DIGEST) and is_text(stored["stored_sha256"], DIGEST))
        need(is_count(stored["size"], MOST) and is_count(stored["stored_size"], MOST))
        same = (stored["stored_sha256"], stored["stored_size"]) == (name, stored["size"])
        smaller = stored["stored_size"] < stored["size"]
        need((stored["codec"] == "raw" and same) or ((stored["codec"] == "zstd" or patch) and smaller))
        need(not patch or (is_text(stored["from"], DIGEST) and stored["from"] not in doc["objects"]))
    return dict(doc)


def check_object(name: str, stored: dict[str, Any], data: bytes, box: Mapping[str, bytes] = NOTHING) -> None:
    """Clauses 4.3 to 4.5 and 4.7."""
    need(len(data) == stored["stored_size"] and digest(data) == stored["stored_sha256"])
    if stored["codec"] == "zstd":
        data, rest = unpacked(data, stored["size"])
        need(not rest)
    if stored["codec"] == "zstd-prefix":
        data = patched(data, stored["size"], box.get(stored["from"], b""), stored["from"])
    need(len(data) == stored["size"] and digest(data) == name)


def unpacked(data: bytes, size: int, prefix: bytes = b"") -> tuple[bytes, bytes]:
    """Clause 4.5: what the frame decodes to, and what lies behind it."""
    need(data[:4] == b"\x28\xb5\x2f\xfd")
    raw = zstandard.ZstdCompressionDict(prefix, zstandard.DICT_TYPE_RAWCONTENT) if prefix else None
    try:
        frame = zstandard.get_frame_parameters(data)
        need(frame.content_size == size and not frame.dict_id and frame.window_size <= 2**23)
        decoder = zstandard.ZstdDecompressor(dict_data=raw, max_window_size=2**23).decompressobj()
        decoded = decoder.decompress(data)
    except zstandard.ZstdError as error:
        raise Refused from error
    need(decoder.eof and len(decoded) == size)
    return decoded, decoder.unused_data


def patched(data: bytes, size: int, old: bytes, sha256: str) -> bytes:
    """Clause 4.7."""
    need(digest(old) == sha256)
    found = b""
    for start in range(0, size, 2**23):
        need(len(data) > 8)
        place = int.from_bytes(data[:8], "little")
        need(place <= max(0, len(old) - 2**24))
        block, data = unpacked(data[8:], min(2**23, size - start), old[place : place + 2**24])
        found += block
    need(not data)
    return found


def signatures_of(value: Any) -> list[tuple[str, bytes]]:
    """Clauses 5.2 and 5.3."""
    need(isinstance(value, list) and len(value) <= 64)
    found = []
    for item in value:
        exactly(item, "alg key signature")
        need(item["alg"] == "ed25519" and is_text(item["key"], DIGEST) and isinstance(item["signature"], str))
        try:
            raw = base64.b64decode(item["signature"], validate=True)
        except ValueError as error:
            raise Refused from error
        need(len(raw) == 64 and base64.b64encode(raw).decode() == item["signature"])
        found.append((item["key"], raw))
    need([key for key, _ in found] == sorted({key for key, _ in found}))
    return found


def good(signatures: list[tuple[str, bytes]], keys: dict[str, Any], among: Any, message: bytes) -> set[str]:
    """Clauses 5.2 and 5.4: the keys of `among` that signed; each of their signatures verifies."""
    ours = [item for item in signatures if item[0] in among]
    for key, raw in ours:
        try:
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(keys[key]["public"])).verify(raw, message)
        except (InvalidSignature, ValueError) as error:
            raise Refused from error
    return {key for key, _ in ours}


def root_of(data: bytes) -> tuple[dict[str, Any], list[tuple[str, bytes]]]:
    """Clauses 5.1 and 6.1; the signed part, and all its signatures."""
    doc = document(data, "signatures signed")
    signed = exactly(doc["signed"], "format keys officers release revoked root version")
    need(signed["format"] == "sealift-root/1" and is_count(signed["version"]) and signed["version"] >= 1)
    need(isinstance(signed["keys"], dict))
    for key_id, key in signed["keys"].items():
        exactly(key, "alg public")
        need(key["alg"] == "ed25519" and is_text(key["public"], DIGEST) and digest(canonical(key)) == key_id)
    named: list[str] = []
    for role, least in (("root", 1), ("officers", 0), ("release", 1)):
        part = exactly(signed[role], "keys threshold")
        if role == "release":
            need(isinstance(part["keys"], dict) and all(map(is_sorted, part["keys"].values())))
            need(all(part["keys"].values()))
            patterns = [pattern for several in part["keys"].values() for pattern in several]
            need(all(is_text(pattern, r"[a-z0-9._*?-]{1,64}") for pattern in patterns))
        else:
            need(is_sorted(part["keys"]))
        need(is_count(part["threshold"], len(part["keys"])) and part["threshold"] >= least)
        need(len(part["keys"]) <= 32)
        named += part["keys"]
    need(sorted(named) == sorted(signed["keys"]))
    need(is_sorted(signed["revoked"]) and len(signed["revoked"]) <= 1024)
    need(all(is_text(key, DIGEST) for key in signed["revoked"]) and not set(signed["revoked"]) & set(named))
    signatures = signatures_of(doc["signatures"])
    own = good(signatures, signed["keys"], signed["root"]["keys"], message_of(signed))
    need(len(own) >= signed["root"]["threshold"] and (signed["version"] > 1 or len(own) == len(signatures)))
    return signed, signatures


def is_sorted(value: Any) -> bool:
    is_list = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return is_list and value == sorted(set(value))


def message_of(signed: dict[str, Any]) -> bytes:
    return b"sealift root v1\n" + canonical(signed)


def check_step(old: dict[str, Any], new: dict[str, Any], signatures: list[tuple[str, bytes]]) -> None:
    """Clause 6.3."""
    ours = [set(root["root"]["keys"]) for root in (old, new)]
    found = good(signatures, old["keys"] | new["keys"], ours[0] | ours[1], message_of(new))
    need(len(found) == len(signatures) and set(old["revoked"]) <= set(new["revoked"]))
    need(len(found & ours[0]) >= old["root"]["threshold"])
    need(len(found & ours[1]) >= new["root"]["threshold"])


def follow(pinned: dict[str, Any], offered: list[tuple[dict[str, Any], Any]]) -> dict[str, Any]:
    """Clause 6.3; `offered` by version."""
    newest, before = pinned, None
    for root, signatures in offered:
        if root["version"] == pinned["version"]:
            need(root == pinned)
        if root["version"] > newest["version"]:
            need(root["version"] == newest["version"] + 1)
            check_step(newest, root, signatures)
            newest = root
        elif before is not None and before["version"] + 1 == root["version"]:
            check_step(before, root, signatures)
        before = root
    return newest


def vouch(root: dict[str, Any], product: str, sign: Any, message: bytes) -> None:
    """Clause 6.2, 1 and 3."""
    delegated = root["release"]["keys"]
    words = {"*": ".*", "?": "."}
    forms = {
        key: "|".join("".join(words.get(c, re.escape(c)) for c in pattern) for pattern in patterns)
        for key, patterns in delegated.items()
    }
    found = good(sign, root["keys"], delegated, message)
    need(len({key for key in found if is_text(product, forms[key])}) >= root["release"]["threshold"])


def folder_parts(folder: Path) -> dict[str, bytes]:
    """Clauses 7.1 and 8.1."""
    parts = {}
    for entry in folder.rglob("*"):
        name = entry.relative_to(folder).as_posix()
        need(not entry.is_symlink() and (entry.is_dir() or (entry.is_file() and rank(name))))
        need(entry.is_file() or name.count("/") < 2)
        if entry.is_file():
            need(entry.stat().st_size <= MOST)
            parts[name] = entry.read_bytes()
    return parts


def file_parts(data: bytes, order: Callable[[str], Any] | None = None) -> dict[str, bytes]:
    """Clause 8.2, with the order of 7.2 or of 12.2."""
    parts: dict[str, bytes] = {}
    last: Any = ()
    rank_of = order or rank
    while data[:512] != bytes(512):
        name, size = data[:100].rstrip(b"\0").decode("latin-1"), data[124:135]
        need(re.fullmatch(rb"[0-7]{11}", size) and name.isascii() and rank_of(name) > last)
        need(data[:512] == header(name, int(size, 8)))
        end = 512 + int(size, 8)
        need(len(data) >= end + -end % 512 and not any(data[end : end + -end % 512]))
        parts[name], data, last = data[512:end], data[end + -end % 512 :], rank_of(name)
    need(data == bytes(1024))
    return parts


def volume_rank(name: str) -> Any:
    """Clause 12.2."""
    if name in ("volume.json", "piece"):
        return (-1 if name == "volume.json" else 9, 0, "")
    return () if name.startswith("objects/") else rank(name)


def volume_parts(files: list[bytes]) -> dict[str, bytes]:
    """Clause 12: the parts of the bundle that all these volumes are."""
    pieces: dict[int, bytes] = {}
    sets = set()
    for parts in (file_parts(data, volume_rank) for data in files):
        need({"volume.json", "piece", "release.json", "transport.json"} <= set(parts))
        piece, raw = parts.pop("piece"), parts.pop("volume.json")
        said = document(raw, "count format number offset release sha256 size span transport")
        number, count, span = said["number"], said["count"], said["span"]
        need(said["format"] == "sealift-volume/1" and len(raw) <= 4096 and digest(piece) == said["sha256"])
        for name in ("release", "transport"):
            need(digest(parts[f"{name}.json"]) == said[name])
        need(all(is_count(each, MOST) and each for each in (number, count, span)) and number <= count <= 999)
        need(said["offset"] == (number - 1) * span and said["size"] == len(piece))
        need(len(piece) == span or (number == count and 0 < len(piece) < span))
        pieces[number] = piece
        sets.add((count, span, tuple(sorted(parts.items()))))
    need(len(sets) == 1 and sorted(pieces) == list(range(1, next(iter(sets))[0] + 1)))
    stream, parts = b"".join(pieces[number] for number in sorted(pieces)), dict(next(iter(sets))[2])
    for name, stored in sorted(transport_of(parts["transport.json"])["objects"].items()):
        need(len(stream) >= stored["stored_size"])
        parts[f"objects/{name[:2]}/{name}"] = stream[: stored["stored_size"]]
        stream = stream[stored["stored_size"] :]
    need(not stream)
    return parts


def rank(name: str) -> Any:
    """Clause 7.2."""
    if name in FIRST:
        return (FIRST.index(name), 0, "")
    found = PART.fullmatch(name)
    if not found or not re.fullmatch("[0-9a-f]{2}", found[5] or "00"):
        return ()
    return (4, int(found[2]), "") if found[1] else (5 if found[3] else 6, 0, name)


def header(name: str, size: int) -> bytes:
    """Clause 8.3."""
    zero = b"0000000\0"
    head = name.encode().ljust(100, b"\0") + b"0000644\0" + zero * 2 + b"%011o\0" % size + b"0" * 11 + b"\0"
    tail = b"0" + bytes(100) + b"ustar\x0000" + bytes(64) + zero * 2 + bytes(167)
    return head + b"%06o\0 " % (sum(head) + sum(tail) + 8 * 32) + tail


def second_reader(path: Path, pinned: bytes, officers: int = 0, box: Mapping[str, bytes] = NOTHING) -> str:
    """Clause 10: read and verify everything; `box` has manifests and objects by digest. Raises: Refused."""
    volumes = [each.read_bytes() for each in path.glob("*.sealift")] if path.is_dir() else []
    parts = volume_parts(volumes) if volumes else folder_parts(path) if path.is_dir() else {}
    parts = parts or file_parts(path.read_bytes())
    for name, data in parts.items():
        small = name in ("release.sig.json", "transport.sig.json") or name.startswith("roots/")
        most = 2**22 if name == "release.json" else 2**20 if small else 2**26
        need(name.startswith("objects/") or len(data) <= most)
    need({"release.json", "transport.json"} <= set(parts))
    release, transport = release_of(parts["release.json"]), transport_of(parts["transport.json"])
    identity = digest(parts["release.json"])
    need(transport["release"] == identity)
    for base in transport.get("bases", []):
        need(base["identity"] != identity and base["seq"] < release["seq"])
    expected = {"release.json", "transport.json"} | {
        f"manifests/{name}.json" for name in transport["manifests"]
    }
    expected |= {f"objects/{name[:2]}/{name}" for name in transport["objects"]}
    names = [name for name in sorted(parts, key=rank) if name.startswith("roots/")]
    roots = [root_of(parts[name]) for name in names]
    need(len(roots) <= 64 and names == [f"roots/{signed['version']}.json" for signed, _ in roots])
    need(expected == set(parts) - {"release.sig.json", "transport.sig.json"} - set(names))
    sizes: dict[str, int] = {}
    for ref in release["layers"].values():
        data = parts.get(f"manifests/{ref['manifest']}.json", box.get(ref["manifest"], b""))
        need(digest(data) == ref["manifest"])
        files = manifest_of(data)
        need((len(files), sum(entry["size"] for entry in files.values())) == (ref["files"], ref["size"]))
        for entry in files.values():
            need(sizes.setdefault(entry["sha256"], entry["size"]) == entry["size"])
    need(all(sizes.get(name) == stored["size"] for name, stored in transport["objects"].items()))
    trusted = follow(root_of(pinned)[0], roots)
    check_signatures(trusted, release["product"], parts, officers)
    for name, stored in transport["objects"].items():
        check_object(name, stored, parts[f"objects/{name[:2]}/{name}"], box)
    return identity


def check_signatures(root: dict[str, Any], product: str, parts: dict[str, bytes], officers: int) -> None:
    """Clauses 5.5 and 6.2."""
    need("release.sig.json" in parts and "transport.sig.json" in parts)  # unsigned: never installed
    release = document(parts["release.sig.json"], "approvals signatures")
    transport = document(parts["transport.sig.json"], "signatures")
    raw = parts["release.json"]
    vouch(root, product, signatures_of(release["signatures"]), b"sealift release v1\n" + raw)
    approvals = signatures_of(release["approvals"])
    found = good(approvals, root["keys"], root["officers"]["keys"], b"sealift approval v1\n" + raw)
    need(len(found) >= max(root["officers"]["threshold"], officers))
    vouch(
        root,
        product,
        signatures_of(transport["signatures"]),
        b"sealift transport v1\n" + parts["transport.json"],
    )
