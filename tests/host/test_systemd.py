"""Services of a machine: what is written and asked of systemd, and what is said when it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.host.simulator import SimulatedSystemd

from sealift.errors import HostError, StoreError
from sealift.host.systemd import Completed, Systemd, apply, describe, forget, run_command, systemd_at_work

SERVICE, SOCKET = "sealift@fraud.service", "sealift@fraud.socket"
ADDRESS = "etc/systemd/system/sealift@fraud.socket.d/10-address.conf"
FILES = [
    "etc/systemd/system/sealift@.service",
    "etc/systemd/system/sealift@.socket",
    "etc/sysusers.d/sealift.conf",
    ADDRESS,
]


@pytest.fixture
def simulated(tmp_path: Path) -> SimulatedSystemd:
    return SimulatedSystemd(tmp_path)


def files(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_a_machine_is_systemd_s_when_it_was_booted_with_it(tmp_path: Path) -> None:
    assert not systemd_at_work(Systemd(tmp_path))
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    assert systemd_at_work(Systemd(tmp_path))


def test_the_first_install_writes_enables_and_starts(simulated: SimulatedSystemd) -> None:
    applied = apply("fraud", "127.0.0.1", 8000, systemd=simulated.systemd)
    assert sorted(files(simulated.root)) == sorted(FILES)
    assert applied.changed == (
        *(f"wrote /{path}" for path in FILES),
        f"enabled {SOCKET}",
        f"enabled {SERVICE}",
    )
    assert (applied.started, applied.advice) == (True, "")
    assert simulated.changes == [
        f"systemd-sysusers {simulated.root}/etc/sysusers.d/sealift.conf",
        "systemctl daemon-reload",
        f"systemctl enable {SOCKET}",
        f"systemctl enable {SERVICE}",
        f"systemctl start {SOCKET}",
        f"systemctl start {SERVICE}",
    ]


def test_a_second_install_changes_nothing_and_leaves_the_service_alone(simulated: SimulatedSystemd) -> None:
    apply("fraud", "127.0.0.1", 8000, systemd=simulated.systemd)
    before = {path: path.stat().st_ino for path in simulated.root.rglob("*")}
    simulated.asked.clear()
    applied = apply("fraud", "127.0.0.1", 8000, systemd=simulated.systemd)
    assert (applied.changed, applied.started, applied.advice) == ((), False, "")
    assert {path: path.stat().st_ino for path in simulated.root.rglob("*")} == before
    assert not any("start" in command or "stop" in command for command in simulated.changes)


def test_a_new_address_of_a_running_service_waits_for_the_command_that_is_named(
    simulated: SimulatedSystemd,
) -> None:
    apply("fraud", "127.0.0.1", 8000, systemd=simulated.systemd)
    simulated.asked.clear()
    applied = apply("fraud", "127.0.0.1", 9000, systemd=simulated.systemd)
    assert applied.changed == (f"wrote /{ADDRESS}",)
    assert applied.advice == f"systemctl restart {SOCKET}"
    assert not any("start" in command or "stop" in command for command in simulated.changes)


def test_a_new_address_of_a_service_that_is_down_is_taken_at_once(simulated: SimulatedSystemd) -> None:
    apply("fraud", "127.0.0.1", 8000, systemd=simulated.systemd)
    simulated.active.discard(SERVICE)
    simulated.asked.clear()
    applied = apply("fraud", "127.0.0.1", 9000, systemd=simulated.systemd)
    assert (applied.started, applied.advice) == (True, "")
    assert simulated.changes[-3:] == [
        f"systemctl stop {SOCKET}",
        f"systemctl start {SOCKET}",
        f"systemctl start {SERVICE}",
    ]


def test_no_start_writes_the_units_and_neither_enables_nor_starts(simulated: SimulatedSystemd) -> None:
    applied = apply("fraud", "127.0.0.1", 8000, start=False, systemd=simulated.systemd)
    assert sorted(files(simulated.root)) == sorted(FILES)
    assert not applied.started
    assert (simulated.enabled, simulated.active) == (set(), set())


def test_a_dry_run_says_what_would_be_done_and_does_nothing(simulated: SimulatedSystemd) -> None:
    steps = describe("fraud", "127.0.0.1", 8000, systemd=simulated.systemd)
    assert steps == (
        *(f"write /{path}" for path in FILES),
        f"enable {SOCKET}",
        f"enable {SERVICE}",
        f"start {SERVICE}",
    )
    assert files(simulated.root) == {}
    assert simulated.changes == []
    apply("fraud", "127.0.0.1", 8000, systemd=simulated.systemd)
    assert describe("fraud", "127.0.0.1", 8000, systemd=simulated.systemd) == ()
    assert describe("fraud", "::1", 8000, systemd=simulated.systemd) == (f"write /{ADDRESS}",)


def test_an_edited_unit_is_put_back(simulated: SimulatedSystemd) -> None:
    apply("fraud", "127.0.0.1", 8000, systemd=simulated.systemd)
    (simulated.root / FILES[0]).write_text("[Service]\nExecStart=/bin/false\n")
    applied = apply("fraud", "127.0.0.1", 8000, systemd=simulated.systemd)
    assert applied.changed == (f"wrote /{FILES[0]}",)


@pytest.mark.parametrize(
    "refused",
    [
        ("systemd-sysusers",),
        ("systemctl", "daemon-reload"),
        ("systemctl", "enable", SOCKET),
        ("systemctl", "enable", SERVICE),
    ],
)
def test_what_systemd_refuses_is_said_and_the_next_run_goes_on(
    simulated: SimulatedSystemd, refused: tuple[str, ...]
) -> None:
    simulated.refuses[refused] = "Unit is masked."
    with pytest.raises(HostError, match=r"Unit is masked\.$") as error:
        apply("fraud", "127.0.0.1", 8000, systemd=simulated.systemd)
    assert error.value.message.startswith(" ".join(refused))
    assert "run the same sealift command again" in str(error.value.next_step)
    assert simulated.active == set()
    simulated.refuses.clear()
    assert apply("fraud", "127.0.0.1", 8000, systemd=simulated.systemd).started
    assert simulated.enabled == simulated.active == {SOCKET, SERVICE}


def test_a_service_that_does_not_get_ready_shows_the_end_of_its_journal(simulated: SimulatedSystemd) -> None:
    simulated.refuses["systemctl", "start", SERVICE] = "Job failed. See journalctl -xe."
    simulated.journal = "model.onnx: out of memory\n\nMain process exited, status=50\n"
    with pytest.raises(HostError, match=f"^{SERVICE} did not start$") as error:
        apply("fraud", "127.0.0.1", 8000, systemd=simulated.systemd)
    assert error.value.problems == ("model.onnx: out of memory", "Main process exited, status=50")
    assert error.value.next_step == f"journalctl -u {SERVICE} -n 50; systemd tries again by itself"


def test_an_address_that_is_taken_names_the_socket_unit_and_how_to_find_the_holder(
    simulated: SimulatedSystemd,
) -> None:
    simulated.refuses["systemctl", "start", SOCKET] = "Address already in use"
    with pytest.raises(HostError, match=f"^{SOCKET} did not start$") as error:
        apply("fraud", "127.0.0.1", 8000, systemd=simulated.systemd)
    assert error.value.problems == ("Address already in use",)
    assert "ss -ltnp" in str(error.value.next_step)
    assert SERVICE not in simulated.active


def test_a_folder_that_may_not_be_written_is_said_and_nothing_is_asked(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("a file in the way")
    simulated = SimulatedSystemd(tmp_path)
    with pytest.raises(StoreError, match=r"sealift@\.service"):
        apply("fraud", "127.0.0.1", 8000, systemd=simulated.systemd)
    assert simulated.asked == []


def test_forgetting_one_service_leaves_the_other_and_the_shared_files(simulated: SimulatedSystemd) -> None:
    apply("fraud", "127.0.0.1", 8000, systemd=simulated.systemd)
    apply("cats", "127.0.0.1", 8001, systemd=simulated.systemd)
    changed = forget("fraud", systemd=simulated.systemd)
    assert changed == (
        f"stopped and disabled {SERVICE}",
        f"stopped and disabled {SOCKET}",
        f"removed /{ADDRESS}",
    )
    assert simulated.active == simulated.enabled == {"sealift@cats.socket", "sealift@cats.service"}
    assert not (simulated.root / ADDRESS).parent.exists()
    assert set(FILES[:3]) < set(files(simulated.root))


def test_forgetting_the_last_service_leaves_no_file(simulated: SimulatedSystemd) -> None:
    apply("fraud", "127.0.0.1", 8000, systemd=simulated.systemd)
    changed = forget("fraud", systemd=simulated.systemd)
    assert [line for line in changed if line.startswith("removed")] == [
        f"removed /{path}" for path in (ADDRESS, *FILES[:3])
    ]
    assert files(simulated.root) == {}
    assert forget("fraud", systemd=simulated.systemd) == ()


def test_drop_ins_of_the_operator_s_own_stay(simulated: SimulatedSystemd) -> None:
    apply("fraud", "127.0.0.1", 8000, systemd=simulated.systemd)
    own = (simulated.root / ADDRESS).with_name("20-own.conf")
    own.write_text("[Socket]\nBacklog=7\n")
    forget("fraud", systemd=simulated.systemd)
    assert list(files(simulated.root)) == [str(own.relative_to(simulated.root))]


def test_forgetting_goes_on_after_systemd_refused_once(simulated: SimulatedSystemd) -> None:
    apply("fraud", "127.0.0.1", 8000, systemd=simulated.systemd)
    simulated.refuses["systemctl", "disable"] = "Access denied"
    with pytest.raises(HostError, match="Access denied"):
        forget("fraud", systemd=simulated.systemd)
    assert (simulated.root / ADDRESS).exists()
    simulated.refuses.clear()
    assert f"removed /{ADDRESS}" in forget("fraud", systemd=simulated.systemd)


def test_a_real_command_says_how_it_ended() -> None:
    assert run_command(("/bin/sh", "-c", "echo out; echo two  words >&2; exit 3")) == Completed(
        3, "out\n", "two words\n"
    )
    assert Completed(3, "out\n", "a\n  b\n").said == "a b"
    assert Completed(3).said == "it ended with 3"


def test_a_machine_without_systemctl_says_so() -> None:
    with pytest.raises(HostError, match=r"^/nowhere/systemctl: No such file or directory$") as error:
        run_command(("/nowhere/systemctl", "start"))
    assert "--no-start" in str(error.value.next_step)
