"""The documents, for every test of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.docs.pages import ROOT, Page, all_pages


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def pages() -> list[Page]:
    """Every page that a reader may open."""
    return all_pages()
