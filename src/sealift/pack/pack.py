"""Assembled layer folders -> a signed bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sealift import __version__, canonical
from sealift.bundle.documents import LAYERS, Release
from sealift.bundle.write import Endorse, Layer, hash_layer, refuse_destination, write_bundle
from sealift.events import Progress, Silent
from sealift.pack.sequence import Entry

BILL_NAME: Final = "sbom.cdx.json"
EPOCH: Final = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Parts:
    """What goes into a bundle. `tree` holds one folder per layer, complete.

    `target`, `checks` and `provenance` are JSON without floats.
    `bill` makes the bill of materials for a time of creation, so that packing twice gives the same bytes.
    """

    product: str
    version: str
    tree: Path
    target: Mapping[str, Any]
    checks: Mapping[str, Any]
    provenance: Mapping[str, Any]
    bill: Callable[[str], bytes]


@dataclass(frozen=True, slots=True)
class Packed:
    """The result: where it lies, what it is, and its bytes on the medium."""

    path: Path
    release: Release
    layers: Mapping[str, Layer]
    stored_size: int


def pack(
    parts: Parts,
    destination: Path,
    endorse: Endorse,
    assign_sequence: Callable[[str], Entry],
    progress: Progress,
) -> Packed:
    """Hash the layers, give the release its sequence, sign and write it.

    Args:
        assign_sequence: content digest -> its ledger entry.
    Raises: UsageError: a file that cannot travel, or a destination that is something else.
    """
    refuse_destination(destination)
    bill = parts.tree / "application" / BILL_NAME
    bill.write_bytes(parts.bill(EPOCH))
    layers = {name: hash_layer(parts.tree / name, progress) for name in LAYERS}
    entry = assign_sequence(canonical.digest(_draft(parts, layers).encode()))
    bill.write_bytes(parts.bill(entry.created))
    layers["application"] = hash_layer(parts.tree / "application", Silent())
    release = replace(_draft(parts, layers), seq=entry.seq, created=entry.created)
    stored = write_bundle(destination, release, layers, endorse, progress)
    return Packed(destination, release, layers, stored)


def _draft(parts: Parts, layers: Mapping[str, Layer]) -> Release:
    refs = {name: layer.ref for name, layer in layers.items()}
    return Release(
        product=parts.product,
        version=parts.version,
        seq=0,
        floor_seq=0,
        min_sealift=__version__,
        created=EPOCH,
        target=parts.target,
        layers=refs,
        checks=parts.checks,
        provenance=parts.provenance,
        total_size=sum(ref.size for ref in refs.values()),
    )
