"""Changes of a seed that get past the first check: JSON stays canonical, a header keeps its checksum."""

from __future__ import annotations

import json
import random
from typing import Any

from sealift import canonical

ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2**33, 2**53 - 1, "", "x", ".", "..", "a/b", "A", "\u00e9", "e\u0301", "NUL", "0" * 64,
    "f" * 64, "ed25519", "raw", "zstd", "zstd-prefix", [], {}, [""], {"": 0}, [[]], "sealift-root/1", "*",
    "2026-11-22T17:00:00Z",
]  # fmt: skip


def mutated(seed: bytes, draw: random.Random) -> bytes:
    """One to four changes of one seed."""
    for _ in range(draw.randint(1, 4)):
        seed = draw.choice(WAYS)(seed, draw)
    return seed


def flip(data: bytes, draw: random.Random) -> bytes:
    if not data:
        return b"{}"
    at = draw.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]


def splice(data: bytes, draw: random.Random) -> bytes:
    """A stretch is cut out, doubled, or put elsewhere."""
    one, two, three = sorted(draw.randint(0, len(data)) for _ in range(3))
    return draw.choice(
        [
            data[:one] + data[two:],
            data[:two] + data[one:],
            data[:one] + data[two:three] + data[one:two] + data[three:],
        ]
    )


def bend(data: bytes, draw: random.Random) -> bytes:
    """One value, key or item of a JSON document is changed; the document stays canonical."""
    try:
        document = json.loads(data)
        if not isinstance(document, dict | list):
            return flip(data, draw)
        _bend(document, draw)
        return canonical.encode(document)
    except (ValueError, RecursionError):
        return flip(data, draw)


def _bend(value: Any, draw: random.Random) -> None:
    items = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    below = [(key, item) for key, item in items if isinstance(item, dict | list) and item]
    if below and draw.random() < 0.8:
        _bend(draw.choice(below)[1], draw)
    elif items:
        key, item = draw.choice(items)
        other = draw.choice(items)[1]
        new = draw.choice([*ODD, other, item, _nearby(item, draw), _nearby(item, draw), _nearby(item, draw)])
        if isinstance(value, dict) and draw.random() < 0.4:
            del value[key]
            value[draw.choice([_nearby(key, draw), *(odd for odd in ODD if isinstance(odd, str))])] = item
        else:
            value[key] = new


def _nearby(value: Any, draw: random.Random) -> Any:
    """A value much like this one."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int):
        return value + draw.choice([-1, 1, 2**32, -value])
    if isinstance(value, str):
        at = draw.randint(0, len(value))
        return draw.choice(
            [
                value[:at] + draw.choice("a0Z./\\:\u00df\u0301 ~+=") + value[at + draw.randint(0, 1) :],
                value[:at],
                value * 2,
            ]
        )
    if isinstance(value, list):
        return draw.choice([value * 2, value[::-1], value[1:]])
    return dict(list(value.items())[1:]) if isinstance(value, dict) else 0


def patch(data: bytes, draw: random.Random) -> bytes:
    """A field of a tar header is overwritten, its checksum made right."""
    blocks = [at for at in range(0, max(len(data) - 511, 0), 512) if data[at + 257 : at + 262] == b"ustar"]
    if not blocks:
        return flip(data, draw)
    at = draw.choice(blocks)
    block = bytearray(data[at : at + 512])
    field, size = draw.choice(
        [(0, 100), (100, 8), (108, 8), (124, 12), (136, 12), (156, 1), (157, 100), (263, 2), (345, 20)]
    )
    new = draw.choice(
        [
            bytes(size),
            b"0" * size,
            draw.randbytes(size),
            b"7" * (size - 1) + b"\0",
            bytes(block[field : field + size])[::-1],
        ]
    )
    block[field : field + size] = new
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return data[:at] + bytes(block) + data[at + 512 :]


WAYS = (flip, splice, bend, bend, bend, patch)
