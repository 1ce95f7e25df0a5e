"""The page on a terminal and on paper: the whole of it once, then what hostile words cannot do to it."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.inspect.desk import (
    CREATED_S,
    House,
    a_release,
    bill,
    component,
    golden,
    house,
    opened,
    pack_release,
    release_files,
    service_json,
)

from sealift.inspect import html, text
from sealift.inspect.as_json import facts_json
from sealift.inspect.contents import Contents
from sealift.inspect.difference import compare
from sealift.inspect.facts import facts_of
from sealift.inspect.page import Page, page_of
from sealift.inspect.standing import standing_of
from sealift.trust.vouch import Policy

GOLDEN = Path(__file__).with_name("page.txt")
GOLDEN_CHANGES = Path(__file__).with_name("changes.txt")
EVIL = (
    "\x1b[2J\x1b]0;owned\x07",
    "\u202egnp.exe",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style></title><script>alert(1)</script>",
    "--><!--",
    "&lt;b&gt; &#60;",
    "a\rb\nc\td\0e",
    "\ud800",
    "x" * 100_000,
)
"""Words that would be somebody's commands if nobody looked."""


def page(place: Path, signers: House | None, older: Path | None = None, *, inventory: bool = True) -> Page:
    """The page of a bundle under the root of `signers`."""
    root = signers.signed.root if signers else None
    bundles = [opened(path) for path in (place, older) if path is not None]
    facts = [facts_of(Contents(one), standing_of(one, root, Policy()), CREATED_S) for one in bundles]
    difference = None if older is None else compare(facts[0], facts[1], bundles[0], bundles[1])
    return page_of(facts[0], difference, inventory=inventory)


def two_releases(tmp_path: Path, signers: House) -> tuple[Path, Path]:
    """A release and its successor: a package more, one less, one newer, other labels."""
    service, sbom = service_json(), bill()
    service["models"][0]["output"]["labels"] = ["bolt", "screw", "nut"]
    sbom["components"][0] = component("numpy", "2.5.0", "BSD-3-Clause", "runtime")
    sbom["components"][3] = component("newthing", "9", "MIT", "dependencies")
    files = release_files(service=service, sbom=sbom) | {"dependencies/newthing/x.py": b"x = 1\n"}
    return (
        pack_release(tmp_path / "1.sealift", signers, approved_by=1),
        pack_release(
            tmp_path / "2.sealift",
            signers,
            files=files,
            release=a_release(version="1.1", seq=2),
            approved_by=1,
        ),
    )


def test_the_page_on_a_terminal(tmp_path: Path) -> None:
    """page.txt is the whole page; write it anew with what this test shows when the page is meant to change."""
    signers = house(officers=2, officer_threshold=1)
    place = pack_release(tmp_path / "b.sealift", signers, approved_by=1)
    assert text.draw(page(place, signers)) + "\n" == GOLDEN.read_text()


def test_why_a_model_is_not_batched_is_on_the_screen_on_paper_and_in_json(tmp_path: Path) -> None:
    reason = "output y of a row among 2 differs from the row alone"
    files = release_files() | {
        "application/goldens/parts.json": golden("parts", "bolt.png", batch_reason=reason)
    }
    bundle = opened(pack_release(tmp_path / "b.sealift", None, files=files))
    facts = facts_of(Contents(bundle), standing_of(bundle, None, Policy()), CREATED_S)
    drawn = page_of(facts, None, inventory=True)
    assert f"  batch   off: {reason}\n" in text.draw(drawn)
    assert f"<td>off: {reason}</td>" in html.draw(drawn)
    told = [(model["name"], model["batched"], model["batch_reason"]) for model in facts_json(facts)["models"]]
    assert told == [("parts", False, reason), ("risk", False, "rows differ")]


def test_the_changes_on_a_terminal(tmp_path: Path) -> None:
    signers = house(officers=2, officer_threshold=1)
    older, newer = two_releases(tmp_path, signers)
    assert text.draw(page(newer, signers, older, inventory=False)) + "\n" == GOLDEN_CHANGES.read_text()


def test_the_first_line_says_not_verified_until_a_root_vouches(tmp_path: Path) -> None:
    signers = house()
    place = pack_release(tmp_path / "b.sealift", signers)
    identity = opened(place).identity
    assert text.draw(page(place, None)).startswith(f"NOT VERIFIED  fraud 1.0  sha256:{identity}\n")
    assert text.draw(page(place, house(name="other"))).startswith("NOT VERIFIED  fraud 1.0  ")
    assert text.draw(page(place, signers)).startswith(f"VERIFIED  fraud 1.0  sha256:{identity}\n")


def hostile_bundle(tmp_path: Path, word: str) -> Path:
    """A release whose every free word is `word`."""
    service = service_json()
    model = service["models"][0]
    model.update(name=word, device=[word])
    model["input"].update(kind="image", channels=word, resize=word, size=[word])
    model["output"].update(labels=[word], top=word)
    model["signature"]["inputs"][0].update(name=word, datatype=word, shape=[word])
    service["models"][1]["output"].update(positive=word, threshold=word)
    service["models"][1]["input"]["columns"][0]["kind"] = word
    sbom = bill()
    sbom["components"].append(component(word, word, word, word))
    sbom["components"].append(component("other", "1", None, "runtime", licenses=[{"expression": word}]))
    plain = "".join(character for character in word if not "\ud800" <= character <= "\udfff")
    release = a_release(
        target={"platform": plain, "glibc": plain, "python": [plain], "cpu": {plain: plain}},
        checks={plain: [plain], "gates": {plain: plain}},
        provenance={plain: plain},
    )
    return pack_release(
        tmp_path / "evil.sealift", None, files=release_files(service=service, sbom=sbom), release=release
    )


@pytest.mark.parametrize("word", EVIL, ids=range(len(EVIL)))
def test_hostile_words_reach_no_terminal(tmp_path: Path, word: str) -> None:
    drawn = text.draw(page(hostile_bundle(tmp_path, word), None))
    assert all(line.isprintable() for line in drawn.split("\n"))
    assert drawn.startswith("NOT VERIFIED  fraud 1.0  sha256:")
    assert max(map(len, drawn.split("\n"))) < 3000


VOID = {"meta", "br"}
ATTRIBUTES = {"lang", "charset", "http-equiv", "content", "name", "class"}
OUR_VALUES = re.compile(
    r"en|utf-8|Content-Security-Policy|default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
    r"form-action 'none'|viewport|width=device-width|referrer|no-referrer|state( no)?|digits|what|alert|pairs"
    r"|c[0-9]( long)?|figure|sign|tick|box"
)


class Strict(HTMLParser):
    """Refuses a page that is not well formed or holds what it must not."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        for name, value in attrs:
            assert name in ATTRIBUTES, (tag, name)
            assert value is not None
            assert OUR_VALUES.fullmatch(value), (tag, name, value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_pi(self, data: str) -> None:
        raise AssertionError(data)


def parse(document: str) -> Strict:
    """Well formed from end to end, with no attribute that sealift did not write."""
    parser = Strict()
    parser.feed(document)
    parser.close()
    assert parser.open == []
    return parser


PERMITTED = {
    "html", "head", "meta", "title", "style", "body", "header", "h1", "h2", "p", "div", "span", "br", "table",
    "thead", "tbody", "tr", "th", "td", "ul", "li", "b", "section", "footer",
}  # fmt: skip


@pytest.mark.parametrize("word", EVIL, ids=range(len(EVIL)))
def test_hostile_words_stay_words_on_paper(tmp_path: Path, word: str) -> None:
    plain = parse(html.draw(page(pack_release(tmp_path / "plain.sealift", None), None)))
    evil = html.draw(page(hostile_bundle(tmp_path, word), None))
    parsed = parse(evil)
    assert parsed.seen == plain.seen <= PERMITTED
    assert all(line.isprintable() for line in "".join(parsed.words).split("\n"))
    assert "".join(parsed.words).count("VERIFIED") == 1


def test_an_attribute_that_a_name_breaks_out_of_would_be_seen() -> None:
    with pytest.raises(AssertionError):
        parse('<p class="what" onclick="x">a</p>')
    with pytest.raises(AssertionError):
        parse('<p class="anything else">a</p>')
    with pytest.raises(AssertionError):
        parse("<p><b>a</p></b>")


def test_paper_shows_both_figures_to_compare_in_groups_of_four(tmp_path: Path) -> None:
    signers = house()
    place = pack_release(tmp_path / "b.sealift", signers)
    document = html.draw(page(place, signers))
    found = re.findall(r'<div class="digits">(.*?)</div>', document)
    digits = ["".join(re.findall(r"<span>([0-9a-f]{4})</span>", line)) for line in found]
    assert digits == [opened(place).identity, signers.signed.root.fingerprint]


def test_paper_needs_nothing_else_and_has_a_place_to_sign(tmp_path: Path) -> None:
    document = html.draw(page(pack_release(tmp_path / "b.sealift", None), None))
    assert not re.search(r"<script|<link|<img|url\(|@import|https?:|//", document)
    for label in ("Name", "Date", "Signature", "approved", "refused"):
        assert f"{label}<" in document
    assert "size: A4" in document


def test_without_a_root_paper_shows_no_fingerprint_of_the_bundles_own(tmp_path: Path) -> None:
    signers = house()
    document = html.draw(page(pack_release(tmp_path / "b.sealift", signers), None))
    assert document.count('class="digits"') == 1
    assert "NOT VERIFIED" in document
    assert signers.signed.root.fingerprint[:8] not in document


def test_paper_tells_the_changes_before_the_inventory(tmp_path: Path) -> None:
    signers = house(officers=1)
    older, newer = two_releases(tmp_path, signers)
    titles = re.findall(r"<h2>(.*?)</h2>", html.draw(page(newer, signers, older)))
    assert titles[0].startswith("changes since fraud 1.0 sha256:")
    assert titles.index("layers") > titles.index("packages (3)")
    assert titles[-1] == "packages (4)"


@pytest.mark.slow
def test_a_browser_prints_it_on_a4(tmp_path: Path) -> None:
    """Chromium is what CI has; it prints the page with no request and no script."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed")
    signers = house(officers=2, officer_threshold=1)
    older, newer = two_releases(tmp_path, signers)
    (tmp_path / "page.html").write_text(html.draw(page(newer, signers, older)))
    printed = tmp_path / "page.pdf"
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer",
        f"--user-data-dir={tmp_path / 'profile'}", f"--print-to-pdf={printed}", (tmp_path / "page.html").as_uri(),
    ]  # fmt: skip
    subprocess.run(command, capture_output=True, check=True, timeout=120)
    data = printed.read_bytes()
    assert data.startswith(b"%PDF")
    boxes = {
        tuple(float(side) for side in box.split()) for box in re.findall(rb"/MediaBox \[([^]]*)\]", data)
    }
    assert {(round(width), round(height)) for _, _, width, height in boxes} == {(595, 842)}
    assert 2 <= data.count(b"/Type /Page\n") <= 4
