"""The tutorials are run as they are printed, one after the other, and say in both languages the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.docs.pages import ROOT, Page, page
from tests.docs.running import Place, free_port, require_as_printed

TUTORIALS = ("quickstart", "journey")
PRINTED_PORT = "8000"


def files_of(tutorial: Page) -> dict[str, str]:
    """The files that the reader is asked to write, by name."""
    return {fence.title: fence.text for fence in tutorial.fences() if fence.title is not None}


@pytest.mark.parametrize("name", TUTORIALS)
def test_both_languages_have_the_same_commands_and_files(name: str) -> None:
    english, chinese = page(f"tutorial/{name}.md"), page(f"tutorial/{name}.zh-CN.md")
    said = [[(each.typed, each.expected) for each in one.commands()] for one in (english, chinese)]
    assert said[1] == said[0]
    assert len(said[0]) > 10
    assert files_of(chinese) == files_of(english)


@pytest.mark.slow
def test_the_tutorials_work_as_they_are_printed(tmp_path: Path) -> None:
    """From an empty folder through a year of a service; the second goes on in the folder of the first."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    for name in TUTORIALS:
        place = Place(tmp_path, ROOT, swaps={PRINTED_PORT: free_port()}, longest_s=500)
        require_as_printed(page(f"tutorial/{name}.md"), place)
