"""Assembled layer folders -> a signed bundle, full or a delta from older ones."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sealift import __version__, canonical
from sealift.bundle.documents import LAYERS, Release
from sealift.bundle.read import UnverifiedBundle
from sealift.bundle.transport import Base
from sealift.bundle.write import Endorse, Layer, Travel, hash_layer, refuse_destination, write_bundle
from sealift.events import Progress, Silent
from sealift.pack.delta import delta_of
from sealift.pack.explain import Explanation, explain
from sealift.pack.sequence import Entry

BILL_NAME: Final = "sbom.cdx.json"
EPOCH: Final = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Parts:
    """What goes into a bundle. `tree` holds one folder per layer, complete.

    `target`, `checks` and `provenance` are JSON without floats.
    `bill` makes the bill of materials for a time of creation, so that packing twice gives the same bytes.
    `min_sealift`: the oldest sealift that may install it. `travel`: how the objects of a full bundle are stored
    (None: the smaller of raw and zstd).
    """

    product: str
    version: str
    tree: Path
    target: Mapping[str, Any]
    checks: Mapping[str, Any]
    provenance: Mapping[str, Any]
    bill: Callable[[str], bytes]
    min_sealift: str = __version__
    travel: Travel | None = None


@dataclass(frozen=True, slots=True)
class Packed:
    """The result: where it lies, what it is, the releases that a delta builds on, and what everything costs."""

    path: Path
    release: Release
    layers: Mapping[str, Layer]
    bases: tuple[Base, ...]
    explanation: Explanation

    @property
    def stored_size(self) -> int:
        """The bytes of all its parts on the medium."""
        return self.explanation.stored_size


def pack(
    parts: Parts,
    destination: Path,
    endorse: Endorse,
    assign_sequence: Callable[[str], Entry],
    progress: Progress,
    olds: Sequence[UnverifiedBundle] = (),
) -> Packed:
    """Hash the layers, give the release its sequence, sign and write it.

    Args:
        assign_sequence: content digest -> its ledger entry; above the sequences of `olds`.
        olds: full bundles of the same product, the newest last: what every one of them has is left out.
    Raises: UsageError: a file that cannot travel, or a destination that is something else.
        DigestMismatch, MalformedBundle: an old bundle is damaged.
    """
    refuse_destination(destination)
    bill = parts.tree / "application" / BILL_NAME
    bill.write_bytes(parts.bill(EPOCH))
    layers = {name: hash_layer(parts.tree / name, progress) for name in LAYERS}
    entry = assign_sequence(canonical.digest(_draft(parts, layers).encode()))
    bill.write_bytes(parts.bill(entry.created))
    layers["application"] = hash_layer(parts.tree / "application", Silent())
    release = replace(_draft(parts, layers), seq=entry.seq, created=entry.created)
    if not olds:
        written = write_bundle(destination, release, layers, endorse, progress, parts.travel)
        return Packed(destination, release, layers, (), explain(layers, written, None, ()))
    with tempfile.TemporaryDirectory(prefix="bases-", dir=parts.tree.parent) as folder:
        plan, travel = delta_of(layers, olds, Path(folder))
        written = write_bundle(destination, release, layers, endorse, progress, travel)
    return Packed(destination, release, layers, plan.bases, explain(layers, written, plan, olds))


def _draft(parts: Parts, layers: Mapping[str, Layer]) -> Release:
    refs = {name: layer.ref for name, layer in layers.items()}
    return Release(
        product=parts.product,
        version=parts.version,
        seq=0,
        floor_seq=0,
        min_sealift=parts.min_sealift,
        created=EPOCH,
        target=parts.target,
        layers=refs,
        checks=parts.checks,
        provenance=parts.provenance,
        total_size=sum(ref.size for ref in refs.values()),
    )
