"""What a service and systemd say to each other: sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3).

Standard library only; outside of systemd every call here is a no-op that answers None.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from typing import Final

from sealift.errors import NotServing

log = logging.getLogger("sealift.supervisor")

_FIRST_FD: Final = 3  # SD_LISTEN_FDS_START
_MOST_FDS: Final = 2
_LONGEST_WAIT_S: Final = 1.0


def notify(state: str, environ: Mapping[str, str] = os.environ) -> None:
    """Tell the service manager `state`: `READY=1`, `WATCHDOG=1`, `STATUS=...`; several go on lines of their own.

    Waits at most a second; a manager that does not listen is logged, it never ends the service.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):  # an abstract address begins with a zero byte
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(_LONGEST_WAIT_S)
            sender.connect(address)
            sender.sendall(state.encode())
    except OSError as error:
        log.warning("systemd was not told %s: %s", state.splitlines()[0], error.strerror or "no answer")


def watchdog_s(environ: Mapping[str, str] = os.environ) -> float | None:
    """Seconds within which systemd wants to hear `WATCHDOG=1`; None when it watches nobody, or another process."""
    period = environ.get("WATCHDOG_USEC", "")
    if not _is_count(period) or environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(period) / 1e6


def inherited_listeners(environ: Mapping[str, str] = os.environ) -> tuple[socket.socket, ...]:
    """The listening stream sockets that systemd holds for this process, non-blocking: HTTP's, then gRPC's if any.

    They stay open in systemd when this process ends: connections queue there until the next one accepts.

    Raises: NotServing: more sockets, or one that does not listen for streams, were handed over.
    """
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(os.getpid()) or not _is_count(count):
        return ()
    if int(count) > _MOST_FDS:
        raise NotServing(
            f"systemd handed over {count} sockets, expected one, or two with a gRPC port",
            next_step="leave one ListenStream= for each port in the socket unit",
        )
    return tuple(_listener(_FIRST_FD + number) for number in range(int(count)))


def _listener(fd: int) -> socket.socket:
    advice = "the socket unit needs ListenStream=ADDRESS:PORT and Accept=no"
    try:
        os.set_inheritable(fd, False)
        listener = socket.socket(fileno=fd)
    except OSError as error:
        raise NotServing(
            f"descriptor {fd} from systemd is no socket: {error.strerror}", next_step=advice
        ) from error
    listens = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if listener.type != socket.SOCK_STREAM or not listens:
        listener.detach()
        raise NotServing(f"descriptor {fd} from systemd does not listen for streams", next_step=advice)
    listener.setblocking(False)
    return listener


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) > 0
