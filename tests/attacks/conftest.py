"""The box that every attack is tried on."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.attacks.forge import old_release
from tests.attacks.scene import Scene, copy_box, make_box


@pytest.fixture(scope="session")
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A box that trusts ROOT and runs release 5.0, sequence 5, floor 3: none of a new release's own files."""
    return make_box(tmp_path_factory.mktemp("box"), old_release())


@pytest.fixture
def scene(tmp_path: Path, box: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(tmp_path, copy_box(box, tmp_path), monkeypatch)
