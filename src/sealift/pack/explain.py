"""What a bundle carries, part by part: what each costs, and why it travels as it does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sealift.bundle import layout
from sealift.bundle.documents import LAYERS, encode_manifest
from sealift.bundle.encode import Stored
from sealift.bundle.read import UnverifiedBundle
from sealift.bundle.write import Layer, Written
from sealift.pack.delta import LARGER, Plan, Predecessor


@dataclass(frozen=True, slots=True)
class Part:
    """One object that travels, named by its first file `layer/path`; sizes in bytes.

    `source` is the file of the bases that its patch was made from; `why` the reason that it travels whole,
    empty for a patch and in a full bundle.
    """

    path: str
    codec: str
    size: int
    stored_size: int
    source: str | None
    why: str


@dataclass(frozen=True, slots=True)
class LayerCost:
    """One layer: its files, those whose objects the box must have, and what travels.

    An object that two layers share is counted in the first. `manifest_size` is 0 where it does not travel.
    """

    name: str
    files: int
    size: int
    left_out_files: int
    left_out_size: int
    stored_size: int
    manifest_size: int
    codecs: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A whole bundle; `parts` the costliest first. `full_size`: about what the full bundle would be."""

    layers: tuple[LayerCost, ...]
    parts: tuple[Part, ...]
    documents_size: int
    stored_size: int
    full_size: int


def explain(
    layers: Mapping[str, Layer], written: Written, plan: Plan | None, olds: Sequence[UnverifiedBundle]
) -> Explanation:
    """Tell what was written.

    Args:
        plan: None for a full bundle. olds: the bundles that a delta was made from.
    """
    named = _first_files(layers, written)
    parts = [_part(path, written.objects[sha256], sha256, plan) for sha256, path in named.items()]
    manifests = {layout.manifest(layer.ref.manifest) for layer in layers.values()}
    return Explanation(
        layers=tuple(_layer(name, layers[name], written, named) for name in LAYERS),
        parts=tuple(sorted(parts, key=lambda part: (-part.stored_size, part.path))),
        documents_size=sum(size for name, size in written.documents.items() if name not in manifests),
        stored_size=written.size,
        full_size=_full_size(layers, written, olds),
    )


def _first_files(layers: Mapping[str, Layer], written: Written) -> dict[str, str]:
    """Digest of every travelling object -> its first file."""
    found: dict[str, str] = {}
    for name in LAYERS:
        for path, entry in sorted(layers[name].files.items()):
            if entry.sha256 in written.objects:
                found.setdefault(entry.sha256, f"{name}/{path}")
    return found


def _part(path: str, stored: Stored, sha256: str, plan: Plan | None) -> Part:
    item = stored.item
    planned = plan.objects[sha256] if plan is not None else ""
    if isinstance(planned, Predecessor):
        source, why = (planned.path, "") if item.source is not None else (None, LARGER)
    else:
        source, why = None, planned
    return Part(path, item.codec, item.size, item.stored_size, source, why)


def _layer(name: str, layer: Layer, written: Written, named: Mapping[str, str]) -> LayerCost:
    here = [stored.item for sha256, stored in written.objects.items() if named[sha256].startswith(f"{name}/")]
    absent = [entry for entry in layer.files.values() if entry.sha256 not in written.objects]
    return LayerCost(
        name=name,
        files=layer.ref.files,
        size=layer.ref.size,
        left_out_files=len(absent),
        left_out_size=sum(entry.size for entry in absent),
        stored_size=sum(item.stored_size for item in here),
        manifest_size=written.documents.get(layout.manifest(layer.ref.manifest), 0),
        codecs=dict(sorted(Counter(item.codec for item in here).items())),
    )


def _full_size(layers: Mapping[str, Layer], written: Written, olds: Sequence[UnverifiedBundle]) -> int:
    """What travels, had it been stored whole, and what does not, as it is stored in an old bundle."""
    size = sum(written.documents.values()) + sum(stored.whole_size for stored in written.objects.values())
    absent = {
        entry.sha256: entry.size
        for layer in layers.values()
        for entry in layer.files.values()
        if entry.sha256 not in written.objects
    }
    for sha256, whole in absent.items():
        kept = next((old.objects[sha256] for old in olds if sha256 in old.objects), None)
        size += kept.stored_size if kept is not None else whole
    for layer in layers.values():
        if layout.manifest(layer.ref.manifest) not in written.documents:
            size += len(encode_manifest(layer.files))
    return size
