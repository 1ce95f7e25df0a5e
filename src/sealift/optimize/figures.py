"""Numbers -> words for people, the same on the page and on the terminal.

Three significant digits, a narrow no-break space between thousands and before a unit. What is not a finite number
is `not known`: a report may hold anything, and a page is drawn all the same.
"""

from __future__ import annotations

import math
from typing import Final

from sealift.optimize.report import Comparison, Interval, QualityReport, Speed, Variant

THIN: Final = "\u202f"
MINUS: Final = "\u2212"
UNKNOWN: Final = "not known"
SHARES: Final = frozenset({"top1", "top5", "agreement"})
"""Metrics that count items, and are told in percent and points."""
COMPARES_BOTH: Final = frozenset({"agreement", "cosine"})
"""Metrics between a variant and the reference, so that the reference's own is 1 by definition."""
_FINE: Final = frozenset({"cosine", "auc", "f1"})
_NAMES: Final = {
    "top1": "top-1 accuracy",
    "top5": "top-5 accuracy",
    "auc": "AUC",
    "f1": "F1",
    "rmse": "RMSE",
}
_PLAIN: Final = str.maketrans(
    {THIN: " ", "\u00a0": " ", MINUS: "-", "\u00d7": "x", "\u2013": "-", "\u00b7": "-"}
)


def plain(text: str) -> str:
    """The same words with ASCII signs, for a terminal."""
    return text.translate(_PLAIN)


def digits(value: float, significant: int = 3) -> str:
    """`0.0123`, `97.5`, `12 300`; `1.2e-7` where zeros would hide the figure."""
    if not math.isfinite(value):
        return UNKNOWN
    if value == 0:
        return "0"
    sign = MINUS if value < 0 else ""
    power = math.floor(math.log10(abs(value)))
    if not -4 <= power < 15:
        return sign + _scientific(abs(value), significant)
    rounded = round(abs(value), significant - 1 - power)
    decimals = max(0, significant - 1 - math.floor(math.log10(rounded)))
    return sign + f"{rounded:,.{decimals}f}".replace(",", THIN)


def _scientific(value: float, significant: int) -> str:
    mantissa, exponent = f"{value:.{significant - 1}e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def whole(number: int) -> str:
    """`1 797`: a count, every digit of it."""
    return f"{number:,}".replace(",", THIN)


def tick(value: float) -> str:
    """As `digits`, without zeros at the end: the label of a round figure."""
    text = digits(value, 6)
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def signed(value: float, significant: int = 3) -> str:
    """As `digits`, with a sign in front of what is above zero too."""
    return ("+" if value > 0 and math.isfinite(value) else "") + digits(value, significant)


def percent(share: float) -> str:
    """`97.5 %` of 0.975; nothing short of 1 reads as 100 %."""
    text = digits(share * 100)
    if text == "100" and share != 1:
        text = digits(share * 100, 5)
    return text if text == UNKNOWN else f"{text}{THIN}%"


def size(count: int) -> str:
    """`412 bytes`, `14.2 kB`, `5.18 MB`: powers of 1,000."""
    for scale, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= scale:
            return f"{digits(min(count, 10**30) / scale)}{THIN}{unit}"
    return f"{count}{THIN}{'byte' if count == 1 else 'bytes'}"


def milliseconds(value: float) -> str:
    """`2.07 ms`."""
    return f"{digits(value)}{THIN}ms" if math.isfinite(value) else UNKNOWN


def rate(value: float) -> str:
    """`483/s`."""
    return f"{digits(value)}/s" if math.isfinite(value) else UNKNOWN


def times(value: float) -> str:
    """`2.30` and a multiplication sign; two digits below 1."""
    return f"{digits(value, 3 if value >= 1 else 2)}\u00d7" if math.isfinite(value) else UNKNOWN


def counted(number: int, noun: str) -> str:
    """`1 layer`, `2 layers`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def metric_name(metric: str) -> str:
    """What people call a metric; the user's own keep their name."""
    return _NAMES.get(metric, metric)


def metric_value(metric: str, value: float) -> str:
    """`97.5 %` of a share, `0.9981` of a cosine, three digits of the rest."""
    if metric in SHARES:
        return percent(value)
    return digits(value, 4 if metric in _FINE else 3)


def metric_difference(metric: str, value: float) -> str:
    """`-0.5 points` of a share, else in the metric's own unit; signed."""
    if metric not in SHARES:
        return _difference(metric, value)
    text = _points(value)
    return text if text == UNKNOWN else f"{text}{THIN}points"


def _difference(metric: str, value: float) -> str:
    """Of metrics told with four decimals, four decimals too."""
    if metric not in _FINE or not 5e-5 <= abs(value) < 1e6:
        return signed(value)
    return f"{'+' if value > 0 else MINUS}{abs(value):.4f}"


def _points(share: float) -> str:
    """Hundredths with one decimal, or two below 1."""
    points = share * 100
    if not abs(points) < 1e6:
        return signed(points)
    shown = round(points, 1 if abs(points) >= 1 else 2)
    if shown == 0:
        return "0"
    return f"{'+' if shown > 0 else MINUS}{abs(shown):.{1 if abs(shown) >= 1 else 2}f}"


def interval(between: Interval, metric: str) -> str:
    """`-1.6 to +0.6`, both ends of a difference."""
    low, high = (
        _points(end) if metric in SHARES else _difference(metric, end) for end in (between.low, between.high)
    )
    return f"{low} to {high}"


def value_interval(comparison: Comparison) -> tuple[float, float]:
    """The interval of the difference, moved to where the reference stands: the ends around `value`."""
    between = comparison.interval
    return comparison.reference + between.low, comparison.reference + between.high


def standing_words(comparison: Comparison) -> str:
    """`agreement 97.5 % (96.1 to 98.4, n = 600)`, or of a metric of each, `top-1 accuracy 90 % (-0.5 points, ...)`."""
    metric = comparison.metric
    name, value = metric_name(metric), metric_value(metric, comparison.value)
    count = f"n = {whole(comparison.n)}"
    if metric in COMPARES_BOTH:
        low, high = (metric_value(metric, end).removesuffix(f"{THIN}%") for end in value_interval(comparison))
        return f"{name} {value} ({low} to {high}, {count})"
    difference = metric_difference(metric, comparison.difference)
    return f"{name} {value} ({difference}, {interval(comparison.interval, metric)}, {count})"


def speedup_words(speed: Speed) -> str:
    """`2.30` times and its interval."""
    between = speed.speedup_interval
    low, high = (times(end).rstrip("\u00d7") for end in (between.low, between.high))
    return f"{times(speed.speedup)} ({low} to {high})"


def size_percent(report: QualityReport, variant: Variant) -> str:
    """`27.4 %` of the reference's size; '' where either is not known."""
    share = size_share(report, variant)
    return f"{digits(share * 100)}{THIN}%" if math.isfinite(share) else ""


def size_share(report: QualityReport, variant: Variant) -> float:
    """Its size over that of the reference; NaN where either is not known."""
    reference = report.variants[0].size if report.variants else 0
    return variant.size / reference if reference > 0 and variant.size > 0 else math.nan


def level(between: Interval) -> str:
    """`95 % interval (Newcombe 1998, method 10)`."""
    share = f"{tick(between.level * 100)}{THIN}% interval" if math.isfinite(between.level) else "interval"
    return share + (f" ({between.method})" if between.method else "")
