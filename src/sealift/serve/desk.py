"""The control socket's counter: takes requests for a supervisor, gives answers. Standard library only."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from pathlib import Path
from typing import Any, Final, Protocol

from sealift.errors import SealiftError, UsageError
from sealift.serve import control

log = logging.getLogger("sealift.supervisor")

_ASK_S: Final = 10.0
_LEAVE_S: Final = 2.0
_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid: unix(7), SO_PEERCRED
_FOREIGN: Final = (Exception,)
"""A bug in one request is that request's answer; it does not end the service."""


class Desked(Protocol):
    """Who stands behind the desk."""

    def status(self) -> dict[str, Any]:
        """What goes with every answer."""
        ...

    async def switch(self, tree: str, *, back: bool) -> None:
        """Raises: SealiftError: refused, or not activated."""
        ...

    async def reload(self) -> None:
        """Raises: NotActivated."""
        ...


class Desk:
    """Answers at `path`: everybody may ask for the status, changes are root's and the own user's."""

    def __init__(self, path: Path, behind: Desked) -> None:
        self._path = path
        self._behind = behind
        self._server: asyncio.AbstractServer | None = None
        self._visitors: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Raises: NotServing: another supervisor has the name."""
        listener = control.bind_control(self._path)
        self._server = await asyncio.start_unix_server(self._visit, sock=listener, limit=control.MAX_LINE)

    async def close(self) -> None:
        """Take no more requests; those that have been decided are still answered."""
        if self._server is None:
            return
        self._server.close()
        self._path.unlink(missing_ok=True)
        if self._visitors:
            await asyncio.wait(self._visitors, timeout=_LEAVE_S)

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._visitors.add(task)
            task.add_done_callback(self._visitors.discard)
        with contextlib.suppress(OSError, ValueError):  # it went away, did not speak up, or sent no line
            request = control.decode(await asyncio.wait_for(reader.readline(), _ASK_S)) or {}
            answer = await self._answer(request, _peer(writer.get_extra_info("socket")))
            writer.write(control.encode({**self._behind.status(), **answer}))
            await writer.drain()
        writer.close()

    async def _answer(self, request: dict[str, Any], user: int) -> dict[str, Any]:
        try:
            await self._decide(request, user)
        except SealiftError as error:
            return {
                "error": error.message,
                "exit_code": error.exit_code,
                "next_step": error.next_step,
                "ok": False,
                "problems": error.problems,
            }
        except _FOREIGN as error:
            log.critical("request %r: a bug: %r", request.get("do"), error, exc_info=error)
            return {"error": f"a bug: {error!r}", "exit_code": 1, "next_step": None, "ok": False}
        return {"ok": True}

    async def _decide(self, request: dict[str, Any], user: int) -> None:
        wanted = request.get("do")
        if wanted == "status":
            return
        if user not in (0, os.geteuid()):
            raise UsageError(
                f"{wanted}: only root or the user that serves may ask for it", next_step="use sudo"
            )
        if wanted == "reload":
            await self._behind.reload()
        elif wanted == "switch" and isinstance(tree := request.get("to"), str):
            await self._behind.switch(tree, back=request.get("back") is True)
        else:
            raise UsageError(f"unknown request {wanted!r}")


def _peer(connection: socket.socket) -> int:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(credentials)[1])
