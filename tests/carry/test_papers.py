"""The papers: what they say is what lies there; the sheet prints on one page, and a scanner reads it."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.made_bundles import FILES, make_bundle, make_signer

from sealift.bundle.read import read_bundle
from sealift.bundle.source import open_source
from sealift.carry.papers import Papers, papers_of, start_here, sums
from sealift.carry.sheet import code_texts, draw
from sealift.carry.writing import OnMedium

DIGESTS = [random.Random(number).randbytes(32).hex() for number in range(40)]


@pytest.fixture
def papers(tmp_path: Path) -> Papers:
    return cut_into(tmp_path, 4)


def cut_into(folder: Path, count: int) -> Papers:
    made = make_bundle(
        folder,
        make_signer(),
        version="2026.12.0",
        files=FILES,
        target={"platform": "linux-x86_64", "python": "3.11", "glibc": "2.31", "cuda": "12.4"},
    )
    files = [
        OnMedium(f"fraud-2026.12.0.v{number:02}-of-{count:02}.sealift", 4_294_967_295, DIGESTS[number])
        for number in range(1, count + 1)
    ]
    return papers_of(
        read_bundle(open_source(made.path)), files, OnMedium("sealift-1.0.run", 40_000_000, DIGESTS[0])
    )


def text_of(page: str) -> str:
    """As a reader sees it, without white space."""
    return re.sub(r"\s|<[^>]*>", "", page)


def test_the_sheet_shows_every_digit(papers: Papers) -> None:
    shown = text_of(draw(papers))
    assert papers.root is not None
    for digest in (papers.identity, papers.root[1], *DIGESTS[:5]):
        assert digest in shown
    for words in (
        "linux-x86_64,Python3.11,glibc2.31,CUDA12.4",
        "随行单",
        "交出人",
        "接收人",
        "4,294,967,295bytes",
    ):
        assert words in shown
    assert papers.signers[0][:16] in shown


class _Attributes(HTMLParser):
    """Every tag and attribute of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_the_sheet_needs_nothing_besides_itself(papers: Papers) -> None:
    page = draw(papers)
    found = _Attributes()
    found.feed(page)
    assert not found.tags & {"script", "img", "link", "iframe", "object", "use", "image"}
    assert not found.attributes & {"src", "href", "xlink:href", "style", "onload", "onclick"}
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_a_word_that_is_no_word_is_escaped(papers: Papers) -> None:
    from dataclasses import replace

    page = draw(replace(papers, bootstrap=OnMedium("<b>&.run", 1, "0" * 64)))
    assert "&lt;b&gt;&amp;.run" in page
    assert "<b>&.run" not in page


def test_codes_hold_every_file_in_as_many_as_it_takes(tmp_path: Path) -> None:
    texts = code_texts(cut_into(tmp_path, 20))
    assert len(texts) == 3
    lines = [line for text in texts for line in text.splitlines() if line.endswith((".sealift", ".run"))]
    assert len(lines) == 21
    assert all(text.splitlines()[1].startswith("release ") for text in texts)


def test_the_list_is_what_sha256sum_reads() -> None:
    files = [OnMedium("b", 1, "b" * 64), OnMedium("a", 1, "a" * 64)]
    kept = ["c" * 64 + "  older.sealift"]
    assert sums(files, kept).splitlines() == [
        "a" * 64 + "  a",
        "b" * 64 + "  b",
        "c" * 64 + "  older.sealift",
    ]


def test_start_here_says_the_same_commands_in_both_languages(papers: Papers) -> None:
    english, chinese = start_here(papers).split("\n\n\n")
    commands = [line.strip() for line in english.splitlines() if line.startswith("     ")]
    assert commands == [line.strip() for line in chinese.splitlines() if line.startswith("     ")]
    assert commands == [
        "cd /media/usb",
        "ls | grep -F -f - SHA256SUMS | sha256sum -c -",
        "cd /",
        "sudo sh /media/usb/sealift-1.0.run",
        "sudo sealift install /media/usb --trust root.json",
        "sudo sealift install /media/usb",
        "sealift status",
    ]
    assert english.isascii()


@pytest.mark.slow
def test_it_prints_on_one_sheet_and_a_scanner_reads_its_code(papers: Papers, tmp_path: Path) -> None:
    browser, scanner = shutil.which("chromium"), shutil.which("zbarimg")
    if browser is None or scanner is None:
        pytest.skip("needs Debian's chromium and zbar-tools")
    page = tmp_path / "sheet.html"
    page.write_text(draw(papers))
    common = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    shot, printed = tmp_path / "sheet.png", tmp_path / "sheet.pdf"
    for more in (
        ["--window-size=800,1250", f"--screenshot={shot}"],
        ["--no-pdf-header-footer", f"--print-to-pdf={printed}"],
    ):
        subprocess.run([*common, *more, page.as_uri()], capture_output=True, check=True, timeout=120)
    read = subprocess.run([scanner, "-q", "--raw", shot], capture_output=True, text=True, check=True).stdout
    assert read.strip() == code_texts(papers)[0]
    assert printed.read_bytes().count(b"/Type /Page\n") == 1
