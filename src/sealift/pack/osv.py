"""A folder or zip of OSV files -> what is known against the packages of a release, without a network.

OSV schema 1.x (ossf.github.io/osv-schema), ecosystem PyPI. What cannot be judged is never "not affected".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

ECOSYSTEM: Final = "PyPI"
_EVENTS: Final = ("fixed", "last_affected", "introduced")
"""In the order in which they act at one and the same version: affected, when an entry contradicts itself."""

_MODIFIED: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z", re.ASCII)
_ID: Final = re.compile(r"[!-~]{1,100}")


class Verdict(Enum):
    """Whether a version is in what an entry describes."""

    AFFECTED = "affected"
    CLEAR = "not affected"
    UNCLEAR = "cannot be judged"


class NotOsv(Exception):
    """Why a document is no OSV entry."""


@dataclass(frozen=True, slots=True)
class Range:
    """`kind` is the schema's `type`; `events` are (introduced | fixed | last_affected | limit, version)."""

    kind: str
    events: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Affected:
    """One package of an entry; `name` is normalised (PEP 503)."""

    name: str
    ranges: tuple[Range, ...]
    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Advisory:
    """One entry, its PyPI packages only. A withdrawn one has none."""

    id: str
    modified: str
    aliases: tuple[str, ...]
    summary: str
    affected: tuple[Affected, ...]

    def judge(self, name: str, version: str) -> Verdict:
        """Whether `version` of the package with the normalised `name` is affected."""
        verdicts = {judge(version, item) for item in self.affected if item.name == name}
        order = (Verdict.AFFECTED, Verdict.UNCLEAR)
        return next((verdict for verdict in order if verdict in verdicts), Verdict.CLEAR)

    def fixed_in(self, name: str, version: str) -> str | None:
        """The first version above `version` that an entry calls fixed."""
        here = _version(version)
        found = [
            (bound, text)
            for item in self.affected
            if item.name == name
            for span in item.ranges
            if span.kind != "GIT"
            for kind, text in span.events
            if kind == "fixed" and (bound := _version(text)) is not None and here is not None and bound > here
        ]
        return min(found)[1] if found else None


def judge(version: str, affected: Affected) -> Verdict:
    """Evaluate as the schema says: listed, or inside any range.

    A local version (`2.13.0+cpu`) is judged as the release it was built from.
    """
    here = _version(version)
    if version in affected.versions or (here and any(_version(text) == here for text in affected.versions)):
        return Verdict.AFFECTED
    ranges = [span for span in affected.ranges if span.kind != "GIT"]
    if here is None or not (ranges or affected.versions):
        return Verdict.UNCLEAR
    verdicts = {_in_range(here, span) for span in ranges}
    order = (Verdict.AFFECTED, Verdict.UNCLEAR)
    return next((verdict for verdict in order if verdict in verdicts), Verdict.CLEAR)


def parse(doc: object) -> Advisory:
    """One OSV document. Raises: NotOsv."""
    entry = _object(doc, "the document")
    schema = entry.get("schema_version", "1.0.0")
    if not isinstance(schema, str) or not schema.startswith("1."):
        raise NotOsv(f"schema_version: expected 1.x, got {schema!r}")
    modified = _matching(entry.get("modified"), _MODIFIED, "modified")
    withdrawn = entry.get("withdrawn")
    if withdrawn is not None:
        _matching(withdrawn, _MODIFIED, "withdrawn")
    affected = tuple(_affected(entry)) if withdrawn is None else ()
    summary = entry.get("summary", "")
    return Advisory(
        id=_matching(entry.get("id"), _ID, "id"),
        modified=modified,
        aliases=_texts(entry.get("aliases", []), "aliases"),
        summary=summary if isinstance(summary, str) else "",
        affected=affected,
    )


def _in_range(here: Version, span: Range) -> Verdict:
    """`IncludedInRanges` of the schema for one range."""
    bounds = [(_bound(text, span.kind), kind) for kind, text in span.events if text != "*"]
    placed = [(bound, kind) for bound, kind in bounds if bound is not None]
    if span.kind not in ("ECOSYSTEM", "SEMVER") or len(placed) < len(bounds):
        return Verdict.UNCLEAR
    limits = [bound for bound, kind in placed if kind == "limit"]
    if limits and ("limit", "*") not in span.events and not any(here < bound for bound in limits):
        return Verdict.CLEAR
    inside = False
    steps = sorted((bound, _EVENTS.index(kind)) for bound, kind in placed if kind != "limit")
    for bound, step in steps:
        kind = _EVENTS[step]
        if kind == "introduced" and here >= bound:
            inside = True
        elif (kind == "fixed" and here >= bound) or (kind == "last_affected" and here > bound):
            inside = False
    return Verdict.AFFECTED if inside else Verdict.CLEAR


_ZERO: Final = Version("0.dev0")
"""Below every release that PyPI has."""


def _bound(text: str, kind: str) -> Version | None:
    """A range's version; None where it cannot be put in order with releases of PyPI."""
    if text == "0":
        return _ZERO
    bound = _version(text)
    # SemVer's pre-release 1.0.0-1 would read as the post-release of PEP 440.
    return None if kind == "SEMVER" and bound is not None and bound.is_postrelease else bound


def _version(text: str) -> Version | None:
    try:
        return Version(Version(text).public)
    except InvalidVersion:
        return None


def _affected(entry: Mapping[str, Any]) -> Iterator[Affected]:
    for item in _list(entry.get("affected", []), "affected"):
        part = _object(item, "affected")
        package = part.get("package")
        if package is None:
            continue
        package = _object(package, "affected.package")
        ecosystem, name = package.get("ecosystem"), package.get("name")
        if not isinstance(ecosystem, str) or not isinstance(name, str):
            raise NotOsv("affected.package: expected ecosystem and name")
        if ecosystem.split(":")[0] == ECOSYSTEM:
            ranges = tuple(_range(span) for span in _list(part.get("ranges", []), "ranges"))
            yield Affected(canonicalize_name(name), ranges, _texts(part.get("versions", []), "versions"))


def _range(value: object) -> Range:
    span = _object(value, "ranges")
    kind = span.get("type")
    if not isinstance(kind, str):
        raise NotOsv("ranges.type: expected a string")
    events = [
        event for item in _list(span.get("events"), "events") for event in _object(item, "events").items()
    ]
    if not all(_is_event(name, text) for name, text in events):
        raise NotOsv("events: expected introduced, fixed, last_affected or limit, each with a version")
    if not any(name == "introduced" for name, _ in events):
        raise NotOsv("events: expected at least one introduced")
    return Range(kind, tuple(events))


def _is_event(name: str, text: object) -> bool:
    """`*`, no bound at all, stands for a limit only."""
    return isinstance(text, str) and (name == "limit" or (name in _EVENTS and text != "*"))


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise NotOsv(f"{what}: expected an object")
    return value


def _list(value: object, what: str) -> Sequence[object]:
    if not isinstance(value, list):
        raise NotOsv(f"{what}: expected an array")
    return value


def _texts(value: object, what: str) -> tuple[str, ...]:
    found = tuple(item for item in _list(value, what) if isinstance(item, str))
    if len(found) != len(_list(value, what)):
        raise NotOsv(f"{what}: expected strings")
    return found


def _matching(value: object, form: re.Pattern[str], what: str) -> str:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise NotOsv(f"{what}: missing or not in its form")
    return value
