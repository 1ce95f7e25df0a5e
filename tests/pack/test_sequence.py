"""The packer's ledger: same content, same entry; a number is given once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.made_bundles import tree_hash

from sealift import canonical
from sealift.errors import StoreError, UsageError
from sealift.pack.sequence import Entry, assign, claim, confirm

ONE, TWO = "1" * 64, "2" * 64


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "release" / "sequences.json"


def test_same_content_keeps_its_entry_and_new_content_gets_the_next(ledger: Path) -> None:
    first = assign(ledger, "fraud", "aa", 1_795_403_520.9, None)
    assert first == Entry(1, "2026-11-23T03:12:00Z")
    assert assign(ledger, "fraud", "bb", 2e9, None).seq == 2
    assert assign(ledger, "fraud", "aa", 2e9, None) == first
    assert assign(ledger, "other", "aa", 2e9, None).seq == 1


def test_source_date_epoch_sets_the_time_of_new_content(ledger: Path) -> None:
    assert assign(ledger, "fraud", "aa", 2e9, 0).created == "1970-01-01T00:00:00Z"


def test_content_after_a_release_gets_a_number_above_it(ledger: Path) -> None:
    assert assign(ledger, "fraud", "aa", 0, None, after=41).seq == 42
    assert assign(ledger, "fraud", "bb", 0, None, after=42).seq == 43
    assert assign(ledger, "fraud", "cc", 0, None, after=42).seq == 44  # 43 is taken
    assert assign(ledger, "fraud", "cc", 0, None, after=42).seq == 44


def test_older_content_packed_to_replace_a_newer_release_is_issued_anew(ledger: Path) -> None:
    assign(ledger, "fraud", "old", 0, None)
    assign(ledger, "fraud", "new", 0, None)
    assert assign(ledger, "fraud", "old", 0, None, after=2).seq == 3
    assert assign(ledger, "fraud", "old", 0, None).seq == 3


def test_an_older_content_can_claim_a_free_number_and_keeps_it(ledger: Path) -> None:
    assign(ledger, "fraud", "old", 0, None)
    assign(ledger, "fraud", "new", 0, None)
    claimed = claim(ledger, "fraud", "old", 9, 60, None)
    assert claimed == Entry(9, "1970-01-01T00:01:00Z")
    assert claim(ledger, "fraud", "old", 9, 2e9, None) == claimed
    assert assign(ledger, "fraud", "next", 0, None).seq == 10


@pytest.mark.parametrize("seq", [-1, 0, 1, 2, 3])
def test_a_number_that_was_given_or_passed_cannot_be_claimed(seq: int, ledger: Path) -> None:
    assign(ledger, "fraud", "aa", 0, None)
    claim(ledger, "fraud", "bb", 3, 0, None)
    before = tree_hash(ledger.parent)
    with pytest.raises(UsageError, match=f"sequence {seq} cannot be given; the ledger has given 3") as caught:
        claim(ledger, "fraud", "cc", seq, 0, None)
    assert caught.value.next_step == "take 4 or a higher number"
    assert tree_hash(ledger.parent) == before


def test_an_identity_is_confirmed_once_and_comes_back_with_the_entry(ledger: Path) -> None:
    entry = assign(ledger, "fraud", "aa", 0, None)
    confirm(ledger, "fraud", entry.seq, ONE)
    confirm(ledger, "fraud", entry.seq, ONE)
    assert assign(ledger, "fraud", "aa", 2e9, None) == Entry(1, "1970-01-01T00:00:00Z", ONE)


def test_another_identity_for_a_number_is_refused(ledger: Path) -> None:
    assign(ledger, "fraud", "aa", 0, None)
    confirm(ledger, "fraud", 1, ONE)
    before = tree_hash(ledger.parent)
    with pytest.raises(UsageError) as caught:
        confirm(ledger, "fraud", 1, TWO)
    assert caught.value.message == (
        "fraud: sequence 1 was given to sha256:1111-1111, and now sha256:2222-2222 asks for it"
    )
    assert tree_hash(ledger.parent) == before


@pytest.mark.parametrize(("product", "seq"), [("fraud", 2), ("other", 1)])
def test_a_number_that_was_never_given_cannot_be_confirmed(product: str, seq: int, ledger: Path) -> None:
    assign(ledger, "fraud", "aa", 0, None)
    before = tree_hash(ledger.parent)
    with pytest.raises(UsageError, match=f"sequence {seq} of {product} was never given"):
        confirm(ledger, product, seq, ONE)
    assert tree_hash(ledger.parent) == before


def test_a_ledger_of_the_first_form_is_read(ledger: Path) -> None:
    ledger.parent.mkdir()
    ledger.write_bytes(b'{"fraud":[{"content":"aa","created":"1970-01-01T00:00:00Z","seq":7}]}')
    assert assign(ledger, "fraud", "aa", 2e9, None) == Entry(7, "1970-01-01T00:00:00Z")


ENTRY = {"content": "aa", "created": "1970-01-01T00:00:00Z", "seq": 1}


@pytest.mark.parametrize(
    "damage",
    [
        b"", b"{", b'{"fraud": []}', b'{"fraud":[1]}', b'{"fraud":7}',
        *(
            canonical.encode({"fraud": entries})
            for entries in (
                [{**ENTRY, "seq": 0}], [{**ENTRY, "seq": True}], [{**ENTRY, "seq": "1"}], [{**ENTRY, "content": 1}],
                [{**ENTRY, "created": None}], [{**ENTRY, "identity": "x"}], [{**ENTRY, "more": 1}],
                [ENTRY, {**ENTRY, "content": "bb"}], [{"seq": 1}],
            )
        ),
    ],
)  # fmt: skip
def test_a_damaged_ledger_is_refused_and_left_alone(damage: bytes, ledger: Path) -> None:
    ledger.parent.mkdir()
    ledger.write_bytes(damage)
    for attempt in (
        lambda: assign(ledger, "fraud", "aa", 0, None),
        lambda: claim(ledger, "fraud", "aa", 9, 0, None),
        lambda: confirm(ledger, "fraud", 1, ONE),
    ):
        with pytest.raises(UsageError, match="the sequence ledger is damaged") as caught:
            attempt()
        assert (
            caught.value.next_step
            == "bring the file back from a copy: a number given twice is refused by every box"
        )
    assert ledger.read_bytes() == damage


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "release").write_text("a file")
    with pytest.raises(StoreError, match=r"sequences\.json: "):
        assign(tmp_path / "release" / "sequences.json", "fraud", "aa", 0, None)
    assert (tmp_path / "release").read_text() == "a file"


PACKER = """
import sys
from pathlib import Path
from sealift.pack.sequence import assign, confirm
sys.stdin.readline()
for number in range(10):
    content = sys.argv[2] + str(number)
    seq = assign(Path(sys.argv[1]), "fraud", content, 0, None).seq
    confirm(Path(sys.argv[1]), "fraud", seq, (content[0] * 63 + content[-1]))
    print(seq)
"""


@pytest.mark.slow
def test_packers_at_once_never_share_a_number_and_same_content_always_does(ledger: Path) -> None:
    packers = [
        subprocess.Popen(
            [sys.executable, "-c", PACKER, str(ledger), letter], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for letter in "aabc"
    ]
    for packer in packers:
        assert packer.stdin is not None
        packer.stdin.write(b"go\n")
        packer.stdin.flush()
    same, again, *others = [[int(line) for line in packer.communicate()[0].split()] for packer in packers]
    assert [packer.returncode for packer in packers] == [0] * 4
    assert same == again
    assert sorted(same + others[0] + others[1]) == list(range(1, 31))
    known = canonical.decode(ledger.read_bytes(), "ledger")["fraud"]
    assert all(entry["identity"][0] == entry["content"][0] for entry in known)
