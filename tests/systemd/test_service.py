"""Must show: `sealift@NAME.service` on a booted machine, from the first install to power cuts in the middle of one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.systemd.box import SERVICE, SOCKET, Box
from tests.systemd.machine import Said, until

pytestmark = pytest.mark.slow

TRUST = ("--trust", "/media/keys/root.json")


def test_the_first_install_enables_the_service_and_starts_it(empty_box: Box) -> None:
    said = empty_box.install("1.0", *TRUST)
    assert f"enabled {SERVICE}" in said.out
    assert empty_box.unit(SERVICE, "ActiveState") == "active"
    assert empty_box.unit(SERVICE, "UnitFileState") == "enabled"
    assert empty_box.unit(SERVICE, "StatusText") == "SERVING fraud@1.0"
    answer = empty_box.serves()
    assert answer.release == "fraud@1.0"
    status = empty_box.sealift("status")
    assert status.out.splitlines()[1].startswith("fraud  SERVING  1.0")
    assert empty_box.machine.run("systemd-analyze", "verify", SERVICE, SOCKET) == Said(0, "", "")
    worker = empty_box.status()["serving"]["worker"]
    owner = empty_box.machine.run("stat", "--format=%U", f"/proc/{worker}").out.strip()
    assert owner == "sealift", "the worker owns nothing of what it serves from"


def test_installing_again_says_that_nothing_is_to_be_done(box: Box) -> None:
    box.serves()
    before = box.status()["serving"]["supervisor"]
    assert "nothing to do" in box.install("1.0").out
    assert box.status()["serving"]["supervisor"] == before


def test_no_start_leaves_the_service_off_and_names_the_command_that_starts_it(empty_box: Box) -> None:
    said = empty_box.install("1.0", *TRUST, "--no-start")
    assert empty_box.unit(SERVICE, "ActiveState") == "inactive"
    with pytest.raises(ConnectionRefusedError):
        empty_box.predict()
    command = next(line for line in said.out.splitlines() if "next:" in line).split("next:")[1].split()
    empty_box.machine.run(*command)
    assert empty_box.serves().release == "fraud@1.0"


def test_a_hung_worker_is_replaced_and_who_waited_is_answered(box: Box) -> None:
    box.serves()
    hung = box.status()["serving"]["worker"]
    box.machine.run("sh", "-c", 'kill -STOP "$0"', str(hung))
    assert box.predict(timeout_s=120).status == 200  # waited at the socket: nobody had accepted it
    found = box.status()["serving"]
    assert found["worker"] != hung
    assert found["hung"] == 1


def test_a_hung_supervisor_is_replaced_by_the_watchdog_and_who_waited_is_answered(box: Box) -> None:
    box.serves()
    hung = int(box.unit(SERVICE, "MainPID"))
    box.machine.run("sh", "-c", 'kill -STOP "$0"', str(hung))
    until(lambda: int(box.unit(SERVICE, "MainPID")) != hung, 90, "the watchdog struck")
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda _: box.predict(), range(8)))
    assert {answer.status for answer in answers} == {200}
    assert box.unit(SERVICE, "NRestarts") == "1"
    assert "Watchdog timeout" in box.machine.run("journalctl", "--unit", SERVICE, "--no-pager").out


def test_a_killed_supervisor_comes_back(box: Box) -> None:
    box.serves()
    killed = box.unit(SERVICE, "MainPID")
    box.machine.run("systemctl", "kill", "--kill-who=main", "--signal=KILL", SERVICE)
    until(lambda: box.unit(SERVICE, "MainPID") not in (killed, "0"), 30, "systemd started the next one")
    assert box.predict().status == 200
    assert box.status()["state"] == "SERVING"


def test_the_service_comes_back_after_a_power_cut(box: Box) -> None:
    box.serves()
    box.machine.cut_power()
    box.machine.boot()
    assert box.serves().release == "fraud@1.0"
    assert box.unit(SERVICE, "NRestarts") == "0"


def test_a_new_port_is_taken_with_the_command_that_config_set_names(box: Box) -> None:
    box.serves()
    said = box.sealift("config", "set", "fraud", "port=9000").out
    assert box.predict().status == 200, "nothing moves before the restart"
    command = next(line for line in said.splitlines() if "wait for:" in line).split("sudo ")[1].split()
    box.machine.run(*command)
    assert box.machine.ask(9000, "/v2/health/ready")[0] == 200
    with pytest.raises(ConnectionRefusedError):
        box.predict()


def test_removing_the_only_release_takes_its_service_away(box: Box) -> None:
    box.serves()
    box.machine.run("systemctl", "stop", SOCKET)
    assert f"stopped and disabled {SERVICE}" in box.sealift("remove", "fraud", "1.0").out
    assert box.unit(SERVICE, "LoadState") == "not-found"
    box.machine.cut_power()
    box.machine.boot()
    assert box.unit(SERVICE, "LoadState") == "not-found"


def is_noted(box: Box) -> bool:
    """Before the first object."""
    return box.machine.path("/var/lib/sealift/staging.json").exists()


def is_linked(box: Box) -> bool:
    """All objects are written, nothing of it is synced."""
    return any(box.machine.path("/opt/sealift/releases/fraud").glob("2.0-*.partial"))


def is_checked(box: Box) -> bool:
    """The tree is whole and has its name."""
    trees = box.machine.path("/opt/sealift/releases/fraud").glob("2.0-*")
    return any(tree.suffix != ".partial" for tree in trees)


@pytest.mark.parametrize("moment", [is_noted, is_linked, is_checked])
def test_after_a_power_cut_while_a_release_comes_in_the_old_one_serves(
    box: Box, moment: Callable[[Box], bool]
) -> None:
    box.serves()
    cut_during_install(box, moment)
    assert box.serves().release == "fraud@1.0"
    assert "files of fraud 2.0 are coming in (or were cut off: install it again)" in box.sealift("status").out
    box.install("2.0")
    assert box.serves().release == "fraud@2.0"
    assert "cut off" not in box.sealift("status").out


def is_turned(box: Box) -> bool:
    return box.machine.path("/opt/sealift/current/fraud").readlink().name.startswith("2.0-")


def test_after_a_power_cut_at_the_switch_one_of_the_two_serves_and_status_agrees(box: Box) -> None:
    box.serves()
    cut_during_install(box, is_turned)
    serving = box.serves().release
    status = box.status()
    assert serving == f"fraud@{status['version']}" == status["serving"]["release"]
    assert "2.0" in box.sealift("status").out
    box.install("2.0")
    assert box.serves().release == "fraud@2.0"


def is_first_linked(box: Box) -> bool:
    """3400 objects are written and named, nothing is synced: most of them are empty after the cut."""
    return any(box.machine.path("/opt/sealift/releases/fraud").glob("1.0-*.partial"))


def test_after_a_power_cut_in_the_first_install_the_next_one_mends_what_was_lost(empty_box: Box) -> None:
    cut_during_install(empty_box, is_first_linked, "1.0", *TRUST)
    assert empty_box.unit(SERVICE, "LoadState") == "not-found"
    empty_box.install("1.0", *TRUST)
    assert empty_box.serves().release == "fraud@1.0"


def cut_during_install(box: Box, moment: Callable[[Box], bool], version: str = "2.0", *options: str) -> None:
    """Start to install, cut the power when `moment` has come, boot."""
    with box.start_install(version, *options) as install:
        until(lambda: moment(box) or install.poll() is not None, 120, moment.__name__)
        assert install.poll() is None, install.communicate()
        box.machine.cut_power()
    box.machine.boot()
