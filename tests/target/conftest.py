"""Interpreters that say what a test wants."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def fake_python(tmp_path: Path) -> Callable[..., Path]:
    """Write an executable that answers the probe with the given facts."""

    def write(name: str = "python3.12", **facts: object) -> Path:
        path = tmp_path / name
        answer = {
            "path": str(path),
            "version": "3.12.4",
            "implementation": "cpython",
            "machine": "x86_64",
            "bits": 64,
            "glibc": "2.31",
            "base_prefix": "/opt/python",
            "missing": [],
        }
        path.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(answer | facts)}\nEND\n")
        path.chmod(0o755)
        return path

    return write
