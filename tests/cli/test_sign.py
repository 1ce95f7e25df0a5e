"""`sealift sign`: nothing is signed before every byte was checked, and nothing is written before it would count."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.cli.test_keys import Desk
from tests.made_bundles import make_bundle, tree_hash

from sealift.bundle.read import UnverifiedBundle, read_bundle
from sealift.bundle.source import open_source
from sealift.cli.main import run
from sealift.ledger.verify import records
from sealift.seal import keyfile, keyring
from sealift.seal.keyring import Role

pytestmark = pytest.mark.slow

Captured = pytest.CaptureFixture[str]


class Counter:
    """A keys desk with an unsigned bundle on it."""

    def __init__(self, desk: Desk, *init: str) -> None:
        self.desk = desk
        desk("init", "--product", "fraud*", *init)
        self.bundle = make_bundle(desk.folder / "made", None).path

    def sign(self, *more: str, role: str = "release", phrase: str | None = None, code: int = 0) -> str:
        name = phrase or ("officer" if role == "officer" else "release")
        argv = ["sign", str(self.bundle), "--keys", str(self.desk.keys), "--as", role, *more]
        found = run([*argv, "--passphrase-file", str(self.desk.phrases[name])])
        said = self.desk.capsys.readouterr()
        assert found == code, said.err
        return said.out if code == 0 else said.err

    def facts(self, *more: str, role: str = "release") -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.sign(*more, "--json", role=role))
        return found

    def read(self) -> UnverifiedBundle:
        return read_bundle(open_source(self.bundle))

    def verify(self) -> int:
        argv = ["verify", str(self.bundle), "--trust", str(self.desk.keys / "root.json")]
        return run([*argv, "--prefix", str(self.desk.folder / "nobox")])

    def officer(self, number: int) -> str:
        return keyring.read_public(self.desk.keys / "officers" / f"{number}.pub").key_id


@pytest.fixture
def desk(tmp_path: Path, capsys: Captured) -> Desk:
    return Desk(tmp_path, capsys)


@pytest.fixture
def counter(desk: Desk) -> Counter:
    return Counter(desk, "--officers", "2")


def test_a_release_key_and_an_officer_make_a_bundle_that_verifies(counter: Counter) -> None:
    facts = counter.facts()
    assert len(facts["missing"]) == 1
    assert "not approved by anybody; 1 must" in facts["missing"][0]
    assert counter.verify() == 27
    assert counter.facts("--key", counter.officer(1), role="officer")["missing"] == []
    assert counter.verify() == 0


def test_what_is_still_missing_is_said_in_words(counter: Counter) -> None:
    said = counter.sign()
    assert "signed fraud 1.0 sha256:" in said
    assert "still missing: fraud: not approved by anybody; 1 must; missing: 1 of sha256:" in said
    said = counter.sign("--key", counter.officer(2)[:8], role="officer")
    assert "nothing is missing under root version 1; a box may ask for more officers" in said


def test_the_order_of_signers_does_not_matter(counter: Counter) -> None:
    other = counter.desk.folder / "copy"
    shutil.copytree(counter.bundle, other)
    counter.sign()
    counter.sign("--key", counter.officer(1), role="officer")
    first, counter.bundle = counter.bundle, other
    counter.sign("--key", counter.officer(1), role="officer")
    counter.sign()
    assert tree_hash(first) == tree_hash(other)


def test_signing_again_changes_no_byte(counter: Counter) -> None:
    counter.sign()
    before = tree_hash(counter.bundle)
    counter.sign()
    assert tree_hash(counter.bundle) == before


def test_a_signature_never_changes_the_identity(counter: Counter) -> None:
    before = counter.read().identity
    counter.sign()
    assert counter.read().identity == before


def test_the_second_release_key_signs_where_the_first_has(desk: Desk) -> None:
    counter = Counter(desk, "--release", "2", "--release-threshold", "2")
    assert "each stands for a person" in counter.sign(code=2)
    first = keyring.read_public(desk.keys / "release" / "key.pub").key_id
    assert len(counter.facts("--key", first)["missing"]) == 2
    assert counter.facts()["missing"] == []
    assert counter.verify() == 0


def test_signing_is_written_to_the_log_beside_the_key(counter: Counter) -> None:
    counter.sign()
    counter.sign("--key", counter.officer(1), role="officer")
    lines = [
        list(records(keyring.log_of(counter.desk.keys, role)))[-1] for role in (Role.RELEASE, Role.OFFICER)
    ]
    assert [line.facts["as"] for line in lines] == ["release", "officer"]
    assert all(line.event == "sign" and line.facts["identity"] == counter.read().identity for line in lines)


def test_an_officer_needs_only_the_root_and_their_own_key(counter: Counter) -> None:
    away = counter.desk.folder / "away"
    (away / "officers").mkdir(parents=True)
    shutil.copy(counter.desk.keys / "root.json", away)
    shutil.copy(counter.desk.keys / "officers" / "1.pem", away / "officers")
    counter.desk.keys = away
    assert (
        counter.facts(role="officer")["key"]
        == keyfile.load(away / "officers" / "1.pem", b"the officer phrase").public.key_id
    )


def test_a_single_file_is_signed_like_a_folder(counter: Counter) -> None:
    from sealift.bundle.write import write_parts

    source = open_source(counter.bundle)
    parts = []
    for name, size in source.parts().items():
        with source.open(name) as stream:
            parts.append((name, size, iter((stream.read(),))))
    write_parts(counter.desk.folder / "one.sealift", parts)
    counter.bundle = counter.desk.folder / "one.sealift"
    counter.sign()
    counter.sign("--key", counter.officer(1), role="officer")
    assert counter.verify() == 0


def refused(counter: Counter, *more: str, code: int, role: str = "release", phrase: str | None = None) -> str:
    """The command is refused, and neither bundle nor keys changed."""
    before = (tree_hash(counter.bundle), tree_hash(counter.desk.keys))
    said = counter.sign(*more, role=role, phrase=phrase, code=code)
    assert (tree_hash(counter.bundle), tree_hash(counter.desk.keys)) == before
    return said


def test_a_changed_object_is_never_signed(counter: Counter) -> None:
    path = max((counter.bundle / "objects").rglob("*"), key=lambda one: one.stat().st_size * one.is_file())
    path.write_bytes(b"X" * path.stat().st_size)
    assert "bytes of that digest" in refused(counter, code=22)
    refused(counter, "--digest-out", str(counter.desk.folder / "out"), code=22)
    refused(counter, "--as-seq", "9", code=22)
    assert not (counter.desk.folder / "out").exists()


def test_a_missing_object_is_never_signed(counter: Counter) -> None:
    next(path for path in (counter.bundle / "objects").rglob("*") if path.is_file()).unlink()
    refused(counter, code=12)


def test_a_wrong_passphrase_signs_nothing(counter: Counter) -> None:
    assert "wrong passphrase" in refused(counter, phrase="root", code=2)
    assert "wrong passphrase" in refused(counter, "--as-seq", "9", phrase="root", code=2)


def test_between_two_officers_one_is_named(counter: Counter) -> None:
    assert "name one with --key" in refused(counter, role="officer", code=2)


def test_a_key_that_may_not_sign_this_product_signs_nothing(desk: Desk) -> None:
    counter = Counter(desk)
    counter.bundle = make_bundle(desk.folder / "more", None, product="vision").path
    assert "may not sign vision under root version 1 (nobody may)" in refused(counter, code=23)


def test_a_key_that_the_root_does_not_know_signs_nothing(counter: Counter) -> None:
    keys = counter.desk.keys
    for path in (keys / "release").glob("key.*"):
        path.unlink()
    keyring.save_key(keys, Role.RELEASE, keyfile.generate(), b"the release phrase")
    assert "may not sign fraud" in refused(counter, code=23)


def test_a_revoked_key_signs_nothing(counter: Counter) -> None:
    keys = counter.desk.keys
    kept = (keys / "officers" / "1.pem").read_bytes()
    counter.desk("revoke", counter.officer(1))
    (keys / "officers" / "9.pem").write_bytes(kept)
    (keys / "officers" / "2.pem").unlink()
    assert "is revoked by root version 2" in refused(counter, role="officer", code=26)


def test_an_officers_folder_without_a_key_says_what_to_name(desk: Desk) -> None:
    counter = Counter(desk)
    assert "no key lies there" in refused(counter, role="officer", code=2)


def test_a_bundle_of_another_authority_is_not_signed(counter: Counter) -> None:
    counter.sign()
    other = counter.desk.folder / "other"
    counter.desk("init", keys=other)
    counter.desk.keys = other
    assert "no chain of signatures" in refused(counter, code=20)


def test_a_bundle_that_is_none_is_a_usage_error(counter: Counter) -> None:
    counter.bundle = counter.desk.folder / "nowhere"
    assert "no such file" in counter.sign(code=2)


def test_a_medium_that_cannot_be_written_is_said_plainly(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("sealift.bundle.write.rewrite_signatures", full)
    said = counter.sign(code=2)
    assert "the bundle cannot be written: Read-only file system" in said
    assert "copy it to a place that can be written" in said


def test_newer_roots_come_into_the_bundle_with_the_signature(counter: Counter) -> None:
    counter.sign()
    counter.sign("--key", counter.officer(1), role="officer")
    gone = next(iter(counter.desk.root().release_keys))
    counter.desk("revoke", gone, "--add-release")
    assert [signed.root.version for signed in counter.read().roots] == [1]
    assert counter.verify() == 26
    facts = counter.facts()
    assert facts["root_version"] == 2
    assert facts["missing"] == []
    assert [signed.root.version for signed in counter.read().roots] == [1, 2]
    assert counter.verify() == 0


def test_a_keys_folder_that_is_behind_judges_by_the_bundles_newer_root(counter: Counter) -> None:
    old = counter.desk.folder / "old-keys"
    shutil.copytree(counter.desk.keys, old)
    counter.desk("revoke", next(iter(counter.desk.root().release_keys)), "--add-release")
    counter.sign()
    counter.desk.keys = old
    assert "is revoked by root version 2" in refused(counter, code=26)


class Device:
    """A signing device: it gets a file, it gives a file; its key never was in the folder."""

    def __init__(self, counter: Counter, role: Role) -> None:
        self.counter, self.role = counter, role
        path = keyring.private_keys(counter.desk.keys, role)[0]
        phrase = b"the release phrase" if role is Role.RELEASE else b"the officer phrase"
        self.key = keyfile.load(path, phrase)
        path.unlink()
        self.out = counter.desk.folder / "to-sign.bin"
        self.back = counter.desk.folder / "signed.bin"

    def parts(self) -> list[str]:
        return ["", ".transport"] if self.role is Role.RELEASE else [""]

    def sign(self) -> None:
        for part in self.parts():
            message = Path(f"{self.out}{part}").read_bytes()
            Path(f"{self.back}{part}").write_bytes(self.key.sign(message).signature)


@pytest.mark.parametrize("role", [Role.RELEASE, Role.OFFICER])
def test_a_device_signs_what_digest_out_wrote(role: Role, counter: Counter) -> None:
    device = Device(counter, role)
    word = "release" if role is Role.RELEASE else "officer"
    before = tree_hash(counter.bundle)
    said = counter.sign("--digest-out", str(device.out), role=word)
    assert "Ed25519 signs these bytes themselves (RFC 8032, pure), not their SHA-256" in said
    assert tree_hash(counter.bundle) == before
    device.sign()
    counter.sign("--signature-in", str(device.back), "--key", device.key.public.key_id[:8], role=word)
    bundle = counter.read()
    signatures = bundle.signatures if role is Role.RELEASE else bundle.approvals
    assert [one.key_id for one in signatures] == [device.key.public.key_id]


def test_the_digests_shown_are_those_of_the_files(counter: Counter) -> None:
    import hashlib

    device = Device(counter, Role.RELEASE)
    rows = counter.facts("--digest-out", str(device.out))["to_sign"]
    assert [row["part"] for row in rows] == ["release", "transport"]
    for row in rows:
        assert hashlib.sha256(Path(row["file"]).read_bytes()).hexdigest() == row["sha256"]


@pytest.mark.parametrize("spoil", ["first", "transport", "missing"])
def test_a_devices_wrong_signature_is_not_written(spoil: str, counter: Counter) -> None:
    device = Device(counter, Role.RELEASE)
    counter.sign("--digest-out", str(device.out))
    device.sign()
    if spoil == "missing":
        Path(f"{device.back}.transport").unlink()
    else:
        Path(f"{device.back}{'' if spoil == 'first' else '.transport'}").write_bytes(b"x" * 64)
    flags = ["--signature-in", str(device.back), "--key", device.key.public.key_id]
    refused(counter, *flags, code=2 if spoil == "missing" else 21)


def test_a_devices_signature_by_a_key_of_another_role_is_refused(counter: Counter) -> None:
    device = Device(counter, Role.OFFICER)
    counter.sign("--digest-out", str(device.out), role="officer")
    device.sign()
    flags = ["--signature-in", str(device.back), "--key", device.key.public.key_id]
    assert "may not sign fraud" in refused(counter, *flags, code=23)


def test_an_older_release_is_issued_anew_with_a_higher_sequence(counter: Counter) -> None:
    counter.sign()
    old = counter.read()
    facts = counter.facts("--as-seq", "7")
    new = counter.read()
    assert (new.release.seq, facts["seq"]) == (7, 7)
    assert new.identity != old.identity
    assert new.release.layers == old.release.layers
    assert (new.release.version, new.release.created) == (old.release.version, old.release.created)
    assert len(new.signatures) == 1
    counter.sign("--key", counter.officer(1), role="officer")
    assert counter.verify() == 0


def test_an_approval_of_the_older_issue_does_not_count_for_the_new_one(counter: Counter) -> None:
    counter.sign()
    counter.sign("--key", counter.officer(1), role="officer")
    assert "not approved by anybody" in counter.facts("--as-seq", "7")["missing"][0]
    assert counter.verify() == 27


def test_issuing_anew_is_written_in_the_sequence_ledger_and_repeatable(counter: Counter) -> None:
    counter.sign("--as-seq", "7")
    book = json.loads((counter.desk.keys / "release" / "sequences.json").read_text())
    assert [(entry["seq"], entry["identity"]) for entry in book["fraud"]] == [(7, counter.read().identity)]
    before = tree_hash(counter.bundle)
    counter.sign("--as-seq", "7")
    assert tree_hash(counter.bundle) == before


def test_a_lower_sequence_is_refused(counter: Counter) -> None:
    counter.sign("--as-seq", "7")
    assert "expected more than its own sequence, 7" in refused(counter, "--as-seq", "6", code=2)


def test_a_sequence_that_was_given_away_is_refused(counter: Counter) -> None:
    other = make_bundle(counter.desk.folder / "more", None, version="2.0").path
    first, counter.bundle = counter.bundle, other
    counter.sign("--as-seq", "7")
    counter.bundle = first
    assert "sequence 7 cannot be given" in refused(counter, "--as-seq", "7", code=2)


@pytest.mark.parametrize(
    ("flags", "role"),
    [
        (["--signature-in", "f"], "release"),
        (["--signature-in", "f", "--key", "ffffffff", "--digest-out", "g"], "release"),
        (["--signature-in", "f", "--key", "ffffffff", "--as-seq", "2"], "release"),
        (["--as-seq", "2"], "officer"),
        (["--key", "ffffffff"], "release"),
        (["--digest-out", "/nowhere/f"], "release"),
        (["--signature-in", "/nowhere/f", "--key", "RELEASE"], "release"),
    ],
)
def test_flags_that_do_not_fit_change_nothing(flags: list[str], role: str, counter: Counter) -> None:
    key = next(iter(counter.desk.root().release_keys))
    refused(counter, *(key if flag == "RELEASE" else flag for flag in flags), role=role, code=2)
