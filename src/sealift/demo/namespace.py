"""A network namespace with nothing in it but loopback: the demo's air gap.

A holder process enters a fresh namespace, brings `lo` up, proves that nothing else is there, and keeps
it open; every command of the box's side is started through `join`, which enters the holder's namespace
and then becomes the command. Python 3.11 has no `os.unshare`, hence libc by ctypes. Sources: unshare(2),
setns(2), user_namespaces(7), netdevice(7).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from sealift.errors import HostError

_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
_PR_SET_PDEATHSIG: Final = 1
_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 0x1
OUTSIDE_ADDRESS: Final = ("192.0.2.1", 443)
"""An address of the documentation range (RFC 5737): nobody's."""


@dataclass(frozen=True, slots=True)
class OfflineState:
    """`entered` is True only after the proof. `reason` says how it was entered, or why it was refused."""

    entered: bool
    reason: str


def enter_offline() -> OfflineState:
    """Move this process into a network namespace of its own, loopback up; there is no way back.

    With CAP_SYS_ADMIN a network namespace is enough; anyone else gets a user namespace with it, in which
    their own ids stay what they are. Call it while the process has one thread.
    """
    uid, gid = os.geteuid(), os.getegid()
    try:
        how = _unshare(uid, gid)
        _raise_loopback()
        prove_offline()
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "?")
        return OfflineState(False, f"{error.strerror or error} ({name})")
    except HostError as error:
        return OfflineState(False, error.message)
    return OfflineState(True, how)


def prove_offline() -> None:
    """Check that loopback is the only interface and that an outside address is unreachable.

    It sends nothing where it fails: the connection is tried only once `lo` is known to be alone.

    Raises: HostError: this process can still see a network.
    """
    interfaces = sorted(name for _, name in socket.if_nameindex())
    if interfaces != ["lo"]:
        raise HostError(f"the network is still there: {', '.join(interfaces)}")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        code = probe.connect_ex(OUTSIDE_ADDRESS)
    if code != errno.ENETUNREACH:
        raise HostError(f"connecting to {OUTSIDE_ADDRESS[0]} gave {errno.errorcode.get(code, code)}")


class AirGap:
    """A held namespace, or a plain pass-through where the machine allows none.

    A context manager; leaving it ends the holder, and the namespace goes with its last process.
    """

    def __init__(self) -> None:
        self.state = OfflineState(False, "not opened")
        self._holder: subprocess.Popen[str] | None = None

    def __enter__(self) -> AirGap:
        self._holder = subprocess.Popen(
            [*_THIS_MODULE, "hold"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=module_environment(),
            start_new_session=True,
        )
        assert self._holder.stdout is not None  # noqa: S101 - PIPE was asked for
        line = self._holder.stdout.readline()
        try:
            self.state = OfflineState(**json.loads(line))
        except (ValueError, TypeError):
            self.state = OfflineState(False, "the process that should hold the namespace ended at once")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._holder is not None:
            self._holder.communicate()  # the end of its input is the holder's sign to leave
            self._holder = None

    def wrap(self, argv: Sequence[str]) -> list[str]:
        """The command that runs `argv` inside; it dies with the process that starts it."""
        pid = str(self._holder.pid) if self._holder is not None and self.state.entered else "-"
        return [*_THIS_MODULE, "join", pid, *argv]


def module_environment() -> dict[str, str]:
    """The environment in which another folder's `python -m sealift` finds this very package."""
    environment = dict(os.environ)
    paths = environment.get("PYTHONPATH", "").split(os.pathsep)
    absolute = [str(Path(path).absolute()) for path in paths if path]
    if absolute:
        environment["PYTHONPATH"] = os.pathsep.join(absolute)
    return environment


def main(arguments: Sequence[str]) -> int:
    """`hold`: enter, report one JSON line, stay until the input ends. `join PID|- ARGV`: become ARGV."""
    if list(arguments) == ["hold"]:
        state = enter_offline()
        sys.stdout.write(json.dumps(asdict(state)) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
        return 0
    _, pid, *argv = arguments
    if pid != "-":
        _join(int(pid))
    _check(_LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0))
    os.execvp(argv[0], argv)  # noqa: S606 - the demo's own command line, no shell


def _unshare(uid: int, gid: int) -> str:
    try:
        _check(_LIBC.unshare(_CLONE_NEWNET))
    except PermissionError:
        _check(_LIBC.unshare(_CLONE_NEWUSER | _CLONE_NEWNET))
    else:
        return "network namespace"
    # user_namespaces(7): without privilege setgroups must be given up before a gid can be mapped.
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    return "user and network namespace"


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        _, flags = struct.unpack("16sh14x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))


def _join(pid: int) -> None:
    """Enter the holder's namespaces, the user namespace first: it gives the right to enter the other."""
    root = Path(f"/proc/{pid}/ns")
    for kind, flag in (("user", _CLONE_NEWUSER), ("net", _CLONE_NEWNET)):
        if (root / kind).stat().st_ino == Path(f"/proc/self/ns/{kind}").stat().st_ino:
            continue
        with (root / kind).open("rb") as namespace:
            _check(_LIBC.setns(namespace.fileno(), flag))


def _check(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_THIS_MODULE: Final = (sys.executable, "-m", "sealift.demo.namespace")

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
