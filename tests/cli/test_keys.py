"""`sealift keys`: what a person types, what lies on the disk after, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.made_bundles import tree_hash

from sealift.cli.main import run
from sealift.ledger.record import Event
from sealift.ledger.verify import records
from sealift.seal import keyfile, keyring
from sealift.trust.root import Root, decode_root

pytestmark = pytest.mark.slow

Captured = pytest.CaptureFixture[str]


class Desk:
    """A keys folder and its three passphrase files, as a person would use them."""

    def __init__(self, folder: Path, capsys: Captured) -> None:
        self.folder, self.keys, self.capsys = folder, folder / "keys", capsys
        self.phrases = {}
        for role in ("root", "release", "officer"):
            self.phrases[role] = folder / f"{role}.txt"
            self.phrases[role].write_text(f"the {role} phrase\n")

    def flags(self) -> list[str]:
        return [
            "--root-passphrase-file", str(self.phrases["root"]), "--passphrase-file",
            str(self.phrases["release"]), "--officer-passphrase-file", str(self.phrases["officer"]),
        ]  # fmt: skip

    def __call__(self, action: str, *more: str, keys: Path | None = None, code: int = 0) -> str:
        """Run `keys ACTION`; returns what it said."""
        phrases = [] if action == "show" else self.flags()
        found = run(["keys", action, str(keys or self.keys), *more, *phrases])
        said = self.capsys.readouterr()
        assert found == code, said.err
        return said.out if code == 0 else said.err

    def root(self) -> Root:
        return decode_root((self.keys / "root.json").read_bytes()).root

    def facts(self, action: str, *more: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self(action, *more, "--json"))
        return found


@pytest.fixture
def desk(tmp_path: Path, capsys: Captured) -> Desk:
    return Desk(tmp_path, capsys)


def test_init_makes_what_the_flags_say(desk: Desk) -> None:
    facts = desk.facts(
        "init", "--root", "2-of-3", "--release", "2", "--release-threshold", "2", "--officers", "3",
        "--officer-threshold", "2", "--product", "fraud*", "--product", "vision",
    )  # fmt: skip
    assert (len(facts["root_keys"]), facts["root_threshold"]) == (3, 2)
    assert (len(facts["release_keys"]), facts["release_threshold"]) == (2, 2)
    assert (len(facts["officers"]), facts["officer_threshold"]) == (3, 2)
    assert set(map(tuple, facts["release_keys"].values())) == {("fraud*", "vision")}
    assert facts["version"] == 1
    assert facts["revoked"] == []


def test_root_and_release_keys_open_with_their_own_passphrases_only(desk: Desk) -> None:
    desk("init", "--officers", "1")
    for name, role in (("root/1", "root"), ("release/key", "release"), ("officers/1", "officer")):
        for other, path in desk.phrases.items():
            phrase = path.read_bytes().strip()
            if other == role:
                keyfile.load(desk.keys / f"{name}.pem", phrase)
            else:
                with pytest.raises(keyfile.WrongPassphrase):
                    keyfile.load(desk.keys / f"{name}.pem", phrase)


def test_one_passphrase_for_all_still_works_and_is_noted(desk: Desk) -> None:
    phrase = str(desk.phrases["release"])
    assert run(["keys", "init", str(desk.keys), "--passphrase-file", phrase]) == 0
    assert "note: root and release keys share one passphrase" in desk.capsys.readouterr().out
    keyfile.load(desk.keys / "root" / "1.pem", b"the release phrase")
    assert run(["keys", "rotate", str(desk.keys), "--add-release", "--passphrase-file", phrase]) == 0


def test_officers_must_approve_where_there_are_any_unless_told_otherwise(desk: Desk) -> None:
    assert desk.facts("init", "--officers", "2")["officer_threshold"] == 1
    other = desk.folder / "other"
    desk("init", "--officers", "2", "--officer-threshold", "0", keys=other)
    assert decode_root((other / "root.json").read_bytes()).root.officer_threshold == 0


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--root", "3-of-2"], "threshold 3 of 2 root keys"),
        (["--root", "0-of-2"], "threshold 0 of 2 root keys"),
        (["--root", "two"], "expected K-of-N, as 2-of-3"),
        (["--root", "2-of-99"], "--root: 99, expected at most 32"),
        (["--release", "0"], "threshold 1 of 0 release keys"),
        (["--release", "-1"], "--release: -1, expected 0 or more"),
        (["--release-threshold", "2"], "threshold 2 of 1 release keys"),
        (["--officer-threshold", "1"], "threshold 1 of 0 officers keys"),
        (["--product", "Fraud"], "product pattern 'Fraud'"),
        (["--product", ""], "product pattern ''"),
    ],
)
def test_a_plan_that_makes_no_sense_writes_nothing(flags: list[str], said: str, desk: Desk) -> None:
    assert said in desk("init", *flags, code=2)
    assert not desk.keys.exists()


@pytest.mark.parametrize("role", ["root", "release", "officer"])
def test_a_short_passphrase_of_any_role_writes_nothing(role: str, desk: Desk) -> None:
    desk.phrases[role].write_text("short\n")
    assert "fewer than 8 characters" in desk("init", "--officers", "1", code=2)
    assert not desk.keys.exists()


def test_init_over_keys_is_refused(desk: Desk) -> None:
    desk("init")
    before = tree_hash(desk.keys)
    assert "keys are never overwritten" in desk("init", code=2)
    assert tree_hash(desk.keys) == before


def test_show_names_every_key_its_role_and_where_it_lies(desk: Desk) -> None:
    desk("init", "--officers", "1", "--product", "fraud*")
    shown = desk("show")
    for line in ("root key", "release key", "officer", "may sign fraud*", f"here: {desk.keys}/root/1.pem"):
        assert line in shown
    assert "1 of 1 release keys and 1 of 1 officers for a bundle" in shown


def test_rotate_replaces_a_release_key_and_puts_the_old_one_away(desk: Desk) -> None:
    desk("init", "--product", "fraud*")
    old = next(iter(desk.root().release_keys))
    said = desk("rotate", "--remove", old[:8], "--add-release")
    root = desk.root()
    assert root.version == 2
    assert old not in root.keys
    assert root.revoked == ()
    assert list(root.release_keys.values()) == [("fraud*",)]
    assert keyring.read_public(desk.keys / "release" / "key.pub").key_id in root.release_keys
    assert (desk.keys / "release" / f"key-{old[:8]}.pem.retired").is_file()
    assert f"- release key {old}" in said
    assert [signed.root.version for signed in keyring.read_roots(desk.keys)] == [1, 2]


def test_rotate_takes_a_public_key_from_another_machine(desk: Desk) -> None:
    desk("init")
    away = desk.folder / "away" / "officer.pem"
    assert f"carry {away.with_suffix('.pub')}" in desk("new", keys=away)
    desk("rotate", "--add-officer", str(away.with_suffix(".pub")))
    assert desk.root().officers == (keyring.read_public(away.with_suffix(".pub")).key_id,)
    assert desk.root().officer_threshold == 1
    assert not (desk.keys / "officers").exists()


def test_new_never_overwrites_a_key(desk: Desk) -> None:
    away = desk.folder / "officer.pem"
    desk("new", keys=away)
    before = (away.read_bytes(), away.with_suffix(".pub").read_bytes())
    assert "never overwritten" in desk("new", keys=away, code=2)
    away.unlink()
    assert "never overwritten" in desk("new", keys=away, code=2)
    assert before[1] == away.with_suffix(".pub").read_bytes()
    assert not away.exists()


def test_revoke_lists_the_key_for_ever(desk: Desk) -> None:
    desk("init", "--officers", "2")
    gone = desk.root().officers[0]
    said = desk("revoke", f"sha256:{gone[:4]}-{gone[4:8]}")
    assert desk.root().revoked == (gone,)
    assert f"! revoked for ever: {gone}" in said
    desk("rotate", "--officer-threshold", "0")
    assert desk.root().revoked == (gone,)


def test_every_new_root_is_written_to_the_log_of_the_root_keys(desk: Desk) -> None:
    desk("init", "--officers", "2")
    desk("revoke", desk.root().officers[0])
    desk("rotate", "--officer-threshold", "0")
    lines = list(records(desk.keys / "root" / "ledger.jsonl"))
    assert [line.event for line in lines] == [Event.TRUST.value] * 2
    assert [line.facts["action"] for line in lines] == ["revoke", "rotate"]
    assert lines[1].facts["after"] == desk.root().fingerprint


@pytest.mark.parametrize(
    ("action", "flags", "said"),
    [
        ("rotate", [], "nothing changes"),
        ("rotate", ["--remove", "RELEASE"], "threshold 1 of 0 release keys"),
        ("rotate", ["--remove", "ROOT"], "threshold 2 of 1 root keys"),
        ("rotate", ["--remove", "ffffffff"], "no such key"),
        ("rotate", ["--remove", "ff"], "expected its first 8 digits"),
        ("rotate", ["--add-officer", "nowhere.pub"], "nowhere.pub"),
        ("rotate", ["--add-officer", "RELEASE.pub"], "stands in the root"),
        ("rotate", ["--root-threshold", "3"], "threshold 3 of 2 root keys"),
        ("rotate", ["--add-release", "--product", "X"], "product pattern 'X'"),
        ("revoke", [], "revoke which key?"),
        ("revoke", ["RELEASE"], "threshold 1 of 0 release keys"),
        ("show", ["ROOT"], "takes no key ids"),
    ],
)
def test_a_rotation_that_cannot_be_changes_nothing(
    action: str, flags: list[str], said: str, desk: Desk
) -> None:
    desk("init", "--root", "2-of-2")
    names = {
        "RELEASE": next(iter(desk.root().release_keys)), "ROOT": desk.root().root_keys[0],
        "RELEASE.pub": str(desk.keys / "release" / "key.pub"),
    }  # fmt: skip
    before = tree_hash(desk.keys)
    answer = desk(action, *(names.get(flag, flag) for flag in flags), code=2)
    assert said.replace("no such key", "such key") in answer
    assert tree_hash(desk.keys) == before


def test_a_wrong_root_passphrase_changes_nothing(desk: Desk) -> None:
    desk("init")
    before = tree_hash(desk.keys)
    desk.phrases["root"].write_text("another phrase\n")
    assert "wrong passphrase" in desk("rotate", "--add-release", code=2)
    assert tree_hash(desk.keys) == before


def test_several_root_passphrases_open_several_root_keys(desk: Desk) -> None:
    desk("init")
    second = desk.folder / "second.txt"
    second.write_text("the second phrase\n")
    lone = desk.keys / "root" / "2.pem"
    assert run(["keys", "new", str(lone), "--passphrase-file", str(second)]) == 0
    desk.capsys.readouterr()
    before = tree_hash(desk.keys)
    flags = ["--add-root", str(lone.with_suffix(".pub")), "--root-threshold", "2"]
    said = desk("rotate", *flags, code=2)
    assert "signed by 1 of the 2 root keys of version 2, 2 are needed" in said
    assert tree_hash(desk.keys) == before
    desk("rotate", *flags, "--root-passphrase-file", str(second))
    assert desk.root().root_threshold == 2


def custodians(desk: Desk) -> tuple[Path, Path, Path]:
    """Three machines with one root key each; the first is the keeper's, with the release key."""
    desk("init", "--root", "2-of-3")
    machines = [desk.keys]
    for number in (2, 3):
        away = desk.folder / f"custodian-{number}"
        (away / "root").mkdir(parents=True)
        (away / "root.json").write_bytes((desk.keys / "root.json").read_bytes())
        for end in ("pem", "pub"):
            (desk.keys / "root" / f"{number}.{end}").rename(away / "root" / f"1.{end}")
        machines.append(away)
    return machines[0], machines[1], machines[2]


def test_root_keys_on_three_machines_sign_one_after_the_other(desk: Desk) -> None:
    keeper, second, _ = custodians(desk)
    before = tree_hash(keeper)
    paper = desk.folder / "next.json"
    assert "signed by 1 of the 3 root keys of version 1, 2 are needed" in desk(
        "rotate", "--release-threshold", "1", "--add-release", code=2
    )
    assert tree_hash(keeper) == before
    said = desk("rotate", "--add-release", "--prepare", str(paper))
    assert "missing: signed by 1 of the 3 root keys of version 1" in said
    assert desk.root().version == 1
    assert "root version 2" in desk("rotate", "--sign", str(paper), keys=second)
    assert decode_root((second / "root.json").read_bytes()).root.version == 2
    desk("rotate", "--sign", str(paper))
    assert desk.root().version == 2
    assert len(desk.root().release_keys) == 2
    assert (keeper / "roots" / "2.json").read_bytes() == (second / "roots" / "2.json").read_bytes()


def test_a_custodian_sees_what_changes_before_the_passphrase_is_used(desk: Desk) -> None:
    _, second, _ = custodians(desk)
    paper = desk.folder / "next.json"
    desk("rotate", "--add-release", "--product", "fraud", "--prepare", str(paper))
    desk.phrases["root"].write_text("another phrase\n")
    before = tree_hash(second)
    said = desk("rotate", "--sign", str(paper), keys=second, code=2)
    assert said.index("+ release key") < said.index("wrong passphrase")
    assert tree_hash(second) == before


def test_a_prepared_root_that_somebody_changed_is_refused(desk: Desk) -> None:
    _, second, _ = custodians(desk)
    paper = desk.folder / "next.json"
    desk("rotate", "--add-release", "--prepare", str(paper))
    paper.write_bytes(paper.read_bytes().replace(b'["*"]', b'["a*"]', 1))
    before = tree_hash(second)
    assert "wrong or by keys that may not sign it" in desk(
        "rotate", "--sign", str(paper), keys=second, code=21
    )
    assert tree_hash(second) == before


def test_a_prepared_root_of_another_authority_shows_that_everything_changes(desk: Desk) -> None:
    _, second, _ = custodians(desk)
    other, paper = desk.folder / "other", desk.folder / "next.json"
    desk("init", keys=other)
    desk("rotate", "--add-release", "--prepare", str(paper), keys=other)
    before = tree_hash(second)
    said = desk("rotate", "--sign", str(paper), keys=second)
    assert said.count("- root key") == 3
    assert "missing: signed by 1 of the 3 root keys of version 1, 2 are needed" in said
    assert tree_hash(second) == before


@pytest.mark.parametrize("content", [b"", b"{}", b"junk"])
def test_a_prepared_root_that_is_none_is_refused(content: bytes, desk: Desk) -> None:
    desk("init")
    paper = desk.folder / "next.json"
    before = tree_hash(desk.keys)
    assert "next.json" in desk("rotate", "--sign", str(paper), code=2)
    paper.write_bytes(content)
    desk("rotate", "--sign", str(paper), code=11)
    assert tree_hash(desk.keys) == before


def test_a_prepared_root_is_for_the_version_before_it_only(desk: Desk) -> None:
    desk("init")
    paper = desk.folder / "next.json"
    desk("rotate", "--add-release", "--prepare", str(paper))
    desk("rotate", "--sign", str(paper))
    before = tree_hash(desk.keys)
    assert "root version 2, expected 3: the root here is version 2" in desk(
        "rotate", "--sign", str(paper), code=2
    )
    assert tree_hash(desk.keys) == before


def test_a_machine_without_a_fitting_root_key_adds_nothing(desk: Desk) -> None:
    custodians(desk)
    paper, lone = desk.folder / "next.json", desk.folder / "lone"
    desk("rotate", "--add-release", "--prepare", str(paper))
    lone.mkdir()
    (lone / "root.json").write_bytes((desk.keys / "root.json").read_bytes())
    before = paper.read_bytes()
    assert "no root key here adds a signature" in desk("rotate", "--sign", str(paper), keys=lone, code=2)
    assert paper.read_bytes() == before
