"""The small parts of the supervisor: memory, traffic, pauses, who may ask."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sealift.errors import UsageError
from sealift.meter.beat import Beat
from sealift.serve.backoff import Backoff
from sealift.serve.care import Advice, Seen, Unattended, WorkerLaunch
from sealift.serve.desk import Desk
from sealift.serve.memory import available_bytes
from sealift.serve.traffic import Traffic
from sealift.serve.workers import SupervisorOptions

MIB = 2**20


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def box(folder: Path, available_kb: int | None, group: str = "") -> tuple[Path, Path]:
    proc, groups = folder / "proc", folder / "cgroup"
    (proc / "self").mkdir(parents=True)
    groups.mkdir()
    if available_kb is not None:
        (proc / "meminfo").write_text(f"MemTotal: 99 kB\nMemAvailable: {available_kb} kB\n")
    if group:
        (proc / "self" / "cgroup").write_text(f"1:name=systemd:/x\n0::{group}\n")
    return proc, groups


def limit(folder: Path, most: str, used: int, cache: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{most}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon {used}\ninactive_file {cache}\n")


def test_memory_of_the_machine(tmp_path: Path) -> None:
    assert available_bytes(*box(tmp_path, 2048)) == 2 * MIB


def test_memory_of_the_tightest_control_group_and_its_file_cache_is_free(tmp_path: Path) -> None:
    proc, groups = box(tmp_path, 8 * 1024**2, "/system.slice/sealift.service")
    limit(groups / "system.slice" / "sealift.service", "max", 5)
    limit(groups / "system.slice", str(100 * MIB), 90 * MIB, 20 * MIB)
    assert available_bytes(proc, groups) == 30 * MIB
    limit(groups / "system.slice" / "sealift.service", str(10 * MIB), 12 * MIB)
    assert available_bytes(proc, groups) == 0


def test_memory_is_unknown_where_nothing_tells(tmp_path: Path) -> None:
    assert available_bytes(*box(tmp_path, None)) is None


def test_the_real_box_tells_its_memory() -> None:
    assert (available_bytes() or 0) > 10 * MIB


def test_traffic_is_of_the_last_minute_over_all_workers() -> None:
    clock = Clock()
    traffic = Traffic(clock)
    clock.now += 100
    traffic.add(1, Beat(requests=600, errors=2))
    clock.now += 30
    traffic.add(1, Beat(requests=660, errors=2, refused=1))
    traffic.add(2, Beat(requests=60))
    assert traffic.figures() == {"errors_5xx": 3, "p99_ms": None, "rate": 12.0}
    clock.now += 40
    assert traffic.figures() == {"errors_5xx": 1, "p99_ms": None, "rate": 2.0}
    traffic.ended(1)
    traffic.add(1, Beat(requests=6))
    assert traffic.figures()["rate"] == 2.1


def test_pauses_grow_and_begin_anew_after_peace() -> None:
    clock = Clock()
    options = SupervisorOptions(first_backoff_s=0.2, longest_backoff_s=1.0, healthy_s=60)
    backoff = Backoff(options, clock)
    pauses = []
    for _ in range(6):
        pauses.append(backoff.pause_s())
        clock.now += 1
    assert pauses == [0.0, 0.2, 0.4, 0.8, 1.0, 1.0]
    clock.now += 61
    assert backoff.pause_s() == 0.0
    assert backoff.pause_s() == 0.2
    backoff.reset()
    assert backoff.pause_s() == 0.0


class Nobody:
    """Behind a desk; everything that reaches it is noted."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    def status(self) -> dict[str, Any]:
        return {"state": "SERVING"}

    async def switch(self, tree: str, *, back: bool) -> None:
        self.asked.append((tree, back))

    async def reload(self) -> None:
        self.asked.append("reload")
        raise ZeroDivisionError("a bug")


def decided(request: dict[str, Any], user: int) -> tuple[dict[str, Any], list[object]]:
    behind = Nobody()
    answer = asyncio.run(Desk(Path("/nowhere"), behind)._answer(request, user))
    return answer, behind.asked


def test_everybody_may_ask_for_the_status_and_only_root_for_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 990)
    switch = {"do": "switch", "to": "2", "back": False}
    assert decided({"do": "status"}, 1000) == ({"ok": True}, [])
    answer, asked = decided(switch, 1000)
    assert (answer["ok"], answer["exit_code"], answer["next_step"], asked) == (False, 2, "use sudo", [])
    assert decided(switch, 0) == ({"ok": True}, [("2", False)])
    assert decided(switch, 990) == ({"ok": True}, [("2", False)])


@pytest.mark.parametrize("request_", [{}, {"do": "switch"}, {"do": "switch", "to": 3}, {"do": ["status"]}])
def test_a_request_that_is_none_is_refused(request_: dict[str, Any]) -> None:
    answer, asked = decided(request_, 0)
    assert (answer["ok"], answer["exit_code"], asked) == (False, 2, [])


def test_a_bug_behind_the_desk_is_an_answer() -> None:
    answer, _ = decided({"do": "reload"}, 0)
    assert answer == {
        "error": "a bug: ZeroDivisionError('a bug')",
        "exit_code": 1,
        "next_step": None,
        "ok": False,
    }


def test_a_project_folder_cannot_be_switched_and_is_not_watched() -> None:
    care = Unattended(lambda: WorkerLaunch(["true"], "x@1"))
    assert care.start() == care.launch("whatever") == WorkerLaunch(["true"], "x@1")
    assert care.watch() is None
    assert care.observe(Seen(None, 0, 9, 0, 0.0)) is Advice.WATCH
    with pytest.raises(UsageError, match="no installed release"):
        care.begin("2", back=False)
