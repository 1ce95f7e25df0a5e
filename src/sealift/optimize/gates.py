"""Measured variant -> its gates. Pure: bounds and figures in, verdicts and sentences out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sealift.optimize.evidence.paired import verdict_of
from sealift.optimize.report import Comparison, Gate, Speed, Verdict
from sealift.project.project import Optimize

COSINE: Final = 0.99
"""The least mean cosine with the reference's vectors, where an answer is a vector and no class."""

ACCURACY, AGREEMENT, SPEED = "accuracy", "agreement", "speed"
SIZE, LATENCY, ROWS, OVERFLOW = "size", "latency", "batch independence", "overflow safety"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What every variant of a model is held to.

    `permitted_bytes` is `[limits] max_model_mb`; `p99_ms` is `[slo] latency_p99_ms`, None where nothing is promised.
    `target_int8`: whether the box is known to multiply bytes without overflow (VNNI, AMX). `rows_share`: whether
    rows of several requests may share a run of the reference.
    """

    wish: Optimize
    permitted_bytes: float
    reference_bytes: int
    p99_ms: float | None = None
    target_int8: bool = False
    rows_share: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of one variant.

    `accuracy` is the gated metric on labelled items, None without labels; `agreement` compares with the reference's
    answers. `row_reason`: why rows may not share a run; empty: they may. `overflow` names what would saturate on a
    processor without VNNI; empty: nothing.
    """

    size_bytes: int
    speed: Speed
    accuracy: Comparison | None = None
    agreement: Comparison | None = None
    row_reason: str = ""
    overflow: str = ""


def gates_of(found: Measured, bounds: Bounds) -> tuple[Gate, ...]:
    """All gates that apply, in the order in which a person asks."""
    return tuple(_gates(found, bounds))


def _gates(found: Measured, bounds: Bounds) -> Iterator[Gate]:
    accuracy = _accuracy(found.accuracy, bounds.wish) if found.accuracy is not None else None
    if accuracy is not None:
        yield accuracy
    if found.agreement is not None and (accuracy is None or accuracy.verdict is Verdict.NOT_ENOUGH_EVIDENCE):
        yield _agreement(found.agreement, bounds.wish)
    elif accuracy is None:
        yield Gate(
            name=AGREEMENT,
            verdict=Verdict.NOT_ENOUGH_EVIDENCE,
            expected="answers that can be held against the reference's",
            found="no input to try",
            advice="give [optimize] evaluation or calibration data",
        )
    yield _size(found, bounds)
    yield _speed(found.speed, bounds.wish)
    if bounds.p99_ms is not None:
        yield _latency(found.speed, bounds.p99_ms)
    if bounds.rows_share:
        yield _rows(found.row_reason)
    yield from _overflow(found.overflow, bounds)


def _accuracy(comparison: Comparison, wish: Optimize) -> Gate:
    drop = wish.max_accuracy_drop_points
    permitted = permitted_drop(comparison, drop)
    verdict = verdict_of(comparison, permitted)
    of_reference = "percent of the reference's" if comparison.metric == "rmse" else "points"
    return Gate(
        name=ACCURACY,
        verdict=verdict,
        expected=f"{comparison.metric} at most {drop:g} {of_reference} worse than the reference",
        found=in_words(comparison),
        advice=_more_data(comparison) if verdict is Verdict.NOT_ENOUGH_EVIDENCE else "",
        metric=comparison.metric,
        bound=comparison.reference - (permitted if comparison.higher_is_better else -permitted),
    )


def permitted_drop(comparison: Comparison, points: float) -> float:
    """`max_accuracy_drop_points` in the metric's own unit; of an RMSE the points are percent of the reference's."""
    return points / 100 * (comparison.reference if comparison.metric == "rmse" else 1.0)


def _agreement(comparison: Comparison, wish: Optimize) -> Gate:
    least = COSINE if comparison.metric == "cosine" else wish.min_agreement
    verdict = verdict_of(comparison, 1 - least)
    return Gate(
        name=AGREEMENT,
        verdict=verdict,
        expected=f"{comparison.metric} with the reference of at least {least:g}",
        found=in_words(comparison),
        advice=_more_data(comparison) if verdict is Verdict.NOT_ENOUGH_EVIDENCE else "",
        metric=comparison.metric,
        bound=least,
    )


def _more_data(comparison: Comparison) -> str:
    return f'more evaluation items than {comparison.n}, or [optimize] unproven = "ship"'


def _size(found: Measured, bounds: Bounds) -> Gate:
    permitted, size = bounds.permitted_bytes, found.size_bytes
    share = f"{size / 1e6:.2f} MB, {100 * size / max(bounds.reference_bytes, 1):.0f} % of the reference's"
    return Gate(
        name=SIZE,
        verdict=_passed(size <= permitted),
        expected=f"at most {permitted / 1e6:g} MB ([limits] max_model_mb)",
        found=share,
    )


def _speed(speed: Speed, wish: Optimize) -> Gate:
    """Of no consequence where the project prefers size, but measured and said."""
    least, interval = wish.min_speedup, speed.speedup_interval
    if wish.prefer == "size":
        return Gate(name=SPEED, verdict=Verdict.PASSED, expected="any ([optimize] prefer = \"size\")",
                    found=times_in_words(speed))  # fmt: skip
    verdict = Verdict.NOT_ENOUGH_EVIDENCE
    if interval.low >= least:
        verdict = Verdict.PASSED
    elif interval.high < least:
        verdict = Verdict.FAILED
    return Gate(
        name=SPEED,
        verdict=verdict,
        expected=f"at least {least:g}x as fast as the reference, one row at a time",
        found=times_in_words(speed),
        advice="measure on a quiet machine" if verdict is Verdict.NOT_ENOUGH_EVIDENCE else "",
    )


def _latency(speed: Speed, p99_ms: float) -> Gate:
    return Gate(
        name=LATENCY,
        verdict=_passed(speed.p99_ms <= p99_ms),
        expected=f"p99 of at most {p99_ms:g} ms ([slo] latency_p99_ms)",
        found=f"{speed.p99_ms:.2f} ms",
    )


def _rows(reason: str) -> Gate:
    return Gate(
        name=ROWS,
        verdict=_passed(not reason),
        expected="a row's answer does not depend on the rows beside it, as the reference's does not",
        found=reason or "rows of several requests may share a run",
    )


def _overflow(risk: str, bounds: Bounds) -> Iterator[Gate]:
    if not risk:
        return
    advice = 'name the box\'s VNNI in [target] cpu, such as "avx512_vnni"'
    yield Gate(
        name=OVERFLOW,
        verdict=_passed(bounds.target_int8),
        expected="no product of bytes overflows on the box",
        found=f"without VNNI it may: {risk}" + ("; the box has VNNI" if bounds.target_int8 else ""),
        advice="" if bounds.target_int8 else advice,
    )


def in_words(comparison: Comparison) -> str:
    """`top1 89.5 % against 90.0 % (-0.5, 95 % interval -1.8 to 0.9, n = 400)`; `rmse 2.31 against 2.30 (...)`."""
    unit = 1.0 if comparison.metric == "rmse" else 100.0
    sign = "" if comparison.metric == "rmse" else " %"
    low, high = comparison.interval.low * unit, comparison.interval.high * unit
    if comparison.metric in ("agreement", "cosine"):
        low, high = comparison.reference * unit + low, comparison.reference * unit + high
        value = f"{comparison.metric} {comparison.value * unit:.2f}{sign}"
        return f"{value} (95 % interval {low:.2f} to {high:.2f}, n = {comparison.n})"
    return (
        f"{comparison.metric} {comparison.value * unit:.2f}{sign} against {comparison.reference * unit:.2f}{sign} "
        f"({comparison.difference * unit:+.2f}, 95 % interval {low:+.2f} to {high:+.2f}, n = {comparison.n})"
    )


def times_in_words(speed: Speed) -> str:
    """`2.31x (95 % interval 2.25 to 2.38): p50 2.07 ms, p99 2.40 ms`."""
    interval = speed.speedup_interval
    return (
        f"{speed.speedup:.2f}x (95 % interval {interval.low:.2f} to {interval.high:.2f}): "
        f"p50 {speed.p50_ms:.3g} ms, p99 {speed.p99_ms:.3g} ms"
    )


def _passed(holds: bool) -> Verdict:
    return Verdict.PASSED if holds else Verdict.FAILED
