"""What the project file's `[gates]` let across: licences, known vulnerabilities, size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from packaging.utils import canonicalize_name

from sealift.errors import GateFailed
from sealift.pack.licence_gate import canonical_expression, canonical_licence, is_satisfied
from sealift.pack.osv import Advisory, Verdict
from sealift.pack.osv_list import OsvList, read_list
from sealift.project.project import Gates

NONE_DECLARED: Final = "none declared"
_LONGEST_SUMMARY: Final = 120


@dataclass(frozen=True, slots=True)
class Package:
    """Something that travels and has a licence. `licence` is an SPDX expression, None where none is stated."""

    name: str
    version: str
    licence: str | None
    layer: str

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.layer})"


@dataclass(frozen=True, slots=True)
class GateReport:
    """`results` is what `release.json` records (strings and lists of strings); `findings` one sentence each."""

    results: Mapping[str, Any]
    findings: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """True when no gate was violated."""
        return not self.findings

    def require_passed(self) -> None:
        """Raises: GateFailed: with every finding."""
        if self.findings:
            count = "1 finding" if len(self.findings) == 1 else f"{len(self.findings)} findings"
            raise GateFailed(
                f"the gates of the project file refuse this release ({count}); nothing was packed",
                problems=self.findings,
                next_step="change the packages; or, if whoever answers for the gates agrees, name them in "
                "[gates] licence_exceptions or accepted_vulnerabilities",
            )


def check_gates(gates: Gates, packages: Sequence[Package], stored_size: int | None) -> GateReport:
    """Hold every gate against what is to travel; all findings at once, nothing is raised.

    Args:
        stored_size: bytes of the bundle on the medium; None before it is written. So that packing twice gives
            the same bytes, `results` name the bound and not the size.
    """
    parts = (_licences(gates, packages), _vulnerabilities(gates, packages), check_size(gates, stored_size))
    results: dict[str, Any] = {}
    for part in parts:
        results.update(part.results)
    return GateReport(results, tuple(_in_one_line(finding) for part in parts for finding in part.findings))


def _licences(gates: Gates, packages: Sequence[Package]) -> GateReport:
    if not gates.licences:
        return GateReport({"licences": NONE_DECLARED}, ())
    permitted = {found for text in gates.licences if (found := canonical_licence(text))}
    findings = [
        f"[gates] licences: {text!r} is not an SPDX licence identifier"
        for text in gates.licences
        if canonical_licence(text) is None
    ]
    excepted = []
    for package in sorted(packages, key=str):
        reason = _licence_problem(package, permitted)
        if reason and _is_named(package, gates.licence_exceptions):
            excepted.append(f"{package.name}=={package.version}: {reason}")
        elif reason:
            findings.append(f"{package}: {reason}")
    results: dict[str, Any] = {"licences": _verdict(findings, f"{len(packages)} packages")}
    if excepted:
        results["licence_exceptions"] = excepted
    return GateReport(results, tuple(findings))


def _licence_problem(package: Package, permitted: set[str]) -> str | None:
    if package.licence is None:
        return "states no licence"
    expression = canonical_expression(package.licence)
    if expression is None:
        return f"licence {package.licence!r} is not an SPDX expression"
    return None if is_satisfied(expression, permitted) else f"licence {expression} is not permitted"


def _is_named(package: Package, names: Sequence[str]) -> bool:
    """By name, or by name and version."""
    for text in names:
        name, _, version = text.partition("==")
        if canonicalize_name(name) == canonicalize_name(package.name) and version in ("", package.version):
            return True
    return False


def _vulnerabilities(gates: Gates, packages: Sequence[Package]) -> GateReport:
    if gates.vulnerabilities is None:
        return GateReport({"vulnerabilities": NONE_DECLARED}, ())
    known = read_list(gates.vulnerabilities)
    if not isinstance(known, OsvList):
        return GateReport({"vulnerabilities": _verdict(known, "")}, known)
    findings, accepted = [], []
    for package in sorted(packages, key=str):
        for entry in known.by_name.get(canonicalize_name(package.name), ()):
            verdict = entry.judge(canonicalize_name(package.name), package.version)
            if verdict is Verdict.CLEAR:
                continue
            if {entry.id, *entry.aliases} & set(gates.accepted_vulnerabilities):
                accepted.append(f"{package.name}=={package.version}: {_names(entry)}")
            else:
                findings.append(f"{package}: {_finding(package, entry, verdict)}")
    results: dict[str, Any] = {
        "vulnerabilities": _verdict(findings, f"list of {known.newest}, {known.count} entries"),
        "vulnerabilities_sha256": known.sha256,
    }
    if accepted:
        results["accepted_vulnerabilities"] = accepted
    return GateReport(results, tuple(findings))


def _finding(package: Package, entry: Advisory, verdict: Verdict) -> str:
    text = f"{_names(entry)}, {verdict.value}"
    fixed = entry.fixed_in(canonicalize_name(package.name), package.version)
    if fixed:
        text += f", fixed in {fixed}"
    summary = _in_one_line(entry.summary)
    if len(summary) > _LONGEST_SUMMARY:
        summary = summary[: _LONGEST_SUMMARY - 3] + "..."
    return f"{text}: {summary}" if summary else text


def _names(entry: Advisory) -> str:
    aliases = f" ({', '.join(entry.aliases)})" if entry.aliases else ""
    return _in_one_line(f"{entry.id}{aliases}")


def _in_one_line(text: str) -> str:
    """Nothing that a terminal would act on, or that no document can hold: a list's words are not ours."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def check_size(gates: Gates, stored_size: int | None) -> GateReport:
    """The size gate alone: for the moment when the bundle is written and its size known."""
    if gates.max_bundle_mb is None:
        return GateReport({"size": NONE_DECLARED}, ())
    findings: tuple[str, ...] = ()
    if stored_size is not None and stored_size > gates.max_bundle_mb * 1e6:
        findings = (
            f"the bundle has {stored_size / 1e6:.1f} MB on the medium, [gates] max_bundle_mb is "
            f"{gates.max_bundle_mb:g}",
        )
    return GateReport({"size": _verdict(findings, f"at most {gates.max_bundle_mb:g} MB")}, findings)


def _verdict(findings: Sequence[str], held: str) -> str:
    return f"failed, {len(findings)} findings" if findings else f"passed, {held}"
