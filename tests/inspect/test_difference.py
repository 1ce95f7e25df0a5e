"""What a new release would change on a box that runs an older one."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.inspect.desk import (
    CREATED_S,
    TARGET,
    House,
    a_release,
    bill,
    component,
    house,
    opened,
    pack_release,
    release_files,
    service_json,
)

from sealift.bundle.documents import Release
from sealift.inspect.contents import Contents
from sealift.inspect.difference import Change, Difference, compare
from sealift.inspect.facts import facts_of
from sealift.inspect.standing import standing_of
from sealift.trust.vouch import Policy

SIGNERS = house(officers=1)


def between(older: Path, newer: Path, signers: House | None = SIGNERS) -> Difference:
    """The difference of two bundles, under the root of `signers`."""
    root = signers.signed.root if signers else None
    bundles = [opened(place) for place in (newer, older)]
    facts = [facts_of(Contents(bundle), standing_of(bundle, root, Policy()), CREATED_S) for bundle in bundles]
    return compare(facts[0], facts[1], bundles[0], bundles[1])


def after(
    tmp_path: Path,
    *,
    service: Callable[[dict[str, Any]], object] = lambda _: None,
    sbom: Callable[[dict[str, Any]], object] = lambda _: None,
    files: dict[str, bytes | None] | None = None,
    release: Release | None = None,
) -> Difference:
    """The difference between the plain release and a changed one of a higher sequence."""
    older = pack_release(tmp_path / "old.sealift", SIGNERS)
    new_service, new_bill = deepcopy(service_json()), deepcopy(bill())
    service(new_service)
    sbom(new_bill)
    found: dict[str, bytes | None] = {**release_files(service=new_service, sbom=new_bill), **(files or {})}
    newer = pack_release(
        tmp_path / "new.sealift",
        SIGNERS,
        files={path: data for path, data in found.items() if data is not None},
        release=release or a_release(version="1.1", seq=2),
    )
    return between(older, newer)


def group(difference: Difference, title: str) -> list[tuple[str, str | None, str | None]]:
    """The changes of one group."""
    changes: dict[str, tuple[Change, ...]] = dict(difference.groups)
    return [(change.what, change.before, change.after) for change in changes.get(title, ())]


def test_the_same_release_differs_in_nothing(tmp_path: Path) -> None:
    older, newer = (pack_release(tmp_path / f"{name}.sealift", SIGNERS) for name in ("a", "b"))
    found = between(older, newer)
    assert found.same
    assert found.groups == ()
    assert found.warnings == ()
    assert all(layer.files == () for layer in found.layers)


def test_the_same_release_with_another_approval_says_so(tmp_path: Path) -> None:
    older = pack_release(tmp_path / "a.sealift", SIGNERS)
    newer = pack_release(tmp_path / "b.sealift", SIGNERS, approved_by=1)
    found = between(older, newer)
    assert found.same
    assert [what for what, _, _ in group(found, "signatures")] == ["approved by"]


def test_files_count_by_layer_with_bytes(tmp_path: Path) -> None:
    found = after(
        tmp_path,
        files={
            "runtime/tool": None,
            "runtime/new.py": b"12345",
            "dependencies/oldthing/data with space.txt": b"changed",
            "dependencies/oldthing/tool": b"",
        },
    )
    layers = {layer.name: [layer.of(sign) for sign in "+-~"] for layer in found.layers}
    assert layers == {
        "runtime": [(1, 5), (1, 10), (0, 0)],
        "dependencies": [(1, 0), (0, 0), (1, 7)],
        "application": [(0, 0), (0, 0), (0, 0)],
    }
    names = [(change.sign, change.path) for change in found.layers[0].files]
    assert names == [("+", "new.py"), ("-", "tool")]


def test_a_file_that_only_became_executable_is_changed(tmp_path: Path) -> None:
    one = release_files()
    one["runtime/run/tool"] = one.pop("runtime/tool")  # write_tree makes what is called tool executable
    two = dict(one)
    two["runtime/run/tool"] = one["runtime/run/tool"]
    older = pack_release(tmp_path / "a.sealift", SIGNERS, files=one)
    bundle = opened(older)
    manifest = dict(bundle.manifests["runtime"])
    manifest["run/tool"] = replace(manifest["run/tool"], executable=False)
    changed = replace(bundle, manifests={**bundle.manifests, "runtime": manifest})
    facts = facts_of(Contents(bundle), standing_of(bundle, None, Policy()), CREATED_S)
    found = compare(facts, facts, changed, bundle)
    assert [(change.sign, change.path) for change in found.layers[0].files] == [("~", "run/tool")]


def test_packages_added_removed_updated_relicensed_and_built_anew(tmp_path: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        numpy, cryptography, oldthing, _, model = document["components"]
        numpy.update(component("numpy", "2.5.0", "BSD-3-Clause", "runtime"))
        cryptography["hashes"][0]["content"] = "0" * 64
        oldthing["licenses"] = [{"license": {"id": "MIT"}}]
        document["components"] = [
            numpy, cryptography, oldthing, model, component("newthing", "9", "MIT", "dependencies"),
        ]  # fmt: skip

    assert group(after(tmp_path, sbom=change), "packages") == [
        ("dependencies  newthing", None, "9, MIT"),
        ("dependencies  oldthing", "0.3, see LICENCE.txt", "0.3, MIT"),
        ("dependencies  unstated", "1, not stated", None),
        (
            "runtime  cryptography",
            "50.0.2, Apache-2.0 OR BSD-3-Clause",
            "50.0.2, Apache-2.0 OR BSD-3-Clause (built anew)",
        ),
        ("runtime  numpy", "2.4.6, BSD-3-Clause", "2.5.0, BSD-3-Clause"),
    ]


def test_a_package_that_moves_layer_goes_and_comes(tmp_path: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        document["components"][2]["properties"][0]["value"] = "runtime"

    assert [what for what, _, _ in group(after(tmp_path, sbom=change), "packages")] == [
        "dependencies  oldthing",
        "runtime  oldthing",
    ]


def test_a_changed_model_says_file_edges_and_declarations(tmp_path: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        parts, risk = document["models"]
        parts["output"]["labels"] = ["bolt", "screw", "nut"]
        parts["input"]["mean"] = [123.0]
        parts["signature"]["outputs"][0]["shape"] = ["batch", 3]
        risk["output"]["threshold"] = 0.5
        risk["device"] = ["cpu"]

    found = group(
        after(tmp_path, service=change, files={"application/models/parts/model.onnx": b"other"}), "models"
    )
    assert [(what, before, new) for what, before, new in found if what != "parts: file"] == [
        ("parts: output logits", "FP32  [batch, 2]", "FP32  [batch, 3]"),
        ("parts: takes mean", "[127.0]", "[123.0]"),
        ("parts: gives labels", "2 labels, number 1 is nut", "3 labels, number 1 is screw"),
        ("risk: device", "cuda, cpu", "cpu"),
        ("risk: gives threshold", "0.83", "0.5"),
    ]
    assert found[0][0] == "parts: file"


def test_two_labels_that_changed_places_do_not_pass_for_the_same(tmp_path: Path) -> None:
    found = after(tmp_path, service=lambda d: d["models"][0]["output"].update(labels=["nut", "bolt"]))
    assert group(found, "models") == [
        ("parts: gives labels", "2 labels, number 0 is bolt", "2 labels, number 0 is nut")
    ]


def test_inputs_in_another_order_are_a_change(tmp_path: Path) -> None:
    def two(document: dict[str, Any]) -> None:
        signature = document["models"][1]["signature"]
        signature["inputs"].append({**signature["inputs"][0], "name": "y"})

    def turned(document: dict[str, Any]) -> None:
        two(document)
        document["models"][1]["signature"]["inputs"].reverse()

    places = []
    for name, change in (("a", two), ("b", turned)):
        document = service_json()
        change(document)
        files = release_files(service=document)
        places.append(pack_release(tmp_path / f"{name}.sealift", SIGNERS, files=files))
    assert group(between(places[0], places[1]), "models") == [("risk: inputs, their order", "x, y", "y, x")]


def test_a_model_that_comes_or_goes(tmp_path: Path) -> None:
    found = after(tmp_path, service=lambda d: d["models"][1].update(name="hazard"))
    changes = {(what, before is None, new is None) for what, before, new in group(found, "models")}
    assert changes == {("hazard", True, False), ("risk", False, True)}


def test_release_target_gates_and_provenance(tmp_path: Path) -> None:
    release = a_release(
        version="2.0",
        seq=7,
        min_sealift="0.9",
        target={**TARGET, "glibc": "2.34", "kernel": "5.4"},
        checks={"gates": {"licences": "none declared"}, "golden_checked": True, "golden_notes": []},
        provenance={"packer": "sealift 0.2.0", "python": "3.11.7"},
    )
    found = after(tmp_path, release=release)
    assert group(found, "release") == [
        ("version", "1.0", "2.0"),
        ("sequence", "1", "7"),
        ("needs sealift", "0.1.0", "0.9"),
    ]
    assert group(found, "target") == [("glibc", "2.31", "2.34"), ("kernel", "none", "5.4")]
    assert [what for what, _, _ in group(found, "checks and gates")] == [
        "gates",
        "golden_checked",
        "golden_notes",
    ]
    assert group(found, "provenance") == [("packer", "sealift 0.1.0", "sealift 0.2.0")]


@pytest.mark.parametrize("seq", [0, 1])
def test_a_sequence_that_a_box_would_refuse_is_a_warning(tmp_path: Path, seq: int) -> None:
    found = after(tmp_path, release=a_release(version="1.1", seq=seq))
    assert found.warnings == (f"sequence {seq} is not above 1: a box that has the other one refuses it",)


def test_another_product_is_a_warning(tmp_path: Path) -> None:
    found = after(tmp_path, release=a_release(product="credit", seq=2))
    assert found.warnings == ("another product: fraud",)


def test_comparing_with_what_nobody_vouches_for_is_a_warning(tmp_path: Path) -> None:
    older = pack_release(tmp_path / "a.sealift", None)
    found = between(older, pack_release(tmp_path / "b.sealift", SIGNERS))
    assert found.warnings == ("nobody vouches for the bundle that this is compared with",)


def test_a_list_that_only_one_side_has_cannot_be_compared(tmp_path: Path) -> None:
    found = after(tmp_path, files={"application/sbom.cdx.json": None, "application/service.json": None})
    assert group(found, "packages") == [
        ("application/sbom.cdx.json cannot be compared", "listed", "not at hand")
    ]
    assert group(found, "models") == [
        ("application/service.json cannot be compared", "listed", "not at hand")
    ]


def test_words_of_the_bundle_stay_as_they_are_until_they_are_drawn(tmp_path: Path) -> None:
    evil = "x\u202e\x1b[31m"
    found = after(tmp_path, sbom=lambda d: d["components"].append(component(evil, "1", "MIT", "runtime")))
    assert (f"runtime  {evil}", None, "1, MIT") in group(found, "packages")
    assert json.dumps(group(found, "packages"))
