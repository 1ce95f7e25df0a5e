"""The socket that a service listens on, over all of its workers. Standard library only."""

from __future__ import annotations

import socket
from typing import Final

from sealift.errors import NotServing

GRPC_FD: Final = "SEALIFT_GRPC_FD"
"""The variable that names a worker's second descriptor: a release older than this face ignores it and still starts."""


def bind(host: str, port: int, flag: str = "--port") -> socket.socket:
    """Bind and listen once; every worker inherits this descriptor (never SO_REUSEPORT, DESIGN 3).

    Args:
        flag: what chooses another port, for the advice.
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
            f"{host}:{port}: {error.strerror}", next_step=f"choose another with {flag}, or stop who holds it"
        ) from error
    listener.setblocking(False)
    return listener
