"""What an OSV entry says about a version, against the schema's own rules and a naive model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.pack.osv_files import Event, entry

from sealift.pack.osv import Affected, NotOsv, Range, Verdict, judge, parse

INTRODUCED = {"introduced": "0"}


def verdict(
    version: str, events: Sequence[Event], kind: str = "ECOSYSTEM", versions: Sequence[str] = ()
) -> Verdict:
    return parse(entry("Some_Package", events, kind=kind, versions=versions)).judge("some-package", version)


@pytest.mark.parametrize(
    ("version", "events", "affected"),
    [
        # everything, and everything before a fix
        ("0.dev0", [INTRODUCED], True),
        ("99", [INTRODUCED], True),
        ("3.1.3", [INTRODUCED, {"fixed": "3.1.4"}], True),
        ("3.1.4", [INTRODUCED, {"fixed": "3.1.4"}], False),
        ("3.1.4rc1", [INTRODUCED, {"fixed": "3.1.4"}], True),
        ("3.1.4.post1", [INTRODUCED, {"fixed": "3.1.4"}], False),
        ("3.10", [INTRODUCED, {"fixed": "3.9"}], False),
        ("1!0.1", [INTRODUCED, {"fixed": "9"}], False),
        # the last affected one is inside
        ("2.0", [INTRODUCED, {"last_affected": "2.0"}], True),
        ("2.0.0", [INTRODUCED, {"last_affected": "2.0"}], True),
        ("2.0.1", [INTRODUCED, {"last_affected": "2.0"}], False),
        ("2.0+cpu", [INTRODUCED, {"last_affected": "2.0"}], True),
        ("2.0+cpu", [INTRODUCED, {"fixed": "2.0"}], False),
        # several ranges in one, in any order
        ("1.5", [{"introduced": "1.0"}, {"fixed": "1.2"}, {"introduced": "3.0"}, {"fixed": "3.2"}], False),
        ("3.1", [{"fixed": "3.2"}, {"introduced": "3.0"}, {"fixed": "1.2"}, {"introduced": "1.0"}], True),
        ("0.9", [{"introduced": "1.0"}], False),
        # two events in one object, as early entries had them
        ("1.1", [{"introduced": "1.0", "fixed": "1.2"}], True),
        # an entry that contradicts itself
        ("2.0", [INTRODUCED, {"fixed": "2.0"}, {"introduced": "2.0"}], True),
        # limits
        ("2.0", [INTRODUCED, {"limit": "2.0"}], False),
        ("1.9", [INTRODUCED, {"limit": "2.0"}], True),
        ("2.5", [INTRODUCED, {"limit": "2.0"}, {"limit": "3.0"}], True),
        ("2.5", [INTRODUCED, {"limit": "2.0"}, {"limit": "*"}], True),
        ("1.5", [INTRODUCED, {"fixed": "1.5"}, {"limit": "2.0"}], False),
    ],
)
@pytest.mark.parametrize("kind", ["ECOSYSTEM", "SEMVER"])
def test_a_version_is_judged_as_the_schema_says(
    version: str, events: list[Event], affected: bool, kind: str
) -> None:
    assert verdict(version, events, kind) is (Verdict.AFFECTED if affected else Verdict.CLEAR)


def test_listed_versions_count_beside_ranges_and_alone() -> None:
    assert verdict("5.0", [INTRODUCED, {"fixed": "1"}], versions=["5.0"]) is Verdict.AFFECTED
    assert verdict("5.0.0", [], versions=["5.0"]) is Verdict.AFFECTED
    assert verdict("5.0+cpu", [], versions=["5.0"]) is Verdict.AFFECTED
    assert verdict("5.1", [], versions=["5.0", "2004d"]) is Verdict.CLEAR


@pytest.mark.parametrize(
    ("version", "events", "kind"),
    [
        ("1.0", [INTRODUCED, {"fixed": "2004d-final"}], "ECOSYSTEM"),
        ("1.0", [{"introduced": "*"}], "UNKNOWN"),
        ("1.0", [INTRODUCED], "CALVER"),
        ("1.0.0", [INTRODUCED, {"fixed": "1.0.0-1"}], "SEMVER"),
        ("not a version", [INTRODUCED], "ECOSYSTEM"),
        ("1.0", [], "ECOSYSTEM"),
    ],
)
def test_what_cannot_be_judged_is_not_clear(version: str, events: list[Event], kind: str) -> None:
    affected = Affected(
        "x", tuple([Range(kind, tuple((k, v) for e in events for k, v in e.items()))] if events else ()), ()
    )
    assert judge(version, affected) is Verdict.UNCLEAR


def test_a_sure_answer_wins_over_an_unclear_one() -> None:
    bad, sure = Range("ECOSYSTEM", (("introduced", "x y"),)), Range("ECOSYSTEM", (("introduced", "0"),))
    assert judge("1.0", Affected("x", (bad, sure), ())) is Verdict.AFFECTED
    assert judge("1.0", Affected("x", (bad,), ("1.0",))) is Verdict.AFFECTED


def test_other_packages_and_other_ecosystems_are_not_meant() -> None:
    assert parse(entry("jinja2")).judge("flask", "1.0") is Verdict.CLEAR
    doc = entry("zlib")
    doc["affected"][0]["package"]["ecosystem"] = "npm"
    assert parse(doc).affected == ()
    del doc["affected"][0]["package"]
    assert parse(doc).affected == ()


def test_a_withdrawn_entry_affects_nothing() -> None:
    assert parse(entry(withdrawn="2026-11-21T00:00:00Z")).judge("jinja2", "1.0") is Verdict.CLEAR


def test_an_entry_with_the_least_that_the_schema_asks_for_is_read() -> None:
    least = parse({"id": "OSV-2026-1", "modified": "2026-11-20T00:00:00Z"})
    assert (least.aliases, least.summary, least.affected) == ((), "", ())


def test_the_first_fix_above_the_version_is_named() -> None:
    events = [INTRODUCED, {"fixed": "1.10"}, {"introduced": "2.0"}, {"fixed": "2.3"}]
    one = parse(entry("x", events))
    assert one.fixed_in("x", "1.9") == "1.10"
    assert one.fixed_in("x", "2.0") == "2.3"
    assert one.fixed_in("x", "2.3") is None
    assert one.fixed_in("y", "1.9") is None


def _without(key: str) -> dict[str, Any]:
    doc = entry()
    del doc[key]
    return doc


def _affected(**changes: object) -> dict[str, Any]:
    doc = entry()
    doc["affected"][0].update(changes)
    return doc


@pytest.mark.parametrize(
    ("doc", "reason"),
    [
        ([], "the document: expected an object"),
        (_without("id"), "id: missing"),
        (_without("modified"), "modified: missing"),
        (entry(id=""), "id: missing or not in its form"),
        (entry(id="GHSA\x1b[2J"), "id: missing or not in its form"),
        ({**entry(), "modified": "yesterday"}, "modified: missing or not in its form"),
        ({**entry(), "schema_version": "2.0.0"}, "schema_version: expected 1.x, got '2.0.0'"),
        ({**entry(), "schema_version": 1}, "schema_version: expected 1.x, got 1"),
        (entry(withdrawn=False), "withdrawn: missing or not in its form"),
        (entry(withdrawn=""), "withdrawn: missing or not in its form"),
        ({**entry(), "aliases": "CVE-1"}, "aliases: expected an array"),
        ({**entry(), "aliases": [1]}, "aliases: expected strings"),
        ({**entry(), "affected": {}}, "affected: expected an array"),
        ({**entry(), "affected": ["x"]}, "affected: expected an object"),
        (_affected(package="jinja2"), "affected.package: expected an object"),
        (_affected(package={"name": "x"}), "affected.package: expected ecosystem and name"),
        (_affected(versions=None), "versions: expected an array"),
        (_affected(versions=[1.0]), "versions: expected strings"),
        (_affected(ranges={}), "ranges: expected an array"),
        (_affected(ranges=[{"events": []}]), "ranges.type: expected a string"),
        (_affected(ranges=[{"type": "ECOSYSTEM"}]), "events: expected an array"),
        (_affected(ranges=[{"type": "ECOSYSTEM", "events": []}]), "events: expected at least one introduced"),
        (entry(events=[{"fixed": "1"}]), "events: expected at least one introduced"),
        (entry(events=[{"introduced": "0"}, {"repaired": "1"}]), "events: expected introduced, fixed"),
        (entry(events=[{"introduced": "0"}, {"fixed": 1}]), "events: expected introduced, fixed"),  # type: ignore[dict-item]
        (entry(events=[{"introduced": "0"}, {"fixed": "*"}]), "events: expected introduced, fixed"),
        (entry(events=["introduced"]), "events: expected an object"),  # type: ignore[list-item]
    ],
)
def test_a_document_that_is_no_osv_entry_is_refused(doc: Any, reason: str) -> None:
    with pytest.raises(NotOsv) as caught:
        parse(doc)
    assert str(caught.value).startswith(reason)


Events = list[tuple[str, int]]
EVENTS = st.lists(
    st.tuples(st.sampled_from(["introduced", "fixed", "last_affected", "limit"]), st.integers(0, 8)),
    max_size=7,
)


def naive(version: int, events: Events) -> bool:
    """Walk every version there is, from the first one up."""
    if any(kind == "limit" for kind, _ in events) and all(
        version >= at for kind, at in events if kind == "limit"
    ):
        return False
    inside = False
    for here in range(version + 1):
        kinds = {kind for kind, at in events if at == here}
        if "last_affected" in {kind for kind, at in events if at == here - 1} and "introduced" not in {
            kind for kind, at in events if at == here - 1
        }:
            inside = False
        if "fixed" in kinds:
            inside = False
        if "introduced" in kinds:
            inside = True
    return inside


@settings(max_examples=500, deadline=None, derandomize=True)
@given(EVENTS, st.integers(0, 9), st.integers(0, 8), st.randoms(use_true_random=False))
def test_ranges_agree_with_a_naive_walk(events: Events, version: int, first: int, order: Any) -> None:
    events = [*events, ("introduced", first)]
    shuffled = list(events)
    order.shuffle(shuffled)
    doc = entry("x", [{kind: f"1.{at}"} for kind, at in shuffled])
    expected = Verdict.AFFECTED if naive(version, events) else Verdict.CLEAR
    assert parse(doc).judge("x", f"1.{version}") is expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "events", "name", "fixed"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(entry())), st.sampled_from(["", "package", "ranges", "versions"]), JSON)
def test_any_value_in_any_place_is_read_or_refused(key: str, below: str, value: Any) -> None:
    doc = _affected(**{below: value}) if below else {**entry(), key: value}
    try:
        parse(doc).judge("jinja2", "3.0")
    except NotOsv:
        return
