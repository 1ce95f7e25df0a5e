"""The control socket: one JSON line asks, one JSON line answers (protocol 2; standard library only).

The same lines go between a supervisor and its workers.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from sealift.errors import NotServing

PROTOCOL: Final = 2
MAX_LINE: Final = 1 << 16


def ask(path: Path, request: str | Mapping[str, Any], timeout_s: float = 5.0) -> dict[str, Any]:
    """Ask the supervisor behind `path`.

    Args:
        request: `do` is `status`, `reload`, or `switch` with `to` (a tree's name) and `back`; a bare word is
            its `do`.
    Returns: `ok`, what `Supervisor.status` says; if not ok also `error`, `problems`, `next_step`, `exit_code`.
    Raises: NotServing: nobody listens there, or it does not answer in `timeout_s` seconds.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        try:
            with _short(path) as address:
                connection.connect(address)
            connection.sendall(encode({"do": request} if isinstance(request, str) else dict(request)))
            with connection.makefile("rb") as stream:
                line = stream.readline(MAX_LINE)
        except OSError as error:
            raise NotServing(
                f"{path.stem} is not served ({path}: {error.strerror or 'no answer'})"
            ) from error
    answer = decode(line)
    if answer is None:
        raise NotServing(f"{path}: the supervisor answered something else than protocol {PROTOCOL}")
    return answer


def encode(value: dict[str, Any]) -> bytes:
    """One line."""
    return json.dumps({"protocol": PROTOCOL, **value}).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any] | None:
    """The message, or None when it is not one of this protocol."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and value.get("protocol") == PROTOCOL else None


def bind_control(path: Path) -> socket.socket:
    """Listen at `path`; a socket file that nobody answers on is a crashed supervisor's and is replaced.

    Raises: NotServing: a living supervisor already serves that name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        try:
            holder = ask(path, "status", 2.0)
        except NotServing:
            path.unlink(missing_ok=True)
        else:
            raise NotServing(
                f"{path.stem} is already served by process {holder.get('supervisor')}",
                next_step="sealift status, or stop that process first",
            )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _short(path) as address:
        listener.bind(address)
    path.chmod(0o666)  # the desk asks the kernel who knocks
    listener.listen(16)
    listener.setblocking(False)
    return listener


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """A Unix address holds 107 bytes; a longer path is reached through its folder's descriptor."""
    if len(os.fsencode(path)) < 108:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
