"""The demo's air gap is real: proved from inside, and told plainly where it cannot be had."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealift.demo import namespace as subject
from sealift.demo.namespace import AirGap, OfflineState, module_environment, prove_offline
from sealift.errors import HostError

SHOW = (
    "import os, socket; from sealift.demo.namespace import prove_offline; prove_offline();"
    "print(os.geteuid(), [name for _, name in socket.if_nameindex()]);"
    "s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname()); print('loopback')"
)


def run_inside(gap: AirGap, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        gap.wrap(argv), env=module_environment(), capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture
def gap() -> Iterator[AirGap]:
    with AirGap() as gap:
        if not gap.state.entered:
            pytest.skip(f"no network namespace here: {gap.state.reason}")
        yield gap


def test_inside_there_is_loopback_and_nothing_else(gap: AirGap) -> None:
    """Includes the proof itself: an outside address is unreachable (ENETUNREACH)."""
    done = run_inside(gap, sys.executable, "-c", SHOW)
    assert (done.stdout, done.stderr) == (f"{os.geteuid()} ['lo']\nloopback\n", "")


def test_two_commands_inside_meet_and_this_process_stays_outside(gap: AirGap) -> None:
    listen = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True);"
        "s.accept()[0].sendall(b'met')"
    )
    server = subprocess.Popen(
        gap.wrap([sys.executable, "-c", listen]), env=module_environment(), stdout=subprocess.PIPE, text=True
    )
    with server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        with socket.socket() as outside:
            assert outside.connect_ex(("127.0.0.1", port)) != 0
        connect = f"import socket; print(socket.create_connection(('127.0.0.1', {port})).recv(9))"
        assert run_inside(gap, sys.executable, "-c", connect).stdout == "b'met'\n"


def test_a_command_inside_keeps_its_exit_code_and_its_files_owner(gap: AirGap, tmp_path: Path) -> None:
    assert run_inside(gap, "sh", "-c", f"touch {tmp_path}/made; exit 7").returncode == 7
    assert (tmp_path / "made").stat().st_uid == os.geteuid()


def test_the_namespace_ends_with_its_holder() -> None:
    with AirGap() as gap:
        holder = gap._holder
        assert holder is not None
        assert holder.poll() is None
    assert holder.returncode == 0


@pytest.fixture
def public_source() -> Iterator[Path]:
    """A copy of what the module imports where every user may read it; a checkout may lie in a private folder."""
    package = Path(subject.__file__).parents[1]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        for name in ("__init__.py", "errors.py", "demo/__init__.py", "demo/namespace.py"):
            target = Path(folder, "sealift", name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(package / name, target)
        yield Path(folder)


def as_nobody(*argv: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(path)} if path else {}
    return subprocess.run(
        argv, user=65534, group=65534, extra_groups=[], cwd="/", env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def interpreter_of_everybody() -> str:
    """A Python >= 3.11 that an ordinary user may start; root's own may lie in root's home."""
    for python in (sys.executable, "/usr/bin/python3"):
        with contextlib.suppress(OSError):
            if as_nobody(python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))").returncode == 0:
                return python
    pytest.skip("no Python >= 3.11 that an ordinary user may start")


def test_an_unprivileged_user_gets_one_too(public_source: Path) -> None:
    """As another user than root, through a user namespace in which that user stays who it is."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else; an ordinary user runs the other tests that way")
    script = (
        "import os; from sealift.demo.namespace import enter_offline; state = enter_offline();"
        "print(state.reason if state.entered else 'refused: ' + state.reason, os.geteuid())"
    )
    done = as_nobody(interpreter_of_everybody(), "-B", "-c", script, path=public_source)
    if done.stdout.startswith("refused"):
        pytest.skip(f"user namespaces are not allowed here: {done.stdout.strip()}")
    assert (done.stdout, done.stderr) == ("user and network namespace 65534\n", "")


def test_outside_the_proof_fails_without_sending_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "lo"), (2, "eth0")])
    monkeypatch.setattr(socket, "socket", lambda *_: pytest.fail("it opened a socket"))
    with pytest.raises(HostError, match="still there: eth0, lo"):
        prove_offline()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError(1, "Operation not permitted"), "Operation not permitted (EPERM)"),
        (OSError(22, "Invalid argument"), "Invalid argument (EINVAL)"),
        (OSError(28, "No space left on device"), "No space left on device (ENOSPC)"),
        (OSError(38, "Function not implemented"), "Function not implemented (ENOSYS)"),
    ],
)
def test_a_refusal_carries_its_reason(error: OSError, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(result: int) -> None:
        raise error

    monkeypatch.setattr(subject, "_check", refuse)
    monkeypatch.setattr(subject, "_LIBC", _NoLibc())
    assert subject.enter_offline() == OfflineState(False, reason)


class _NoLibc:
    def unshare(self, flags: int) -> int:
        return -1


def test_where_it_is_refused_commands_run_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "_THIS_MODULE", (sys.executable, "-c", "pass"))
    with AirGap() as gap:
        monkeypatch.undo()
        assert not gap.state.entered
        assert "ended at once" in gap.state.reason
        assert run_inside(gap, "echo", "outside").stdout == "outside\n"


def test_a_relative_pythonpath_holds_in_another_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "src")
    assert module_environment()["PYTHONPATH"] == str(Path("src").absolute())
    monkeypatch.delenv("PYTHONPATH")
    assert "PYTHONPATH" not in module_environment()


def test_a_wrapped_command_dies_with_the_process_that_started_it() -> None:
    """Even when that one is killed and can clean up nothing: no server is left on a stranger's machine."""
    program = (
        "import signal, subprocess; from sealift.demo.namespace import AirGap\n"
        "with AirGap() as gap:\n"
        "    subprocess.Popen(gap.wrap(['sh', '-c', 'echo $$; exec sleep 600']))\n"
        "    signal.pause()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], env=module_environment(), stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        command = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    try:
        assert select.select([command], [], [], 10)[0]
    finally:
        os.close(command)
