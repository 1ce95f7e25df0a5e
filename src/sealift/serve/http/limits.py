"""What one connection may ask for, and for how long. Sizes in bytes, times in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of the front.

    `head_bytes` and `headers` bound request line and header fields; `body_bytes` one body as sent and also
    after decompression; `total_body_bytes` all bodies in memory at once, over all connections.
    `idle_s` is how long a silent connection is kept, `head_s` and `body_s` how long a request may take to
    arrive, `write_s` how long a client may leave its answer unread, `linger_s` how long bytes are still
    taken (and thrown away) after a refusal, so that the client gets to read it.
    """

    head_bytes: int = 32 * 1024
    headers: int = 100
    body_bytes: int = 64 * 1024 * 1024
    total_body_bytes: int = 512 * 1024 * 1024
    connections: int = 4096
    idle_s: float = 75.0
    head_s: float = 10.0
    body_s: float = 60.0
    write_s: float = 60.0
    linger_s: float = 2.0
