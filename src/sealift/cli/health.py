"""`sealift _health`: asks the service beside it, for a container's health check; an image has no curl."""

from __future__ import annotations

import argparse
import os
import ssl
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final

from sealift.errors import NotServing

TIMEOUT_S: Final = 4.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `_health`."""
    parser.add_argument("--port", type=int, default=int(os.environ.get("SEALIFT_PORT") or 8000))
    parser.add_argument("--https", action="store_true", help="the service speaks HTTPS")


def run(args: argparse.Namespace) -> int:
    """0 when it is ready. Raises: NotServing: it is not, or nobody answers."""
    where = f"127.0.0.1:{args.port}"
    connection = _connection(args)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        raise NotServing(f"nobody answers on {where}: {error}") from error
    finally:
        connection.close()
    if status != 200:
        raise NotServing(f"{where} answers {status}: not ready")
    return 0


def _connection(args: argparse.Namespace) -> HTTPConnection:
    if not args.https:
        return HTTPConnection("127.0.0.1", args.port, timeout=TIMEOUT_S)
    # Whether it is alive, not who it is: nothing leaves this machine.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return HTTPSConnection("127.0.0.1", args.port, timeout=TIMEOUT_S, context=context)
