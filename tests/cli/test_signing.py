"""Who signs on the packing side, and what the engineer is told about it."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
from tests.made_bundles import tree_hash

from sealift.cli.main import run
from sealift.cli.signing import signing_of
from sealift.errors import SealiftError, UsageError


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    (tmp_path / "phrase").write_text("a long enough phrase\n")
    folder = tmp_path / "keys"
    assert run(["keys", "init", str(folder), "--passphrase-file", str(tmp_path / "phrase"), "-q"]) == 0
    return folder


def asked(keys: Path | None, phrase: str = "phrase", *, unsigned: bool = False) -> Namespace:
    file = keys.parent / phrase if keys is not None else None
    return Namespace(keys=keys, unsigned=unsigned, passphrase_file=file, no_input=True)


def test_root_keys_beside_the_release_key_are_warned_about_until_they_are_gone(keys: Path) -> None:
    signing = signing_of(asked(keys))
    assert len(signing.notes) == 1
    assert signing.notes[0].startswith(f"root keys lie where bundles are signed ({keys / 'root'}")
    (keys / "root").rename(keys.parent / "safe")
    assert signing_of(asked(keys)).notes == ()


def test_a_bundle_may_be_left_for_others_to_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    signing = signing_of(asked(None, unsigned=True))
    assert signing.sign(b"x") == ()
    assert signing.books == tmp_path / "sealift"


def test_without_keys_nothing_is_packed_by_accident() -> None:
    with pytest.raises(UsageError, match="nobody signs this bundle"):
        signing_of(asked(None))


def test_a_wrong_passphrase_or_a_strange_key_is_refused_and_changes_nothing(keys: Path) -> None:
    (keys.parent / "other").write_text("another long phrase\n")
    before = tree_hash(keys)
    with pytest.raises(UsageError, match="wrong passphrase"):
        signing_of(asked(keys, "other"))
    assert tree_hash(keys) == before
    stranger = keys.parent / "stranger"
    run(["keys", "init", str(stranger), "--passphrase-file", str(keys.parent / "phrase"), "-q"])
    (keys / "release" / "key.pem").write_bytes((stranger / "release" / "key.pem").read_bytes())
    with pytest.raises(SealiftError, match="does not know the release key beside it"):
        signing_of(asked(keys))
