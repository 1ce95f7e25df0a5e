"""The how-to pages are typed, command by command, on boxes as they describe them, and print what the pages say."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.docs.pages import page
from tests.docs.running import require_as_printed
from tests.docs.scenes import SCENES, make_shelf

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundles, packed once."""
    return make_shelf(tmp_path_factory.mktemp("shelf"))


@pytest.mark.parametrize("name", SCENES)
def test_the_page_works_as_it_is_printed(name: str, shelf: Path, tmp_path: Path) -> None:
    scene = SCENES[name]
    if scene.wrap and subprocess.run([*scene.wrap, "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root (unshare -m is refused here)")
    require_as_printed(page(f"how-to/{name}.md"), scene.place(tmp_path, shelf))
