"""The gates of a project file, through the command line: refused means that nothing was written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.journey.conftest import make_keys, sealift
from tests.journey.test_inner_loop import write_project
from tests.made_bundles import tree_hash

pytestmark = pytest.mark.slow
SIGNING = ("--keys", "keys", "--passphrase-file", "phrase")
ADVISORY = {
    "id": "GHSA-test-0000-0000",
    "schema_version": "1.6.0",
    "modified": "2026-11-20T00:00:00Z",
    "summary": "made up for this test",
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "numpy"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99"}]}],
        }
    ],
}


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    make_keys(tmp_path)
    return tmp_path


def refused(desk: Path, gates: str) -> str:
    write_project(desk / "loop", "1", f"[gates]\n{gates}\n")
    before = tree_hash(desk / "keys" / "root")
    said = sealift("pack", "loop", "-o", "out.sealift", *SIGNING, cwd=desk, ok=False)
    assert said.startswith("2 ")
    assert not (desk / "out.sealift").exists()
    assert [path.name for path in desk.iterdir() if path.name.startswith(".")] == []
    assert not (desk / "keys" / "release" / "ledger.jsonl").exists()
    assert tree_hash(desk / "keys" / "root") == before
    return said


def test_a_licence_outside_the_list_and_a_known_vulnerability_are_refused_together(desk: Path) -> None:
    (desk / "loop" / "osv").mkdir(parents=True)
    (desk / "loop" / "osv" / "one.json").write_text(json.dumps(ADVISORY))
    said = refused(desk, 'licences = ["MIT"]\nvulnerabilities = "osv"')
    assert "the gates of the project file refuse this release" in said
    assert "GHSA-test-0000-0000" in said
    assert "onnxruntime" not in said.split("refuse this release")[1].split("next:")[0]
    assert re.search(r"protobuf [0-9.]+ \(runtime\)", said)


def test_a_bundle_above_its_size_is_refused_before_it_takes_its_place(desk: Path) -> None:
    said = refused(desk, "max_bundle_mb = 1")
    assert "[gates] max_bundle_mb is 1" in said


def test_what_the_gates_found_is_in_the_release(desk: Path) -> None:
    write_project(desk / "loop", "1", "[gates]\nmax_bundle_mb = 500\n")
    sealift("pack", "loop", "-o", "out.sealift", *SIGNING, cwd=desk)
    facts = json.loads(sealift("inspect", "out.sealift", "--json", cwd=desk))
    assert facts["checks"]["gates"]["size"].startswith("passed, at most 500 MB")
    assert facts["checks"]["gates"]["licences"] == "none declared"
    log = (desk / "keys" / "release" / "ledger.jsonl").read_text()
    assert '"event":"pack"' in log
