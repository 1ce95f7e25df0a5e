"""A service under systemd: its messages arrive as datagrams, its listener as descriptor 3."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealift.errors import NotServing
from sealift.serve.notify import inherited_listeners, notify, watchdog_s

ME = str(os.getpid())


def receiver(address: str) -> socket.socket:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.settimeout(5)
    manager.bind(address)
    return manager


def test_a_state_reaches_the_manager_at_a_path(tmp_path: Path) -> None:
    with receiver(str(tmp_path / "notify")) as manager:
        notify("READY=1\nSTATUS=fraud 1.0 serves", {"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert manager.recv(4096) == b"READY=1\nSTATUS=fraud 1.0 serves"


def test_a_state_reaches_the_manager_at_an_abstract_address() -> None:
    with receiver(f"\0sealift-test-{ME}") as manager:
        notify("WATCHDOG=1", {"NOTIFY_SOCKET": f"@sealift-test-{ME}"})
        assert manager.recv(4096) == b"WATCHDOG=1"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_without_a_manager_nothing_is_said(environ: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    notify("READY=1", environ)
    assert caplog.messages == []


def test_a_manager_that_is_gone_is_logged_and_does_not_end_the_service(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notify("WATCHDOG=1", {"NOTIFY_SOCKET": str(tmp_path / "gone")})
    assert caplog.messages == ["systemd was not told WATCHDOG=1: No such file or directory"]


def test_the_watchdog_period_is_in_seconds() -> None:
    assert watchdog_s({"WATCHDOG_USEC": "30000000"}) == 30.0
    assert watchdog_s({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": ME}) == 0.5


@pytest.mark.parametrize(
    "environ",
    [{}, {"WATCHDOG_USEC": ""}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}],
)
def test_nobody_watches_without_a_period_or_when_another_process_is_meant(environ: dict[str, str]) -> None:
    assert watchdog_s(environ) is None


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_FDS": "1", "LISTEN_PID": "1"},
        {"LISTEN_FDS": "0", "LISTEN_PID": ME},
        {"LISTEN_FDS": "one", "LISTEN_PID": ME},
    ],
)
def test_descriptors_that_are_not_for_this_process_are_left_alone(environ: dict[str, str]) -> None:
    assert inherited_listeners(environ) == ()


def test_several_sockets_are_refused() -> None:
    with pytest.raises(NotServing, match="handed over 3 sockets, expected one, or two") as refused:
        inherited_listeners({"LISTEN_FDS": "3", "LISTEN_PID": ME})
    assert refused.value.next_step is not None


CHILD = """
import json, os, socket, sys
from sealift.errors import NotServing
from sealift.serve.notify import inherited_listeners
os.environ["LISTEN_PID"] = str(os.getpid())
try:
    (listener,) = inherited_listeners()
except NotServing as error:
    print(json.dumps(error.message))
else:
    print(json.dumps([listener.getsockname()[1], listener.getblocking(), listener.get_inheritable()]))
"""


def as_descriptor_3(given: int) -> object:
    """What a process answers that systemd starts with `given` as its descriptor 3."""
    kept = os.dup(3) if _is_open(3) else None
    os.dup2(given, 3)
    try:
        done = subprocess.run(
            [sys.executable, "-c", CHILD],
            env={**os.environ, "LISTEN_FDS": "1"},
            pass_fds=(3,),
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        if kept is None:
            os.close(3)
        else:
            os.dup2(kept, 3)
            os.close(kept)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _is_open(fd: int) -> bool:
    return Path(f"/proc/self/fd/{fd}").exists()


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_the_listener_comes_ready_for_the_event_loop_and_is_not_leaked_to_children(
    listening: socket.socket,
) -> None:
    assert as_descriptor_3(listening.fileno()) == [listening.getsockname()[1], False, False]


def test_a_socket_that_does_not_listen_is_refused() -> None:
    with socket.socket() as idle:
        assert as_descriptor_3(idle.fileno()) == "descriptor 3 from systemd does not listen for streams"


def test_a_file_in_place_of_the_socket_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        answer = as_descriptor_3(file.fileno())
    assert answer == "descriptor 3 from systemd is no socket: Socket operation on non-socket"
