"""The socket that a service listens on, over all of its workers. Standard library only."""

from __future__ import annotations

import socket

from sealift.errors import NotServing


def bind(host: str, port: int) -> socket.socket:
    """Bind and listen once; every worker inherits this descriptor (never SO_REUSEPORT, DESIGN 3).

    Raises: NotServing: the address is taken or not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise NotServing(
            f"{host}:{port}: {error.strerror}", next_step="choose another with --port, or stop who holds it"
        ) from error
    listener.setblocking(False)
    return listener
