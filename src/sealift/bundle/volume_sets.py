"""Which volumes lie in a folder, and which of them belong together (clause 12.5)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealift import canonical
from sealift.bundle import layout
from sealift.bundle.source import Source
from sealift.bundle.volumes import COPY_AGAIN, Volume, Volumes, check_piece, missing_volumes, read_volume
from sealift.errors import BundleError, DigestMismatch, MalformedBundle, SealiftError
from sealift.events import Progress

_NAMED: Final = re.compile(r"\.v[0-9]{2,3}-of-[0-9]{2,3}\.sealift$")


def is_volume(path: Path) -> bool:
    """Claims that the file says it is a volume, inside or by its name: a damaged one is called so. Raises: OSError."""
    if _NAMED.search(path.name):
        return True
    with path.open("rb") as stream:
        return stream.read(100).rstrip(b"\x00") == layout.VOLUME.encode()


@dataclass(frozen=True, slots=True)
class Found:
    """What lies in a folder: volumes that are well formed, and what was wrong with each other file."""

    volumes: tuple[Volume, ...]
    damaged: Mapping[Path, SealiftError]

    def sets(self) -> Mapping[tuple[str, str, int], tuple[Volume, ...]]:
        """The volumes that belong together."""
        keys = dict.fromkeys(volume.key for volume in self.volumes)
        return {key: tuple(v for v in self.volumes if v.key == key) for key in keys}


def look(paths: Iterable[Path]) -> Found:
    """Read what each volume says of itself."""
    volumes, damaged = [], {}
    for path in paths:
        try:
            volumes.append(read_volume(path))
        except SealiftError as error:
            damaged[path] = error
    return Found(tuple(volumes), damaged)


def volumes_in(folder: Path) -> tuple[Path, ...]:
    """The files of a folder that say they are volumes, sorted. Raises: OSError."""
    found = (path for path in folder.iterdir() if is_bundle_file(path))
    return tuple(sorted(path for path in found if is_volume(path)))


def is_bundle_file(path: Path) -> bool:
    """Claims that a file is called as one (`._x.sealift`, which some systems write beside, is not)."""
    return path.suffix == layout.SUFFIX and not path.name.startswith(".") and path.is_file()


def open_volumes(paths: Sequence[Path], *, may_lack: bool) -> Volumes:
    """The one set that these files are.

    Args:
        may_lack: also where some are missing or damaged, as long as one is good.
    Raises: MalformedBundle: of several sets, or with documents that differ. MissingPart. What is wrong with a file.
    """
    found = look(paths)
    sets = found.sets()
    if len(sets) > 1:
        raise mixed(found.volumes)
    if found.damaged and not (may_lack and sets):
        raise damaged_files(found.damaged)
    volumes = next(iter(sets.values()))
    opened_set = Volumes({volume.number: volume for volume in reversed(volumes)}.values())
    if may_lack:
        return opened_set
    if opened_set.missing:
        raise missing_volumes(volumes, opened_set.missing)
    if len({volume.documents for volume in volumes}) > 1:
        raise MalformedBundle(
            f"{opened_set.name}: the volumes carry different signatures, roots or manifests",
            problems=[
                f"{volume.path.name}: documents {canonical.short(volume.documents)}" for volume in volumes
            ],
            next_step="copy all volumes of one writing to the medium again",
        )
    return opened_set


def open_file(path: Path, *, may_lack: bool) -> Volumes:
    """The set that a volume belongs to, from its own folder. Raises: as `open_volumes`."""
    own = read_volume(path)
    found = look(other for other in volumes_in(path.parent) if other != path)
    paths = [path, *(volume.path for volume in found.volumes if volume.key == own.key)]
    return open_volumes(paths, may_lack=may_lack)


def check_pieces(source: Source, progress: Progress) -> None:
    """Of a bundle in volumes, hold every piece to its digest, so that damage has a file's name; of others nothing.

    Raises: DigestMismatch, BundleError: names every damaged file.
    """
    if not isinstance(source, Volumes):
        return
    progress.start("check volumes", sum(volume.size for volume in source.volumes.values()))
    damaged: dict[Path, SealiftError] = {}
    for volume in source.volumes.values():
        try:
            check_piece(volume, progress.advance)
        except (BundleError, DigestMismatch) as error:
            damaged[volume.path] = error
    if damaged:
        raise damaged_files(damaged)


def mixed(volumes: Iterable[Volume]) -> MalformedBundle:
    """The refusal that says which file belongs where."""
    found = sorted(volumes, key=lambda volume: volume.path)
    releases, spans = {v.key[0] for v in found}, {v.key[2] for v in found}
    what = (
        "several bundles"
        if len(releases) > 1
        else "several cuts of one bundle"
        if len(spans) > 1
        else ("a full bundle and a delta")
    )
    return MalformedBundle(
        f"{found[0].path.parent}: volumes of {what} lie there together",
        problems=[f"{v.path.name}: {v.says}, cut every {v.key[2]} bytes" for v in found],
        next_step="name a file of the one that is meant, or move the others away",
    )


def damaged_files(damaged: Mapping[Path, SealiftError]) -> SealiftError:
    """One error of the first one's class that names every file."""
    errors = list(damaged.values())
    if len(errors) == 1:
        path, error = next(iter(damaged.items()))
        message = error.message if str(path) in error.message else f"{path}: {error.message}"
        return type(error)(message, problems=error.problems, next_step=COPY_AGAIN)
    kind: type[SealiftError] = type(errors[0])
    return (kind if issubclass(kind, BundleError) else DigestMismatch)(
        f"{len(errors)} volumes are damaged",
        problems=[f"{path.name}: {error.message}" for path, error in damaged.items()],
        next_step="copy these files to the medium again; the other volumes are not affected",
    )
