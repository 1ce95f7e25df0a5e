"""The examples' own modules: scripts beside each other, imported as they import each other."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

Load = Callable[[str], ModuleType]


@pytest.fixture
def inspection(monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """A module of examples/inspection by its name."""
    yield from _loader("inspection", monkeypatch)


@pytest.fixture
def credit_risk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """A module of examples/credit-risk by its name."""
    yield from _loader("credit-risk", monkeypatch)


def _loader(example: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Both examples have a `main`: what was imported is forgotten afterwards."""
    folder = EXAMPLES / example
    monkeypatch.syspath_prepend(folder)
    yield importlib.import_module
    for path in folder.glob("*.py"):
        sys.modules.pop(path.stem, None)
