import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from sealift import __version__
from sealift.collect.lock import Collected
from sealift.collect.sbom import BilledModel, BilledPart, software_bill
from sealift.collect.wheel import LockedWheel
from sealift.model.signature import Signature, TensorSpec

CREATED = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
MODEL = BilledModel(
    name="fraud",
    sha256="ab" * 32,
    size=1234,
    licence="Apache-2.0",
    signature=Signature(
        inputs=(
            TensorSpec(name="x", datatype="FP32", shape=("batch", 30)),
            TensorSpec(name="free", datatype="BYTES", shape=None),
        ),
        outputs=(TensorSpec(name="score", datatype="FP32", shape=()),),
    ),
)


def wheel(name: str, licence: str | None) -> LockedWheel:
    filename = f"{name}-1.0-py3-none-any.whl"
    return LockedWheel(name, "1.0", filename, "cd" * 32, Path(filename), 10, licence, (f"{name}/LICENSE",))


COLLECTED = Collected(
    runtime=(wheel("numpy", "BSD-3-Clause AND MIT"), wheel("odd", "LicenseRef-Public-Domain")),
    dependencies=(wheel("silent", None),),
    application=frozenset({"silent"}),
    glibc="2.28",
)


def bill(models: tuple[BilledModel, ...] = (MODEL,)) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(software_bill("fraud", "2026.11.0", COLLECTED, models, CREATED))
    return document


def properties(component: dict[str, Any], name: str) -> list[str]:
    return [entry["value"] for entry in component["properties"] if entry["name"] == name]


@pytest.mark.parametrize(
    "models",
    [
        (),
        (MODEL,),
        (MODEL, replace(MODEL, name="second", licence="our own terms")),
        (replace(MODEL, licence=None),),
    ],
    ids=["none", "one", "free text", "no licence"],
)
def test_the_bill_is_valid_in_the_strictest_sense(models: tuple[BilledModel, ...]) -> None:
    text = software_bill("fraud", "2026.11.0", COLLECTED, models, CREATED).decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_every_package_every_model_and_sealift_itself_are_listed() -> None:
    document = bill()
    root = document["metadata"]["component"]
    assert (root["type"], root["name"], root["version"]) == ("application", "fraud", "2026.11.0")
    components = {component["name"]: component for component in document["components"]}
    assert components.keys() == {"fraud", "numpy", "odd", "sealift", "silent"}
    assert components["sealift"]["version"] == __version__
    numpy = components["numpy"]
    assert numpy["purl"] == "pkg:pypi/numpy@1.0"
    assert numpy["hashes"] == [{"alg": "SHA-256", "content": "cd" * 32}]
    assert numpy["licenses"][0]["expression"] == "BSD-3-Clause AND MIT"
    assert properties(numpy, "sealift:layer") == ["runtime"]
    assert properties(components["silent"], "sealift:layer") == ["dependencies"]
    assert "licenses" not in components["silent"]


def test_a_model_is_a_component_with_digest_licence_and_tensors() -> None:
    (model,) = [c for c in bill()["components"] if c["type"] == "machine-learning-model"]
    assert model["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    assert model["licenses"][0]["license"]["id"] == "Apache-2.0"
    assert properties(model, "sealift:input") == ["free BYTES[...]", "x FP32[batch, 30]"]
    assert properties(model, "sealift:output") == ["score FP32[]"]
    assert properties(model, "sealift:size-bytes") == ["1234"]


def test_the_same_release_gives_the_same_bytes_and_another_another_serial() -> None:
    first = software_bill("fraud", "1", COLLECTED, (MODEL,), CREATED)
    assert software_bill("fraud", "1", COLLECTED, (MODEL,), CREATED) == first
    document, other = json.loads(first), json.loads(software_bill("fraud", "2", COLLECTED, (MODEL,), CREATED))
    assert document["metadata"]["timestamp"] == "2026-11-01T12:00:00+00:00"
    assert document["serialNumber"] != other["serialNumber"]


def test_the_interpreter_and_system_packages_are_billed_with_what_is_known_of_them() -> None:
    parts = (
        BilledPart(
            "cpython", "3.11.7", "runtime", "pkg:generic/python@3.11.7", "PSF-2.0", libraries=("libssl.so.3",)
        ),
        BilledPart(
            "libgomp1", "12.2.0-14", "application", "pkg:deb/libgomp1@12.2.0-14?arch=amd64", sha256="ef" * 32
        ),
    )
    text = software_bill("fraud", "1", COLLECTED, (), CREATED, parts).decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    found = {component["name"]: component for component in json.loads(text)["components"]}
    assert found["cpython"]["licenses"] == [{"license": {"acknowledgement": "declared", "id": "PSF-2.0"}}]
    assert properties(found["cpython"], "sealift:library") == ["libssl.so.3"]
    assert found["libgomp1"]["purl"] == "pkg:deb/libgomp1@12.2.0-14?arch=amd64"
    assert found["libgomp1"]["hashes"] == [{"alg": "SHA-256", "content": "ef" * 32}]
    assert "licenses" not in found["libgomp1"]
