"""Two releases -> what changed between them, by layer and by what a person decides on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sealift.bundle.documents import LAYERS, FileEntry
from sealift.bundle.read import UnverifiedBundle
from sealift.inspect.bill import BILL, Package
from sealift.inspect.facts import Facts
from sealift.inspect.models import SERVICE, Model, Tensor
from sealift.inspect.node import compact
from sealift.inspect.quality import CHECK
from sealift.inspect.visible import counted, short_of, size_in_words


@dataclass(frozen=True, slots=True)
class Change:
    """`before` is None for what is new, `after` for what is gone."""

    what: str
    before: str | None
    after: str | None

    @property
    def sign(self) -> str:
        """`+`, `-` or `~`."""
        return "+" if self.before is None else "-" if self.after is None else "~"


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file of a layer, `before` and `after` as in `Change`; a change of the executable bit counts."""

    path: str
    before: FileEntry | None
    after: FileEntry | None

    @property
    def sign(self) -> str:
        """`+`, `-` or `~`."""
        return "+" if self.before is None else "-" if self.after is None else "~"


@dataclass(frozen=True, slots=True)
class LayerDifference:
    """What became of the files of one layer; empty where the layer is the same."""

    name: str
    files: tuple[FileChange, ...]

    def of(self, sign: str) -> tuple[int, int]:
        """How many files were added, removed or changed, and their bytes (of what is gone: the old bytes)."""
        found = [change for change in self.files if change.sign == sign]
        entries = [change.before if sign == "-" else change.after for change in found]
        return len(found), sum(entry.size for entry in entries if entry is not None)


@dataclass(frozen=True, slots=True)
class Difference:
    """`groups` holds (title, changes) in the order of the page; empty groups are left out."""

    older: Facts
    same: bool
    warnings: tuple[str, ...]
    layers: tuple[LayerDifference, ...]
    groups: tuple[tuple[str, tuple[Change, ...]], ...]


def compare(newer: Facts, older: Facts, new_bundle: UnverifiedBundle, old: UnverifiedBundle) -> Difference:
    """What `newer` would change on a box that runs `older`; the bundles are theirs."""
    groups = {
        "release": _release_changes(older, newer),
        "packages": _packages(older.packages, newer.packages),
        "models": _models(older.models, newer.models),
        "target": _mapping(older.release.target, newer.release.target),
        "checks and gates": _mapping(_checks(older), _checks(newer)),
        "provenance": _mapping(older.release.provenance, newer.release.provenance),
        "signatures": _signers(older, newer),
    }
    return Difference(
        older=older,
        same=older.identity == newer.identity,
        warnings=_warnings(older, newer),
        layers=tuple(_layer(layer, old, new_bundle) for layer in LAYERS),
        groups=tuple((title, tuple(changes)) for title, changes in groups.items() if changes),
    )


def _warnings(older: Facts, newer: Facts) -> tuple[str, ...]:
    found = []
    if older.release.product != newer.release.product:
        found.append(f"another product: {older.release.product}")
    elif older.identity != newer.identity and newer.release.seq <= older.release.seq:
        found.append(
            f"sequence {newer.release.seq} is not above {older.release.seq}: a box that has the other one refuses it"
        )
    if not older.standing.verified:
        found.append("nobody vouches for the bundle that this is compared with")
    return tuple(found)


def _release_changes(older: Facts, newer: Facts) -> list[Change]:
    old, new = older.release, newer.release
    pairs = {
        "product": (old.product, new.product),
        "version": (old.version, new.version),
        "sequence": (str(old.seq), str(new.seq)),
        "floor of the sequence": (str(old.floor_seq), str(new.floor_seq)),
        "created": (old.created, new.created),
        "needs sealift": (old.min_sealift, new.min_sealift),
        "size": (size_in_words(old.total_size), size_in_words(new.total_size)),
    }
    return [Change(what, before, after) for what, (before, after) in pairs.items() if before != after]


def _layer(name: str, older: UnverifiedBundle, newer: UnverifiedBundle) -> LayerDifference:
    old, new = older.manifests[name], newer.manifests[name]
    changes = [FileChange(path, old.get(path), new.get(path)) for path in sorted({*old, *new})]
    return LayerDifference(name, tuple(change for change in changes if change.before != change.after))


def _not_comparable(older: object, newer: object, path: str) -> list[Change]:
    """One side's list is not at hand; the warnings of the page say why."""
    before, after = ("listed" if side is not None else "not at hand" for side in (older, newer))
    return [Change(f"application/{path} cannot be compared", before, after)]


def _packages(older: Sequence[Package] | None, newer: Sequence[Package] | None) -> list[Change]:
    if older is None or newer is None:
        return _not_comparable(older, newer, BILL)
    old, new = _by_name(older), _by_name(newer)
    found = []
    for key in sorted({*old, *new}):
        layer, name = key
        before, after = _package_words(old.get(key)), _package_words(new.get(key))
        if old.get(key) != new.get(key):
            same_words = before == after and before is not None
            found.append(Change(f"{layer}  {name}", before, f"{after} (built anew)" if same_words else after))
    return found


def _by_name(packages: Sequence[Package]) -> dict[tuple[str, str], tuple[Package, ...]]:
    found: dict[tuple[str, str], tuple[Package, ...]] = {}
    for package in packages:
        key = (package.layer, package.name)
        found[key] = (*found.get(key, ()), package)
    return found


def _package_words(packages: tuple[Package, ...] | None) -> str | None:
    if packages is None:
        return None
    return " and ".join(f"{package.version}, {package.licence}" for package in packages)


def _models(older: Sequence[Model] | None, newer: Sequence[Model] | None) -> list[Change]:
    if older is None or newer is None:
        return _not_comparable(older, newer, SERVICE)
    old, new = {model.name: model for model in older}, {model.name: model for model in newer}
    found = []
    for name in sorted({*old, *new}):
        if name in old and name in new:
            found += _model(name, old[name], new[name])
        else:
            words = [_file_words(side[name]) if name in side else None for side in (old, new)]
            found.append(Change(name, *words))
    return found


def _model(name: str, old: Model, new: Model) -> list[Change]:
    pairs = {
        "file": (_file_words(old), _file_words(new)),
        "licence": (old.licence, new.licence),
        "device": (", ".join(old.device), ", ".join(new.device)),
        "handler files": (_paths(old.code), _paths(new.code)),
        "files beside it": (_paths(old.files), _paths(new.files)),
    }
    found = [Change(f"{name}: {what}", *pair) for what, pair in pairs.items() if pair[0] != pair[1]]
    found += _tensors(f"{name}: input", old.inputs, new.inputs)
    found += _tensors(f"{name}: output", old.outputs, new.outputs)
    found += [_prefixed(f"{name}: takes", change) for change in _mapping(old.takes, new.takes)]
    found += [_prefixed(f"{name}: gives", change) for change in _mapping(old.gives, new.gives)]
    return found


def _file_words(model: Model) -> str:
    return f"{short_of(model.sha256)}, {size_in_words(model.size)}"


def _paths(paths: Sequence[str]) -> str:
    return ", ".join(paths) or "none"


def _tensors(what: str, older: Sequence[Tensor], newer: Sequence[Tensor]) -> list[Change]:
    old = {tensor.name: tensor.type_words for tensor in older}
    new = {tensor.name: tensor.type_words for tensor in newer}
    found = [
        Change(f"{what} {name}", old.get(name), new.get(name))
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]
    if not found and list(old) != list(new):
        found.append(Change(f"{what}s, their order", ", ".join(old), ", ".join(new)))
    return found


def _checks(facts: Facts) -> dict[str, Any]:
    """What was found at pack time; of optimised models their verdict alone, for it stands with each model."""
    checks = dict(facts.release.checks)
    checks.pop(CHECK, None)
    qualities = {model.name: model.quality for model in facts.models or () if model.quality is not None}
    return checks | {f"quality of {name}": quality.verdict for name, quality in qualities.items()}


def _mapping(older: Mapping[str, Any], newer: Mapping[str, Any]) -> list[Change]:
    found = []
    for key in sorted({*older, *newer}):
        if older.get(key) == newer.get(key) and (key in older) == (key in newer):
            continue
        if key == "labels":
            found.append(_labels(older.get(key) or (), newer.get(key) or ()))
            continue
        before = compact(older[key]) if key in older else None
        found.append(Change(key, before, compact(newer[key]) if key in newer else None))
    return found


def _labels(older: Sequence[str], newer: Sequence[str]) -> Change:
    """Counts say little where a name moved by one place: the first place that differs is named."""
    place = next(
        (at for at, pair in enumerate(zip(older, newer, strict=False)) if pair[0] != pair[1]),
        min(len(older), len(newer)),
    )
    first = [labels[place] if place < len(labels) else "none" for labels in (older, newer)]
    before, after = (
        f"{counted(len(labels), 'label')}, number {place} is {name}"
        for labels, name in zip((older, newer), first, strict=True)
    )
    return Change("labels", before, after)


def _prefixed(prefix: str, change: Change) -> Change:
    return Change(f"{prefix} {change.what}", change.before, change.after)


def _signers(older: Facts, newer: Facts) -> list[Change]:
    found = []
    for what, old, new in (
        ("signed by", older.standing.signers, newer.standing.signers),
        ("approved by", older.standing.approvers, newer.standing.approvers),
    ):
        before, after = ({signer.key_id for signer in signers} for signers in (old, new))
        found += [Change(what, short_of(key), None) for key in sorted(before - after)]
        found += [Change(what, None, short_of(key)) for key in sorted(after - before)]
    return found
