"""Every command that the tutorials, how-to pages and READMEs show is run by a test, and what they quote is said."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from tests.docs import small_release
from tests.docs.pages import ROOT, Page, all_pages, page
from tests.docs.scenes import SCENES
from tests.docs.spoken import is_part, is_said, reasons, without_figures
from tests.docs.test_running import Outside
from tests.docs.test_tutorial import TUTORIALS
from tests.host.simulator import SimulatedSystemd

from sealift.host import systemd

pytestmark = pytest.mark.slow

RUN = {
    *(f"docs/tutorial/{name}{tail}.md" for name in TUTORIALS for tail in ("", ".zh-CN")),
    *(f"docs/how-to/{name}.md" for name in SCENES),
}
SHOWN = [each for each in all_pages() if re.match(r"docs/(?:tutorial|how-to)/|README", each.name)]
_CODE = re.compile(r"`([^`\n]+)`")
_TYPED = ("sealift ", "sudo ", "journalctl ", "systemctl ", "tests/", "-")


def exists(test: str) -> bool:
    """`PATH.py::test_name` is a function there; `Makefile::target` is a target."""
    path, _, name = test.partition("::")
    file = ROOT / path
    if not file.is_file() or not name:
        return False
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".py":
        return re.search(rf"^{re.escape(name)}:", text, re.MULTILINE) is not None
    functions = [node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    return name.startswith("test_") and name in functions


@pytest.mark.parametrize("shown", SHOWN, ids=lambda shown: shown.name)
def test_every_command_of_the_page_is_run_by_a_test(shown: Page) -> None:
    nobody = [
        fence.place
        for fence in shown.fences()
        if fence.is_shell and fence.shown_by is None and shown.name not in RUN
    ]
    assert nobody == [], "no test runs these: `<!-- shown by tests/FILE.py::TEST -->` above, or a scene"


def test_every_test_that_a_page_names_exists() -> None:
    named = [
        (fence.place, fence.shown_by) for each in all_pages() for fence in each.fences() if fence.shown_by
    ]
    assert [(place, test) for place, test in named if not exists(test)] == []
    assert len(named) > 15


def test_a_marker_that_stands_above_no_block_is_seen() -> None:
    loose = [
        each.name
        for each in all_pages()
        if each.text.count("<!-- shown by ") != sum(fence.shown_by is not None for fence in each.fences())
    ]
    assert loose == []


@pytest.mark.parametrize(
    "test",
    [
        "tests/docs/test_shown.py::test_nobody_wrote_this",
        "tests/docs/nowhere.py::test_a",
        "Makefile::nothing",
        "tests/docs/test_shown.py",
    ],
)
def test_a_test_that_does_not_exist_would_be_seen(test: str) -> None:
    assert not exists(test)
    assert exists("tests/docs/test_shown.py::test_a_test_that_does_not_exist_would_be_seen")
    assert exists("Makefile::demo")


def test_a_block_under_a_marker_is_not_typed(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(
        "<!-- shown by a.py::b -->\n```sh\nrm -rf /\n```\n\n```console\n$ echo a \\\n  b\na b\n```\n"
    )
    marked, plain = Page.fences(Outside(path))
    assert (marked.shown_by, plain.shown_by) == ("a.py::b", None)
    assert [(each.typed, each.expected) for each in Outside(path).commands()] == [
        ("echo a \\\n  b", "a b\n"),
    ]


@pytest.mark.parametrize("name", SCENES)
def test_what_a_page_quotes_is_what_the_source_says(name: str) -> None:
    """`text` blocks, line by line; and quotations of four words or more in the prose."""
    shown = page(f"how-to/{name}.md")
    lines = [line for fence in shown.fences() if fence.language == "text" for line in fence.text.splitlines()]
    assert [line for line in lines if not is_said(line)] == []
    quoted = [words for words in _CODE.findall(shown.prose) if not words.startswith(_TYPED)]
    fragments = [part for words in quoted if words.count(" ") > 2 for part in words.split(" ... ")]
    assert [part for part in fragments if not is_part(part.strip(". "))] == []


def test_a_bad_update_lists_every_reason_for_which_a_release_is_taken_back() -> None:
    text = page("how-to/bad-update.md").text
    assert [reason for reason in reasons() if reason not in without_figures(text)] == []


def test_every_sentence_that_bad_boxes_are_tested_for_stands_in_a_page() -> None:
    """tests/install/test_bad_boxes.py promises `the sentence in the docs`."""
    tree = ast.parse((ROOT / "tests" / "install" / "test_bad_boxes.py").read_text(encoding="utf-8"))
    tested = {part for node in ast.walk(tree) if isinstance(node, ast.Assert) for part in _sought(node.test)}
    sentences = {part for part in tested if part.count(" ") > 1 and not part.startswith("==")}
    pages = "\n".join(each.text for each in all_pages() if each.name.startswith("docs/how-to/"))
    assert len(sentences) > 6
    assert [part for part in sorted(sentences) if part not in pages] == []


def _sought(test: ast.expr) -> list[str]:
    """The fixed parts of what `assert "..." in said` looks for."""
    if not isinstance(test, ast.Compare) or not isinstance(test.ops[0], ast.In):
        return []
    parts = test.left.values if isinstance(test.left, ast.JoinedStr) else [test.left]
    return [
        re.sub(r" \d+$", "", part.value.strip(" :/"))
        for part in parts
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]


def test_the_units_that_a_first_install_is_said_to_write_are_those_it_writes(tmp_path: Path) -> None:
    applied = systemd.apply("fraud", "127.0.0.1", 8000, systemd=SimulatedSystemd(tmp_path).systemd)
    blocks = [fence.text for fence in page("how-to/install-a-release.md").fences() if fence.shown_by]
    listed = re.findall(r"^  ((?:wrote|enabled) .*)$", "\n".join(blocks), re.MULTILINE)
    assert listed == list(applied.changed)


def test_what_nobody_says_would_be_seen() -> None:
    assert is_said("  next: wait for it to end, then again")
    assert is_said("p99 is 91.3 ms, the SLO says 50 ms")
    assert not is_said("p99 was 91.3 ms, the SLO says 50 ms")
    assert not is_said("everything is fine, go back to sleep")
    assert is_part("neither travel nor are on this box")
    assert not is_part("neither travel nor are in this box")


def test_the_small_release_speaks_as_a_real_check_does() -> None:
    texts = [*small_release.FINDINGS.items(), *small_release.OTHERWISE.items()]
    assert [text for text in texts if not _is_finding(*text)] == []


def _is_finding(name: str, detail: str) -> bool:
    plain = detail.removeprefix("golden input case-17.json: ")
    return is_part(name.removesuffix("fraud")) and (is_said(plain) or is_part(plain) or _is_figure(plain))


def _is_figure(detail: str) -> bool:
    shapes = (r"loads, runs on cpu", r"\d+ as recorded, [\d.]+ ms each", r"p99 [\d.]+ ms of 100 runs")
    return any(re.fullmatch(shape, detail) for shape in shapes)
