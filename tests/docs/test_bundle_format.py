"""docs/reference/bundle-format.md is precise: a second reader, written from its clauses alone, agrees with ours.

The reader below imports nothing of sealift. Each function names the clause that it follows.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.made_bundles import make_bundle, make_signer

from sealift.bundle.read import read_bundle, verify, verify_objects
from sealift.bundle.source import open_source
from sealift.errors import SealiftError
from sealift.trust.root import Root

DIGEST, LAYERS = re.compile(r"[0-9a-f]{64}"), ("runtime", "dependencies", "application")


class Refused(Exception):
    """The second reader says no."""


def need(holds: object) -> None:
    if not holds:
        raise Refused


def canonical(value: Any, depth: int = 0) -> bytes:
    """Clause 1."""
    need(depth <= 32)
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        parts = [canonical(key, depth + 1) + b":" + canonical(value[key], depth + 1) for key in keys]
        return b"{" + b",".join(parts) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(canonical(item, depth + 1) for item in value) + b"]"
    need(value is None or isinstance(value, bool | str) or (isinstance(value, int) and abs(value) < 2**53))
    return json.dumps(value, ensure_ascii=False).encode()


def document(data: bytes, *keys: str) -> Any:
    """Clause 1: the only encoding, and exactly these keys."""
    need(len(data) <= 67_108_864)
    try:
        value = json.loads(data)
        need(isinstance(value, dict) and canonical(value) == data)
    except (ValueError, RecursionError) as error:
        raise Refused from error
    need(not keys or set(value) == set(keys))
    return value


def is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_path(path: str) -> bool:
    """Clause 3.2."""
    parts = path.split("/")
    return (
        not re.search(r'[\x00-\x1f\x7f\\<>:"|?*]', path)
        and len(path.encode()) <= 1024
        and len(parts) <= 32
        and all(part not in ("", ".", "..") and part[-1] not in ". " for part in parts)
        and all(len(part.encode()) <= 200 for part in parts)
    )


def manifest(data: bytes) -> dict[str, Any]:
    """Clause 3."""
    doc = document(data, "files", "format")
    need(doc["format"] == "sealift-manifest/1" and isinstance(doc["files"], dict))
    files: dict[str, Any] = doc["files"]
    for path, entry in files.items():
        need(is_path(path) and isinstance(entry, dict) and set(entry) == {"executable", "sha256", "size"})
        need(
            isinstance(entry["executable"], bool) and is_count(entry["size"]) and entry["size"] <= 16 * 10**9
        )
        need(isinstance(entry["sha256"], str) and DIGEST.fullmatch(entry["sha256"]))
    need(len({path.casefold() for path in files}) == len(files))
    need(not any(other.startswith(f"{path}/") for path in files for other in files))
    return files


def signers(doc: Any, keys: dict[str, Any], message: bytes, among: set[str]) -> set[str]:
    """Clauses 5 and 6.2.1: the keys of `among` that signed; each of their signatures verifies."""
    need(isinstance(doc, list) and len(doc) <= 64)
    found = []
    for item in doc:
        need(isinstance(item, dict) and set(item) == {"alg", "key", "signature"})
        need(all(isinstance(text, str) for text in item.values()))
        try:
            raw = base64.b64decode(item["signature"], validate=True)
            need(base64.b64encode(raw).decode() == item["signature"])
            if item["key"] in among:
                need(item["alg"] == "ed25519")
                public = bytes.fromhex(keys[item["key"]]["public"])
                Ed25519PublicKey.from_public_bytes(public).verify(raw, message)
        except (ValueError, InvalidSignature) as error:
            raise Refused from error
        found.append(item["key"])
    need(found == sorted(set(found)))
    return set(found) & among


def root(data: bytes) -> dict[str, Any]:
    """Clauses 5.1 and 6.1."""
    doc = document(data, "signatures", "signed")
    signed: dict[str, Any] = doc["signed"]
    need(set(signed) == {"format", "keys", "release", "root", "version"} and signed["version"] >= 1)
    for key_id, key in signed["keys"].items():
        need(set(key) == {"alg", "public"} and key["alg"] == "ed25519" and DIGEST.fullmatch(key["public"]))
        need(hashlib.sha256(canonical(key)).hexdigest() == key_id)
    own = signed["root"]
    message = b"sealift root v1\n" + canonical(signed)
    good = signers(doc["signatures"], signed["keys"], message, set(own["keys"]))
    need(1 <= own["threshold"] <= len(good))
    return signed


def vouch(trusted: dict[str, Any], product: str, doc: Any, message: bytes) -> None:
    """Clause 6.2."""
    delegated = trusted["release"]["keys"]
    good = signers(doc, trusted["keys"], message, set(delegated))
    able = {key for key in good if any(fnmatchcase(product, pattern) for pattern in delegated[key])}
    need(len(able) >= trusted["release"]["threshold"])


def second_reader(folder: Path, pinned: bytes) -> str:
    """Clause 8: read and verify everything; returns the identity. Raises: Refused."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir()}
    need(all(path.is_file() and not path.is_symlink() for path in paths.values()))

    def read(name: str) -> bytes:
        need(name in paths)
        return paths[name].read_bytes()

    raw = read("release.json")
    identity = hashlib.sha256(raw).hexdigest()
    release = document(
        raw, "format", "product", "version", "seq", "floor_seq", "min_sealift", "created", "target", "layers",
        "checks", "provenance", "total_size",
    )  # fmt: skip
    _check_release(release)
    transport = document(read("transport.json"), "format", "objects", "release")
    need(transport["format"] == "sealift-transport/1" and transport["release"] == identity)
    needed: dict[str, int] = {}
    for layer in LAYERS:
        ref = release["layers"][layer]
        data = read(f"manifests/{ref['manifest']}.json")
        need(hashlib.sha256(data).hexdigest() == ref["manifest"])
        files = manifest(data)
        need(len(files) == ref["files"] <= 200_000)
        need(sum(entry["size"] for entry in files.values()) == ref["size"])
        needed |= {entry["sha256"]: entry["size"] for entry in files.values()}
    listed = {
        name: {"codec": "raw", "size": size, "stored_sha256": name, "stored_size": size}
        for name, size in needed.items()
    }
    need(transport["objects"] == listed)
    _check_strangers(set(paths), release, needed, read)
    trusted = root(pinned)
    for name, context in (("release", b"sealift release v1\n"), ("transport", b"sealift transport v1\n")):
        doc = document(read(f"{name}.sig.json"), "signatures")["signatures"]
        vouch(trusted, release["product"], doc, context + read(f"{name}.json"))
    for name, size in needed.items():
        data = read(f"objects/{name[:2]}/{name}")
        need(len(data) == size and hashlib.sha256(data).hexdigest() == name)
    return identity


def _check_release(release: dict[str, Any]) -> None:
    """Clause 2."""
    version = r"[0-9A-Za-z][0-9A-Za-z._+-]{0,63}"
    forms = {
        "format": r"sealift-release/1", "product": r"[a-z0-9][a-z0-9._-]{0,63}", "version": version,
        "min_sealift": version, "created": r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z",
    }  # fmt: skip
    for key, form in forms.items():
        need(isinstance(release[key], str) and re.fullmatch(form, release[key]))
    need(all(is_count(release[key]) for key in ("seq", "floor_seq", "total_size")))
    need(all(isinstance(release[key], dict) for key in ("target", "layers", "checks", "provenance")))
    need(set(release["layers"]) == set(LAYERS))
    for ref in release["layers"].values():
        need(isinstance(ref, dict) and set(ref) == {"files", "manifest", "size"})
        need(is_count(ref["files"]) and is_count(ref["size"]) and DIGEST.fullmatch(str(ref["manifest"])))
    need(release["total_size"] == sum(ref["size"] for ref in release["layers"].values()))


def _check_strangers(
    names: set[str], release: dict[str, Any], needed: dict[str, int], read: Callable[[str], bytes]
) -> None:
    """Clause 7."""
    known = {"release.json", "release.sig.json", "transport.json", "transport.sig.json"}
    known |= {f"manifests/{ref['manifest']}.json" for ref in release["layers"].values()}
    known |= {f"objects/{name[:2]}/{name}" for name in needed}
    for name in names - known:
        need(name.startswith("roots/"))
        need(f"roots/{root(read(name))['version']}.json" == name)


def our_reader(folder: Path, trusted: Root) -> str:
    """sealift's own. Raises: SealiftError."""
    bundle = verify(read_bundle(open_source(folder)), trusted)
    verify_objects(bundle)
    return bundle.identity


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, Root]:
    """A signed bundle, the pinned root.json, and that root as a value."""
    signer = make_signer(("fra?d", "other*"))
    packed = make_bundle(tmp_path_factory.mktemp("bundle"), signer)
    return packed.path, signer.signed.encode(), signer.signed.root


def test_a_reader_written_from_the_clauses_accepts_a_bundle_and_names_it_alike(
    bundle: tuple[Path, bytes, Root],
) -> None:
    folder, pinned, trusted = bundle
    assert second_reader(folder, pinned) == our_reader(folder, trusted)


def both_refuse(folder: Path, pinned: bytes, trusted: Root) -> None:
    with pytest.raises(SealiftError):
        our_reader(folder, trusted)
    with pytest.raises(Refused):
        second_reader(folder, pinned)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draw=st.data())
def test_both_readers_refuse_any_flipped_bit(
    bundle: tuple[Path, bytes, Root], tmp_path: Path, draw: st.DataObject
) -> None:
    folder, pinned, trusted = bundle
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    victims = sorted(path for path in copy.rglob("*") if path.is_file() and path.stat().st_size)
    victim = draw.draw(st.sampled_from(victims))
    data = bytearray(victim.read_bytes())
    position = draw.draw(st.integers(0, len(data) * 8 - 1))
    data[position // 8] ^= 1 << (position % 8)
    victim.write_bytes(data)
    both_refuse(copy, pinned, trusted)


def _append(folder: Path, name: str, data: bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((path.read_bytes() if path.exists() else b"") + data)


def _reorder(folder: Path) -> None:
    value = json.loads((folder / "release.json").read_bytes())
    text = json.dumps(dict(reversed(value.items())), separators=(",", ":"), ensure_ascii=False)
    (folder / "release.json").write_text(text)


def _swap_signatures(folder: Path) -> None:
    release, transport = folder / "release.sig.json", folder / "transport.sig.json"
    first, second = release.read_bytes(), transport.read_bytes()
    release.write_bytes(second)
    transport.write_bytes(first)


CHANGES: dict[str, Callable[[Path], None]] = {
    "a file that nobody names": lambda folder: _append(folder, "notes.txt", b"hello"),
    "a root that is none": lambda folder: _append(folder, "roots/2.json", b"{}"),
    "a line feed behind the release": lambda folder: _append(folder, "release.json", b"\n"),
    "keys in another order": _reorder,
    "no signature of the release": lambda folder: (folder / "release.sig.json").unlink(),
    "no signature of the transport": lambda folder: (folder / "transport.sig.json").unlink(),
    "no transport": lambda folder: (folder / "transport.json").unlink(),
    "an object is missing": lambda folder: next((folder / "objects").rglob("*/*")).unlink(),
    "the two signature files are swapped": _swap_signatures,
}


@pytest.mark.parametrize("what", CHANGES)
def test_both_readers_refuse(bundle: tuple[Path, bytes, Root], tmp_path: Path, what: str) -> None:
    folder, pinned, trusted = bundle
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    CHANGES[what](copy)
    both_refuse(copy, pinned, trusted)


def test_both_readers_refuse_a_product_that_no_key_may_sign(tmp_path: Path) -> None:
    signer = make_signer(("fraud?", "Fraud"))
    packed = make_bundle(tmp_path, signer)
    both_refuse(packed.path, signer.signed.encode(), signer.signed.root)


def test_both_readers_refuse_another_root(bundle: tuple[Path, bytes, Root]) -> None:
    other = make_signer().signed
    both_refuse(bundle[0], other.encode(), other.root)
