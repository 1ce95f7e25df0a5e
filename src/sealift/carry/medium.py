"""A bundle, or its volumes, with papers, on a medium: room first, then everything, then read back."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Final

from sealift.bundle import layout, tar
from sealift.bundle.codec import CHUNK
from sealift.bundle.read import UnverifiedBundle, read_bundle
from sealift.bundle.source import Source, open_source, reading
from sealift.carry.capacity import Room, room_of
from sealift.carry.cut import Cutting, cut
from sealift.carry.papers import SHEET, START, SUMS, Papers, papers_of, start_here, sums
from sealift.carry.sheet import draw
from sealift.carry.writing import Item, OnMedium, Pending, read_back, writing
from sealift.errors import NoSpace, UsageError
from sealift.events import Progress

_PAPERS_BYTES: Final = 1 << 20
"""Kept free for papers and the file system's own."""
_PLAIN: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+-]{0,199}")


@dataclass(frozen=True, slots=True)
class Load:
    """What goes onto a medium.

    `name` is the bundle's file name there, `volumes_of` the most bytes of one volume (None: one file); `bootstrap` is
    what brings sealift to a box that has none, copied as it is.
    """

    bundle: Path
    name: str
    volumes_of: int | None = None
    bootstrap: Path | None = None


@dataclass(frozen=True, slots=True)
class MediumReport:
    """What lies on the medium now: the bundle or its volumes, bootstrap and papers; and what was there before."""

    folder: Path
    bundle: tuple[OnMedium, ...]
    bootstrap: OnMedium | None
    papers: tuple[OnMedium, ...]
    left_alone: tuple[str, ...]

    @property
    def files(self) -> tuple[OnMedium, ...]:
        """All that was written."""
        return (*self.bundle, *([self.bootstrap] if self.bootstrap else []), *self.papers)

    @property
    def size(self) -> int:
        """Their bytes."""
        return sum(item.size for item in self.files)


def write_medium(folder: Path, load: Load, progress: Progress) -> MediumReport:
    """Write it all, durably, and compare what the medium gives back; before that, nothing has its name.

    Raises: NoSpace: no room, or a file system that takes no file so large; nothing was written. UsageError: a name
        that `sha256sum` cannot list, volumes that are too small. HostError: the medium refuses or does not keep it.
        BundleError: the bundle there is damaged.
    """
    bundle = read_bundle(open_source(load.bundle), may_lack=True)
    items = _bundle_items(bundle, load)
    extras = [_copy_of(load.bootstrap)] if load.bootstrap is not None else []
    _require_plain([item.name for item in (*items, *extras)])
    with writing(folder):
        _require_room(room_of(folder), folder, [*items, *extras])
        left_alone, kept = _of_before(folder, [item.name for item in (*items, *extras)])
    with Pending(folder, progress) as pending:
        progress.start("write the medium", sum(item.size for item in (*items, *extras)))
        written = [pending.add(item) for item in items]
        also = [pending.add(item) for item in extras]
        papers = papers_of(bundle, written, also[0] if also else None)
        sheets = [pending.add(_text(name, text)) for name, text in _sheets(papers)]
        sheets.append(pending.add(_text(SUMS, sums([*written, *also, *sheets], kept))))
        pending.name_all()
    report = MediumReport(folder, papers.bundle, papers.bootstrap, tuple(sheets), left_alone)
    read_back(folder, report.files, progress)
    return report


def _sheets(papers: Papers) -> list[tuple[str, str]]:
    return [(START, start_here(papers)), (SHEET, draw(papers))]


def _bundle_items(bundle: UnverifiedBundle, load: Load) -> list[Item]:
    cutting = cut(bundle, load.volumes_of) if load.volumes_of is not None else None
    if cutting is not None:
        stem = load.name.removesuffix(layout.SUFFIX)
        return [_volume(cutting, stem, number) for number in range(1, cutting.count + 1)]
    source = bundle.source
    sizes = source.parts()
    size = sum(tar.BLOCK + each + tar.padding(each) for each in sizes.values()) + len(tar.END)

    def write(sink: IO[bytes]) -> None:
        tar.write_parts(sink, ((name, each, _chunks(source, name)) for name, each in sizes.items()))

    return [Item(load.name, size, write)]


def _volume(cutting: Cutting, stem: str, number: int) -> Item:
    def write(sink: IO[bytes]) -> None:
        tar.write_parts(sink, cutting.parts(number), layout.volume_rank)

    return Item(cutting.name(stem, number), cutting.size(number), write)


def _chunks(source: Source, name: str) -> Iterator[bytes]:
    with reading(source.name), source.open(name) as stream:
        while chunk := stream.read(CHUNK):
            yield chunk


def _copy_of(path: Path) -> Item:
    if not path.is_file():
        raise UsageError(f"{path}: no such file to carry along")

    def write(sink: IO[bytes]) -> None:
        with path.open("rb") as stream:
            shutil.copyfileobj(stream, sink, CHUNK)

    return Item(path.name, path.stat().st_size, write)


def _text(name: str, text: str) -> Item:
    data = text.encode()
    return Item(name, len(data), partial(_write_all, data))


def _write_all(data: bytes, sink: IO[bytes]) -> None:
    sink.write(data)


def _require_plain(names: Sequence[str]) -> None:
    """Names that every file system takes, and that stand in `SHA256SUMS` as they are."""
    odd = [repr(name) for name in names if not _PLAIN.fullmatch(name) or name in (SUMS, START, SHEET)]
    if odd or len({name.casefold() for name in names}) < len(names):
        raise UsageError(
            "names of files on a medium are letters, digits and . _ + -, each once",
            problems=odd or list(names),
        )


def _require_room(room: Room, folder: Path, items: Sequence[Item]) -> None:
    largest = max(items, key=lambda item: item.size)
    if room.most_per_file is not None and largest.size > room.most_per_file:
        raise NoSpace(
            f"{folder} is {room.kind}, which takes no file over {room.most_per_file} bytes; {largest.name} has "
            f"{largest.size}; nothing was written",
            next_step="give --volumes fat32",
        )
    needed = sum(item.size for item in items) + _PAPERS_BYTES
    if needed > room.free:
        raise NoSpace(
            f"{folder}: {needed / 1e6:.1f} MB are to be written, {room.free / 1e6:.1f} MB are free; nothing "
            "was written",
            next_step="clear it or take a larger one; or pack into a folder with --volumes SIZE, and copy the volumes "
            "onto several media",
        )


def _of_before(folder: Path, written: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Other bundles on the medium, which stay, and the lines of an older SHA256SUMS for what stays."""
    mine = {*written, SUMS, START, SHEET}
    there = {entry.name for entry in os.scandir(folder) if entry.name not in mine}
    bundles = sorted(name for name in there if name.endswith(layout.SUFFIX) and not name.startswith("."))
    older = folder / SUMS
    lines = older.read_text(errors="replace").splitlines() if older.is_file() else []
    return tuple(bundles), tuple(line for line in lines if line[66:] in there and line[64:66] == "  ")
