"""What the desk reads out of a bundle, and how it refuses what sealift never wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.inspect.desk import (
    CREATED_S,
    a_release,
    bill,
    house,
    leave_out,
    opened,
    pack_release,
    release_files,
    service_json,
)
from tests.made_bundles import tree_hash

from sealift.bundle.documents import FileEntry, encode_manifest
from sealift.bundle.read import read_bundle, read_object
from sealift.bundle.source import open_source
from sealift.errors import DigestMismatch, MalformedBundle
from sealift.inspect import contents as contents_module
from sealift.inspect.contents import Contents
from sealift.inspect.facts import Facts, facts_of
from sealift.inspect.standing import standing_of
from sealift.trust.vouch import Policy

DAY_S = 86_400.0


def facts_at(place: Path, now: float = CREATED_S) -> Facts:
    """The facts of a bundle that nobody vouches for."""
    bundle = opened(place)
    return facts_of(Contents(bundle), standing_of(bundle, None, Policy()), now)


def facts_with(tmp_path: Path, **documents: bytes | None) -> Facts:
    """The facts of a release with other documents in its application layer; None leaves one out."""
    files = release_files()
    for name, data in documents.items():
        path = {"service": "application/service.json", "sbom": "application/sbom.cdx.json"}.get(
            name, f"application/goldens/{name}.json"
        )
        if data is None:
            del files[path]
        else:
            files[path] = data
    return facts_at(pack_release(tmp_path / "b.sealift", None, files=files))


def test_every_package_has_version_licence_and_layer(tmp_path: Path) -> None:
    facts = facts_at(pack_release(tmp_path / "b.sealift", None))
    found = [(p.name, p.version, p.licence, p.layer) for p in facts.packages or ()]
    assert found == [
        ("oldthing", "0.3", "see LICENCE.txt", "dependencies"),
        ("unstated", "1", "not stated", "dependencies"),
        ("cryptography", "50.0.2", "Apache-2.0 OR BSD-3-Clause", "runtime"),
        ("numpy", "2.4.6", "BSD-3-Clause", "runtime"),
    ]


def test_every_model_has_its_edges_declarations_files_and_goldens(tmp_path: Path) -> None:
    parts, risk = facts_at(pack_release(tmp_path / "b.sealift", None)).models or ()
    assert [tensor.words for tensor in parts.inputs] == ["input  FP32  [batch, 3, 224, 224]"]
    assert (parts.licence, parts.labels, parts.files, parts.code) == ("Apache-2.0", ("bolt", "nut"), (), ())
    assert parts.goldens is not None
    assert parts.goldens.names == ("bolt.png", "nut.png")
    assert [tensor.words for tensor in risk.outputs] == ["score  FP32  any shape"]
    assert risk.files == ("models/risk/weights.bin",)
    assert risk.code == ("handlers/risk/handler.py",)
    assert risk.licence == "not stated"
    assert risk.goldens is not None
    assert (risk.goldens.reason, risk.goldens.batch_reason) == ("not deterministic", "rows differ")


def test_layers_say_what_travels(tmp_path: Path) -> None:
    facts = facts_at(pack_release(tmp_path / "b.sealift", None))
    assert [(layer.name, layer.files, layer.absent) for layer in facts.layers] == [
        ("runtime", 2, (0, 0)),
        ("dependencies", 2, (0, 0)),
        ("application", 8, (0, 0)),
    ]
    assert facts.objects == 12


def test_a_small_bundle_is_read_with_the_older_one_and_says_what_the_box_must_have(tmp_path: Path) -> None:
    signers = house()
    older = opened(pack_release(tmp_path / "old.sealift", signers))
    files = release_files() | {"application/models/parts/model.onnx": b"other weights"}
    small = pack_release(
        tmp_path / "new.sealift", signers, files=files, release=a_release(version="2", seq=2)
    )
    leave_out(small, tmp_path / "old.sealift", signers)
    known = {
        ref.manifest: encode_manifest(older.manifests[name]) for name, ref in older.release.layers.items()
    }
    bundle = read_bundle(open_source(small), known.get)

    def find(entry: FileEntry) -> bytes | None:
        return read_object(older, entry.sha256) if entry.sha256 in older.objects else None

    standing = standing_of(bundle, None, Policy())
    facts = facts_of(Contents(bundle, find), standing, CREATED_S)
    assert facts.objects == 1
    assert facts.layers[0].absent == (2, 24)
    assert (facts.layers[0].manifest_travels, facts.layers[2].manifest_travels) == (False, True)
    assert len(facts.packages or ()) == 4

    alone = facts_of(Contents(bundle), standing, CREATED_S)
    assert (alone.packages, alone.models) == (None, None)
    assert [warning.partition(" does not travel")[0] for warning in alone.warnings] == [
        "application/sbom.cdx.json",
        "application/service.json",
    ]


def test_another_file_under_the_same_name_on_this_machine_is_refused(tmp_path: Path) -> None:
    signers = house()
    older = pack_release(tmp_path / "old.sealift", signers)
    leave_out(pack_release(tmp_path / "new.sealift", signers), older, signers)
    known = {
        ref.manifest: encode_manifest(opened(older).manifests[name])
        for name, ref in opened(older).release.layers.items()
    }
    bundle = read_bundle(open_source(tmp_path / "new.sealift"), known.get)
    with pytest.raises(DigestMismatch, match="the copy on this machine is not sha256:"):
        Contents(bundle, lambda entry: b"planted").read("service.json")


@pytest.mark.parametrize(
    ("days", "warning"),
    [
        (0, None),
        (400, None),
        (401, "created 401 days ago: ask whether a newer release exists"),
        (-0.9, None),
        (-3, "created 3 days in the future: check this machine's clock, or ask who packed it"),
    ],
)
def test_a_strange_age_is_a_warning_and_never_a_refusal(
    tmp_path: Path, days: float, warning: str | None
) -> None:
    place = pack_release(tmp_path / "b.sealift", None)
    assert facts_at(place, CREATED_S + days * DAY_S).warnings == ((warning,) if warning else ())


def test_a_day_that_no_calendar_has_is_a_warning(tmp_path: Path) -> None:
    release = a_release(created="2026-13-45T99:99:99Z")
    facts = facts_at(pack_release(tmp_path / "b.sealift", None, release=release))
    assert facts.warnings == ("created 2026-13-45T99:99:99Z is no date",)


def test_without_a_bill_or_a_service_the_rest_is_still_shown(tmp_path: Path) -> None:
    facts = facts_with(tmp_path, service=None, sbom=None)
    assert facts.warnings == (
        "application/sbom.cdx.json is not in the release: packages and licences are not listed",
        "application/service.json is not in the release: models are not listed",
    )
    assert (facts.packages, facts.models) == (None, None)


Break = Callable[[dict[str, Any]], object]
BROKEN_SERVICE: dict[str, tuple[Break, str]] = {
    "models is no list": (lambda d: d.update(models={}), "service.json models: expected a list, found dict"),
    "a model is no object": (lambda d: d["models"].__setitem__(0, 7), "models[0]: expected an object"),
    "no name": (lambda d: d["models"][0].pop("name"), "models[0] name: expected a string, found NoneType"),
    "a number as path": (lambda d: d["models"][0].update(path=1), "models[0] path: expected a string"),
    "a file that is not there": (
        lambda d: d["models"][0].update(path="../x"), "names the file '../x', which the application layer lacks",
    ),
    "no signature": (lambda d: d["models"][0].pop("signature"), "models[0] signature: expected an object"),
    "inputs is text": (lambda d: d["models"][0]["signature"].update(inputs="x"), "inputs: expected a list"),
    "a shape of floats": (
        lambda d: d["models"][0]["signature"]["inputs"][0].update(shape=[1.5]), "shape[0]: expected a string",
    ),
    "labels of numbers": (lambda d: d["models"][0]["output"].update(labels=[1]), "labels[0]: expected a string"),
    "size is a number": (lambda d: d["models"][0]["input"].update(size=9), "size: expected a list"),
    "a column without kind": (
        lambda d: d["models"][1]["input"]["columns"][0].pop("kind"), "columns[0] kind: expected a string",
    ),
    "kind is a list": (lambda d: d["models"][0]["output"].update(kind=[]), "kind: expected a string, found list"),
    "a device of numbers": (lambda d: d["models"][0].update(device=[1]), "device[0]: expected a string"),
    "a handler of numbers": (lambda d: d["models"][0].update(handler=1), "handler: expected a string"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN_SERVICE)
def test_a_service_json_of_another_shape_is_refused_with_its_place(tmp_path: Path, case: str) -> None:
    breaking, message = BROKEN_SERVICE[case]
    document = service_json()
    breaking(document)
    with pytest.raises(MalformedBundle) as caught:
        facts_with(tmp_path, service=json.dumps(document).encode())
    assert message in caught.value.message


BROKEN_BILL: dict[str, tuple[Break, str]] = {
    "components is text": (lambda d: d.update(components="x"), "components: expected a list"),
    "a component is text": (lambda d: d["components"].append("x"), "components[5]: expected an object"),
    "a name of numbers": (lambda d: d["components"][0].update(name=1), "components[0] name: expected a string"),
    "a version of lists": (lambda d: d["components"][0].update(version=[]), "version: expected a string"),
    "licenses is an object": (lambda d: d["components"][0].update(licenses={}), "licenses: expected a list"),
    "a licence is text": (
        lambda d: d["components"][0].update(licenses=[{"license": "MIT"}]), "license: expected an object",
    ),
    "properties of text": (lambda d: d["components"][0].update(properties=["x"]), "properties[0]: expected"),
    "hashes of text": (lambda d: d["components"][0].update(hashes=["x"]), "hashes[0]: expected an object"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN_BILL)
def test_a_bill_of_another_shape_is_refused_with_its_place(tmp_path: Path, case: str) -> None:
    breaking, message = BROKEN_BILL[case]
    document = bill()
    breaking(document)
    with pytest.raises(MalformedBundle) as caught:
        facts_with(tmp_path, sbom=json.dumps(document).encode())
    assert message in caught.value.message
    assert caught.value.message.startswith("application/sbom.cdx.json")


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"models": NaN}', b"[" * 100_000, b'{"a":' * 50_000],
    ids=["empty", "cut", "a list", "null", "text", "not UTF-8", "NaN", "deep lists", "deep objects"],
)
def test_what_is_not_json_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(MalformedBundle, match=r"application/service\.json is not (JSON|an object)"):
        facts_with(tmp_path, service=data)


def test_all_broken_documents_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(MalformedBundle) as caught:
        facts_with(tmp_path, service=b"x", sbom=b"y")
    assert caught.value.message == "2 documents of the application layer cannot be read"
    assert caught.value.problems == (
        "application/sbom.cdx.json is not JSON",
        "application/service.json is not JSON",
    )


def test_a_broken_golden_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MalformedBundle, match=r"goldens/parts\.json goldens: expected a list, found int"):
        facts_with(tmp_path, parts=b'{"goldens": 3}')


def test_a_document_too_large_to_read_is_refused_before_it_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents_module, "MAX_READ_BYTES", 1000)
    place = pack_release(tmp_path / "b.sealift", None)
    before = tree_hash(tmp_path)
    with pytest.raises(MalformedBundle) as caught:
        facts_at(place)
    assert "application/sbom.cdx.json: 1591 bytes, at most 1000 are read here" in caught.value.problems
    assert tree_hash(tmp_path) == before
