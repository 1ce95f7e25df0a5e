"""The page of a quality report: whole, by itself, harmless, and total for whatever a report holds."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.optimize.browser import Browser
from tests.optimize.sample_reports import SAMPLES, compared, photos, picture, speed, suspicious, table

from sealift.optimize import page
from sealift.optimize.drawn.frontier import Point, Scatter, frontier
from sealift.optimize.report import (
    Comparison,
    Data,
    Difference,
    File,
    Gate,
    Interval,
    Layer,
    Machine,
    QualityReport,
    Speed,
    Standing,
    Suspicion,
    Variant,
    Verdict,
)

EVIL = (
    '"><img src=x onerror=alert(1)>',
    "</style></title></svg><script>alert(1)</script>",
    "--><!-- ]]> &lt;b&gt;",
    "\x00\x1b[2J\u202egnp.exe\ud800",
)
ENDLESS = "nameofavariantwithoutanyspace" * 7
HEADINGS = [
    "Accuracy against latency", "Size", "Throughput", "Variants", "What each layer costs",
    "Where the answers differ", "Example inputs", "How it was made",
]  # fmt: skip


def parsed(document: str) -> ElementTree.Element:
    """The page as XML: every element closed, every attribute quoted, in every SVG too."""
    assert document.startswith("<!DOCTYPE html>\n")
    return ElementTree.fromstring(document.split("\n", 1)[1])


def words(element: ElementTree.Element) -> str:
    return " ".join(" ".join(element.itertext()).split())


def headings(document: str) -> list[str]:
    return [words(element).strip() for element in parsed(document).iter("h2")]


def replaced(**fields: object) -> QualityReport:
    return msgspec.structs.replace(photos(), **fields)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_page_is_well_formed_and_needs_nothing_besides_itself(name: str) -> None:
    document = page.draw(SAMPLES[name]())
    tree = parsed(document)
    assert not re.search(r"https?:|//[a-z]|url\(|@import|<script|<link|<iframe", document)
    assert all(e.get("src", "data:image/").startswith("data:image/") for e in tree.iter())
    assert not [e.tag for e in tree.iter() if any(key.startswith("on") or key == "href" for key in e.attrib)]
    policy = next(e.get("content", "") for e in tree.iter("meta") if e.get("http-equiv"))
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:;")


def test_the_sections_come_in_the_order_in_which_a_person_decides() -> None:
    assert headings(page.draw(photos())) == HEADINGS
    assert headings(page.draw(suspicious()))[:2] == ["Check the project first", HEADINGS[0]]


def test_the_same_report_gives_the_same_bytes() -> None:
    assert page.draw(photos()) == page.draw(photos())


def test_the_header_says_what_ships_on_what_machine() -> None:
    head = words(next(parsed(page.draw(photos())).iter("header")))
    assert "inspection line-3-camera 2.4.0 int8-static ships: 2.3x faster, 27 % of the size" in head
    assert "INT8 by VNNI" in head
    assert "2.30\u00d7" in head
    assert "no instructions for INT8" in page.draw(table())


def test_a_suspicion_names_the_line_that_measures_best() -> None:
    tree = parsed(page.draw(suspicious()))
    assert ["".join(e.itertext()) for e in tree.iter("pre")] == [
        "mean = [127, 127, 127]\nstd = [128, 128, 128]",
        'labels = "imagenet-1001.txt"',
    ]


def test_alternatives_that_are_no_better_name_no_line() -> None:
    worse = [msgspec.structs.replace(s, alternatives=s.alternatives[1:]) for s in suspicious().suspicions[:1]]
    assert "<pre>" not in page.draw(replaced(suspicions=tuple(worse)))


def test_every_picture_tells_what_it_shows_to_those_who_cannot_see_it() -> None:
    tree = parsed(page.draw(photos()))
    charts = [e for e in tree.iter("svg") if e.get("role") == "img"]
    assert [e.get("class") for e in charts] == ["chart desk", "chart phone"]
    for chart in charts:
        ids = {e.get("id") for e in chart.iter()}
        assert set((chart.get("aria-labelledby") or "").split()) <= ids
        assert "int8-static: 2.07 ms, 97.5 %, ships" in words(chart)
    assert all(e.get("aria-hidden") == "true" for e in tree.iter("svg") if e not in charts)
    assert all(e.get("alt") for e in tree.iter("img"))
    assert all(e.get("scope") in ("row", "col") for e in tree.iter("th"))


def test_the_frontier_holds_what_no_other_beats() -> None:
    points = tuple(Point(name, "travels", ms, value) for name, ms, value in
                   (("a", 2.0, 0.9), ("b", 3.0, 0.8), ("c", 4.0, 0.95), ("d", 4.0, 0.99), ("e", 1.0, 0.5)))  # fmt: skip
    assert [p.name for p in frontier(Scatter("top1", True, points, (), ()))] == ["e", "a", "d"]
    assert [p.name for p in frontier(Scatter("rmse", False, points, (), ()))] == ["e"]


def test_points_that_a_phone_cannot_name_are_numbered_with_a_key() -> None:
    points = photos().variants[:4]
    more = tuple(msgspec.structs.replace(points[1], name=f"int8-{number}") for number in range(4))
    tree = parsed(page.draw(replaced(variants=points + more)))
    (key,) = [e for e in tree.iter("ol") if e.get("class") == "key phone"]
    assert words(key).startswith("fp32 4.75 ms, 100 % int8-static 2.07 ms, 97.5 %")
    charts = [e for e in tree.iter("svg") if e.get("role") == "img"]
    named = [[t.text for t in e.iter("text") if (t.get("class") or "").startswith("name")] for e in charts]
    assert sorted(str(name) for name in named[1]) == ["1", "2", "3", "4", "5", "6", "7", "8"]
    assert "int8-3" in named[0]


def test_not_enough_evidence_looks_different_from_failed_and_is_said_in_words() -> None:
    tree = parsed(page.draw(table()))
    verdicts = [e for e in tree.iter("span") if (e.get("class") or "").startswith("verdict")]
    assert {(words(e), e.get("class")) for e in verdicts} == {
        ("not enough evidence", "verdict unclear"),
        ("failed", "verdict failed"),
    }


def test_a_gate_with_a_bound_is_a_line() -> None:
    assert page.draw(photos()).count('class="bound"') == 3  # on the desk, on a phone, in the legend
    latency = Gate(name="slo", verdict=Verdict.PASSED, expected="", found="", metric="p50_ms", bound=3.0)
    variants = list(photos().variants)
    variants[1] = msgspec.structs.replace(variants[1], gates=(*variants[1].gates, latency))
    assert "gate slo: 3.00\u202fms" in page.draw(replaced(variants=tuple(variants)))


def test_only_the_worst_layers_are_drawn_and_the_rest_is_counted() -> None:
    document = page.draw(photos())
    assert document.count('class="bar layer"') + document.count('class="bar kept"') == 25
    assert "and 24 layers more" in document
    assert "kept in floating point" in document


def test_words_of_a_report_stay_words() -> None:
    plain = {e.tag for e in parsed(page.draw(photos())).iter()}
    for evil in EVIL:
        report = hostile(evil)
        tree = parsed(page.draw(report))
        assert {e.tag for e in tree.iter()} <= plain | {"section", "article", "pre", "code"}
        assert "\u202e" not in words(tree)


def hostile(word: str) -> QualityReport:
    """Every free word is `word`."""
    case = Difference(
        item=word, reference=word, variant=word + "2", label=word, shown=word, picture=picture(3)
    )
    between = Interval(low=-1, high=1, method=word)
    found = msgspec.structs.replace(compared(word, 9, 0.5, 0.4, -0.2, 0.1), interval=between)
    gate = Gate(
        name=word, verdict=Verdict.FAILED, expected=word, found=word, advice=word, metric=word, bound=0.45
    )
    variant = Variant(
        name=word, standing=Standing.REFUSED, reasons=(word,), engine=word, precision=word,
        files=(File(name=word, sha256=word, size=5),), recipe={word: word}, comparisons=(found,), gates=(gate,),
        speed=speed(1.0, 2.0, 3.0, 1.0, 1.0, word), layers=(Layer(node=word, kind=word, effect=0.1),),
        differences=(case,),
    )  # fmt: skip
    machine = Machine(cpu=word, cores=1, features=(word,), int8=word, engines={word: word})
    suspicion = Suspicion(
        what=word, sentence=word, certain=True, alternatives=suspicious().suspicions[0].alternatives
    )
    return QualityReport(
        model=word, project=word, version=word, source=word, created_with=word, machine=machine,
        data=Data(calibration=1, evaluation=1, labelled=1, note=word, examples=(case,)), prefer=word, chosen=word,
        verdict=word, variants=(variant, msgspec.structs.replace(variant, name=word + "2")),
        suspicions=(suspicion,), notes=(word,),
    )  # fmt: skip


def test_a_picture_that_is_no_png_or_jpeg_is_not_shown() -> None:
    case = Difference(item="a.svg", reference="x", variant="y", picture=b"<svg onload='x'/>")
    data = msgspec.structs.replace(photos().data, examples=(case,))
    document = page.draw(replaced(data=data, variants=photos().variants[:1]))
    assert "<img" not in document
    assert "a.svg" in document


def test_a_report_of_nothing_is_a_page_too() -> None:
    document = page.draw(replaced(variants=(), chosen="", verdict="nothing was tried"))
    assert "No variant was tried." in document
    assert "there is nothing to draw" in document


NUMBERS = st.one_of(
    st.sampled_from([float("nan"), float("inf"), float("-inf"), 0.0, -0.0, 1.0, 5e-324, 1e308, -1e308, 1e-9]),
    st.floats(-2, 2),
    st.floats(),
)
KNOWN = ["agreement", "rmse", "fp32", "top1", "p50_ms", "", "x" * 200, *EVIL]
WORDS = st.one_of(st.sampled_from(KNOWN), st.text(max_size=12))
INTERVALS = st.builds(Interval, low=NUMBERS, high=NUMBERS, level=NUMBERS, method=WORDS)
COMPARISONS = st.builds(
    Comparison, metric=WORDS, n=st.integers(-1, 10**9), reference=NUMBERS, value=NUMBERS, difference=NUMBERS,
    interval=INTERVALS, higher_is_better=st.booleans(),
)  # fmt: skip
SPEEDS = st.builds(
    Speed, p50_ms=NUMBERS, p99_ms=NUMBERS, rows_per_s=NUMBERS, layout=WORDS, speedup=NUMBERS,
    speedup_interval=INTERVALS, throughput_ratio=NUMBERS,
)  # fmt: skip
GATES = st.builds(
    Gate, name=WORDS, verdict=st.sampled_from(Verdict), expected=WORDS, found=WORDS, advice=WORDS, metric=WORDS,
    bound=st.none() | NUMBERS,
)  # fmt: skip
LAYERS = st.builds(Layer, node=WORDS, kind=WORDS, effect=NUMBERS, excluded=st.booleans(), share=NUMBERS)
VARIANTS = st.builds(
    Variant, name=WORDS, standing=st.sampled_from(Standing), reasons=st.tuples(WORDS), engine=WORDS, precision=WORDS,
    files=st.lists(st.builds(File, name=WORDS, sha256=WORDS, size=st.integers(-1, 2**70)), max_size=2).map(tuple),
    recipe=st.dictionaries(WORDS, WORDS, max_size=2), comparisons=st.lists(COMPARISONS, max_size=2).map(tuple),
    speed=st.none() | SPEEDS,
    layers=st.lists(LAYERS, max_size=3).map(tuple),
)  # fmt: skip


@given(variants=st.lists(VARIANTS, max_size=5), chosen=WORDS)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_whatever_was_measured_the_page_is_whole(variants: list[Variant], chosen: str) -> None:
    document = page.draw(replaced(variants=tuple(variants), chosen=chosen))
    tree = parsed(document)
    figures = [
        v for e in tree.iter() for k, v in e.items() if k in ("d", "x", "y", "width", "height", "cx", "cy")
    ]
    assert not [value for value in figures if re.search(r"nan|inf|e[+-]", value)]


CHARTS = """
[...document.querySelectorAll(".chart")].filter(e => e.checkVisibility()).map(e => e.getAttribute("class")).join()
"""
"""The classes of the pictures that can be seen."""


@pytest.mark.slow
def test_a_browser_shows_it_without_a_complaint_or_a_sideways_scroll(tmp_path: Path) -> None:
    """At 360 pixels and at 1280, with words that have no place to break; nothing is asked from anywhere."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs Debian's chromium")
    reports = {name: build() for name, build in SAMPLES.items()} | {"endless": hostile(ENDLESS)}
    with Browser(chromium, tmp_path / "profile") as browser:
        for name, report in reports.items():
            place = tmp_path / f"{name}.html"
            place.write_text(page.draw(report))
            for width, shown in ((360, "phone"), (1280, "desk")):
                browser.screen(width, dark=width > 1000)
                browser.open(place)
                assert browser.value("document.documentElement.scrollWidth") <= width, (name, width)
                assert browser.value(CHARTS) == ("" if name == "suspicious" else f"chart {shown}"), name
        assert browser.said == []
        assert [url for url in browser.asked if not url.startswith(("file:", "data:"))] == []
