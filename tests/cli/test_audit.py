"""`sealift audit` as a person meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.ledger.logs import add, written
from tests.made_bundles import tree_hash

from sealift.cli.main import run
from sealift.ledger.record import Event
from sealift.ledger.verify import verify
from sealift.store.prefix import private

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """A prefix whose log has three records."""
    written(private(tmp_path / "box").ledger, 3)
    return tmp_path / "box"


def log_of(box: Path) -> Path:
    return private(box).ledger


def audit(*argv: str | Path) -> int:
    return run(["audit", *(str(word) for word in argv)])


def test_show_lists_what_was_done_and_the_head(box: Path, capsys: Captured) -> None:
    assert audit("show", "--prefix", box) == 0
    head = verify(log_of(box)).head
    assert capsys.readouterr().out == (
        f"{log_of(box)}: 3 records, intact\n"
        "  1  2026-11-23T03:12:00Z  alice  pack     files=0  layers=[a, b]  ok=true  version=1.0\n"
        "  2  2026-11-23T03:12:00Z  alice  sign     files=1  layers=[a, b]  ok=true  version=1.1\n"
        "  3  2026-11-23T03:12:00Z  alice  install  files=2  layers=[a, b]  ok=true  version=1.2\n"
        f"  head, for paper: {head}\n"
    )


@pytest.mark.parametrize(("last", "numbers"), [("1", [3]), ("2", [2, 3]), ("0", [1, 2, 3]), ("9", [1, 2, 3])])
def test_show_lists_the_last_so_many(last: str, numbers: list[int], box: Path, capsys: Captured) -> None:
    assert audit("show", "--prefix", box, "--last", last, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert [record["number"] for record in result["records"]] == numbers
    assert (result["count"], result["intact"], result["schema"]) == (3, True, 1)
    assert result["head"] == result["records"][-1]["digest"] == verify(log_of(box)).head


def test_show_prints_nothing_that_a_terminal_would_act_on(box: Path, capsys: Captured) -> None:
    add(log_of(box), Event.REFUSAL, said="\x1b[2Jgone\n  9  fine\u202e", kinds=["\x07"])
    assert audit("show", "--prefix", box, "--last", "1") == 0
    out = capsys.readouterr().out
    assert "said=\\x1b[2Jgone\\n  9  fine\\u202e" in out
    assert "kinds=[\\x07]" in out
    assert all(line.isprintable() for line in out.splitlines())


def test_show_lists_up_to_the_bad_line_and_refuses(box: Path, capsys: Captured) -> None:
    log = log_of(box)
    log.write_bytes(log.read_bytes().replace(b'"version":"1.1"', b'"version":"1.9"'))
    before = tree_hash(box)
    assert audit("show", "--prefix", box) == 43
    shown = capsys.readouterr()
    assert f"{log}: 2 records, NOT INTACT after these" in shown.out
    assert "head" not in shown.out
    assert "sealift audit: " in shown.err
    assert "line 3: does not follow line 2" in shown.err
    assert "next: keep the file as it is and tell the security officer" in shown.err
    assert tree_hash(box) == before


def test_verify_says_intact_and_what_it_cannot_see(box: Path, capsys: Captured) -> None:
    assert audit("verify", "--prefix", box) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        f"INTACT {log_of(box)}: 3 records join\n  without --head, an end that was cut off is not seen"
    )
    assert out.endswith(f"head, for paper: {verify(log_of(box)).head}\n")


@pytest.mark.parametrize("form", ["{}", "sha256:{}", "SHA256:{}", " {} "])
def test_verify_takes_the_head_as_people_copy_it(form: str, box: Path, capsys: Captured) -> None:
    head = verify(log_of(box)).head
    grouped = "-".join(head[at : at + 4].upper() for at in range(0, 64, 4))
    add(log_of(box))
    for digits in (head, grouped, grouped.replace("-", " ")):
        assert audit("verify", "--prefix", box, "--head", form.format(digits)) == 0
        assert "the head on the paper is that of record 3; 1 were added since" in capsys.readouterr().out


def test_verify_as_json(box: Path, capsys: Captured) -> None:
    head = verify(log_of(box)).head
    assert audit("verify", "--prefix", box, "--json", "--head", head) == 0
    assert json.loads(capsys.readouterr().out) == {
        "count": 3, "head": head, "intact": True, "log": str(log_of(box)), "paper": 3, "schema": 1, "torn": 0,
    }  # fmt: skip


def test_verify_finds_an_end_that_was_cut_off(box: Path, capsys: Captured) -> None:
    log = log_of(box)
    head = verify(log).head
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:2]))
    before = tree_hash(box)
    assert audit("verify", "--prefix", box, "--head", head) == 43
    assert "records were cut off its end, or the whole log was written anew" in capsys.readouterr().err
    assert tree_hash(box) == before


def test_verify_counts_torn_lines(box: Path, capsys: Captured) -> None:
    with log_of(box).open("ab") as stream:
        stream.write(b'{"half')
    assert audit("verify", "--prefix", box) == 43
    assert "the next command that writes the log sets the line aside" in capsys.readouterr().err
    add(log_of(box))
    assert audit("verify", "--prefix", box) == 0
    assert "1 torn by a power cut, set aside and recorded" in capsys.readouterr().out


@pytest.mark.parametrize("head", ["9f31", "x" * 64, "0" * 65, ""])
def test_a_head_that_is_none_is_a_usage_error(head: str, box: Path, capsys: Captured) -> None:
    assert audit("verify", "--prefix", box, "--head", head) == 2
    assert "expected the 64 digits 0-9 and a-f from the paper" in capsys.readouterr().err


def test_a_negative_count_is_a_usage_error(box: Path, capsys: Captured) -> None:
    assert audit("show", "--prefix", box, "--last", "-1") == 2
    assert "--last -1: expected 0 or more" in capsys.readouterr().err


@pytest.mark.parametrize("action", ["show", "verify"])
def test_a_prefix_without_a_log_is_told_and_not_made(action: str, tmp_path: Path, capsys: Captured) -> None:
    assert audit(action, "--prefix", tmp_path / "box") == 40
    assert "no log yet" in capsys.readouterr().err
    assert not (tmp_path / "box").exists()


def test_the_packing_sides_log_is_found_beside_the_release_key(tmp_path: Path, capsys: Captured) -> None:
    log = written(tmp_path / "keys" / "release" / "ledger.jsonl", 2)
    for keys in (tmp_path / "keys", tmp_path / "keys" / "release"):
        assert audit("verify", "--keys", keys) == 0
        assert f"INTACT {log}: 2 records" in capsys.readouterr().out


def test_a_log_that_was_carried_away_is_verified_where_it_is(
    box: Path, tmp_path: Path, capsys: Captured
) -> None:
    carried = tmp_path / "carried.jsonl"
    carried.write_bytes(log_of(box).read_bytes())
    assert audit("verify", "--log", carried, "--head", verify(log_of(box)).head) == 0
    assert f"INTACT {carried}: 3 records" in capsys.readouterr().out


def test_two_places_at_once_are_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        audit("show", "--log", tmp_path / "a", "--keys", tmp_path)
    assert caught.value.code == 2
