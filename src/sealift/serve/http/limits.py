"""What one connection may ask for, and for how long. Sizes in bytes, times in seconds."""

from __future__ import annotations

import resource
from dataclasses import dataclass, replace
from typing import Final

_SPARE_FILES: Final = 1536
"""Descriptors that stay free: for files, and for clients that the kernel hands over in one go."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of the front.

    `head_bytes` and `headers` bound request line and header fields; `body_bytes` one body as sent and also
    after decompression; `total_body_bytes` all bodies in memory at once, over all connections.
    `idle_s` is how long a silent connection is kept, `head_s` and `body_s` how long a request may take to
    arrive, `write_s` how long a client may leave its answer unread, `linger_s` how long bytes are still
    taken (and thrown away) after a refusal, so that the client gets to read it. `handshakes` bounds the TLS
    handshakes under way, `handshake_s` each of them.
    """

    head_bytes: int = 32 * 1024
    headers: int = 100
    body_bytes: int = 64 * 1024 * 1024
    total_body_bytes: int = 512 * 1024 * 1024
    connections: int = 16_384
    idle_s: float = 75.0
    head_s: float = 10.0
    body_s: float = 60.0
    write_s: float = 60.0
    linger_s: float = 2.0
    handshakes: int = 256
    handshake_s: float = 10.0


def within_descriptors(limits: HttpLimits) -> HttpLimits:
    """Raise this process' soft limit of open files to the hard one; no more connections than it leaves room for.

    A front that runs out of descriptors drops clients unheard; one that knows its bound answers 503.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return limits
    room = max(hard - _SPARE_FILES, hard // 2)
    return replace(limits, connections=min(limits.connections, room))
