"""What was measured, in words and figures: the table's rows and what they mean."""

from __future__ import annotations

from typing import Final

from sealift.bench.knee import is_good
from sealift.bench.ladder import Curve
from sealift.bench.tally import Step

_HEADER: Final = (
    "load",
    "offered/s",
    "answered/s",
    "p50 ms",
    "p90",
    "p99",
    "p99.9",
    "rejected",
    "errors",
    "generator",
)


def rows(curve: Curve) -> list[tuple[str, ...]]:
    """The table: a header, then one row per step; `*` marks the knee, `!` a busy generator."""
    found: list[tuple[str, ...]] = [_HEADER]
    for step in (*curve.closed, *curve.ladder):
        what = clients(step.connections) if step.offered_rps is None else "constant rate"
        mark = " *" if step is curve.knee.step else ""
        offered = "" if step.offered_rps is None else f"{step.offered_rps:,.0f}{mark}"
        times = (in_ms(step.p50_ms), in_ms(step.p90_ms), in_ms(step.p99_ms), in_ms(step.p999_ms))
        busy = f"{step.generator_cores:.2f}{'!' if step.generator_was_the_limit else ''}"
        errors = str(step.errors or "") + _error_statuses(step)
        found.append(
            (what, offered, f"{step.achieved_rps:,.0f}", *times, str(step.rejected or ""), errors, busy)
        )
    return found


def sentences(curve: Curve) -> list[str]:
    """What the figures mean, the knee first."""
    knee = curve.knee.step
    if not curve.ladder:
        lines = []
    elif knee is None:
        lines = [f"knee: none: already the lowest rate is answered badly ({curve.knee.rule})"]
    else:
        lines = [f"knee: {knee.offered_rps:,.0f} requests/s, p99 {in_ms(knee.p99_ms)} ms ({curve.knee.rule})"]
        if knee is curve.ladder[-1]:
            lines.append("  it is the highest rate that was tried: name higher ones with --rates")
        elif any(is_good(step, curve.knee.bound_ms or 0.0) for step in _above(curve)):
            lines.append(
                "  higher rates passed again: the machine was not quiet; try again with longer --seconds"
            )
    if curve.generator_was_the_limit:
        lines.append(
            "warning: at the rows with ! the load generator was busy or late: what they show may be its limit, "
            "not the server's; use a generator on another machine with --url"
        )
    lines += [f"warning: {problem}" for problem in curve.problems]
    return lines


def clients(count: int) -> str:
    """`1 client`, `8 clients`."""
    return "1 client" if count == 1 else f"{count} clients"


def in_ms(value: float | None) -> str:
    """A latency in ms as a person writes it, `-` for none."""
    if value is None:
        return "-"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _above(curve: Curve) -> list[Step]:
    knee = curve.knee.step
    rate = knee.offered_rps or 0.0 if knee is not None else 0.0
    return [step for step in curve.ladder if (step.offered_rps or 0.0) > rate]


def _error_statuses(step: Step) -> str:
    """` (500: 3, no answer: 2)`."""
    parts = [f"{status}: {n}" for status, n in sorted(step.statuses.items()) if status not in (200, 429, 503)]
    parts += [f"broken: {step.failures}"] if step.failures else []
    parts += [f"no answer: {step.unanswered}"] if step.unanswered else []
    return f" ({', '.join(parts)})" if parts else ""
