"""Figures of a run -> the generated part of docs/explanation/optimizing.md.

python benchmarks/optimize/report.py results.json               writes it into the page
python benchmarks/optimize/report.py results.json --print       the same on the screen
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from verdicts import GUIDES_SIZE, GUIDES_SPEED, Verdict, verdicts

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "optimizing.md"
_GENERATED = re.compile(r"(?<=<!-- measured -->\n).*?(?=<!-- end -->)", re.DOTALL)
Found = Mapping[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="what run.py --json wrote")
    parser.add_argument("--print", action="store_true", help="write to the screen, not into the page")
    args = parser.parse_args()
    text = generated(json.loads(args.results.read_text(encoding="utf-8")))
    if args.print:
        print(text)
    else:
        write_page(text)
    return 0


def write_page(text: str) -> None:
    """Between the markers of the page."""
    page = PAGE.read_text(encoding="utf-8")
    if len(_GENERATED.findall(page)) != 1:
        sys.exit(f"{PAGE}: expected one <!-- measured --> ... <!-- end -->")
    PAGE.write_text(_GENERATED.sub(lambda _: text, page), encoding="utf-8")


def generated(results: Found) -> str:
    """Machine, promises, a table a benchmark."""
    parts = [_where(results), _table(("promise", "asked", "measured", ""), map(_row, verdicts(results)))]
    drawn = {"resnet18": _resnet18, "lite0": _lite0, "memory": _memory}
    parts += [draw(results[name]) for name, draw in drawn.items() if name in results]
    return "\n" + "\n\n".join(parts) + "\n\n"


def _where(results: Found) -> str:
    machine = results["machine"]
    others = [results[name]["others"]["foreign_cores"] for name in ("resnet18", "lite0") if name in results]
    engines = ", ".join(
        f"{name} {version}" for name, version in machine["engines"].items() if name != "openvino"
    )
    return (
        f"{machine['date']}; {machine['cpu']}, {machine['cores']} cores, INT8 by {machine['int8']} "
        f"({', '.join(machine['features'])}); {engines}; Python {machine['python']}; {machine['system']}. Other work "
        f"on the machine while speed was measured: {max(others, default=0):.2f} cores on average."
    )


def _row(line: Verdict) -> tuple[str, ...]:
    return line.text, line.asked, line.found, "holds" if line.holds else "**does not hold**"


def _resnet18(found: Found) -> str:
    counts = list(found["rows"][0]["threads"])
    head = ["", "MB", "of its fp32", *_speed_titles(counts)]
    promised = ["*the guide's promise*", "", f"*{100 * GUIDES_SIZE:.0f} %*"]
    promised += ["", f"*{GUIDES_SPEED}x*"] * len(counts)
    rows = [promised, *(_network(row, counts) for row in found["rows"])]
    return "### ResNet18, shape only, batch 1\n\n" + _table(head, rows)


def _network(row: Found, counts: list[str]) -> list[str]:
    cells = [row["name"], f"{row['bytes'] / 1e6:.1f}", f"{100 * row['share']:.1f} %"]
    for count in counts:
        speed = row["threads"][count]
        cells += [f"{speed['p50_ms']:.2f}", _times(speed["speedup"], speed["low"], speed["high"])]
    return cells if "static" not in row["name"] else [f"**{cell}**" if cell else "" for cell in cells]


def _lite0(found: Found) -> str:
    report = found["report"]
    variants = {variant["name"]: variant for variant in report["variants"]}
    shipped, size = variants[report["chosen"]], _bytes(variants["fp32"])
    counts = list(found["races"])
    head = ["", "MB", "of fp32", *_speed_titles(counts), "agreement with fp32"]
    own = [f"**{shipped['name']}**, as `sealift optimize` ships it", *_sizes(_bytes(shipped), size)]
    rows = [
        ["fp32", f"{size / 1e6:.1f}", "100 %", *_raced(found["races"], "fp32"), ""],
        [*own, *_raced(found["races"], "variant"), _agreement(shipped["comparisons"])],
    ]
    for rival in found["rivals"]:
        name = f"onnxruntime's `quantize_static`, {rival['activations']} activations"
        figures = (*_sizes(rival["bytes"], size), *_raced(rival["races"], "variant"))
        rows.append([name, *figures, _agreement([rival["agreement"]])])
    recipe = "; ".join(f"{key}: {value}" for key, value in sorted(shipped["recipe"].items()))
    lines = [
        "### EfficientNet-Lite0, through `sealift optimize`",
        _table(head, rows),
        f"The verdict in the report: *{report['verdict']}*. Under load: {shipped['speed']['rows_per_s']:.0f} rows/s "
        f"({shipped['speed']['layout']}), {shipped['speed']['throughput_ratio']:.2f} times fp32's best.",
        "On the labelled photos: " + "; ".join(map(_on_photos, found["photos"])) + ".",
        f"The recipe: {recipe}. Peak memory of the verb, with everything: {found['verb_peak_mb']:,} MB.",
    ]
    return "\n\n".join(lines)


def _memory(found: Found) -> str:
    ours = found["ours"]
    rows = [
        ("sealift, without a break", f"{found['images']:,}", f"{ours['whole']['peak_mb']:,}"),
        (f"sealift, killed after {ours['resumed']['killed_after']:,} and resumed", f"{found['images']:,}",
         f"{max(ours['resumed']['peak_mb'], ours['resumed']['peak_before_mb']):,}"),
        *((f"onnxruntime's calibrator, {each['method']}", f"{each['images']:,}", f"{each['peak_mb']:,}")
          for each in found["peers"]),
    ]  # fmt: skip
    text = "### Memory of calibrating EfficientNet-Lite0\n\n" + _table(("", "images", "peak MB"), rows)
    first, last = (each for each in found["peers"] if each["method"] == "percentile")
    each_mb = (last["peak_mb"] - first["peak_mb"]) / (last["images"] - first["images"])
    all_gb = each_mb * found["images"] / 1000
    return (
        f"{text}\n\nonnxruntime's keeps every activation: {each_mb:.0f} MB more an image, so {found['images']:,} "
        f"images would take about {all_gb:.0f} GB (extrapolated, not measured)."
    )


def _speed_titles(counts: Iterable[str]) -> list[str]:
    titles = (f"{'one thread' if count == '1' else f'{count} threads'}: ms" for count in counts)
    return [word for title in titles for word in (title, "speed-up")]


def _bytes(variant: Found) -> int:
    return sum(file["size"] for file in variant["files"])


def _sizes(size: int, whole: int) -> tuple[str, str]:
    return f"{size / 1e6:.1f}", f"{100 * size / whole:.1f} %"


def _raced(races: Found, name: str) -> list[str]:
    cells = []
    for contest in races.values():
        speed = contest[name]
        ends = speed["speedup_interval"]
        cells += [f"{speed['p50_ms']:.2f}", _times(speed["speedup"], ends["low"], ends["high"])]
    return cells


def _times(ratio: float, low: float, high: float) -> str:
    return "1x" if low == high == 1 else f"{ratio:.2f}x ({low:.2f} to {high:.2f})"


def _agreement(comparisons: Iterable[Found]) -> str:
    for each in comparisons:
        if each["metric"] == "agreement":
            ends = each["interval"]
            low, high = (100 * (1 + end) for end in (ends["low"], ends["high"]))
            return f"{100 * each['value']:.1f} % ({low:.1f} to {high:.1f}, n = {each['n']:,})"
    return ""


def _on_photos(each: Found) -> str:
    ends = each["interval"]
    return (
        f"{each['metric']} {100 * each['value']:.1f} % against {100 * each['reference']:.1f} % "
        f"({100 * each['difference']:+.1f}, 95 % interval {100 * ends['low']:+.1f} to {100 * ends['high']:+.1f}, "
        f"n = {each['n']})"
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = list(head)
    lines = [f"| {' | '.join(line)} |" for line in (titles, *map(list, rows))]
    return "\n".join([lines[0], "|---" * len(titles) + "|", *lines[1:]])


if __name__ == "__main__":
    sys.exit(main())
