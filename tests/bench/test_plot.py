"""What an operator reads: the table, the sentences, the plot in three forms."""

from __future__ import annotations

from xml.etree import ElementTree

from tests.bench.steps import curve, step

from sealift.bench.picture import page, svg
from sealift.bench.plot import text_plot
from sealift.bench.report import rows, sentences

RISING = (step(100, 5), step(200, 8), step(400, 20), step(800, 120))


def test_the_table_has_a_row_per_step_and_a_star_at_the_knee() -> None:
    found = rows(curve(*RISING))
    assert [row[1] for row in found] == ["offered/s", "", "100", "200", "400 *", "800"]
    assert found[1][:3] == ("8 clients", "", "1,000")
    assert all(len(row) == len(found[0]) for row in found)


def test_what_went_wrong_stands_in_its_row() -> None:
    bad = step(100, 5, statuses={200: 90, 429: 4, 503: 1, 500: 2}, failures=1, unanswered=2)
    row = rows(curve(bad))[-1]
    assert row[7:9] == ("5", "5 (500: 2, broken: 1, no answer: 2)")


def test_the_knee_is_said_in_words() -> None:
    [line] = sentences(curve(*RISING))
    assert line == (
        "knee: 400 requests/s, p99 20.0 ms (the highest rate with p99 <= 50 ms (the SLO), 99.9 % answered with 200)"
    )


def test_a_ladder_that_never_bends_asks_for_higher_rates() -> None:
    assert "name higher ones with --rates" in sentences(curve(*RISING[:2]))[1]


def test_a_noisy_machine_is_suspected() -> None:
    noisy = (step(100, 5), step(200, 90), step(400, 10))
    assert "not quiet" in sentences(curve(*noisy))[1]


def test_no_knee_is_said() -> None:
    assert sentences(curve(step(100, 90)))[0].startswith("knee: none")


def test_a_busy_generator_and_wrong_answers_are_warned_of() -> None:
    found = curve(
        step(100, 5, generator_cores=0.95), step(200, 5, wrong="golden input a: no"), wrong=("b: no",)
    )
    assert rows(found)[2][-1] == "0.95!"
    assert [line.partition(":")[0] for line in sentences(found)].count("warning") == 3


def test_a_generator_that_sends_late_is_warned_of() -> None:
    assert curve(step(100, 5, lag_ms=3.0)).generator_was_the_limit
    assert not curve(step(100, 50, lag_ms=3.0)).generator_was_the_limit


def test_the_plot_shows_both_latencies_the_knee_and_the_slo() -> None:
    lines = text_plot(curve(*RISING)).splitlines()
    assert len(lines) == 19
    picture = "\n".join(lines[:16])
    assert picture.count("#") == picture.count("o") == 4
    assert "|" in picture
    assert "-----" in picture
    assert lines[17].endswith("800 requests/s")
    assert lines[0].endswith("#"), "the worst p99 stands in the upper right corner"


def test_one_rate_makes_no_plot() -> None:
    assert text_plot(curve(step(100, 5))) == ""
    assert svg(curve(step(100, 5)), "x") == ""


def test_equal_latencies_do_not_break_the_axis() -> None:
    assert text_plot(curve(step(100, 5, p50_ms=5.0), step(200, 5, p50_ms=5.0), slo_ms=None))


def test_the_picture_is_well_formed_and_needs_nothing_else() -> None:
    text = svg(curve(*RISING), "a <b> & c")
    root = ElementTree.fromstring(text)
    assert len(root.findall("{http://www.w3.org/2000/svg}polyline")) == 2
    assert "href" not in text


def test_the_page_escapes_names_and_loads_nothing() -> None:
    text = page(curve(*RISING), "<script>", ["box <x>"])
    assert "<script" not in text
    assert "box &lt;x&gt;" in text
    assert "src=" not in text
    assert "400 *" in text
