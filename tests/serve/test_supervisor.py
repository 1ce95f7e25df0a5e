"""The supervisor keeps a ready worker on its socket, with workers that are real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from tests.serve.simulated import Simulation, supervised

from sealift.errors import Downgrade, Locked, NotServing
from sealift.meter.beat import LATENCY_BOUNDS_S, Beat
from sealift.serve import control
from sealift.serve.care import Advice, Seen
from sealift.serve.listening import bind

pytestmark = pytest.mark.slow


def test_it_serves_and_tells_its_status_over_the_control_socket(tmp_path: Path) -> None:
    async def scenario(box: Simulation) -> None:
        name, process = await box.who_answers()
        assert name == "one"
        latency = tuple(100 * (bound == 0.0001) for bound in LATENCY_BOUNDS_S)
        told = Beat(requests=100, errors=3, timeouts=1, latency=latency, resident_bytes=12345)
        box.behave("one", beat=told.encode())
        await box.until(lambda: box.supervisor.status()["resident_bytes"])
        status = await box.ask("status")
        expected = {
            "ok": True,
            "state": "SERVING",
            "release": "x@one",
            "identity": "sha256:one",
            "tree": "one",
            "worker": process,
            "supervisor": os.getpid(),
            "port": box.listener.getsockname()[1],
            "crashes": 0,
            "hung": 0,
            "note": "",
            "last_failure": "",
            "resident_bytes": 12345,
            "errors_5xx": 4,
            "p99_ms": 0.1,
        }
        assert {key: status[key] for key in expected} == expected
        assert status["rate"] > 0
        assert status["uptime_s"] > 0
        assert status["degraded"] == ""
        box.behave("one", beat=replace(told, degraded="photos runs on cpu: no driver").encode())
        await box.until(lambda: box.supervisor.status()["degraded"] == "photos runs on cpu: no driver")
        unknown = await box.ask("dance")
        assert (unknown["ok"], unknown["error"], unknown["exit_code"]) == (
            False,
            "unknown request 'dance'",
            2,
        )

    supervised(tmp_path, scenario)


def test_a_crashed_worker_is_replaced_and_counted(tmp_path: Path) -> None:
    async def scenario(box: Simulation) -> None:
        _, first = await box.who_answers()
        os.kill(first, signal.SIGKILL)
        name, second = await box.who_answers()
        assert name == "one"
        assert second != first
        await box.until(lambda: box.supervisor.status()["worker"] == second)
        status = box.supervisor.status()
        assert (status["restarts"], status["crashes"], status["hung"]) == (1, 1, 0)
        assert status["last_failure"] == f"x@one: worker process {first} ended by SIGKILL"

    supervised(tmp_path, scenario)


def test_a_worker_that_hangs_is_killed_and_replaced(tmp_path: Path) -> None:
    async def scenario(box: Simulation) -> None:
        _, first = await box.who_answers()
        os.kill(first, signal.SIGSTOP)
        await box.until(lambda: box.supervisor.status()["hung"] == 1, "a hung worker")
        _, second = await box.who_answers()
        assert second != first
        status = box.supervisor.status()
        assert status["crashes"] == 1
        assert status["last_failure"] == f"x@one: worker process {first} hung (no beat for 0.3 s)"

    supervised(tmp_path, scenario, hang_s=0.3)


def test_a_worker_with_a_stuck_request_is_killed_and_replaced(tmp_path: Path) -> None:
    async def scenario(box: Simulation) -> None:
        _, first = await box.who_answers()
        box.behave("one", beat={"oldest_s": 121.0})
        await box.until(lambda: box.supervisor.status()["hung"] == 1, "a stuck worker")
        box.behave("one")
        await box.until(lambda: box.supervisor.status()["worker"] not in (None, first))
        assert "a request is 121 s old" in box.supervisor.status()["last_failure"]

    supervised(tmp_path, scenario)


def test_a_switch_starts_the_new_worker_and_retires_the_old_one(tmp_path: Path) -> None:
    async def scenario(box: Simulation) -> None:
        _, first = await box.who_answers()
        box.behave("one", beat={"requests": 41})
        await box.until(lambda: (box.supervisor._stage.worker.beat or Beat()).requests == 41)  # type: ignore[union-attr]
        answer = await box.ask("switch", to="two", back=True)
        assert (answer["ok"], answer["release"], answer["tree"], answer["state"]) == (
            True,
            "x@two",
            "two",
            "SERVING",
        )
        assert box.care.calls[1:] == [("begin", "two", True), ("turned", "two", Beat(requests=41))]
        await box.until(lambda: '{"retire": 5}' in box.noted(first))
        name, second = await box.who_answers()
        assert name == "two"
        await box.until(lambda: '{"canary_s": 5.0}' in box.noted(second), "the wish for canaries")

    supervised(tmp_path, scenario)


@pytest.mark.parametrize("tree", ["two", "nowhere"])
def test_a_switch_that_the_care_refuses_changes_nothing(tmp_path: Path, tree: str) -> None:
    async def scenario(box: Simulation) -> None:
        before = await box.who_answers()
        box.care.raises["begin"] = [Downgrade("below the floor", next_step="install a newer one")]
        answer = await box.ask("switch", to=tree, back=False)
        assert answer["ok"] is False
        refused = {"two": ("below the floor", 24), "nowhere": ("nowhere is not installed", 42)}
        assert (answer["error"], answer["exit_code"]) == refused[tree]
        assert await box.who_answers() == before
        assert box.started("two") == 0
        assert "gave_up" not in box.care.names()

    supervised(tmp_path, scenario)


def test_a_switch_to_a_worker_that_does_not_get_ready_is_given_up(tmp_path: Path) -> None:
    async def scenario(box: Simulation) -> None:
        before = await box.who_answers()
        box.behave("two", fails=3)
        answer = await box.ask("switch", to="two", back=False)
        reason = "x@two: the worker did not get ready (exit status 3)"
        assert (answer["ok"], answer["error"], answer["exit_code"]) == (False, reason, 60)
        assert box.care.calls[-1] == ("gave_up", "two", reason)
        assert await box.who_answers() == before
        status = box.supervisor.status()
        assert (status["state"], status["crashes"], status["last_failure"]) == ("SERVING", 0, reason)

    supervised(tmp_path, scenario)


def test_a_worker_that_is_ready_too_late_never_serves(tmp_path: Path) -> None:
    async def scenario(box: Simulation) -> None:
        before = await box.who_answers()
        box.behave("two", loads=True)
        answer = await box.ask("switch", to="two", back=False)
        assert answer["error"] == "x@two: the worker did not get ready (ended by SIGKILL)"
        box.behave("two")
        assert await box.who_answers() == before

    supervised(tmp_path, scenario, ready_s=0.3, exit_s=0.1)


def test_a_turn_that_cannot_be_written_down_leaves_the_old_worker(tmp_path: Path) -> None:
    async def scenario(box: Simulation) -> None:
        before = await box.who_answers()
        box.care.raises["turned"] = [OSError(28, "No space left on device")]
        answer = await box.ask("switch", to="two", back=False)
        assert answer["exit_code"] == 60
        assert "No space left" in answer["error"]
        assert box.care.names()[-1] == "gave_up"
        await box.until(lambda: "SIGTERM" in box.notes.read_text() or '"retire"' in box.notes.read_text())
        assert await box.who_answers() == before

    supervised(tmp_path, scenario)


def test_a_watched_release_is_committed_and_a_locked_prefix_is_asked_again(tmp_path: Path) -> None:
    async def scenario(box: Simulation) -> None:
        await box.ask("switch", to="two", back=False)
        box.care.raises["commit"] = [Locked("an install runs")]
        box.care.advise = lambda seen: Advice.COMMIT if seen.beat is not None else Advice.WATCH
        await box.until(lambda: not box.care.watched, "the commit")
        assert box.care.names().count("commit") == 2
        _, process = await box.who_answers()
        await box.until(lambda: '{"canary_s": 0.0}' in box.noted(process), "the end of canaries")

    supervised(tmp_path, scenario)


def test_a_bad_release_is_replaced_by_the_one_before_while_it_still_serves(tmp_path: Path) -> None:
    async def scenario(box: Simulation) -> None:
        await box.ask("switch", to="two", back=False)
        _, bad = await box.who_answers()
        box.behave("two", beat={"errors": 9, "requests": 9})
        box.care.advise = lambda seen: Advice.FALL_BACK if seen.beat and seen.beat.errors else Advice.WATCH
        await box.until(lambda: box.care.active == "one", "the fall back")
        assert (await box.who_answers())[0] == "one"
        assert box.care.names()[-2:] == ["fall_back", "fell_back"]
        await box.until(lambda: '{"retire": 5}' in box.noted(bad))
        assert box.supervisor.status()["release"] == "x@one"

    supervised(tmp_path, scenario)


def test_a_crash_loop_falls_back_although_the_bad_worker_is_dead(tmp_path: Path) -> None:
    async def scenario(box: Simulation) -> None:
        box.care.advise = lambda seen: Advice.FALL_BACK if seen.crashes >= 2 else Advice.WATCH
        await box.ask("switch", to="two", back=False)
        box.behave("two", crashes=7)
        os.kill((await box.who_answers())[1], signal.SIGKILL)
        await box.until(lambda: box.care.active == "one", "the fall back")
        assert (await box.who_answers())[0] == "one"
        assert [seen.crashes for seen in box.care.seen][-1] == 2
        status = box.supervisor.status()
        assert (status["state"], status["crashes"]) == ("SERVING", 0)

    supervised(tmp_path, scenario)


def test_a_watched_release_that_does_not_start_with_the_supervisor_falls_back(tmp_path: Path) -> None:
    def prepare(box: Simulation) -> None:
        box.care.active, box.care.before, box.care.watched = "two", "one", True
        box.care.advise = lambda seen: Advice.FALL_BACK if seen.crashes >= 2 else Advice.WATCH
        box.behave("two", fails=1)

    async def scenario(box: Simulation) -> None:
        assert (await box.who_answers())[0] == "one"
        assert box.started("two") == 2
        assert box.care.seen[-1] == Seen(None, 0, 2, 0, box.care.seen[-1].now_s)

    supervised(tmp_path, scenario, prepare)


def test_the_release_before_is_tried_until_it_starts_and_the_bad_one_serves_meanwhile(tmp_path: Path) -> None:
    async def scenario(box: Simulation) -> None:
        await box.ask("switch", to="two", back=False)
        bad = await box.who_answers()
        box.behave("one", fails=1)
        box.care.advise = lambda seen: Advice.FALL_BACK if seen.beat is not None else Advice.WATCH
        await box.until(lambda: box.started("one") >= 4, "three tries of the old release")
        assert await box.who_answers() == bad
        box.behave("one")
        await box.until(lambda: box.care.active == "one", "the fall back")
        assert box.care.names().count("fall_back") == 1

    supervised(tmp_path, scenario)


def test_a_bad_release_without_one_before_serves_on(tmp_path: Path) -> None:
    async def scenario(box: Simulation) -> None:
        await box.ask("switch", to="two", back=False)
        bad = await box.who_answers()
        box.care.raises["fall_back"] = [NotServing("there is none")] * 3
        box.care.advise = lambda seen: Advice.FALL_BACK
        await box.until(lambda: box.care.names().count("fall_back") == 3)
        assert await box.who_answers() == bad
        assert box.supervisor.status()["last_failure"] == "there is none"

    supervised(tmp_path, scenario)


def test_a_fall_back_that_could_not_be_written_down_is_written_later(tmp_path: Path) -> None:
    async def scenario(box: Simulation) -> None:
        await box.ask("switch", to="two", back=False)
        box.care.raises["fell_back"] = [Locked("an install runs"), Locked("an install runs")]
        box.care.advise = lambda seen: Advice.FALL_BACK
        await box.until(lambda: box.care.active == "one", "the fall back")
        assert box.care.names().count("fell_back") == 3

    supervised(tmp_path, scenario)


@pytest.mark.parametrize("error", [Locked("locked"), ValueError("a bug")])
def test_a_care_that_fails_while_it_watches_does_not_end_the_service(
    tmp_path: Path, error: Exception
) -> None:
    async def scenario(box: Simulation) -> None:
        await box.ask("switch", to="two", back=False)
        before = await box.who_answers()
        box.care.raises["observe"] = [error] * 5
        await box.until(lambda: not box.care.raises["observe"])
        assert await box.who_answers() == before
        assert box.supervisor.status()["state"] == "SERVING"

    supervised(tmp_path, scenario)


def test_a_care_that_waits_for_its_disk_does_not_keep_a_dead_worker_from_being_replaced(
    tmp_path: Path,
) -> None:
    async def scenario(box: Simulation) -> None:
        disk = threading.Event()

        def wait(_: Seen) -> Advice:
            assert disk.wait(20)
            return Advice.WATCH

        await box.ask("switch", to="two", back=False)
        _, first = await box.who_answers()
        box.care.advise = wait
        seen = len(box.care.seen)
        await box.until(lambda: len(box.care.seen) > seen, "a call that waits")
        os.kill(first, signal.SIGKILL)
        name, second = await box.who_answers()
        assert name == "two"
        assert second != first
        disk.set()

    supervised(tmp_path, scenario)


def test_a_reload_while_going_back_is_the_way_back(tmp_path: Path) -> None:
    async def scenario(box: Simulation) -> None:
        await box.ask("switch", to="two", back=False)
        box.behave("one", fails=1)
        box.care.advise = lambda seen: Advice.FALL_BACK
        await box.until(lambda: box.started("one") >= 3, "tries of the old release")
        box.behave("one")
        answer = await box.ask("reload")
        assert (answer["ok"], answer["release"]) == (True, "x@one")
        await box.until(lambda: box.care.active == "one", "that it is written down")

    supervised(tmp_path, scenario)


def test_an_operators_switch_goes_before_a_restart_that_keeps_failing(tmp_path: Path) -> None:
    async def scenario(box: Simulation) -> None:
        box.behave("one", loads=True)
        os.kill((await box.who_answers())[1], signal.SIGKILL)
        await box.until(lambda: box.started("one") == 2, "a restart that hangs")
        answer = await box.ask("switch", to="two", back=True)
        assert answer["ok"]
        assert (await box.who_answers())[0] == "two"

    supervised(tmp_path, scenario)


def test_short_memory_ends_the_old_worker_first_and_says_so(tmp_path: Path) -> None:
    def prepare(box: Simulation) -> None:
        box.memory, box.free = 1_000_000, 1_100_000

    async def scenario(box: Simulation) -> None:
        _, first = await box.who_answers()
        answer = await box.ask("switch", to="two", back=False)
        assert answer["note"] == (
            "x@two is started after x@one has ended, not beside it: it needs 1 MB, 1 MB are free"
        )
        told = box.notes.read_text().splitlines()
        assert told.index(f"one {first} SIGTERM") < next(
            i for i, line in enumerate(told) if line.startswith("two")
        )
        box.free = 1_300_000
        assert (await box.ask("switch", to="one", back=True))["note"] == ""

    supervised(tmp_path, scenario, prepare)


def test_short_memory_and_a_broken_release_bring_the_old_one_back(tmp_path: Path) -> None:
    def prepare(box: Simulation) -> None:
        box.memory, box.free = 1_000_000, 0

    async def scenario(box: Simulation) -> None:
        _, first = await box.who_answers()
        box.behave("two", fails=1)
        answer = await box.ask("switch", to="two", back=False)
        assert (answer["ok"], answer["release"], answer["state"]) == (False, "x@one", "SERVING")
        name, second = await box.who_answers()
        assert name == "one"
        assert second != first
        assert answer["crashes"] == 0

    supervised(tmp_path, scenario, prepare)


def test_a_reload_starts_a_new_worker_of_the_same_release(tmp_path: Path) -> None:
    async def scenario(box: Simulation) -> None:
        _, first = await box.who_answers()
        answer = await box.ask("reload")
        assert (answer["ok"], answer["release"]) == (True, "x@one")
        name, second = await box.who_answers()
        assert name == "one"
        assert second != first
        box.behave("one", fails=4)
        answer = await box.ask("reload")
        assert (answer["ok"], answer["exit_code"]) == (False, 60)
        assert await box.who_answers() == ("one", second)
        assert box.care.calls == [("start",)]

    supervised(tmp_path, scenario)


def test_a_worker_whose_supervisor_is_killed_learns_of_it(tmp_path: Path) -> None:
    async def scenario(box: Simulation) -> None:
        _, process = await box.who_answers()
        worker = box.supervisor._stage.worker
        assert worker is not None
        worker._channel.close()  # what the kernel does when a process is killed
        await box.until(lambda: "alone" in box.noted(process))

    supervised(tmp_path, scenario)


def test_a_stubborn_worker_is_killed_when_the_service_stops(tmp_path: Path) -> None:
    processes: list[int] = []

    async def scenario(box: Simulation) -> None:
        processes.append((await box.who_answers())[1])
        box.behave("one", stubborn=True)

    supervised(tmp_path, scenario, drain_s=-4.9)
    with pytest.raises(ProcessLookupError):
        os.kill(processes[0], 0)


def test_nothing_is_imported_once_it_serves(tmp_path: Path) -> None:
    """The tree that a supervisor runs from may be pruned while it lives."""
    loaded: set[str] = set()

    async def scenario(box: Simulation) -> None:
        loaded.update(sys.modules)
        box.care.advise = lambda seen: Advice.FALL_BACK if seen.crashes else Advice.WATCH
        await box.ask("switch", to="two", back=False)
        await box.ask("dance")
        os.kill((await box.who_answers())[1], signal.SIGKILL)
        await box.until(lambda: box.care.active == "one")
        await box.ask("reload")
        assert set(sys.modules) - loaded == set()

    supervised(tmp_path, scenario)


def test_a_first_worker_that_is_broken_ends_the_supervisor_with_an_error(tmp_path: Path) -> None:
    async def nothing(_: Simulation) -> None:
        raise AssertionError("it serves")

    with pytest.raises(NotServing, match="did not get ready"):
        supervised(tmp_path, nothing, lambda box: box.behave("one", fails=3))
    assert not (tmp_path / "run" / "x.sock").exists()


def test_a_second_supervisor_of_the_same_name_is_refused(tmp_path: Path) -> None:
    async def scenario(box: Simulation) -> None:
        with pytest.raises(NotServing, match=f"already served by process {os.getpid()}"):
            await asyncio.to_thread(control.bind_control, box.control)

    supervised(tmp_path, scenario)


def test_the_socket_file_of_a_crashed_supervisor_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "run" / "x.sock"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    control.bind_control(path).close()


def test_a_control_socket_works_below_a_very_long_path(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 120)
    folder.mkdir()

    async def scenario(box: Simulation) -> None:
        assert (await box.ask("status"))["ok"]

    supervised(folder, scenario)


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with (
        bind("127.0.0.1", 0) as first,
        pytest.raises(NotServing, match=r"127\.0\.0\.1:\d+: Address already in use"),
    ):
        bind("127.0.0.1", first.getsockname()[1])
