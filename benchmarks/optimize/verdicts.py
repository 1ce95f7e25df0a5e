"""The promises, held against a run's figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

GUIDES_SIZE: Final = 0.25
GUIDES_SPEED: Final = 2.3
Found = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One promise; `found` with the words that go with it."""

    text: str
    asked: str
    found: str
    holds: bool


def verdicts(results: Found) -> list[Verdict]:
    """Those of the benchmarks that are in the results, in their order."""
    parts = {"resnet18": _resnet18, "lite0": _lite0, "memory": _memory}
    return [line for name, judge in parts.items() if name in results for line in judge(results[name])]


def _resnet18(found: Found) -> Iterator[Verdict]:
    static = next(row for row in found["rows"] if row["name"].endswith("static INT8"))
    name = "ResNet18, static INT8"
    yield _at_most(f"{name}: size of fp32's", static["share"], 0.26)
    for threads, speed in static["threads"].items():
        yield _at_least(f"{name}: speed-up, {_threads(threads)}", speed, GUIDES_SPEED)


def _lite0(found: Found) -> Iterator[Verdict]:
    report = found["report"]
    variants = {variant["name"]: variant for variant in report["variants"]}
    shipped, cores = variants[report["chosen"]], report["machine"]["cores"]
    yield Verdict("Lite0: what ships", "INT8", report["chosen"], shipped["precision"] == "int8")
    share = _bytes(shipped) / _bytes(variants["fp32"])
    yield _at_most("Lite0: size of fp32's", share, 0.30)
    speed, alone = shipped["speed"], found["races"]["1"]["variant"]
    yield _at_least("Lite0: speed-up, one thread", _interval(alone), 2.0)
    yield _at_least(f"Lite0: speed-up, {_threads(cores)} (the verb's own figure)", _interval(speed), 2.0)
    agreement = next((each for each in shipped["comparisons"] if each["metric"] == "agreement"), None)
    if agreement is not None:
        words = f"{_percent(agreement, 'value')} (n = {agreement['n']:,})"
        yield Verdict("Lite0: agreement with fp32", ">= 96 %", words, agreement["value"] >= 0.96)
    top1 = next(each for each in found["photos"] if each["metric"] == "top1")
    words = f"{top1['value']:.1%} against {top1['reference']:.1%} (n = {top1['n']})".replace("%", " %")
    yield Verdict(
        "Lite0: top-1 on labelled photos", "not significantly lower", words, top1["interval"]["high"] >= 0
    )
    packed = found["packed"]
    same = packed["in_release"] == packed["measured"]
    yield Verdict(
        "Lite0: the release holds",
        "the file that was measured",
        "the same digest" if same else "another",
        same,
    )


def _memory(found: Found) -> Iterator[Verdict]:
    ours = found["ours"]
    peak = max(ours["whole"]["peak_mb"], ours["resumed"]["peak_mb"], ours["resumed"]["peak_before_mb"])
    images = f"{found['images']:,}"
    yield Verdict(f"Calibration on {images} images: peak memory", "<= 1,500 MB", f"{peak:,} MB", peak <= 1500)
    same = "the same" if found["same_bytes"] else "others"
    killed = f"killed after {ours['resumed']['killed_after']:,} of {images} and resumed: bytes"
    yield Verdict(f"Calibration {killed}", "the same", same, found["same_bytes"])


def _at_most(text: str, share: float, bound: float) -> Verdict:
    return Verdict(
        text, f"<= {bound:.0%}".replace("%", " %"), f"{share:.1%}".replace("%", " %"), share <= bound
    )


def _at_least(text: str, speed: Found, bound: float) -> Verdict:
    words = f"{speed['speedup']:.2f}x ({speed['low']:.2f} to {speed['high']:.2f})"
    return Verdict(text, f">= {bound:g}x", words, speed["speedup"] >= bound)


def _interval(speed: Found) -> Found:
    ends = speed["speedup_interval"]
    return {"speedup": speed["speedup"], "low": ends["low"], "high": ends["high"]}


def _threads(count: object) -> str:
    return "one thread" if str(count) == "1" else f"{count} threads"


def _bytes(variant: Found) -> int:
    return sum(file["size"] for file in variant["files"])


def _percent(comparison: Found, key: str) -> str:
    return f"{comparison[key]:.1%}".replace("%", " %")
