"""Real names for the virus scanner: all of them, checked, or nothing at all."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.inspect.desk import house, leave_out, opened, pack_release, release_files
from tests.made_bundles import tree_hash

from sealift.bundle.documents import encode_manifest
from sealift.bundle.read import read_bundle
from sealift.bundle.source import open_source
from sealift.errors import DigestMismatch, HostError, NoSpace, SealiftError, UsageError
from sealift.events import Silent
from sealift.inspect.extract import extract, in_words


class Counting(Silent):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.total, self.done = 0, 0

    def start(self, title: str, total: int | None = None) -> None:
        self.total = total or 0

    def advance(self, amount: int = 1) -> None:
        self.done += amount


def refused(place: Path, destination: Path, kind: type[SealiftError]) -> SealiftError:
    """The refusal of an extraction that must leave everything beside the bundle as it was."""
    before = tree_hash(destination.parent)
    with pytest.raises(kind) as caught:
        extract(opened(place), destination, Silent())
    assert tree_hash(destination.parent) == before
    return caught.value


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return pack_release(tmp_path / "b.sealift", None)


@pytest.mark.parametrize("kind", ["folder", "folder.sealift"])
def test_every_file_lies_under_its_real_name_and_none_can_run(tmp_path: Path, kind: str) -> None:
    destination = tmp_path / "out"
    progress = Counting()
    done = extract(opened(pack_release(tmp_path / kind, None)), destination, progress)
    found = {
        path.relative_to(destination).as_posix(): path.read_bytes()
        for path in destination.rglob("*")
        if path.is_file()
    }
    assert found == release_files()
    assert (done.files, done.left_out) == (12, 0)
    assert done.size == progress.done == progress.total == sum(map(len, found.values()))
    for path in [destination, *destination.rglob("*")]:
        assert stat.S_IMODE(path.lstat().st_mode) == (0o755 if path.is_dir() else 0o644)


def test_an_empty_folder_is_taken(tmp_path: Path, place: Path) -> None:
    (tmp_path / "out").mkdir()
    extract(opened(place), tmp_path / "out", Silent())
    assert (tmp_path / "out" / "runtime" / "tool").is_file()


def test_one_object_under_several_names_is_written_under_each(tmp_path: Path) -> None:
    files = {"runtime/a": b"same" * 1000, "runtime/b": b"same" * 1000, "application/c": b"same" * 1000}
    extract(opened(pack_release(tmp_path / "b", None, files=files)), tmp_path / "out", Silent())
    assert {(tmp_path / "out" / name).read_bytes() for name in files} == {b"same" * 1000}


def test_of_a_small_bundle_what_travels_is_written(tmp_path: Path) -> None:
    signers = house()
    older = pack_release(tmp_path / "old.sealift", signers)
    files = release_files() | {"application/models/parts/model.onnx": b"new"}
    small = pack_release(tmp_path / "new.sealift", signers, files=files)
    leave_out(small, older, signers)
    had = opened(older)
    known = {ref.manifest: encode_manifest(had.manifests[name]) for name, ref in had.release.layers.items()}
    done = extract(read_bundle(open_source(small), known.get), tmp_path / "out", Silent())
    assert (done.files, done.left_out) == (1, 11)
    assert in_words(done).endswith("; not in this bundle: 11 files")
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["model.onnx"]


def a_file(path: Path) -> None:
    path.write_text("mine")


def a_full_folder(path: Path) -> None:
    path.mkdir()
    (path / ".hidden").write_text("mine")


def a_link_to_a_folder(path: Path) -> None:
    (path.parent / "elsewhere").mkdir()
    path.symlink_to("elsewhere")


def a_link_to_nothing(path: Path) -> None:
    path.symlink_to("nothing")


@pytest.mark.parametrize("make", [a_file, a_full_folder, a_link_to_a_folder, a_link_to_nothing])
def test_whatever_is_there_is_never_written_over(
    tmp_path: Path, place: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "out")
    error = refused(place, tmp_path / "out", UsageError)
    assert error.next_step == "name a new folder"


def test_a_destination_in_no_folder_is_refused(tmp_path: Path, place: Path) -> None:
    with pytest.raises(UsageError, match="is no folder"):
        extract(opened(place), tmp_path / "no" / "where", Silent())
    assert not (tmp_path / "no").exists()


def test_a_damaged_object_leaves_nothing_behind(tmp_path: Path) -> None:
    place = pack_release(tmp_path / "b", None)
    victim = max((place / "objects").rglob("*"), key=lambda path: path.name if path.is_file() else "")
    data = bytearray(victim.read_bytes())
    data[-1] ^= 1
    victim.write_bytes(data)
    refused(place, tmp_path / "out", DigestMismatch)


def test_an_object_damaged_after_the_first_files_takes_them_along(tmp_path: Path) -> None:
    """The empty folder that was there stays, empty."""
    place = pack_release(tmp_path / "b", None)
    tool = "a8076d3d28d21e02012b20eaf7dbf75409a6277134439025f282e368e3305abf"
    (place / "objects" / "a8" / tool).write_bytes(b"#!/bin/no\n")
    (tmp_path / "out").mkdir()
    refused(place, tmp_path / "out", DigestMismatch)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_full_disk_is_said_before_the_first_byte(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage(NamedTuple):
        total: int
        used: int
        free: int

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9, 100))
    error = refused(place, tmp_path / "out", NoSpace)
    assert error.problems == ("needs 0 MB, 0 MB are free",)


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [(errno.ENOSPC, NoSpace, "the disk is full"), (errno.EIO, HostError, "Input/output error")],
)
def test_a_disk_that_fails_on_the_way_leaves_nothing(
    tmp_path: Path,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    kind: type[HostError],
    words: str,
) -> None:
    wanted = Path.chmod
    calls: list[Path] = []

    def failing(path: Path, mode: int, *, follow_symlinks: bool = True) -> None:
        calls.append(path)
        if len(calls) == 5:
            raise OSError(number, os.strerror(number), str(path))
        wanted(path, mode, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "chmod", failing)
    error = refused(place, tmp_path / "out", kind)
    assert words in error.message
    assert len(calls) == 5


def test_a_name_that_this_file_system_takes_for_another_is_not_written_over(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a case-insensitive disk that folds what clause 3.3 does not."""
    join = Path.joinpath

    def folding(path: Path, *parts: str) -> Path:
        return join(path, *(("same.bin",) if len(parts) > 1 else parts))

    monkeypatch.setattr(Path, "joinpath", folding)
    error = refused(place, tmp_path / "out", HostError)
    assert "File exists" in error.message
