"""Appending: whole lines or none, one writer at a time, torn ends set aside and recorded."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ledger.logs import TIME, add, written
from tests.made_bundles import tree_hash

from sealift.errors import BrokenLedger, NoSpace, StoreError
from sealift.ledger import log as module
from sealift.ledger.log import Fsync, append, require_writable
from sealift.ledger.record import FIRST, Event
from sealift.ledger.verify import records, verify
from sealift.ledger.who import operator


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.jsonl"


@contextlib.contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """A real limit of the system: a write past it is cut short, the next one fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_records_count_from_one_and_each_names_the_one_before(log: Path) -> None:
    first = add(log, Event.PACK, product="fraud")
    second = add(log, Event.SIGN)
    assert (first.number, first.previous, first.time, first.who) == (1, FIRST, TIME, "alice")
    assert (second.number, second.previous) == (2, first.digest)
    assert list(records(log)) == [first, second]


def test_the_head_is_what_sha256sum_prints_of_the_last_line(log: Path) -> None:
    written(log, 3)
    last = subprocess.run(["tail", "-n", "1", str(log)], capture_output=True, check=True).stdout
    assert verify(log).head == hashlib.sha256(last).hexdigest()


@pytest.mark.parametrize("policy", list(Fsync))
def test_a_line_is_synced_where_the_policy_says_so(
    policy: Fsync, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(log)
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_size))
    append(log, Event.INSTALL, {}, who="alice", policy=policy)
    assert synced == ([log.stat().st_size] if policy is Fsync.EVERY else [])


def test_a_clock_before_1970_does_not_stop_the_log(log: Path) -> None:
    record = append(log, Event.INSTALL, {}, who="alice", clock=lambda: -5.0)
    assert record.time == "1970-01-01T00:00:00Z"


def test_the_log_can_be_read_by_everybody_and_its_lock_by_the_owner_only(log: Path) -> None:
    add(log)
    assert log.stat().st_mode & 0o444 == 0o444
    assert log.with_name("ledger.jsonl.lock").stat().st_mode & 0o077 == 0


def test_a_long_log_is_continued_from_its_end(log: Path) -> None:
    for _ in range(30):
        add(log, said=["x" * 400] * 16)
    assert log.stat().st_size > 2 * 64 * 1024
    assert verify(log).count == 30


def test_a_record_that_another_writer_added_while_this_one_waited_is_continued(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fcntl.flock

    def waits(handle: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", real)
        add(log, who_was_first="the other")
        real(handle, operation)

    add(log)
    monkeypatch.setattr(fcntl, "flock", waits)
    assert add(log).number == 3
    assert verify(log).count == 3


WRITER = """
import sys
from pathlib import Path
from sealift.ledger.log import Fsync, append
from sealift.ledger.record import Event
sys.stdin.readline()
for number in range(25):
    append(Path(sys.argv[1]), Event.INSTALL, {"number": number}, who=sys.argv[2], policy=Fsync.NONE)
"""


@pytest.mark.slow
def test_four_processes_write_one_chain(log: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(log), f"writer-{n}"], stdin=subprocess.PIPE)
        for n in range(4)
    ]
    for writer in writers:
        writer.communicate(b"go\n")
    assert [writer.returncode for writer in writers] == [0] * 4
    assert verify(log).count == 100
    for n in range(4):
        own = [record.facts["number"] for record in records(log) if record.who == f"writer-{n}"]
        assert own == list(range(25))


@pytest.mark.parametrize("kept", [1, 100, -1])
def test_a_torn_last_line_is_set_aside_and_recorded(kept: int, log: Path) -> None:
    written(log, 2)
    whole = log.read_bytes()
    third = add(log)
    torn = third.encode()[:kept]
    log.write_bytes(whole + torn)
    after = add(log, Event.REFUSAL)
    found = list(records(log))
    assert [record.event for record in found] == ["pack", "sign", "torn", "refusal"]
    assert found[2].facts == {
        "file": "ledger.jsonl.3.torn",
        "sha256": hashlib.sha256(torn).hexdigest(),
        "size": len(torn),
    }
    assert log.with_name("ledger.jsonl.3.torn").read_bytes() == torn
    assert found[3] == after
    assert verify(log).torn == 1


def test_a_first_line_that_was_torn_is_set_aside(log: Path) -> None:
    log.parent.mkdir()
    log.write_bytes(b'{"event":')
    add(log)
    assert [record.event for record in records(log)] == ["torn", "install"]


@pytest.mark.parametrize(
    "zeros", [b"\0" * 700, b"\0" * 70_000, b'{"event"\0\0\0"who":"a"}\n', b"\0\0\n\0\0\n\0"]
)
def test_zeros_that_a_file_system_left_are_torn_too(zeros: bytes, log: Path) -> None:
    written(log, 2)
    with log.open("ab") as stream:
        stream.write(zeros)
    add(log)
    assert [record.event for record in records(log)] == ["pack", "sign", "torn", "install"]
    assert log.with_name("ledger.jsonl.3.torn").read_bytes() == zeros


class PowerCutError(BaseException):
    """Nothing catches this: the process is gone."""


@pytest.mark.parametrize("step", ["_write_all", "sync_folder", "os.ftruncate", "_torn_facts", "_write"])
def test_a_power_cut_while_a_torn_line_is_set_aside_loses_nothing(
    step: str, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(log, 2)
    with log.open("ab") as stream:
        stream.write(b'{"torn')

    def cut(*_: object) -> None:
        raise PowerCutError

    with monkeypatch.context() as patch:
        patch.setattr(os if step.startswith("os.") else module, step.removeprefix("os."), cut)
        with pytest.raises(PowerCutError):
            add(log)
    add(log)
    found = list(records(log))
    assert [record.event for record in found] == ["pack", "sign", "torn", "install"]
    assert log.with_name("ledger.jsonl.3.torn").read_bytes() == b'{"torn'
    assert found[2].facts["size"] == 6


def test_a_record_of_a_torn_line_that_is_torn_itself_is_recorded(log: Path) -> None:
    written(log, 1)
    whole = log.read_bytes()
    log.write_bytes(whole + b"{first")
    add(log)
    log.write_bytes(whole + b"{second")
    add(log)
    assert [record.event for record in records(log)] == ["pack", "torn", "install"]
    assert log.with_name("ledger.jsonl.2.torn").read_bytes() == b"{first{second"


@pytest.mark.parametrize("end", [b"{}\n", b"\n", b"garbage\n", b'{"a":1}\r\n'])
def test_a_last_line_that_is_no_record_stops_the_log_and_stays(end: bytes, log: Path) -> None:
    written(log, 2)
    with log.open("ab") as stream:
        stream.write(end)
    before = tree_hash(log.parent)
    for attempt in (lambda: add(log), lambda: require_writable(log)):
        with pytest.raises(BrokenLedger, match="its last line") as caught:
            attempt()
        assert caught.value.next_step
        assert caught.value.next_step.startswith("sealift audit verify")
    assert tree_hash(log.parent) == before


def test_an_endless_last_line_is_refused(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(log, 2)
    monkeypatch.setattr(module, "_LONGEST_LOOK", 64 * 1024)
    with log.open("ab") as stream:
        stream.write(b"x" * 200_000)
    before = tree_hash(log.parent)
    with pytest.raises(BrokenLedger, match="no line feed in its last 65536 bytes"):
        add(log)
    assert tree_hash(log.parent) == before


@pytest.mark.parametrize("room", [0, 1, 150])
def test_a_full_disk_leaves_nothing_of_the_line(room: int, log: Path) -> None:
    written(log, 3)
    before = tree_hash(log.parent)
    with (
        files_at_most(log.stat().st_size + room),
        pytest.raises(StoreError, match="cannot be written") as caught,
    ):
        add(log)
    assert caught.value.exit_code == 40
    assert tree_hash(log.parent) == before
    add(log)
    assert verify(log).count == 4


def test_a_sync_that_fails_leaves_nothing_of_the_line(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(log, 3)
    before = tree_hash(log.parent)

    def fails(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(StoreError, match="Input/output error"):
        append(log, Event.INSTALL, {}, who="alice")
    assert tree_hash(log.parent) == before


def test_facts_that_may_not_be_written_touch_nothing(log: Path) -> None:
    with pytest.raises(ValueError, match="secret"):
        add(log, passphrase="x")
    assert not log.parent.exists()


@pytest.mark.parametrize("kind", ["folder", "pipe", "file as folder"])
def test_a_place_that_is_no_log_is_refused(kind: str, tmp_path: Path) -> None:
    log = tmp_path / "ledger.jsonl"
    if kind == "folder":
        log.mkdir()
    elif kind == "pipe":
        os.mkfifo(log)
    else:
        (tmp_path / "state").write_text("a file")
        log = tmp_path / "state" / "ledger.jsonl"
    for attempt in (lambda: add(log), lambda: require_writable(log)):
        with pytest.raises(StoreError, match=r"the log .*ledger\.jsonl cannot be written"):
            attempt()


def test_require_writable_creates_nothing(log: Path) -> None:
    before = tree_hash(log.parent.parent)
    require_writable(log)
    assert not log.parent.exists()
    written(log, 2)
    before = tree_hash(log.parent)
    require_writable(log)
    assert tree_hash(log.parent) == before


def test_require_writable_refuses_a_disk_with_no_room(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(log, 1)
    real = os.statvfs(log)
    full = os.statvfs_result((*real[:4], 0, *real[5:10]))
    monkeypatch.setattr(os, "statvfs", lambda _: full)
    with pytest.raises(NoSpace, match="the disk is full") as caught:
        require_writable(log)
    assert "sealift remove" in (caught.value.next_step or "")


def test_require_writable_refuses_a_folder_of_somebody_else(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(StoreError, match="is not a folder that can be written") as caught:
        require_writable(log)
    assert caught.value.next_step == "run it as the log's owner (sudo)"
    assert not log.parent.exists()


def test_who_names_the_user_behind_sudo_for_root_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert operator({}) == "root"
    assert operator({"SUDO_USER": "alice"}) == "root (sudo by alice)"
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    assert operator({"SUDO_USER": "alice"}) == "user 4000000"
