"""A new release and the bundles of older ones -> what travels, and what each object is made from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealift.bundle.bases import BundleObjects
from sealift.bundle.documents import LAYERS, FileEntry
from sealift.bundle.encode import Old, Stored, store_object, store_smallest
from sealift.bundle.read import FindBase, UnverifiedBundle, made_for, verify_objects
from sealift.bundle.transport import MAX_BASES, Base
from sealift.bundle.write import Layer
from sealift.errors import MissingPart, UsageError
from sealift.events import Progress
from sealift.pack.pairing import Shelf
from sealift.pack.places import choose_places

NEW_FILE: Final = "new file"
NOT_IN_ALL: Final = "its older form is not in every base"
LARGER: Final = "a patch would not be smaller"

Use = tuple[str, bool]
"""A digest, and whether the file is executable: on a box these are two objects."""


@dataclass(frozen=True, slots=True)
class Predecessor:
    """The object to make a patch from, and a file of every base that it stands for, as `layer/path`."""

    sha256: str
    path: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What travels of a release: `manifests`, and `objects` with their predecessors, or why they have none."""

    bases: tuple[Base, ...]
    manifests: frozenset[str]
    objects: Mapping[str, Predecessor | str]


class Delta:
    """A plan carried out, as `write.Travel`. `find` gives the predecessors as files."""

    def __init__(self, plan: Plan, find: FindBase) -> None:
        self._plan = plan
        self._find = find

    @property
    def bases(self) -> tuple[Base, ...]:
        """As `Travel.bases`."""
        return self._plan.bases

    def carries(self, digest: str) -> bool:
        """As `Travel.carries`."""
        return digest in self._plan.objects or digest in self._plan.manifests

    def store(self, source: Path, sha256: str, size: int, staging: Path) -> Stored:
        """As `Travel.store`: raw, zstd or a patch, whichever is smallest."""
        found = self._plan.objects[sha256]
        if isinstance(found, str):
            return store_object(source, sha256, size, staging)
        base = self._find(found.sha256)
        if base is None:
            raise MissingPart(f"object {found.sha256} is in no base")
        old = Old(found.sha256, base, choose_places(source, size, base))
        return store_smallest(source, sha256, size, staging, old)


def delta_of(
    layers: Mapping[str, Layer], olds: Sequence[UnverifiedBundle], folder: Path
) -> tuple[Plan, Delta]:
    """The plan of a delta and what carries it out; objects of `olds` are extracted to `folder`."""
    plan = plan_delta(layers, olds)
    return plan, Delta(plan, BundleObjects(olds, folder))


def require_bases(
    olds: Sequence[tuple[Path, UnverifiedBundle]], product: str
) -> tuple[UnverifiedBundle, ...]:
    """Bundles that a delta of `product` can be made from, by sequence, each release once.

    Raises: UsageError: of another product, or a bundle that leaves something out; too many.
    """
    problems = [problem for path, old in olds if (problem := _why_no_base(path, old, product))]
    if problems:
        raise UsageError(
            "a delta cannot be made from this",
            problems=problems,
            next_step="name full bundles of earlier releases",
        )
    found = {old.identity: old for _, old in olds}
    if len(found) > MAX_BASES:
        raise UsageError(f"{len(found)} bases, at most {MAX_BASES} are permitted")
    return tuple(sorted(found.values(), key=lambda old: (old.release.seq, old.identity)))


def _why_no_base(path: Path, old: UnverifiedBundle, product: str) -> str | None:
    release = old.release
    name = base_of(old).words
    if release.product != product:
        return f"--from {path}: is of {release.product}, this project is {product}"
    if not (old.bases or old.lacking or old.absent):
        return None
    return (
        f"--from {path}: does not hold all of {product} {name}, it was {made_for(product, old.bases)}; give the full "
        f"bundle of {name} (packed without --from, the same content is the same release)"
    )


def check_base(old: UnverifiedBundle, progress: Progress) -> None:
    """Read every byte of an older bundle before anything is made from it. Raises: BundleError, TrustError."""
    progress.start(f"check {old.release.version}", sum(stored.size for stored in old.objects.values()))
    verify_objects(old, progress.advance)


def base_of(old: UnverifiedBundle) -> Base:
    """How transport.json names that release."""
    return Base(old.identity, old.release.seq, old.release.version)


def plan_delta(layers: Mapping[str, Layer], olds: Sequence[UnverifiedBundle]) -> Plan:
    """Leave out what every base has; pair the rest with what every base has.

    Args:
        olds: the newest last.
    """
    common = set.intersection(*(set(_uses(old)) for old in olds))
    manifests = set.intersection(*({ref.manifest for ref in old.release.layers.values()} for old in olds))
    files = [(name, path, entry) for name in LAYERS for path, entry in sorted(layers[name].files.items())]
    here = {entry.sha256 for _, _, entry in files if (entry.sha256, entry.executable) not in common}
    shelves = _shelves(olds, {sha256 for sha256, _ in common} - here)
    objects: dict[str, Predecessor | str] = {}
    for name, path, entry in files:
        if entry.sha256 in here and not isinstance(objects.get(entry.sha256), Predecessor):
            objects[entry.sha256] = shelves[name].find(path, entry.size)
    return Plan(
        bases=tuple(sorted(map(base_of, olds))),
        manifests=frozenset(layers[name].ref.manifest for name in LAYERS) - manifests,
        objects=objects,
    )


def _uses(old: UnverifiedBundle) -> Iterator[Use]:
    for files in old.manifests.values():
        for entry in files.values():
            yield entry.sha256, entry.executable


@dataclass(frozen=True, slots=True)
class _LayerShelf:
    """Predecessors in one layer. `paths`: every path of any base, also where its object is not in all of them."""

    name: str
    shelf: Shelf
    entries: Mapping[str, FileEntry]
    paths: frozenset[str]

    def find(self, path: str, size: int) -> Predecessor | str:
        found = self.shelf.predecessor(path, size)
        if found is not None:
            return Predecessor(self.entries[found].sha256, f"{self.name}/{found}")
        return NOT_IN_ALL if path in self.paths else NEW_FILE


def _shelves(olds: Sequence[UnverifiedBundle], usable: set[str]) -> dict[str, _LayerShelf]:
    entries: dict[str, dict[str, FileEntry]] = defaultdict(dict)
    paths: dict[str, set[str]] = defaultdict(set)
    for old in olds:  # the newest last: its paths win
        for name, files in old.manifests.items():
            paths[name] |= files.keys()
            entries[name] |= {
                path: entry for path, entry in files.items() if entry.sha256 in usable and entry.size
            }
    return {
        name: _LayerShelf(
            name,
            Shelf({path: entry.size for path, entry in entries[name].items()}),
            entries[name],
            frozenset(paths[name]),
        )
        for name in LAYERS
    }
