"""The summary on a terminal: everything a person needs to decide, in a hundred columns."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.optimize.sample_reports import SAMPLES, photos, suspicious, table

from sealift.optimize.report import Standing, Variant
from sealift.optimize.text import WIDTH, summary


@pytest.mark.parametrize("name", SAMPLES)
def test_it_is_ascii_in_a_hundred_columns(name: str) -> None:
    text = summary(SAMPLES[name]())
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= WIDTH


def test_the_table_has_every_variant_beside_the_reference() -> None:
    lines = [" ".join(line.split()) for line in summary(photos()).splitlines()]
    assert lines[0] == "variant size p50 ms rows/s speed-up agreement, points standing"
    assert lines[1] == "fp32 18.9 MB 4.75 243 1 - travels"
    assert lines[2] == "int8-static 5.18 MB 2.07 512 2.30x (2.25-2.37) -2.5 (-3.9 to -1.6) ships"
    assert lines[5].startswith("int8-dynamic 5.30 MB 58.6 ")
    assert lines[6] == "fp16 - - - - - not built"


def test_the_verdict_follows_then_why_not_the_others() -> None:
    text = summary(table())
    verdict = "fp32 ships: no candidate is at least 1.05 times as fast and proven within 1 point of its AUC"
    assert f"\n\n  {verdict}\n" in text
    assert "rows cannot tell a loss of 1 point" in text
    assert "int8-dynamic refused: It is below the accuracy gate." in text
    assert text.index(verdict) < text.index("cannot tell") < text.index("below the accuracy gate")
    assert text.endswith("\n  next: sealift pack .")


def test_a_suspicious_project_is_corrected_before_it_is_packed() -> None:
    text = summary(suspicious(), "line-3")
    assert "suspected (chance is not excluded): normalisation." in text
    assert "suspected: labels shifted." in text
    assert "mean = [127, 127, 127]; std = [128, 128, 128]  ->  top-1 accuracy 90.0 %" in text
    assert text.endswith("\n  next: correct sealift.toml, then sealift optimize line-3")


def test_the_p99_stands_where_there_is_room_for_it() -> None:
    few = msgspec.structs.replace(photos(), variants=photos().variants[:2])
    assert "p99 ms" in summary(few).splitlines()[0]


@given(name=st.text(max_size=250), reason=st.text(max_size=250))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_no_name_reaches_the_terminal_as_a_command_or_beyond_the_edge(name: str, reason: str) -> None:
    odd = Variant(name=name, standing=Standing.REFUSED, reasons=(reason, name))
    lines = summary(msgspec.structs.replace(photos(), variants=(*photos().variants[:2], odd))).split("\n")
    assert all(line.isprintable() for line in lines)
    assert max(map(len, lines)) <= WIDTH


def test_a_report_of_nothing_has_a_summary_too() -> None:
    text = summary(msgspec.structs.replace(photos(), variants=(), notes=(), verdict="nothing was tried"))
    assert text.split("\n")[1:] == ["", "  nothing was tried", "  next: sealift pack ."]
