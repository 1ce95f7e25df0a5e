"""The Prometheus text: exact, escaped, cumulative."""

from __future__ import annotations

import math
import re

from hypothesis import given
from hypothesis import strategies as st

from sealift.meter.meter import Meter
from sealift.observe.exposition import render


def test_all_kinds_are_rendered_exactly() -> None:
    meter = Meter()
    meter.counter("requests_total", "Requests\nso far \\ all.", ("path",)).labels('/a"b\\c\nd').add(3)
    meter.gauge("temperature", "Degrees.").labels().set(-1.5)
    histogram = meter.histogram("seconds", "Time.", ("model",), bounds=(0.05, 1.0)).labels("fraud")
    for value in (0.01, 0.05, 0.5, 3.0):
        histogram.observe(value)
    assert render(meter).decode() == (
        "# HELP requests_total Requests\\nso far \\\\ all.\n"
        "# TYPE requests_total counter\n"
        'requests_total{path="/a\\"b\\\\c\\nd"} 3\n'
        "# HELP temperature Degrees.\n"
        "# TYPE temperature gauge\n"
        "temperature -1.5\n"
        "# HELP seconds Time.\n"
        "# TYPE seconds histogram\n"
        'seconds_bucket{model="fraud",le="0.05"} 2\n'
        'seconds_bucket{model="fraud",le="1"} 3\n'
        'seconds_bucket{model="fraud",le="+Inf"} 4\n'
        'seconds_sum{model="fraud"} 3.56\n'
        'seconds_count{model="fraud"} 4\n'
    )


def test_values_that_are_no_numbers_have_their_names() -> None:
    meter = Meter()
    family = meter.gauge("value", "Any.", ("kind",))
    for value in (math.inf, -math.inf, math.nan, 1e300):
        family.labels(str(value)).set(value)
    lines = render(meter).decode().splitlines()[2:]
    assert [line.split()[1] for line in lines] == ["+Inf", "-Inf", "NaN", "1e+300"]


def test_a_family_without_children_has_its_help_and_type() -> None:
    meter = Meter()
    meter.counter("none_total", "None yet.", ("path",))
    assert render(meter) == b"# HELP none_total None yet.\n# TYPE none_total counter\n"


@given(st.lists(st.text(max_size=20), max_size=4), st.floats(0, 1e12))
def test_any_label_value_stays_on_one_line_and_reads_back(values: list[str], amount: float) -> None:
    meter = Meter()
    family = meter.counter("any_total", "Any.", ("label",))
    for value in values:
        family.labels(value).add(amount)
    lines = render(meter).decode().split("\n")[2:-1]
    found = []
    for line in lines:
        match = re.fullmatch(r'any_total\{label="((?:[^"\\\n]|\\["\\n])*)"\} (\S+)', line)
        assert match is not None, line
        found.append(re.sub(r"\\(.)", lambda escape: {"n": "\n"}.get(escape[1], escape[1]), match[1]))
        assert float(match[2]) == amount * values.count(found[-1]) or amount
    assert found == list(dict.fromkeys(values))
