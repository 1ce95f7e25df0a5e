"""The figures of one run, by case, contender and connections; one value per round."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from contenders import Contender

SCHEMA = 1


@dataclass
class Results:
    """`runs[case][name][connections]`: one dict per round. `limits[case][layout]`: runs per second in process."""

    machine: dict[str, Any]
    runs: dict[str, dict[str, dict[int, list[dict[str, float]]]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    )
    limits: dict[str, dict[str, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    footprints: dict[str, dict[str, list[dict[str, float]]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    kinds: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def add(self, case: str, contender: Contender, connections: int, figures: dict[str, float]) -> None:
        self.kinds[contender.name] = contender.kind
        self.runs[case][contender.name][connections].append(figures)

    def limit(self, case: str, layout: str, rate: float) -> None:
        self.limits[case][layout].append(rate)

    def footprint(self, case: str, name: str, ready_s: float, pss_mb: float, processes: int) -> None:
        figures = {"ready_s": round(ready_s, 3), "pss_mb": round(pss_mb, 1), "processes": processes}
        self.footprints[case][name].append(figures)

    def median(self, case: str, name: str, connections: int, what: str = "rps") -> float | None:
        """Of the rounds; None: not measured."""
        values = self.values(case, name, connections, what)
        return statistics.median(values) if values else None

    def values(self, case: str, name: str, connections: int, what: str = "rps") -> list[float]:
        return [one[what] for one in self.runs.get(case, {}).get(name, {}).get(connections, [])]

    def ratio(
        self, over: tuple[str, str], under: tuple[str, str], connections: int, what: str = "rps"
    ) -> float | None:
        """Median of the rounds' own ratios; each side is (case, name)."""
        pairs = zip(
            self.values(*over, connections, what), self.values(*under, connections, what), strict=False
        )
        ratios = [a / b for a, b in pairs if b]
        return statistics.median(ratios) if ratios else None

    def best_limit(self, case: str) -> float | None:
        """The best layout's median, runs per second."""
        rates = [statistics.median(values) for values in self.limits.get(case, {}).values()]
        return max(rates, default=None)

    def named(self, case: str, kind: str) -> Iterator[str]:
        return (name for name in self.runs.get(case, {}) if self.kinds[name] == kind)

    def best(self, case: str, name: str) -> float | None:
        """The highest median rate, at whatever number of connections."""
        counts = self.runs.get(case, {}).get(name, {})
        rates = [self.median(case, name, count) for count in counts if self.answers_well(case, name, count)]
        return max((rate for rate in rates if rate is not None), default=None)

    def answers_well(self, case: str, name: str, connections: int) -> bool:
        """Claims that it was measured, and that fewer than 1 % of its answers were errors or time-outs."""
        rounds = self.runs.get(case, {}).get(name, {}).get(connections, [])
        return bool(rounds) and all(one["errors"] <= one["rps"] / 100 for one in rounds)

    def last(self, case: str, name: str) -> str:
        """The newest round of a contender in a few words."""
        runs = self.runs[case][name]
        words = [
            f"c{count} {found[-1]['rps']:,.0f}/s p50 {found[-1]['p50_ms']:.2f}"
            for count, found in runs.items()
        ]
        return "   ".join(words)

    def as_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA, "machine": self.machine, "kinds": self.kinds, "limits": self.limits, "runs": self.runs,
            "footprints": self.footprints, "problems": self.problems,
        }  # fmt: skip

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Results:
        """What `as_json` gave."""
        found = cls(document["machine"], kinds=document["kinds"], problems=document["problems"])
        for case, names in document["runs"].items():
            for name, by_connections in names.items():
                for connections, rounds in by_connections.items():
                    found.runs[case][name][int(connections)] = rounds
        found.limits.update(document["limits"])
        found.footprints.update(document["footprints"])
        return found
