"""The units under a real systemd, with a stand-in for the supervisor: queueing, watchdog, restarts, power cuts."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest
from tests.systemd.machine import Machine, Said, until

pytestmark = pytest.mark.slow

STANDIN = '#!/bin/sh\nPYTHONPATH=/tool/src exec /usr/bin/python3.11 /tool/tests/systemd/standin.py "$@"\n'
FAST_WATCHDOG = "[Service]\nWatchdogSec=2\n"


def write(box: Machine, path: str, text: str, mode: str = "644") -> None:
    box.run(
        "sh", "-c", 'mkdir -p "$(dirname "$0")" && printf %s "$1" >"$0" && chmod "$2" "$0"', path, text, mode
    )


def host(box: Machine, call: str, *, ok: bool = True) -> Said:
    """Call something of `sealift.host.systemd` inside."""
    code = f"from sealift.host.systemd import apply, describe, forget\nprint({call})"
    return box.run("env", "PYTHONPATH=/tool/src", "/usr/bin/python3.11", "-c", code, ok=ok)


def ask(box: Machine, port: int, path: str = "/") -> tuple[int, Any]:
    status, _, answer = box.ask(port, path)
    return status, answer


def of(box: Machine, unit: str, key: str) -> str:
    return box.run("systemctl", "show", "--property", key, "--value", unit).out.strip()


@pytest.fixture
def box(new_machine: Callable[[], Machine]) -> Machine:
    """A machine with the stand-in in the place of sealift; `fraud` is not applied yet."""
    made = new_machine()
    write(made, "/opt/sealift/bin/sealift", STANDIN, "755")
    write(made, "/run/systemd/system/sealift@.service.d/test.conf", FAST_WATCHDOG)
    return made


def test_systemd_finds_nothing_to_say_about_the_units(box: Machine) -> None:
    host(box, "apply('fraud', '127.0.0.1', 8000)")
    verified = box.run("systemd-analyze", "verify", "sealift@fraud.service", "sealift@fraud.socket")
    assert verified == Said(0, "", "")


def test_the_service_starts_and_tells_systemd_and_a_second_apply_leaves_it_alone(box: Machine) -> None:
    assert "started=True" in host(box, "apply('fraud', '127.0.0.1', 8000)").out
    status, answer = ask(box, 8000)
    assert status == 200
    assert of(box, "sealift@fraud.service", "StatusText") == "the stand-in serves"
    assert of(box, "sealift@fraud.service", "MainPID") == str(answer["supervisor"])
    assert (
        host(box, "apply('fraud', '127.0.0.1', 8000)").out
        == "Applied(changed=(), started=False, advice='')\n"
    )
    assert ask(box, 8000)[1] == answer
    assert box.run("id", "-u", "sealift").out.strip() != "0"


def test_the_service_comes_back_after_a_power_cut(box: Machine) -> None:
    box.run("sync", "-f", "/opt/sealift")  # the stand-in; what apply and systemd write is apply's to sync
    host(box, "apply('fraud', '127.0.0.1', 8000)")
    box.cut_power()
    box.boot()
    assert ask(box, 8000)[0] == 200


def test_no_start_leaves_it_off_also_after_a_boot(box: Machine) -> None:
    host(box, "apply('fraud', '127.0.0.1', 8000, start=False)")
    box.run("sync", "-f", "/opt/sealift")
    box.cut_power()
    box.boot()
    for unit in ("sealift@fraud.socket", "sealift@fraud.service"):
        assert of(box, unit, "ActiveState") == "inactive"
    with pytest.raises(ConnectionRefusedError):
        box.connect(8000)
    box.run("systemctl", "enable", "--now", "sealift@fraud.service")  # the socket comes along
    assert ask(box, 8000)[0] == 200


def test_connections_wait_at_the_socket_while_a_killed_supervisor_comes_back(box: Machine) -> None:
    host(box, "apply('fraud', '127.0.0.1', 8000)")
    before = ask(box, 8000)[1]
    box.run("systemctl", "kill", "--kill-who=main", "--signal=KILL", "sealift@fraud.service")
    until(lambda: of(box, "sealift@fraud.service", "ActiveState") != "active", 10, "systemd noticed")
    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(lambda _: ask(box, 8000), range(16)))
    assert {status for status, _ in answers} == {200}
    assert before["supervisor"] not in {answer["supervisor"] for _, answer in answers}


def test_a_hung_supervisor_is_replaced_without_a_failed_request(box: Machine) -> None:
    host(box, "apply('fraud', '127.0.0.1', 8000)")
    hung = ask(box, 8000)[1]["supervisor"]
    box.run("systemctl", "kill", "--kill-who=main", "--signal=STOP", "sealift@fraud.service")

    def answered_by_another() -> bool:
        """Half a second in the worker each time: one is in flight whenever the watchdog strikes."""
        status, answer = ask(box, 8000, "/slow")
        assert status == 200
        return bool(answer["supervisor"] not in (hung, 1))  # 1: its worker, orphaned, ends what it has

    until(answered_by_another, 30, "the watchdog struck")
    assert of(box, "sealift@fraud.service", "NRestarts") == "1"


def test_a_service_that_cannot_start_is_tried_for_ever_and_keeps_its_address(box: Machine) -> None:
    box.run("mv", "/opt/sealift/bin/sealift", "/opt/sealift/bin/away")
    refused = host(box, "apply('fraud', '127.0.0.1', 8000)", ok=False)
    assert "HostError: sealift@fraud.service did not start" in refused.err
    with ThreadPoolExecutor(1) as clients:
        waiting = clients.submit(ask, box, 8000)
        until(lambda: int(of(box, "sealift@fraud.service", "NRestarts")) >= 2, 30, "it was tried again")
        assert of(box, "sealift@fraud.socket", "ActiveState") == "active"
        box.run("mv", "/opt/sealift/bin/away", "/opt/sealift/bin/sealift")
        assert waiting.result(30)[0] == 200
    journal = box.run("journalctl", "--unit=sealift@fraud.service", "--output=short-unix", "--no-pager").out
    starts = [float(line.split()[0]) for line in journal.splitlines() if ": Starting " in line]
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    assert min(gaps) > 2.5, "a waiting connection must not make systemd spin"


def test_two_services_share_the_run_folder_and_nothing_else(box: Machine) -> None:
    host(box, "apply('fraud', '127.0.0.1', 8000)")
    host(box, "apply('cats', '::1', 8001)")
    taken = host(box, "apply('dogs', '127.0.0.1', 8000)", ok=False)
    assert "sealift@dogs.socket did not start" in taken.err
    box.run("touch", "/run/sealift/fraud.sock")
    box.run("systemctl", "stop", "sealift@cats.socket", "sealift@cats.service")
    assert box.run("ls", "/run/sealift").out == "fraud.sock\n"
    assert ask(box, 8000)[0] == 200


def test_restarting_the_socket_moves_a_running_service_to_its_new_address(box: Machine) -> None:
    host(box, "apply('fraud', '127.0.0.1', 8000)")
    moved = host(box, "apply('fraud', '0.0.0.0', 9000)").out
    assert "advice='systemctl restart sealift@fraud.socket'" in moved
    assert ask(box, 8000)[0] == 200
    box.run("systemctl", "restart", "sealift@fraud.socket")
    assert ask(box, 9000)[0] == 200
    with pytest.raises(ConnectionRefusedError):
        box.connect(8000)


def test_forgetting_ends_the_service_and_leaves_no_file(box: Machine) -> None:
    host(box, "apply('fraud', '127.0.0.1', 8000)")
    host(box, "forget('fraud')")
    with pytest.raises(ConnectionRefusedError):
        box.connect(8000)
    assert box.run("find", "/etc/systemd", "/etc/sysusers.d", "-name", "*sealift*").out == ""
    assert of(box, "sealift@fraud.service", "LoadState") == "not-found"
    assert host(box, "forget('fraud')").out == "()\n"
