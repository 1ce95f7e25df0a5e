"""The screen at 3 a.m., to the letter."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path
from typing import Any

from sealift.observe.status import BoxStatus, ServiceStatus, observe_service, render, to_json
from sealift.store.releases import InstalledRelease

IDENTITY = "9f31c2a0" + "0" * 56
OLD = "11112222" + "0" * 56
INSTALLED_AT = 1_795_403_520  # 2026-11-23 03:12 UTC


def release(version: str = "2026.12.0", identity: str = IDENTITY, **check: Any) -> InstalledRelease:
    return InstalledRelease(
        name="fraud",
        version=version,
        identity=identity,
        seq=2,
        tree=Path(f"/opt/sealift/releases/fraud/{version}-{identity[:8]}"),
        interpreter=Path("/usr/bin/python3.11"),
        installed_at=INSTALLED_AT,
        total_size=1,
        signers=(),
        check={"golden_checked": True, **check},
    )


def supervisor(**changes: Any) -> dict[str, Any]:
    return {
        "state": "SERVING", "identity": IDENTITY, "release": "fraud@2026.12.0", "host": "127.0.0.1", "port": 8000,
        "worker": 4711, "supervisor": 4710, "restarts": 0, **changes,
    }  # fmt: skip


def box(*services: ServiceStatus, now: float = INSTALLED_AT + 60) -> BoxStatus:
    return BoxStatus("/opt/sealift", "teller-07", services, 38_200_000_000, now)


def test_a_serving_release_with_one_to_go_back_to() -> None:
    old = release("2026.11.0", OLD)
    status = box(observe_service("fraud", (release(), old), release(), lambda name: supervisor()))
    assert render(status, UTC) == (
        "prefix /opt/sealift   box teller-07   sealift 0.1.0\n"
        "fraud  SERVING  2026.12.0  sha256:9f31-c2a0\n"
        "  installed 2026-11-23 03:12, also installed: 2026.11.0\n"
        "  http://127.0.0.1:8000, worker 4711 | disk 38 GB free"
    )
    assert status.exit_code == 0


def test_an_installed_release_that_nobody_serves() -> None:
    status = box(ServiceStatus(release(), (), None))
    assert render(status, UTC) == (
        "prefix /opt/sealift   box teller-07   sealift 0.1.0\n"
        "fraud  NOT SERVING  2026.12.0  sha256:9f31-c2a0\n"
        "  installed 2026-11-23 03:12, no older release to go back to\n"
        "  nobody listens | disk 38 GB free\n"
        "  next: sealift serve fraud"
    )
    assert status.exit_code == 50


def test_a_supervisor_that_still_serves_the_old_release() -> None:
    told = supervisor(identity=OLD, release="fraud@2026.11.0", restarts=3)
    status = box(ServiceStatus(release(), (release("2026.11.0", OLD),), told))
    assert render(status, UTC).splitlines()[3:] == [
        "  http://127.0.0.1:8000, worker 4711, worker restarted 3 times | disk 38 GB free",
        "  next: it still serves fraud@2026.11.0: stop it and sealift serve fraud",
    ]
    assert status.exit_code == 50


def test_a_release_without_goldens_is_marked_and_a_wrong_clock_is_named() -> None:
    status = box(ServiceStatus(release(golden_checked=False), (), supervisor()), now=0)
    assert render(status, UTC).splitlines()[2] == (
        "  installed 2026-11-23 03:12 (in the future: check this box's clock), not golden-checked, "
        "no older release to go back to"
    )


def test_a_box_with_nothing_installed_says_what_to_do() -> None:
    assert render(box(), UTC) == (
        "prefix /opt/sealift   box teller-07   sealift 0.1.0\n"
        "  nothing is installed\n"
        "  next: sealift install BUNDLE --trust ROOT.json"
    )


def test_programs_get_the_same_facts() -> None:
    facts = to_json(box(ServiceStatus(release(), (), supervisor())))
    assert facts["services"][0]["serving"]["worker"] == 4711
    assert facts["services"][0]["identity"] == IDENTITY
