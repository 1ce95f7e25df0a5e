"""The verdict of `sealift optimize` on the officer's desk."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from tests.inspect.desk import CHECKS, CREATED_S, a_release, opened, pack_release, release_files, service_json

from sealift.errors import MalformedBundle
from sealift.inspect.as_json import facts_json
from sealift.inspect.contents import Contents
from sealift.inspect.difference import Change, _checks, _mapping
from sealift.inspect.facts import Facts, facts_of
from sealift.inspect.page import page_of
from sealift.inspect.standing import standing_of
from sealift.trust.vouch import Policy

VERDICT = "int8-static ships: 2.31x as fast, 27 % of the size"
REPORT = {
    "variants": [
        {
            "files": [{"size": 18_900_000}], "name": "fp32", "reasons": [],
            "speed": {"speedup": 1.0}, "standing": "travels",
        },
        {
            "files": [{"size": 5_000_000}, {"size": 200_000}], "name": "int8-static",
            "reasons": ["the fastest that meets every gate", "more"], "speed": {"speedup": 2.31}, "standing": "ships",
        },
        {"files": [], "name": "fp16", "reasons": ["no kernel"], "speed": None, "standing": "not built"},
    ]
}  # fmt: skip


def optimised(tmp_path: Path, data: bytes = json.dumps(REPORT).encode(), **stated: Any) -> Facts:
    """The facts of a release whose model `parts` travels in two variants."""
    service = service_json()
    service["models"][0]["path"] = "models/parts/int8-static/model.onnx"
    service["models"][0]["variants"] = [
        {"engine": "", "name": name, "path": f"models/parts/{name}/model.onnx", "precision": ""}
        for name in ("int8-static", "fp32")
    ]
    files = release_files(service=service)
    del files["application/models/parts/model.onnx"]
    files["application/models/parts/int8-static/model.onnx"] = b"small"
    files["application/models/parts/fp32/model.onnx"] = b"large"
    files["application/reports/parts.json"] = data
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    entry = {"report": digest, "variant": "int8-static", "verdict": VERDICT, **stated}
    release = a_release(checks={**CHECKS, "optimized": {"parts": entry}})
    bundle = opened(pack_release(tmp_path / "b.sealift", None, release=release, files=files))
    return facts_of(Contents(bundle), standing_of(bundle, None, Policy()), CREATED_S)


def test_the_page_shows_the_verdict_what_travels_and_what_was_tried(tmp_path: Path) -> None:
    facts = optimised(tmp_path)
    section = next(
        s for s in page_of(facts, None, inventory=True).sections if s.title.startswith("model parts")
    )
    rows = [row for row in section.rows if row[0] in ("quality", "travel", "tried", "report", "beside")]
    assert rows[:5] == [
        ("quality", VERDICT),
        ("travel", "int8-static, fp32; the box runs the quickest"),
        ("tried", "fp32  travels, 18.9 MB, 1.00x"),
        ("tried", "int8-static  ships, 5.2 MB, 2.31x: the fastest that meets every gate"),
        ("tried", "fp16  not built: no kernel"),
    ]
    assert rows[5][1].startswith("application/reports/parts.json sha256:")
    assert rows[6:] == [("beside", "models/parts/fp32/model.onnx")]
    titles = [
        row for s in page_of(facts, None, inventory=True).sections if s.title == "checks" for row in s.rows
    ]
    assert not any("optimized" in row[0] for row in titles), "it stands with its model"


def test_json_has_it_too_and_a_model_that_nobody_optimised_has_none(tmp_path: Path) -> None:
    parts, risk = facts_json(optimised(tmp_path))["models"]
    assert parts["quality"]["verdict"] == VERDICT
    assert [each["name"] for each in parts["quality"]["tried"]] == ["fp32", "int8-static", "fp16"]
    assert parts["variants"] == ["int8-static", "fp32"]
    assert (risk["quality"], risk["variants"]) == (None, [])


def test_since_an_older_release_the_verdict_is_what_changed(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    older, newer = optimised(tmp_path / "old", verdict="fp32 ships"), optimised(tmp_path)
    changed = _mapping(_checks(older), _checks(newer))
    assert changed == [Change("quality of parts", "fp32 ships", VERDICT)]


def test_a_report_that_is_not_the_signed_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        MalformedBundle, match=r"parts\.json: release\.json states the report sha256:0+, this"
    ):
        optimised(tmp_path, report="sha256:" + "0" * 64)


@pytest.mark.parametrize(
    ("report", "why"),
    [
        (b"not JSON", "is not JSON"),
        (b'{"variants": [{"name": 1}]}', "expected a string"),
        (
            b'{"variants": [{"name": "a", "standing": "ships", "files": [{"size": "x"}]}]}',
            "expected sizes in bytes",
        ),
        (b'{"variants": 3}', "expected a list"),
    ],
)
def test_a_report_that_sealift_never_wrote_is_refused(tmp_path: Path, report: bytes, why: str) -> None:
    with pytest.raises(MalformedBundle, match=why):
        optimised(tmp_path, report)


def test_a_statement_of_another_shape_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(
        MalformedBundle, match=r"release\.json checks optimized parts verdict: expected a string"
    ):
        optimised(tmp_path, verdict=["x"])
