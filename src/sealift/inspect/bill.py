"""`sbom.cdx.json` (CycloneDX, plain JSON) -> the packages of a release, and the licences of its models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sealift.inspect.node import Node

BILL: Final = "sbom.cdx.json"
NOT_STATED: Final = "not stated"


@dataclass(frozen=True, slots=True)
class Package:
    """One package of a layer; `sha256` is of the wheel it came from, empty where the bill has none."""

    name: str
    version: str
    licence: str
    layer: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Bill:
    """What the bill of materials says: packages by layer and name, and model name -> licence."""

    packages: tuple[Package, ...]
    model_licences: dict[str, str]


def read_bill(document: Node) -> Bill:
    """Raises: MalformedBundle: a component is not of CycloneDX's shape."""
    packages, licences = [], {}
    for component in document.get("components").items():
        name, licence = component.get("name").text(), _licence(component)
        if component.get("type").text("") == "machine-learning-model":
            licences[name] = licence
            continue
        packages.append(
            Package(name, component.get("version").text(""), licence, _layer(component), _sha256(component))
        )
    return Bill(tuple(sorted(packages, key=lambda item: (item.layer, item.name, item.version))), licences)


def _licence(component: Node) -> str:
    names = []
    for entry in component.get("licenses").items():
        licence = entry.get("license")
        inner = (licence.get("id").text("") or licence.get("name").text("?")) if licence.value else "?"
        names.append(entry.get("expression").text("") or inner)
    return " AND ".join(names) or NOT_STATED


def _layer(component: Node) -> str:
    properties = component.get("properties").items()
    found = [item.get("value").text("") for item in properties if item.get("name").value == "sealift:layer"]
    return found[0] if found else ""


def _sha256(component: Node) -> str:
    hashes = component.get("hashes").items()
    found = [item.get("content").text("") for item in hashes if item.get("alg").value == "SHA-256"]
    return found[0] if found else ""
