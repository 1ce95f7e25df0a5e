"""A payload on disk -> what pre-processing gets: `.json` files are parsed, everything else is a raw body."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from sealift.errors import UsageError


def read_payload(path: Path) -> Any:
    """The value that pre-processing gets: bytes, or the JSON value.

    Raises: UsageError: unreadable, or not JSON although it is called so.
    """
    try:
        data = path.read_bytes()
        return msgspec.json.decode(data) if path.suffix == ".json" else data
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise UsageError(f"{path}: not JSON: {error}") from error
