"""`sealift trust`: what the box believes, changed only by hand, on paper and in the log."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from tests.made_bundles import Authority, make_authority, tree_hash

from sealift.cli.main import run
from sealift.install.trust import pin, policy_file
from sealift.ledger.verify import records
from sealift.store.prefix import Prefix, private

Captured = pytest.CaptureFixture[str]
BANK = make_authority(root=(2, 3), officers=(0, 2), patterns=("fraud*",))
OTHER = make_authority()


@pytest.fixture
def box(tmp_path: Path) -> Prefix:
    prefix = private(tmp_path / "box")
    pin(prefix, BANK.signed)
    return prefix


@pytest.fixture
def offered(tmp_path: Path) -> Path:
    (tmp_path / "root.json").write_bytes(OTHER.signed.encode())
    return tmp_path / "root.json"


def trust(box: Prefix, *words: str) -> int:
    return run(["trust", *words, "--prefix", str(box.root)])


def believed(box: Prefix) -> tuple[bytes, str]:
    """The pinned root and the site settings: what a refusal must not change."""
    return box.pinned_root.read_bytes(), tree_hash(box.etc)


def paper(folder: Path, authority: Authority, *, digits: int = 64) -> str:
    path = folder / "paper.txt"
    path.write_text(f"{authority.root.fingerprint[-digits:]}\n")
    return str(path)


def test_show_of_a_box_that_trusts_nobody(tmp_path: Path, capsys: Captured) -> None:
    assert trust(private(tmp_path / "box"), "show") == 0
    assert "trusts nobody yet" in capsys.readouterr().out
    assert not (tmp_path / "box").exists()


def test_show_names_keys_patterns_revoked_and_policy(box: Prefix, capsys: Captured) -> None:
    before = tree_hash(box.root)
    assert trust(box, "show") == 0
    said = capsys.readouterr().out
    assert BANK.root.fingerprint in said
    for key_id in BANK.root.keys:
        assert f"sha256:{key_id[:4]}-{key_id[4:8]}" in said
    assert "may sign fraud*" in said
    assert "this box     asks for 0 officer(s); 0 must approve a bundle" in said
    assert trust(box, "show", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["pinned"]["fingerprint"] == BANK.root.fingerprint
    assert facts["policy"] == {"officers": 0}
    assert tree_hash(box.root) == before


def test_a_policy_is_set_and_logged(box: Prefix, capsys: Captured) -> None:
    assert trust(box, "policy", "--officers", "1") == 0
    assert "asks for 1 officer(s); 1 must approve a bundle" in capsys.readouterr().out
    line = list(records(box.ledger))[-1]
    assert line.event == "trust"
    assert line.facts == {"action": "policy", "after_officers": "1", "before_officers": "0"}


def test_a_policy_that_nobody_can_meet_is_set_and_said(box: Prefix, capsys: Captured) -> None:
    assert trust(box, "policy", "--officers", "3") == 0
    assert "the root names 2, so no bundle can be installed" in capsys.readouterr().out


@pytest.mark.parametrize("officers", ["-1", "33"])
def test_a_policy_that_makes_no_sense_changes_nothing(officers: str, box: Prefix, capsys: Captured) -> None:
    trust(box, "policy", "--officers", "1")
    before = believed(box), tree_hash(box.root)
    assert trust(box, "policy", f"--officers={officers}") == 2
    assert "expected 0 to 32" in capsys.readouterr().err
    assert (believed(box), tree_hash(box.root)) == before


def test_replace_needs_the_whole_fingerprint_and_is_logged_first(
    box: Prefix, offered: Path, tmp_path: Path, capsys: Captured
) -> None:
    assert trust(box, "replace", str(offered), "--fingerprint-file", paper(tmp_path, OTHER)) == 0
    assert "trusts root version 1" in capsys.readouterr().out
    assert box.pinned_root.read_bytes() == OTHER.signed.encode()
    line = list(records(box.ledger))[-1]
    assert line.facts["action"] == "replace"
    assert line.facts["before"] == BANK.root.fingerprint
    assert line.facts["after"] == OTHER.root.fingerprint


def test_replacing_the_root_by_itself_is_nothing_to_do(box: Prefix, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "same.json").write_bytes(BANK.signed.encode())
    before = box.pinned_root.read_bytes()
    assert trust(box, "replace", str(tmp_path / "same.json")) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert box.pinned_root.read_bytes() == before
    assert not box.ledger.exists()


@pytest.mark.parametrize("digits", [8, 63, 0])
def test_a_shortened_fingerprint_replaces_nothing(
    digits: int, box: Prefix, offered: Path, tmp_path: Path, capsys: Captured
) -> None:
    before = believed(box)
    shortened = paper(tmp_path, OTHER, digits=digits) if digits else paper(tmp_path, BANK)
    assert trust(box, "replace", str(offered), "--fingerprint-file", shortened) == 25
    assert "all 64 digits are expected" in capsys.readouterr().err
    assert believed(box) == before


def test_an_attempt_that_failed_stands_in_the_log(box: Prefix, offered: Path, tmp_path: Path) -> None:
    trust(box, "policy", "--officers", "1")
    box.root.joinpath("store").mkdir(exist_ok=True)
    trust(box, "replace", str(offered), "--fingerprint-file", paper(tmp_path, BANK))
    line = list(records(box.ledger))[-1]
    assert line.event == "refusal"
    assert line.facts["exit_code"] == 25
    assert line.facts["verb"] == "trust replace"


def test_unattended_without_a_fingerprint_replaces_nothing(
    box: Prefix, offered: Path, capsys: Captured
) -> None:
    before = box.pinned_root.read_bytes()
    assert trust(box, "replace", str(offered), "--no-input") == 25
    assert "give --fingerprint-file F" in capsys.readouterr().err
    assert box.pinned_root.read_bytes() == before


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_the_fingerprint_is_typed(
    box: Prefix, offered: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(f"{OTHER.root.fingerprint}\n"))
    assert trust(box, "replace", str(offered)) == 0
    said = capsys.readouterr()
    assert "type its whole fingerprint from the paper" in said.out + said.err
    assert box.pinned_root.read_bytes() == OTHER.signed.encode()


def test_on_a_terminal_a_yes_is_not_enough(
    box: Prefix, offered: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("yes\n"))
    assert trust(box, "replace", str(offered)) == 25
    assert box.pinned_root.read_bytes() == BANK.signed.encode()


@pytest.mark.parametrize("content", [None, b"", b"{}", OTHER.signed.encode()[:-1]])
def test_a_root_that_is_none_replaces_nothing(
    content: bytes | None, box: Prefix, offered: Path, tmp_path: Path, capsys: Captured
) -> None:
    offered.unlink() if content is None else offered.write_bytes(content)
    before = box.pinned_root.read_bytes()
    code = trust(box, "replace", str(offered), "--fingerprint-file", paper(tmp_path, OTHER))
    assert code == (2 if content is None else 11)
    assert box.pinned_root.read_bytes() == before


def test_a_damaged_log_stops_every_change(
    box: Prefix, offered: Path, tmp_path: Path, capsys: Captured
) -> None:
    box.ledger.write_bytes(b"not a record\n")
    before = (box.pinned_root.read_bytes(), policy_file(box).exists())
    assert trust(box, "replace", str(offered), "--fingerprint-file", paper(tmp_path, OTHER)) == 43
    assert trust(box, "policy", "--officers", "1") == 43
    assert (box.pinned_root.read_bytes(), policy_file(box).exists()) == before


@pytest.mark.parametrize(
    "words",
    [
        ["show", "root.json"],
        ["policy", "root.json", "--officers", "1"],
        ["policy"],
        ["show", "--officers", "1"],
        ["replace"],
        ["replace", "root.json", "--officers", "1"],
    ],
)
def test_words_that_do_not_belong_together_are_a_usage_error(words: list[str], box: Prefix) -> None:
    before = tree_hash(box.root)
    assert trust(box, *words) == 2
    assert tree_hash(box.root) == before


def test_a_damaged_policy_is_shown_as_an_error_with_its_remedy(box: Prefix, capsys: Captured) -> None:
    box.etc.mkdir()
    policy_file(box).write_bytes(b'{"format":"sealift-policy/1"}')
    assert trust(box, "show") == 40
    assert "sealift trust policy --officers N" in capsys.readouterr().err
