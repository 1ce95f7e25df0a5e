"""What a release consists of, as CycloneDX 1.6 JSON: the same bytes for the same release."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License, LicenseAcknowledgement
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

import sealift
from sealift.collect.lock import Collected
from sealift.collect.wheel import LockedWheel
from sealift.model.signature import Signature, TensorSpec

# Serial numbers are derived within this name space, so that two packs of one release agree.
_SERIALS = uuid.uuid5(uuid.NAMESPACE_URL, "urn:sealift:software-bill")


@dataclass(frozen=True, slots=True)
class BilledModel:
    """A model file as it travels. `sha256` is of the file in the release; `licence` is an SPDX expression or
    free text, None where the project states none."""

    name: str
    sha256: str
    size: int
    licence: str | None
    signature: Signature


@dataclass(frozen=True, slots=True)
class BilledPart:
    """What travels and is neither wheel nor model: the interpreter, a package of the system.

    `purl` is a package URL; `sha256` is of the file it came as, empty where there was none; `libraries` are files of
    other origin inside it.
    """

    name: str
    version: str
    layer: str
    purl: str
    licence: str | None = None
    sha256: str = ""
    libraries: tuple[str, ...] = ()


def software_bill(
    name: str,
    version: str,
    collected: Collected,
    models: Sequence[BilledModel],
    created: datetime,
    parts: Sequence[BilledPart] = (),
) -> bytes:
    """Write the bill of materials of one release.

    The root component is the application; every wheel, sealift itself, every model and what else travels are
    components with their digest, licence and layer.

    Args:
        created: the release's own time, with a time zone.
    Returns: UTF-8 JSON, valid against the CycloneDX 1.6 schema; equal for equal arguments.
    """
    bom = Bom(serial_number=_SERIALS)
    bom.metadata.timestamp = created
    root = Component(name=name, version=version, type=ComponentType.APPLICATION, bom_ref="release")
    bom.metadata.component = root
    components = [*_components(collected, models), *map(_part, parts)]
    for component in components:
        bom.components.add(component)
    bom.register_dependency(root, components)
    content = JsonV1Dot6(bom).output_as_string()
    bom.serial_number = uuid.uuid5(_SERIALS, content)
    text: str = JsonV1Dot6(bom).output_as_string(indent=2)
    return text.encode("utf-8") + b"\n"


def _components(collected: Collected, models: Sequence[BilledModel]) -> Iterator[Component]:
    yield _sealift()
    for layer, wheels in (("runtime", collected.runtime), ("dependencies", collected.dependencies)):
        yield from (_package(wheel, layer) for wheel in wheels)
    yield from (_model(model) for model in models)


def _sealift() -> Component:
    purl = PackageURL("pypi", None, "sealift", sealift.__version__)
    return Component(
        name="sealift",
        version=sealift.__version__,
        type=ComponentType.LIBRARY,
        bom_ref=purl.to_string(),
        purl=purl,
        licenses=_licences("Apache-2.0"),
        properties=[Property(name="sealift:layer", value="runtime")],
    )


def _package(wheel: LockedWheel, layer: str) -> Component:
    purl = PackageURL("pypi", None, wheel.name, wheel.version)
    return Component(
        name=wheel.name,
        version=wheel.version,
        type=ComponentType.LIBRARY,
        bom_ref=purl.to_string(),
        purl=purl,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=wheel.sha256)],
        licenses=_licences(wheel.licence),
        properties=[
            Property(name="sealift:layer", value=layer),
            Property(name="sealift:wheel", value=wheel.filename),
            *(Property(name="sealift:licence-file", value=text) for text in wheel.licence_files),
        ],
    )


def _part(part: BilledPart) -> Component:
    return Component(
        name=part.name,
        version=part.version,
        type=ComponentType.LIBRARY,
        bom_ref=part.purl,
        purl=PackageURL.from_string(part.purl),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=part.sha256)] if part.sha256 else [],
        licenses=_licences(part.licence),
        properties=[
            Property(name="sealift:layer", value=part.layer),
            *(Property(name="sealift:library", value=library) for library in part.libraries),
        ],
    )


def _model(model: BilledModel) -> Component:
    inputs = [Property(name="sealift:input", value=_tensor(spec)) for spec in model.signature.inputs]
    outputs = [Property(name="sealift:output", value=_tensor(spec)) for spec in model.signature.outputs]
    return Component(
        name=model.name,
        version=f"sha256:{model.sha256}",  # a model file has no other
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=f"model:{model.name}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=model.sha256)],
        licenses=_licences(model.licence),
        properties=[
            Property(name="sealift:layer", value="application"),
            Property(name="sealift:size-bytes", value=str(model.size)),
            *inputs,
            *outputs,
        ],
    )


def _tensor(spec: TensorSpec) -> str:
    """`input FP32[batch, 3, 224, 224]`; `[...]` where even the rank is open."""
    shape = "..." if spec.shape is None else ", ".join(str(axis) for axis in spec.shape)
    return f"{spec.name} {spec.datatype}[{shape}]"


def _licences(licence: str | None) -> list[License]:
    if licence is None:
        return []
    return [
        LicenseFactory().make_from_string(licence, license_acknowledgement=LicenseAcknowledgement.DECLARED)
    ]
