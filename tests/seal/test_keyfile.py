"""Private keys on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealift.errors import UsageError
from sealift.seal import keyfile


def test_a_saved_key_signs_as_before_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    key = keyfile.generate()
    keyfile.save(key, tmp_path / "key.pem", b"a long phrase")
    loaded = keyfile.load(tmp_path / "key.pem", b"a long phrase")
    assert loaded.sign(b"x") == key.sign(b"x")
    assert key.public.verifies(loaded.sign(b"x").signature, b"x")
    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED" in (tmp_path / "key.pem").read_bytes()


def test_a_wrong_passphrase_is_refused(tmp_path: Path) -> None:
    keyfile.save(keyfile.generate(), tmp_path / "key.pem", b"right one")
    with pytest.raises(UsageError, match="wrong passphrase"):
        keyfile.load(tmp_path / "key.pem", b"wrong one")


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    keyfile.save(keyfile.generate(), tmp_path / "key.pem", b"right one")
    before = (tmp_path / "key.pem").read_bytes()
    with pytest.raises(UsageError, match="never overwritten"):
        keyfile.save(keyfile.generate(), tmp_path / "key.pem", b"right one")
    assert (tmp_path / "key.pem").read_bytes() == before


def test_an_empty_passphrase_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="empty"):
        keyfile.save(keyfile.generate(), tmp_path / "key.pem", b"")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", [b"", b"not a key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_what_is_not_a_key_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(content)
    with pytest.raises(UsageError):
        keyfile.load(tmp_path / "key.pem", b"phrase")


def test_a_key_tells_nothing_of_itself() -> None:
    assert "PRIVATE" not in repr(keyfile.generate())
