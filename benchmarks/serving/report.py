"""Figures of a quiet run -> the generated part of docs/explanation/serving-speed.md.

python benchmarks/serving/report.py results.json [--overload overload.json] [--startup startup.json]
python benchmarks/serving/report.py results.json --print        the same on the screen, nothing written
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from pathlib import Path
from typing import Any

import overload
from results import Results
from verdicts import Verdict, table, verdicts

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "serving-speed.md"
_GENERATED = re.compile(r"(?<=<!-- measured -->\n).*?(?=<!-- end -->)", re.DOTALL)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="what run.py --json wrote")
    parser.add_argument("--overload", type=Path, metavar="F", help="what overload.py --json wrote")
    parser.add_argument("--startup", type=Path, metavar="F", help="what startup.py --json wrote")
    parser.add_argument("--print", action="store_true", help="write to the screen, not into the page")
    args = parser.parse_args()
    results = Results.from_json(json.loads(args.results.read_text()))
    more = {
        name: json.loads(path.read_text())
        for name in ("overload", "startup")
        if (path := getattr(args, name))
    }
    text = generated(results, more)
    if args.print:
        print(text)
        return 0
    page = PAGE.read_text(encoding="utf-8")
    if len(_GENERATED.findall(page)) != 1:
        sys.exit(f"{PAGE}: expected one <!-- measured --> ... <!-- end -->")
    PAGE.write_text(_GENERATED.sub(lambda _: text, page), encoding="utf-8")
    return 0


def generated(results: Results, more: dict[str, Any]) -> str:
    """Machine, promises, tables."""
    machine = results.machine
    lines = verdicts(results)
    if "overload" in more:
        lines += overload.verdicts(more["overload"], tell=False)
    if "startup" in more:
        lines += started(more["startup"])
    served = "an installed release" if machine["served"] == "release" else "a project"
    where = (
        f"{machine['date']}; {machine['cpu']}, {machine['cores']} cores; {machine['system']}; Python "
        f"{machine['python']}; `wrk -t1` on the same machine; medians of {machine['rounds']} interleaved rounds of "
        f"{machine['seconds']} s; sealift served as {served}."
    )
    rows = ["| promise | asked | measured | |", "|---|---|---|---|", *map(row, lines)]
    missing = [f"- {name}: {problem}" for name, problem in sorted(results.problems.items())]
    parts = [where, "\n".join(rows), table(results).rstrip()]
    if missing:
        parts.append("Not measured:\n\n" + "\n".join(missing))
    return "\n" + "\n\n".join(parts) + "\n\n"


def started(found: dict[str, Any]) -> list[Verdict]:
    """The promises of startup.py."""
    middle = {key: statistics.median(one[key] for one in found["rounds"]) for key in found["rounds"][0]}
    ratio = middle["pss_mb"] / middle["bare_pss_mb"]
    return [
        Verdict("Lite0: ready, seconds from process start", 1.0, middle["ready_s"], at_most=True),
        Verdict("Lite0: PSS of the process tree over the bare session", 1.35, ratio, at_most=True),
    ]


def row(line: Verdict) -> str:
    found = "-" if line.found is None else f"{line.found:.2f}"
    word = {True: "holds", False: "**does not hold**", None: "not measured"}[line.holds]
    return f"| {line.text} | {'<=' if line.at_most else '>='} {line.bound:g} | {found} | {word} |"


if __name__ == "__main__":
    sys.exit(main())
