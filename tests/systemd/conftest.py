"""Machines for the tests of this folder; without root or the packages they are skipped with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.systemd.machine import Machine, machine, missing_parts

REPOSITORY = Path(__file__).parents[2]
CODE = {"/tool/src": REPOSITORY / "src", "/tool/tests": REPOSITORY / "tests"}

NewMachine = Callable[..., Machine]


@pytest.fixture
def new_machine(tmp_path: Path) -> Iterator[Callable[[], Machine]]:
    """Boots a fresh machine that sees this repository under /tool; ended with the test."""
    if reason := missing_parts():
        pytest.skip(reason)
    with ExitStack() as running:

        def boot() -> Machine:
            folder = tmp_path / f"machine-{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            return running.enter_context(machine(folder, CODE))

        yield boot
