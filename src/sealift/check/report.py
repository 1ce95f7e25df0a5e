"""What a check found, as JSON between the release's interpreter and the tool (standard library only)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from sealift.errors import StoreError

NEVER_HERE: Final = 0
"""`max_rows` of a model whose rows did not stay what they are on this box, although they did where it was packed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked: a short name, whether it holds, and a sentence with the figures."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The findings in order. `golden_checked` is False when no golden input could be compared.

    Per model, from golden inputs, one at a time: `latency_ms` is the median answer, `latency_p99_ms` the p99 (of
    fewer than 100 runs the longest). `memory_mb`: peak resident 10^6 bytes. `max_rows` is per model the most rows
    of several requests that should share a run here; 1: none. `trials_mb` were held beyond that while sizes were
    tried that are not used. `variants` is per model that travels in several the one that answers quickest here.
    """

    findings: tuple[Finding, ...]
    golden_checked: bool
    latency_ms: Mapping[str, float]
    memory_mb: float
    latency_p99_ms: Mapping[str, float] = field(default_factory=dict)
    max_rows: Mapping[str, int] = field(default_factory=dict)
    trials_mb: float = 0.0
    variants: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """True if everything that was checked holds."""
        return all(finding.ok for finding in self.findings)

    @property
    def problems(self) -> tuple[str, ...]:
        """The sentences of what does not hold."""
        return tuple(f"{finding.name}: {finding.detail}" for finding in self.findings if not finding.ok)

    def encode(self) -> str:
        """One line of JSON, as the check process prints it."""
        return json.dumps(asdict(self), sort_keys=True)

    def summary(self) -> dict[str, Any]:
        """The part that is kept in the release's record; integers only (microseconds, kilobytes)."""
        return {
            "golden_checked": self.golden_checked,
            "latency_us": {name: round(value * 1000) for name, value in self.latency_ms.items()},
            "latency_p99_us": {name: round(value * 1000) for name, value in self.latency_p99_ms.items()},
            "max_rows": dict(self.max_rows),
            "memory_kb": round(self.memory_mb * 1000),
            "variants": dict(self.variants),
            "notes": [f"{finding.name}: {finding.detail}" for finding in self.findings],
        }


def decode_report(text: str) -> CheckReport:
    """The report of this or another version of sealift: what is new there is passed over.

    Raises: StoreError: not a report (the check process printed something else).
    """
    try:
        doc = json.loads(text)
        return CheckReport(
            findings=tuple(Finding(each["name"], each["ok"], each["detail"]) for each in doc["findings"]),
            golden_checked=doc["golden_checked"],
            latency_ms=doc["latency_ms"],
            memory_mb=doc["memory_mb"],
            latency_p99_ms=doc.get("latency_p99_ms", {}),
            max_rows={name: int(rows) for name, rows in doc.get("max_rows", {}).items()},
            trials_mb=float(doc.get("trials_mb", 0.0)),
            variants={name: str(variant) for name, variant in doc.get("variants", {}).items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"the check printed something else than a report: {text[:200]!r}") from error
