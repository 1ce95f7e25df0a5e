"""The box: a root is pinned once and then only led on; its policy adds to the root and is never guessed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.made_bundles import Authority, make_authority, make_bundle, sign_root, tree_hash

from sealift.bundle.read import UnverifiedBundle, read_bundle
from sealift.bundle.source import open_source
from sealift.errors import BadSignature, MalformedBundle, RootNotPinned, StoreError, TrustError, UsageError
from sealift.install.trust import (
    confirm_fingerprint,
    pin,
    pinned_or_damaged,
    pinned_root,
    policy_file,
    read_policy,
    read_root,
    replace_root,
    root_to_trust,
    write_policy,
)
from sealift.seal import keyfile
from sealift.store.prefix import Prefix, private
from sealift.trust.root import Root, SignedRoot
from sealift.trust.rotate import Changes, next_root
from sealift.trust.vouch import Policy

BANK = make_authority(root=(2, 3))
OTHER = make_authority()


def chain(length: int, start: Authority = BANK) -> list[SignedRoot]:
    roots = [start.signed]
    while len(roots) < length:
        changes = Changes(add_release={keyfile.generate().public: ("*",)})
        roots.append(sign_root(next_root(roots[-1].root, changes), start.root_keys))
    return roots


ROOTS = chain(4)
Carrying = Callable[..., UnverifiedBundle]


@pytest.fixture
def box(tmp_path: Path) -> Prefix:
    return private(tmp_path / "box")


@pytest.fixture
def carrying(tmp_path: Path) -> Carrying:
    """A bundle, read, as if it carried these roots."""
    bundle = read_bundle(open_source(make_bundle(tmp_path, None).path))
    return lambda *roots: replace(bundle, roots=roots)


def pinned_is(box: Prefix, root: Root) -> bool:
    pinned = pinned_root(box)
    return pinned is not None and pinned.fingerprint == root.fingerprint


def test_nobody_is_trusted_before_somebody_is_named(box: Prefix, carrying: Carrying) -> None:
    with pytest.raises(RootNotPinned, match="a bundle cannot vouch for itself") as caught:
        root_to_trust(box, None, carrying(*ROOTS))
    assert caught.value.exit_code == 25
    assert not box.root.exists()


def test_the_first_root_is_pinned_at_commit_and_not_before(box: Prefix, carrying: Carrying) -> None:
    assert root_to_trust(box, ROOTS[0], carrying()) == ROOTS[0].root
    assert not box.root.exists()
    assert pin(box, ROOTS[0]) is True
    assert pinned_is(box, ROOTS[0].root)
    assert pin(box, ROOTS[0]) is False


def test_a_first_install_goes_on_to_the_bundles_newest_root(box: Prefix, carrying: Carrying) -> None:
    assert root_to_trust(box, ROOTS[0], carrying(*ROOTS)) == ROOTS[3].root
    assert pin(box, ROOTS[0], ROOTS)
    assert pinned_is(box, ROOTS[3].root)


def test_the_pinned_root_is_led_on_by_the_bundle_alone(box: Prefix, carrying: Carrying) -> None:
    pin(box, ROOTS[0])
    assert root_to_trust(box, None, carrying(*ROOTS)) == ROOTS[3].root
    assert pinned_is(box, ROOTS[0].root)
    assert pin(box, None, ROOTS) is False
    assert pinned_is(box, ROOTS[3].root)


def test_an_older_bundle_does_not_lead_back(box: Prefix, carrying: Carrying) -> None:
    pin(box, ROOTS[0], ROOTS)
    assert root_to_trust(box, None, carrying(*ROOTS[:2])) == ROOTS[3].root
    pin(box, None, ROOTS[:2])
    assert pinned_is(box, ROOTS[3].root)


def test_the_old_root_json_may_be_named_again_where_the_chain_is_at_hand(
    box: Prefix, carrying: Carrying
) -> None:
    pin(box, ROOTS[0], ROOTS)
    assert root_to_trust(box, ROOTS[0], carrying(*ROOTS)) == ROOTS[3].root
    assert pin(box, ROOTS[0], ROOTS) is False
    with pytest.raises(TrustError, match="no chain of signatures leads"):
        root_to_trust(box, ROOTS[0], carrying())


def test_a_newer_root_json_may_be_named_where_each_step_is_at_hand(box: Prefix, carrying: Carrying) -> None:
    pin(box, ROOTS[0])
    assert root_to_trust(box, ROOTS[1], carrying()) == ROOTS[1].root
    assert root_to_trust(box, ROOTS[3], carrying(*ROOTS[:3])) == ROOTS[3].root
    with pytest.raises(TrustError, match="version 2 is missing"):
        root_to_trust(box, ROOTS[2], carrying())


@pytest.mark.parametrize("offered", [OTHER.signed, None], ids=["by --trust", "by the bundle"])
def test_another_authority_is_refused_and_nothing_changes(
    offered: SignedRoot | None, box: Prefix, carrying: Carrying
) -> None:
    pin(box, ROOTS[0])
    before = tree_hash(box.root)
    with pytest.raises(TrustError, match="this prefix trusts root") as caught:
        root_to_trust(box, offered, carrying(OTHER.signed))
    assert caught.value.exit_code == 20
    with pytest.raises(TrustError):
        pin(box, offered, [OTHER.signed])
    assert tree_hash(box.root) == before


def test_another_authoritys_next_version_is_refused(box: Prefix, carrying: Carrying) -> None:
    second = chain(2, OTHER)[1]
    pin(box, ROOTS[0])
    before = tree_hash(box.root)
    with pytest.raises(BadSignature):
        root_to_trust(box, second, carrying())
    with pytest.raises(BadSignature):
        root_to_trust(box, None, carrying(second))
    assert tree_hash(box.root) == before


def test_a_step_with_too_few_signatures_is_refused_and_nothing_changes(
    box: Prefix, carrying: Carrying
) -> None:
    pin(box, ROOTS[0])
    before = tree_hash(box.root)
    weak = sign_root(ROOTS[1].root, BANK.root_keys[:1])
    with pytest.raises(BadSignature, match="signed by 1 of the 3 root keys"):
        root_to_trust(box, None, carrying(weak))
    with pytest.raises(BadSignature):
        pin(box, None, [weak])
    assert tree_hash(box.root) == before


def test_the_step_is_proved_again_when_it_is_pinned(box: Prefix, carrying: Carrying) -> None:
    """Between the decision and the commit somebody replaced the root: the old chain must not come back."""
    pin(box, ROOTS[0])
    root_to_trust(box, None, carrying(*ROOTS))
    replace_root(box, OTHER.signed, OTHER.root.fingerprint, lambda facts: None)
    before = tree_hash(box.root)
    with pytest.raises(TrustError):
        pin(box, None, ROOTS)
    assert tree_hash(box.root) == before


def test_nothing_offered_and_nothing_pinned_pins_nothing(box: Prefix) -> None:
    assert pin(box, None, ROOTS) is False
    assert not box.root.exists()


def test_a_damaged_pinned_root_is_no_reason_to_trust_another(box: Prefix, carrying: Carrying) -> None:
    pin(box, ROOTS[0])
    box.pinned_root.write_bytes(box.pinned_root.read_bytes()[:-1])
    before = tree_hash(box.root)
    with pytest.raises(MalformedBundle):
        root_to_trust(box, ROOTS[0], carrying())
    with pytest.raises(MalformedBundle):
        pin(box, OTHER.signed)
    assert pinned_or_damaged(box) is None
    assert tree_hash(box.root) == before


def test_a_root_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--trust"):
        read_root(tmp_path / "nowhere.json")


FINGERPRINT = BANK.root.fingerprint


@pytest.mark.parametrize(
    "typed",
    [FINGERPRINT[-8:], FINGERPRINT[-8:].upper(), f" {FINGERPRINT[-8:-4]} {FINGERPRINT[-4:]}\n",
     f"{FINGERPRINT[-8:-4]}-{FINGERPRINT[-4:]}"], ids=range(4),
)  # fmt: skip
def test_the_last_eight_digits_from_the_paper_confirm_a_root(typed: str) -> None:
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(question)
        return typed

    confirm_fingerprint(BANK.root, ask)
    assert "last 8 digits" in asked[0]
    assert FINGERPRINT[-8:] not in asked[0]


@pytest.mark.parametrize(
    "typed", ["", FINGERPRINT[-7:], FINGERPRINT[:8], FINGERPRINT, "y", "0" * 8], ids=range(6)
)
def test_other_digits_do_not(typed: str) -> None:
    with pytest.raises(RootNotPinned, match="nothing was pinned or changed"):
        confirm_fingerprint(BANK.root, lambda question: typed)


class Log:
    """What was audited, and what the box looked like at that moment."""

    def __init__(self, box: Prefix, *, broken: bool = False) -> None:
        self.box, self.broken = box, broken
        self.facts: list[dict[str, Any]] = []
        self.pinned: list[Root | None] = []

    def __call__(self, facts: Mapping[str, Any]) -> None:
        if self.broken:
            raise StoreError("the log cannot be written")
        self.facts.append(dict(facts))
        self.pinned.append(pinned_root(self.box))


def test_replacing_the_root_is_written_down_before_it_happens(box: Prefix) -> None:
    pin(box, ROOTS[0], ROOTS)
    log = Log(box)
    before = replace_root(box, OTHER.signed, f"sha256:{OTHER.root.fingerprint.upper()}\n", log)
    assert before == ROOTS[3].root
    assert pinned_is(box, OTHER.root)
    assert log.pinned == [ROOTS[3].root]
    assert log.facts == [
        {
            "action": "replace",
            "after": OTHER.root.fingerprint,
            "after_version": 1,
            "before": ROOTS[3].root.fingerprint,
            "before_version": 4,
        }
    ]


@pytest.mark.parametrize(
    "typed", ["", OTHER.root.fingerprint[-8:], OTHER.root.fingerprint[:-1], FINGERPRINT, "yes"], ids=range(5)
)
def test_anything_but_the_whole_fingerprint_replaces_nothing(typed: str, box: Prefix) -> None:
    pin(box, ROOTS[0])
    before, log = tree_hash(box.root), Log(box)
    with pytest.raises(RootNotPinned, match="all 64 digits are expected"):
        replace_root(box, OTHER.signed, typed, log)
    assert log.facts == []
    assert tree_hash(box.root) == before


def test_without_a_log_nothing_is_replaced(box: Prefix) -> None:
    pin(box, ROOTS[0])
    before = tree_hash(box.root)
    with pytest.raises(StoreError):
        replace_root(box, OTHER.signed, OTHER.root.fingerprint, Log(box, broken=True))
    with pytest.raises(StoreError):
        write_policy(box, Policy(1), Log(box, broken=True))
    assert tree_hash(box.root) == before


def test_a_damaged_root_can_be_replaced(box: Prefix) -> None:
    pin(box, ROOTS[0])
    box.pinned_root.write_bytes(b"{")
    facts: list[Mapping[str, Any]] = []
    assert replace_root(box, OTHER.signed, OTHER.root.fingerprint, facts.append) is None
    assert facts[0]["before"] == "none"
    assert pinned_is(box, OTHER.root)


def test_a_box_without_a_policy_asks_for_nothing_more(box: Prefix) -> None:
    assert read_policy(box) == Policy(0)
    assert not box.root.exists()


def test_a_policy_is_kept_in_the_site_settings(box: Prefix) -> None:
    log = Log(box)
    write_policy(box, Policy(2), log)
    assert read_policy(box) == Policy(2)
    assert policy_file(box) == box.etc / "policy.json"
    assert policy_file(box).read_bytes() == b'{"format":"sealift-policy/1","officers":2}'
    write_policy(box, Policy(0), log)
    assert [(one["before_officers"], one["after_officers"]) for one in log.facts] == [("0", "2"), ("2", "0")]


@pytest.mark.parametrize("officers", [-1, 33, True])
def test_a_policy_that_makes_no_sense_is_refused(officers: int, box: Prefix) -> None:
    log = Log(box)
    with pytest.raises(UsageError, match="expected 0 to 32"):
        write_policy(box, Policy(officers), log)
    assert log.facts == []
    assert not box.root.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b'{"format":"sealift-policy/1","officers":-1}',
        b'{"format":"sealift-policy/1","officers":true}',
        b'{"format":"sealift-policy/1","officers":"1"}',
        b'{"format":"sealift-policy/1","officers":null}',
        b'{"format":"sealift-policy/1"}',
        b'{"format":"sealift-policy/2","officers":1}',
        b'{"format":"sealift-policy/1","officers":1,"release":1}',
        b'{"officers":1,"format":"sealift-policy/1"}',
        b'{"format":"sealift-policy/1","officers":1}\n',
    ],
)
def test_a_damaged_policy_is_never_taken_for_none(content: bytes, box: Prefix) -> None:
    box.etc.mkdir(parents=True)
    policy_file(box).write_bytes(content)
    with pytest.raises(StoreError):
        read_policy(box)


def test_a_policy_that_is_a_dangling_link_is_never_taken_for_none(box: Prefix) -> None:
    box.etc.mkdir(parents=True)
    policy_file(box).symlink_to(box.etc / "gone")
    with pytest.raises(StoreError):
        read_policy(box)


def test_a_damaged_policy_is_repaired_by_setting_it(box: Prefix) -> None:
    box.etc.mkdir(parents=True)
    policy_file(box).write_bytes(b"broken")
    facts: list[Mapping[str, Any]] = []
    write_policy(box, Policy(1), facts.append)
    assert read_policy(box) == Policy(1)
    assert facts[0]["before_officers"] == "damaged"
