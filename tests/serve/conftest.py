"""Servers that every test of this room may ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.serve.running import Front

from sealift.serve.http.limits import HttpLimits

SMALL = HttpLimits(head_bytes=2048, headers=20, body_bytes=1000, total_body_bytes=2500, connections=50)


@pytest.fixture
def front() -> Iterator[Front]:
    """The HTTP front over the echo application, with small limits."""
    front = Front(SMALL)
    yield front
    front.close()
    assert front.thread.reported == []
