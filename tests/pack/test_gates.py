"""The gates of a project: what they let across, what they refuse, and what the release says of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.made_bundles import tree_hash
from tests.pack.osv_files import entry, write_list

from sealift import canonical
from sealift.errors import GateFailed
from sealift.pack.gates import GateReport, Package, check_gates, check_size
from sealift.pack.licence_gate import canonical_expression, canonical_licence, is_satisfied
from sealift.pack.osv_list import OsvList, read_list
from sealift.project.project import Gates

PACKAGES = (
    Package("Jinja2", "3.1.3", "BSD-3-Clause", "dependencies"),
    Package("numpy", "2.2.6", "BSD-3-Clause AND MIT", "runtime"),
    Package("fraud", "1.0", "LicenseRef-Vendor", "application"),
)
PERMITTED = ("MIT", "bsd-3-clause", "LicenseRef-Vendor")


def findings(gates: Gates, *packages: Package, size: int | None = None) -> tuple[str, ...]:
    """What the gates say; nothing of the packages given: the usual ones."""
    return check_gates(gates, packages or PACKAGES, size).findings


def licence(expression: str | None, name: str = "x", version: str = "1") -> Package:
    return Package(name, version, expression, "dependencies")


def test_without_gates_nothing_is_refused_and_the_release_says_so() -> None:
    report = check_gates(Gates(), (licence(None),), 10**12)
    assert report.passed
    assert report.results == {
        "licences": "none declared",
        "size": "none declared",
        "vulnerabilities": "none declared",
    }
    report.require_passed()


def test_what_passed_is_recorded_without_floats(tmp_path: Path) -> None:
    osv = write_list(
        tmp_path / "osv", entry(events=[{"introduced": "0"}, {"fixed": "3.1"}]), entry("other", id="X-1")
    )
    gates = Gates(licences=PERMITTED, max_bundle_mb=250.5, vulnerabilities=osv)
    report = check_gates(gates, PACKAGES, 250_500_000)
    assert report.findings == ()
    assert report.results == {
        "licences": "passed, 3 packages",
        "size": "passed, at most 250.5 MB",
        "vulnerabilities": "passed, list of 2026-11-20, 2 entries",
        "vulnerabilities_sha256": list_of(osv).sha256,
    }
    canonical.encode(dict(report.results))
    assert check_gates(gates, PACKAGES, None).results == report.results


def test_all_findings_come_at_once(tmp_path: Path) -> None:
    osv = write_list(tmp_path / "osv", entry())
    before = tree_hash(tmp_path)
    gates = Gates(licences=("MIT",), max_bundle_mb=0.5, vulnerabilities=osv)
    report = check_gates(gates, PACKAGES, 600_000)
    with pytest.raises(GateFailed) as caught:
        report.require_passed()
    assert caught.value.exit_code == 2
    assert caught.value.message == (
        "the gates of the project file refuse this release (5 findings); nothing was packed"
    )
    assert caught.value.problems == (
        "Jinja2 3.1.3 (dependencies): licence BSD-3-Clause is not permitted",
        "fraud 1.0 (application): licence LicenseRef-Vendor is not permitted",
        "numpy 2.2.6 (runtime): licence BSD-3-Clause AND MIT is not permitted",
        "Jinja2 3.1.3 (dependencies): GHSA-h75v-3vvj-5mfj (CVE-2024-34064), affected, fixed in 3.1.4: HTML attribute "
        "injection when passing user input as keys to xmlattr filter",
        "the bundle has 0.6 MB on the medium, [gates] max_bundle_mb is 0.5",
    )
    assert caught.value.next_step
    assert "licence_exceptions or accepted_vulnerabilities" in caught.value.next_step
    assert report.results["licences"] == "failed, 3 findings"
    assert tree_hash(tmp_path) == before


def test_the_size_alone_is_held_once_it_is_known() -> None:
    gates = Gates(max_bundle_mb=1)
    assert check_size(gates, 1_000_000).passed
    assert check_size(gates, 1_000_001).findings == (
        "the bundle has 1.0 MB on the medium, [gates] max_bundle_mb is 1",
    )
    assert check_size(Gates(), 10**15) == GateReport({"size": "none declared"}, ())


# licences


@pytest.mark.parametrize(
    "expression",
    [
        "MIT", "mit", "(MIT)", "MIT OR GPL-3.0-only", "GPL-3.0-only OR MIT", "MIT AND Apache-2.0",
        "GPL-3.0-only OR MIT AND Apache-2.0", "(GPL-3.0-only OR MIT) AND (Apache-2.0 OR ISC)",
        "Apache-2.0 WITH LLVM-exception", "GPL-2.0-only WITH Classpath-exception-2.0",
        "ISC OR (GPL-2.0-only WITH Classpath-exception-2.0 AND MIT)",
    ],
)  # fmt: skip
def test_a_licence_passes_when_it_can_be_satisfied(expression: str) -> None:
    permitted = ("MIT", "apache-2.0", "GPL-2.0-only with classpath-exception-2.0")
    assert findings(Gates(licences=permitted), licence(expression)) == ()


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("ISC", "licence ISC is not permitted"),
        ("MIT AND ISC", "licence MIT AND ISC is not permitted"),
        ("ISC OR GPL-3.0-only", "licence ISC OR GPL-3.0-only is not permitted"),
        ("MIT AND (ISC OR GPL-3.0-only)", "licence MIT AND (ISC OR GPL-3.0-only) is not permitted"),
        ("(MIT OR ISC) AND GPL-3.0-only", "licence (MIT OR ISC) AND GPL-3.0-only is not permitted"),
        ("GPL-2.0-only", "licence GPL-2.0-only is not permitted"),
        ("GPL-2.0-only WITH GCC-exception-3.1", "licence GPL-2.0-only WITH GCC-exception-3.1 is not permitted"),
        ("Apache-2.0+", "licence Apache-2.0+ is not permitted"),
        ("BSD", "licence 'BSD' is not an SPDX expression"),
        ("MIT OR", "licence 'MIT OR' is not an SPDX expression"),
        ("", "licence '' is not an SPDX expression"),
        ("(" * 5000 + "MIT" + ")" * 5000, f"licence {'(' * 5000 + 'MIT' + ')' * 5000!r} is not an SPDX expression"),
        (None, "states no licence"),
    ],
)  # fmt: skip
def test_a_licence_that_cannot_be_satisfied_is_refused(expression: str | None, said: str) -> None:
    permitted = ("MIT", "Apache-2.0", "GPL-2.0-only WITH Classpath-exception-2.0")
    assert findings(Gates(licences=permitted), licence(expression)) == (f"x 1 (dependencies): {said}",)


def test_a_word_that_is_no_licence_cannot_be_permitted() -> None:
    assert findings(Gates(licences=("MIT", "Apache")), licence("MIT")) == (
        "[gates] licences: 'Apache' is not an SPDX licence identifier",
    )
    assert canonical_licence("MIT OR ISC") is None


def test_exceptions_are_by_name_or_version_and_recorded() -> None:
    gates = Gates(licences=("MIT",), licence_exceptions=("Some_Pkg", "other==2.0"))
    report = check_gates(gates, (licence("ISC", "some-pkg", "9"), licence(None, "other", "2.0")), None)
    assert report.passed
    assert report.results["licence_exceptions"] == [
        "other==2.0: states no licence",
        "some-pkg==9: licence ISC is not permitted",
    ]
    assert findings(gates, licence("ISC", "other", "2.1")) == (
        "other 2.1 (dependencies): licence ISC is not permitted",
    )


IDS = ("MIT", "ISC", "Zlib", "Apache-2.0")
EXPRESSIONS = st.recursive(
    st.sampled_from(IDS),
    lambda inner: st.tuples(inner, st.sampled_from(["AND", "OR"]), inner),
    max_leaves=8,
)


def written(tree: Any) -> str:
    return tree if isinstance(tree, str) else f"({written(tree[0])}) {tree[1]} ({written(tree[2])})"


def holds(tree: Any, permitted: set[str]) -> bool:
    if isinstance(tree, str):
        return tree in permitted
    sides = (holds(tree[0], permitted), holds(tree[2], permitted))
    return all(sides) if tree[1] == "AND" else any(sides)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(EXPRESSIONS, st.sets(st.sampled_from(IDS)))
def test_expressions_mean_what_logic_says(tree: Any, permitted: set[str]) -> None:
    expression = canonical_expression(written(tree))
    assert expression is not None
    assert is_satisfied(expression, permitted) is holds(tree, permitted)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from([*IDS, "AND", "OR"]), min_size=1, max_size=9), st.sets(st.sampled_from(IDS)))
def test_and_binds_before_or(words: list[str], permitted: set[str]) -> None:
    expression = canonical_expression(" ".join(words))
    if expression is not None:
        python = " ".join(word.lower() if word in ("AND", "OR") else str(word in permitted) for word in words)
        assert is_satisfied(expression, permitted) is eval(python)


# vulnerabilities


def list_of(path: Path) -> OsvList:
    found = read_list(path)
    assert isinstance(found, OsvList), found
    return found


def test_a_version_that_is_not_affected_passes(tmp_path: Path) -> None:
    osv = write_list(tmp_path / "osv", entry())
    assert findings(Gates(vulnerabilities=osv), Package("Jinja2", "3.1.4", None, "runtime")) == ()


def test_an_entry_that_cannot_be_judged_refuses(tmp_path: Path) -> None:
    osv = write_list(tmp_path / "osv", entry(events=[], summary="", aliases=[]))
    assert findings(Gates(vulnerabilities=osv)) == (
        "Jinja2 3.1.3 (dependencies): GHSA-h75v-3vvj-5mfj, cannot be judged",
    )


@pytest.mark.parametrize("name", ["GHSA-h75v-3vvj-5mfj", "CVE-2024-34064"])
def test_an_accepted_entry_passes_by_id_or_alias_and_is_recorded(name: str, tmp_path: Path) -> None:
    osv = write_list(tmp_path / "osv", entry())
    gates = Gates(vulnerabilities=osv, accepted_vulnerabilities=(name,))
    report = check_gates(gates, PACKAGES, None)
    assert report.passed
    assert report.results["accepted_vulnerabilities"] == [
        "Jinja2==3.1.3: GHSA-h75v-3vvj-5mfj (CVE-2024-34064)"
    ]


def test_accepting_one_entry_accepts_no_other(tmp_path: Path) -> None:
    osv = write_list(tmp_path / "osv", entry(), entry(id="PYSEC-2026-1", aliases=["CVE-2026-1"]))
    gates = Gates(vulnerabilities=osv, accepted_vulnerabilities=("CVE-2024-34064",))
    assert [finding.split(":")[1] for finding in findings(gates)] == [
        " PYSEC-2026-1 (CVE-2026-1), affected, fixed in 3.1.4"
    ]


def test_a_withdrawn_entry_refuses_nothing(tmp_path: Path) -> None:
    osv = write_list(tmp_path / "osv", entry(withdrawn="2026-11-21T00:00:00Z"))
    assert findings(Gates(vulnerabilities=osv)) == ()


def test_a_summary_is_shown_in_one_line_that_no_terminal_acts_on(tmp_path: Path) -> None:
    osv = write_list(tmp_path / "osv", entry(events=[{"introduced": "0"}], summary="a\x1b[2J\n" + "b" * 200))
    (finding,) = findings(Gates(vulnerabilities=osv))
    assert finding.isprintable()
    assert finding.endswith("affected: a [2J " + "b" * 111 + "...")


def test_no_word_of_a_list_can_spoil_the_screen_or_the_release(tmp_path: Path) -> None:
    osv = write_list(tmp_path / "osv", entry(aliases=["CVE-1\x1b[2J\ud800"]))
    (finding,) = findings(Gates(vulnerabilities=osv))
    assert finding.isprintable()
    gates = Gates(vulnerabilities=osv, accepted_vulnerabilities=("GHSA-h75v-3vvj-5mfj",))
    canonical.encode(dict(check_gates(gates, PACKAGES, None).results))
    (osv / "a\x1b[2J.json").write_bytes(b"")
    assert all(finding.isprintable() for finding in findings(Gates(vulnerabilities=osv)))


def test_a_zip_and_a_folder_hold_the_same_entries_with_digests_people_can_compare(tmp_path: Path) -> None:
    osv = write_list(tmp_path / "osv", entry(), entry("other", id="X-1"))
    (osv / "below").mkdir()
    shutil.copy(osv / "X-1.json", osv / "below" / "Y-1.json")
    (osv / "README.md").write_text("not an entry")
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in osv.rglob("*"):
            archive.write(path, path.relative_to(osv).as_posix())
    folder, packed = list_of(osv), list_of(tmp_path / "all.zip")
    assert (folder.by_name, folder.count, folder.newest) == (packed.by_name, packed.count, packed.newest)
    assert (folder.count, folder.newest) == (3, "2026-11-20")
    line = "find . -name '*.json' | LC_ALL=C sort | xargs sha256sum | sha256sum"
    for place, command, found in ((osv, line, folder), (tmp_path, "sha256sum all.zip", packed)):
        shown = subprocess.run(
            ["sh", "-c", command], cwd=place, capture_output=True, text=True, check=True
        ).stdout
        assert shown.split()[0] == found.sha256


@pytest.mark.parametrize("as_zip", [False, True])
def test_every_malformed_file_is_named_and_refuses(as_zip: bool, tmp_path: Path) -> None:
    osv = write_list(tmp_path / "osv", entry())
    bad = {
        "empty.json": b"", "half.json": b'{"id":', "list.json": b"[]", "utf.json": b"\xff\xfe\xff",
        "deep.json": b"[" * 100_000, "none.json": b"{}", "big.json": b" " * (16 * 2**20 + 1),
        "two.json": json.dumps(entry(schema_version="2.0.0")).encode(),
    }  # fmt: skip
    for name, data in bad.items():
        (osv / name).write_bytes(data)
    place = osv
    if as_zip:
        place = tmp_path / "all.zip"
        with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in osv.iterdir():
                archive.write(path, path.name)
    said = findings(Gates(vulnerabilities=place))
    assert sorted(finding.split(": ")[1] for finding in said) == sorted(bad)
    assert "vulnerability list: big.json: larger than 16 MiB" in said
    assert "vulnerability list: half.json: not JSON" in said
    assert check_gates(Gates(vulnerabilities=place), (), None).results == {
        "licences": "none declared",
        "size": "none declared",
        "vulnerabilities": "failed, 8 findings",
    }


@pytest.mark.parametrize("place", ["folder", "zip"])
def test_an_empty_list_would_pass_everything_and_is_refused(place: str, tmp_path: Path) -> None:
    path = tmp_path / place
    if place == "folder":
        path.mkdir()
    else:
        zipfile.ZipFile(path, "w").close()
    assert findings(Gates(vulnerabilities=path)) == (
        f"vulnerability list: {place}: holds no .json file; an empty list would pass everything",
    )


@pytest.mark.parametrize("damage", ["no zip", "cut", "flipped", "gone"])
def test_a_list_that_cannot_be_read_is_refused(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", json.dumps(entry()))
    data = bytearray(path.read_bytes())
    if damage == "no zip":
        data = bytearray(b"{}")
    elif damage == "cut":
        del data[100:]
    elif damage == "flipped":
        data[80] ^= 0xFF
    path.write_bytes(data)
    if damage == "gone":
        path.unlink()
    (said,) = findings(Gates(vulnerabilities=path))
    assert said.startswith("vulnerability list: all.zip: expected a folder or a zip of OSV files: ")


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.json", json.dumps(entry()))
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    (said,) = findings(Gates(vulnerabilities=path))
    assert said.startswith("vulnerability list: all.zip: expected a folder or a zip of OSV files: ")
    assert "is encrypted" in said
