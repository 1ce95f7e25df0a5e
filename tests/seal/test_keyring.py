"""The keys folder: names, what lies where, what is put away."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.made_bundles import make_authority, sign_root, tree_hash

from sealift.errors import BadSignature, MalformedBundle, TrustError, UsageError
from sealift.seal import keyfile, keyring
from sealift.seal.ceremony import KeyPlan, make_keys
from sealift.seal.keyring import Role
from sealift.trust.rotate import Changes, next_root

PHRASES = {Role.ROOT: b"root phrase", Role.RELEASE: b"release phrase", Role.OFFICER: b"officer phrase"}
PLAN = KeyPlan(root=3, root_threshold=2, release=2, officers=2, officer_threshold=1, patterns=("fraud*",))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_keys(tmp_path / "keys", PLAN, PHRASES.__getitem__)
    return tmp_path / "keys"


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_keys_lie_by_role_and_root_json_is_the_newest_root(folder: Path) -> None:
    private = {"root/1", "root/2", "root/3", "release/key", "release/2", "officers/1", "officers/2"}
    expected = {f"{name}{end}" for name in private for end in (".pem", ".pub")}
    assert names(folder) == expected | {"root.json", "roots/1.json"}
    assert (folder / "root.json").read_bytes() == (folder / "roots" / "1.json").read_bytes()
    root = keyring.read_root_file(folder).root
    assert (len(root.root_keys), root.root_threshold) == (3, 2)
    assert (len(root.officers), root.officer_threshold) == (2, 1)
    assert set(root.release_keys.values()) == {("fraud*",)}


def test_each_role_has_its_own_passphrase(folder: Path) -> None:
    for role, phrase in PHRASES.items():
        opened = keyring.open_keys(folder, role, [phrase])
        assert {key.public.key_id for key in opened.values()} == set(
            role.ids(keyring.read_root_file(folder).root)
        )
    with pytest.raises(UsageError, match=r"wrong passphrase; none of 3 key\(s\) opens"):
        keyring.open_keys(folder, Role.ROOT, [PHRASES[Role.RELEASE]])


def test_private_halves_are_for_their_owner_only(folder: Path) -> None:
    for role in Role:
        assert (folder / role.value).stat().st_mode & 0o777 == 0o700
        for path in keyring.private_keys(folder, role):
            assert path.stat().st_mode & 0o777 == 0o600


def test_keys_are_never_made_over_others(folder: Path) -> None:
    before = tree_hash(folder)
    with pytest.raises(UsageError, match=r"already holds root, release, officers, roots, root\.json"):
        make_keys(folder, PLAN, PHRASES.__getitem__)
    assert tree_hash(folder) == before


@pytest.mark.parametrize(
    "plan",
    [
        KeyPlan(root_threshold=2),
        KeyPlan(root_threshold=0),
        KeyPlan(root=0),
        KeyPlan(release=0),
        KeyPlan(release_threshold=2),
        KeyPlan(officer_threshold=1),
        KeyPlan(patterns=("Fraud",)),
        KeyPlan(patterns=()),
        KeyPlan(root=33),
    ],
)
def test_a_plan_that_makes_no_root_writes_nothing(plan: KeyPlan, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="these keys make no root"):
        make_keys(tmp_path / "keys", plan, PHRASES.__getitem__)
    assert not (tmp_path / "keys").exists()


def test_a_file_where_the_folder_should_be_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("x")
    with pytest.raises(UsageError):
        make_keys(tmp_path / "keys", PLAN, PHRASES.__getitem__)
    assert (tmp_path / "keys").read_text() == "x"


def test_readable_root_keys_beside_the_release_key_are_found(folder: Path) -> None:
    assert [path.name for path in keyring.root_keys_readable(folder)] == ["1.pem", "2.pem", "3.pem"]
    assert keyring.root_keys_readable(folder / "release") == keyring.root_keys_readable(folder)
    for path in keyring.private_keys(folder, Role.ROOT):
        path.unlink()
    assert keyring.root_keys_readable(folder) == ()


def test_a_key_is_found_by_its_public_half(folder: Path) -> None:
    public = keyring.read_public(folder / "officers" / "2.pub")
    assert keyring.key_here(folder, public.key_id) == folder / "officers" / "2.pem"
    assert keyring.key_here(folder, "f" * 64) is None


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"x", b'{"alg":"sm2","public":"00"}', b'{"public":"00","alg":"ed25519"}']
)
def test_what_is_no_public_key_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pub").write_bytes(content)
    with pytest.raises(MalformedBundle):
        keyring.read_public(tmp_path / "x.pub")


def test_a_public_key_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"x\.pub"):
        keyring.read_public(tmp_path / "x.pub")


def second_root(folder: Path, changes: Changes) -> None:
    before = keyring.read_root_file(folder).root
    keys = keyring.open_keys(folder, Role.ROOT, [PHRASES[Role.ROOT]])
    after = next_root(before, changes)
    keyring.write_root(folder, sign_root(after, keys.values()))
    keyring.put_away(folder, before, after)


def test_a_key_that_the_new_root_does_not_name_is_put_away_and_never_deleted(folder: Path) -> None:
    gone = keyring.read_public(folder / "release" / "key.pub").key_id
    kept = keyring.read_public(folder / "release" / "2.pub").key_id
    private = (folder / "release" / "key.pem").read_bytes()
    second_root(folder, Changes(remove=(gone,)))
    assert (folder / "release" / f"key-{gone[:8]}.pem.retired").read_bytes() == private
    assert keyring.read_public(folder / "release" / "key.pub").key_id == kept
    assert [path.name for path in keyring.private_keys(folder, Role.RELEASE)] == ["key.pem"]


def test_a_key_that_no_root_has_named_yet_stays_where_it_is(folder: Path) -> None:
    extra = keyring.save_key(folder, Role.OFFICER, keyfile.generate(), b"a new officer")
    gone = keyring.read_public(folder / "officers" / "1.pub").key_id
    second_root(folder, Changes(remove=(gone,)))
    assert extra.is_file()
    assert not (folder / "officers" / "1.pem").exists()


def test_every_root_so_far_is_read_as_one_chain(folder: Path) -> None:
    second_root(folder, Changes(officer_threshold=2))
    assert [signed.root.version for signed in keyring.read_roots(folder)] == [1, 2]


def test_a_root_under_another_number_is_refused(folder: Path) -> None:
    (folder / "roots" / "1.json").rename(folder / "roots" / "2.json")
    with pytest.raises(MalformedBundle, match="another root than its name"):
        keyring.read_roots(folder)


def test_a_root_of_somebody_else_in_roots_is_refused(folder: Path) -> None:
    (folder / "roots" / "1.json").write_bytes(make_authority().signed.encode())
    with pytest.raises(MalformedBundle, match="holds another root"):
        keyring.read_roots(folder)


def test_a_root_that_the_others_do_not_lead_to_is_refused(folder: Path) -> None:
    other = make_authority()
    stranger = next_root(other.root, Changes(officer_threshold=0, add_officers=(keyfile.generate().public,)))
    (folder / "roots" / "2.json").write_bytes(sign_root(stranger, other.root_keys).encode())
    with pytest.raises(TrustError):
        keyring.read_roots(folder)


def test_a_newer_root_than_root_json_is_refused(folder: Path) -> None:
    first = (folder / "root.json").read_bytes()
    second_root(folder, Changes(officer_threshold=2))
    (folder / "root.json").write_bytes(first)
    with pytest.raises(BadSignature, match=r"leads beyond root\.json"):
        keyring.read_roots(folder)


def test_a_folder_without_a_root_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        keyring.read_roots(tmp_path)
    assert caught.value.next_step == f"sealift keys init {tmp_path}"
