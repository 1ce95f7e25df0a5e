"""The next root: what changes is exactly what was asked, and what would be no root is refused at once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.made_bundles import make_authority, sign_root

from sealift.errors import UsageError
from sealift.seal import keyfile
from sealift.trust.chain import follow
from sealift.trust.root import decode_root
from sealift.trust.rotate import Changes, next_root, resolve_key

BANK = make_authority(root=(2, 3), release=(1, 1), officers=(1, 2), patterns=("fraud*",))
A_ROOT, A_RELEASE = BANK.root.root_keys[0], next(iter(BANK.root.release_keys))
AN_OFFICER = BANK.root.officers[0]
NEW = keyfile.generate().public


def test_a_release_key_is_replaced_and_nothing_else_changes() -> None:
    made = next_root(BANK.root, Changes(remove=(A_RELEASE,), add_release={NEW: ("vision", "fraud*")}))
    assert made.release_keys == {NEW.key_id: ("fraud*", "vision")}
    assert replace(made, version=1, keys=BANK.root.keys, release_keys=BANK.root.release_keys) == BANK.root
    assert decode_root(sign_root(made, BANK.root_keys).encode()).root == made


def test_a_revoked_key_is_removed_and_listed() -> None:
    made = next_root(BANK.root, Changes(revoke=(AN_OFFICER,)))
    assert made.revoked == (AN_OFFICER,)
    assert AN_OFFICER not in made.officers
    assert AN_OFFICER not in made.keys


def test_revocations_add_up_over_the_versions() -> None:
    second = next_root(BANK.root, Changes(revoke=(AN_OFFICER,)))
    third = next_root(second, Changes(revoke=(A_ROOT,), add_root=(NEW,)))
    assert third.revoked == tuple(sorted([AN_OFFICER, A_ROOT]))
    assert third.version == 3


def test_a_key_may_change_its_products_in_one_step() -> None:
    key = BANK.root.keys[A_RELEASE]
    made = next_root(BANK.root, Changes(remove=(A_RELEASE,), add_release={key: ("vision",)}))
    assert made.release_keys == {A_RELEASE: ("vision",)}


def test_every_root_key_can_be_exchanged_in_one_signed_step() -> None:
    new = [keyfile.generate() for _ in range(3)]
    changes = Changes(remove=BANK.root.root_keys, add_root=tuple(key.public for key in new))
    signed = sign_root(next_root(BANK.root, changes), [*BANK.root_keys, *new])
    assert follow(BANK.root, [signed]).version == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (Changes(), "nothing changes"),
        (Changes(root_threshold=2), "nothing changes"),
        (Changes(remove=(A_RELEASE,)), "threshold 1 of 0 release keys"),
        (Changes(revoke=(A_RELEASE,)), "threshold 1 of 0 release keys"),
        (Changes(remove=BANK.root.officers), "threshold 1 of 0 officers keys"),
        (Changes(remove=BANK.root.root_keys[:2]), "threshold 2 of 1 root keys"),
        (Changes(root_threshold=4), "threshold 4 of 3 root keys"),
        (Changes(root_threshold=0), "threshold 0 of 3 root keys"),
        (Changes(release_threshold=2), "threshold 2 of 1 release keys"),
        (Changes(officer_threshold=3), "threshold 3 of 2 officers keys"),
        (Changes(officer_threshold=-1), "threshold -1 of 2 officers keys"),
        (Changes(add_officers=(BANK.root.keys[A_RELEASE],)), "stands in the root"),
        (Changes(add_release={NEW: ("Fraud",)}), "product pattern 'Fraud'"),
        (Changes(add_release={NEW: ()}), "without a product pattern"),
        (Changes(add_root=(NEW,), add_officers=(NEW,)), "a key has two roles"),
        (
            Changes(revoke=(A_RELEASE,), add_release={BANK.root.keys[A_RELEASE]: ("*",)}),
            "a revoked key is listed",
        ),
    ],
)
def test_what_would_be_no_root_is_refused(changes: Changes, said: str) -> None:
    with pytest.raises(UsageError, match="root version 2 cannot be made") as caught:
        next_root(BANK.root, changes)
    assert any(said in problem for problem in caught.value.problems), caught.value.problems


def test_a_revoked_key_never_comes_back() -> None:
    officer = BANK.root.keys[AN_OFFICER]
    second = next_root(BANK.root, Changes(revoke=(AN_OFFICER,)))
    with pytest.raises(UsageError) as caught:
        next_root(second, Changes(add_officers=(officer,)))
    assert any("is revoked" in problem for problem in caught.value.problems)


@pytest.mark.parametrize(
    "text",
    [
        A_ROOT,
        A_ROOT.upper(),
        f"sha256:{A_ROOT}",
        f"sha256:{A_ROOT[:4]}-{A_ROOT[4:8]}",
        A_ROOT[:8],
        f" {A_ROOT[:12]}\n",
    ],
    ids=range(6),
)
def test_a_key_is_named_as_the_screens_show_it(text: str) -> None:
    assert resolve_key(BANK.root, text) == A_ROOT


@pytest.mark.parametrize(
    "text", ["", "sha256:", A_ROOT[:7], "ffffffff", "zzzzzzzz", "f" * 63, "f" * 65, "../x"], ids=range(8)
)
def test_what_names_no_key_is_refused_with_those_there_are(text: str) -> None:
    with pytest.raises(UsageError, match="expected its first 8 digits or more") as caught:
        resolve_key(BANK.root, text)
    assert len(caught.value.problems) == 6


def test_a_key_of_an_older_root_is_named_whole() -> None:
    assert resolve_key(BANK.root, "f" * 64) == "f" * 64
