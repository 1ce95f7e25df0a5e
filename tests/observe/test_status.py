"""The screen at 3 a.m., to the letter."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import Any

from sealift.ledger.record import Record
from sealift.observe.status import BoxStatus, Demands, Left, ServiceStatus, render, to_json
from sealift.observe.why import explain
from sealift.store.failures import Failures
from sealift.store.journal import Journal, Phase, Turn
from sealift.store.releases import InstalledRelease

IDENTITY = "9f31c2a0" + "0" * 56
OLD = "11112222" + "0" * 56
INSTALLED_AT = 1_795_403_520  # 2026-11-23 03:12 UTC
NEW_TREE, OLD_TREE = "2026.12.0-9f31c2a0", "2026.11.0-11112222"


def release(version: str = "2026.12.0", identity: str = IDENTITY, **check: Any) -> InstalledRelease:
    return InstalledRelease(
        name="fraud",
        version=version,
        identity=identity,
        seq=2 if identity == IDENTITY else 1,
        tree=Path(f"/opt/sealift/releases/fraud/{version}-{identity[:8]}"),
        interpreter=Path("/usr/bin/python3.11"),
        installed_at=INSTALLED_AT,
        total_size=2_100_000_000,
        signers=(),
        check={"golden_checked": True, **check},
    )


OLDER = release("2026.11.0", OLD)


def supervisor(**changes: Any) -> dict[str, Any]:
    return {
        "state": "SERVING", "identity": IDENTITY, "release": "fraud@2026.12.0", "host": "127.0.0.1", "port": 8000,
        "worker": 4711, "supervisor": 4710, "restarts": 0, "rate": 41.2, "errors_5xx": 0, "p99_ms": 12.0,
        "resident_bytes": 412_000_000, **changes,
    }  # fmt: skip


def turn(phase: Phase, *reasons: str) -> Turn:
    return Turn(phase, NEW_TREE, OLD_TREE, OLD_TREE, INSTALLED_AT, reasons)


def line(number: int, event: str, **facts: Any) -> Record:
    return Record(number, "2026-11-23T03:12:00Z", "ada", event, {"product": "fraud", **facts}, "0" * 64)


def service(phase: Phase = Phase.WATCHED, **changes: Any) -> ServiceStatus:
    made = ServiceStatus(
        active=release(),
        others=(OLDER,),
        supervisor=supervisor(),
        journal=Journal(turn(phase), (OLD_TREE,)),
        left=Left(240, 120),
        demands=Demands(50, 2048, 2, "cpu"),
        history=(
            line(1, "recover", found="bringing in 2026.12.0 was cut off"),
            line(2, "activate", version="2026.12.0"),
        ),
        created=INSTALLED_AT - 86400,
    )
    return replace(made, **changes)


def box(*services: ServiceStatus, now: float = INSTALLED_AT + 60, **changes: Any) -> BoxStatus:
    return BoxStatus("/opt/sealift", "teller-07", services, 38_200_000_000, now, **changes)


def test_a_watched_release_with_one_to_go_back_to() -> None:
    status = box(service(unit="sealift@fraud"))
    assert render(status, UTC) == (
        "prefix /opt/sealift   box teller-07   sealift 0.1.0\n"
        "fraud  SERVING  2026.12.0  sha256:9f31-c2a0\n"
        "  since 2026-11-23 03:12, watched 4 more minutes and 120 more requests, then committed"
        " | back to 2026.11.0: sealift rollback fraud\n"
        "  traffic 41/s  5xx 0  p99 12 of 50 ms | http://127.0.0.1:8000, worker 4711\n"
        "  cpu, 2 threads, 412 of 2048 MB | disk 38 GB free, an update needs 2.1 | clock ok\n"
        "  last: switched to 2026.12.0, by ada, 11-23 03:12 (before: recovered: bringing in 2026.12.0 was cut off,"
        " by ada, 11-23 03:12) | log: journalctl -u sealift@fraud"
    )
    assert status.exit_code == 0


def test_a_grpc_port_stands_beside_the_address() -> None:
    text = render(box(service(supervisor=supervisor(grpc_port=8001))), UTC)
    assert " | http://127.0.0.1:8000, gRPC 8001, worker 4711\n" in text


def test_a_degraded_release_is_loud_and_has_an_exit_code_of_its_own() -> None:
    why = "fraud runs on cpu: cuda cannot be used: /dev/nvidiactl is not there: no NVIDIA driver is loaded"
    found = service(Phase.COMMITTED, supervisor=supervisor(degraded=why), left=None)
    status = box(service(), found)
    text = render(status, UTC)
    assert f"\n  DEGRADED: {why} (to accept it: sealift config set fraud device=cpu)\n" in text
    assert status.exit_code == 51
    assert [entry["degraded"] for entry in to_json(status)["services"]] == ["", why]
    dead = replace(found, supervisor=None)
    assert box(found, dead).exit_code == 50, "not serving at all is worse"


def test_an_installed_release_that_nobody_serves() -> None:
    found = service(Phase.COMMITTED, supervisor=None, others=(), history=(), left=None)
    status = box(replace(found, journal=Journal(turn(Phase.COMMITTED), (NEW_TREE,)), demands=Demands()))
    assert render(status, UTC) == (
        "prefix /opt/sealift   box teller-07   sealift 0.1.0\n"
        "fraud  NOT SERVING  2026.12.0  sha256:9f31-c2a0\n"
        "  since 2026-11-23 03:12, committed | no older release to go back to\n"
        "  nobody listens\n"
        "  cpu | disk 38 GB free, an update needs 2.1 | clock ok\n"
        "  next: sealift serve fraud"
    )
    assert status.exit_code == 50


def test_a_release_that_fell_back_names_the_bad_one() -> None:
    fallen = Turn(Phase.FELL_BACK, NEW_TREE, OLD_TREE, OLD_TREE, INSTALLED_AT, ("p99 is 80 ms",))
    found = service(
        active=OLDER,
        others=(release(),),
        supervisor=supervisor(identity=OLD, release="fraud@2026.11.0"),
        journal=Journal(fallen, (OLD_TREE,)),
        left=None,
        failures={IDENTITY: Failures("2026.12.0", 2, INSTALLED_AT, ("p99 is 80 ms",))},
    )
    text = render(box(found), UTC)
    assert "fell back to it (2026.12.0 was bad)" in text
    assert "blocked after two failures: 2026.12.0 (sealift status --why)" in text
    assert explain(found)[:4] == [
        "why fraud is as it is:",
        "  2026.12.0: fell back (before: 2026.11.0)",
        "  - p99 is 80 ms",
        "  next: have the release mended; after two failures it is blocked (install --retry)",
    ]


def test_a_watched_release_says_what_is_missing_and_what_comes_back() -> None:
    lines = explain(service(left=Left(240, 120, ("5 of 9 requests failed",))))
    assert "  still watched: 240 s and 120 requests are missing" in lines
    assert "  if it is bad, 2026.11.0 comes back" in lines
    assert "  - 5 of 9 requests failed" in lines


def test_a_supervisor_that_still_serves_the_old_release() -> None:
    told = supervisor(identity=OLD, release="fraud@2026.11.0", restarts=3)
    text = render(box(service(Phase.COMMITTED, supervisor=told, left=None)), UTC)
    assert "worker restarted 3 times" in text
    assert text.endswith("next: it still serves fraud@2026.11.0: stop it and sealift serve fraud")


def test_a_release_without_goldens_is_marked() -> None:
    assert "sha256:9f31-c2a0  not golden-checked\n" in render(
        box(service(active=release(golden_checked=False)))
    )


def test_a_clock_in_1970_or_2099_is_said() -> None:
    assert "CLOCK BEHIND" in render(box(service(), now=60), UTC)
    assert "CLOCK AHEAD" in render(box(service(), now=4_070_908_800), UTC)
    assert to_json(box(service(), now=60))["clock_ok"] is False


def test_a_staged_release_and_files_that_were_coming_in_are_named() -> None:
    newer = replace(release("2027.1.0", "ab" * 32), seq=3)
    text = render(box(service(others=(newer, OLDER)), staging="fraud 2027.2.0", reserve=False), UTC)
    assert "staged: 2027.1.0 (sealift activate fraud VERSION)" in text
    assert "files of fraud 2027.2.0 are coming in (or were cut off: install it again)" in text
    assert "the rollback reserve is spent" in text


def test_nothing_installed() -> None:
    assert render(box()) == (
        "prefix /opt/sealift   box teller-07   sealift 0.1.0\n"
        "  nothing is installed\n"
        "  next: sealift install BUNDLE --trust ROOT.json"
    )


def test_json_has_what_the_screen_has() -> None:
    found = to_json(box(service()))["services"][0]
    assert found["version"] == "2026.12.0"
    assert found["phase"] == "watched"
    assert found["back_to"] == "2026.11.0"
    assert found["left"] == {"requests": 120, "seconds": 240}
    assert found["serving"]["worker"] == 4711
