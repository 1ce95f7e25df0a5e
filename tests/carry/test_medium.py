"""Onto a medium: everything or nothing, checked by the box's own tools, read back before it may be pulled."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import IO

import pytest
from tests.made_bundles import FILES, Signer, make_bundle, make_signer, tree_hash
from tests.made_volumes import flip

from sealift.bundle.read import read_bundle, verify, verify_objects
from sealift.bundle.source import Folder, open_source
from sealift.carry import medium, writing
from sealift.carry.capacity import Room
from sealift.carry.medium import Load, MediumReport, write_medium
from sealift.carry.writing import Item, OnMedium, Pending, read_back
from sealift.cli import main
from sealift.errors import HostError, NoSpace, SealiftError, UsageError
from sealift.events import Silent
from sealift.trust.vouch import Policy

CONTENT = FILES | {"application/w.bin": random.Random(1).randbytes(200_000)}
NAME = "fraud-1.0.sealift"
PAPERS = {"START-HERE.txt", "CARRY-SHEET.html", "SHA256SUMS"}


@pytest.fixture(scope="module")
def signer() -> Signer:
    return make_signer()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, signer: Signer) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle"), signer, files=CONTENT).path


@pytest.fixture
def usb(tmp_path: Path) -> Path:
    folder = tmp_path / "usb"
    folder.mkdir()
    return folder


def written(
    usb: Path, bundle: Path, volumes_of: int | None = None, bootstrap: Path | None = None
) -> MediumReport:
    return write_medium(usb, Load(bundle, NAME, volumes_of, bootstrap), Silent())


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def is_believed(place: Path, signer: Signer) -> bool:
    found = read_bundle(open_source(place))
    verify_objects(found)
    return verify(found, signer.signed.root, Policy()).release.version == "1.0"


def sha256sum(folder: Path, command: str = "sha256sum -c SHA256SUMS") -> str:
    done = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_medium_holds_the_bundle_and_papers_that_the_box_s_own_tools_check(
    usb: Path, bundle: Path, signer: Signer
) -> None:
    report = written(usb, bundle)
    assert names(usb) == {NAME} | PAPERS
    assert is_believed(usb, signer)
    assert sha256sum(usb).splitlines() == [
        f"{name}: OK" for name in ("CARRY-SHEET.html", "START-HERE.txt", NAME)
    ]
    assert report.size == sum(path.stat().st_size for path in usb.iterdir())


def test_volumes_are_cut_where_the_bundle_is_larger(usb: Path, bundle: Path, signer: Signer) -> None:
    report = written(usb, bundle, 80_000)
    assert [item.name for item in report.bundle] == [f"fraud-1.0.v0{n}-of-04.sealift" for n in (1, 2, 3, 4)]
    assert all(item.size <= 80_000 for item in report.bundle)
    assert is_believed(usb, signer)
    sha256sum(usb)


def test_one_medium_of_several_is_checked_with_the_command_on_it(usb: Path, bundle: Path) -> None:
    """Also where sha256sum knows no --ignore-missing, as on CentOS 7."""
    written(usb, bundle, 80_000)
    for number in (1, 3, 4):
        (usb / f"fraud-1.0.v0{number}-of-04.sealift").unlink()
    command = next(
        line.strip() for line in (usb / "START-HERE.txt").read_text().splitlines() if "sha256sum -c" in line
    )
    assert "fraud-1.0.v02-of-04.sealift: OK" in sha256sum(usb, command)
    assert "--ignore-missing" not in command
    flip(usb / "fraud-1.0.v02-of-04.sealift", 9000)
    with pytest.raises(AssertionError, match=r"v02-of-04\.sealift: FAILED"):
        sha256sum(usb, command)


def test_where_it_fits_no_volumes_are_made(usb: Path, bundle: Path) -> None:
    assert [item.name for item in written(usb, bundle, 10**6).bundle] == [NAME]


def test_a_bootstrap_is_copied_along_and_told_of(usb: Path, bundle: Path, tmp_path: Path) -> None:
    run = tmp_path / "sealift-1.0.run"
    run.write_bytes(b"#!/bin/sh\nexit 0\n")
    report = written(usb, bundle, bootstrap=run)
    assert (usb / run.name).read_bytes() == run.read_bytes()
    start = (usb / "START-HERE.txt").read_text()
    assert start.count("sudo sh /media/usb/sealift-1.0.run") == 2  # in English and in Chinese
    assert start.index("sha256sum -c") < start.index("sudo sh") < start.index("sealift install")
    assert report.bootstrap is not None
    assert report.bootstrap.sha256 in (usb / "SHA256SUMS").read_text()


def test_an_older_bundle_on_the_medium_is_left_alone_and_stays_in_the_list(
    usb: Path, bundle: Path, signer: Signer, tmp_path: Path
) -> None:
    older = make_bundle(tmp_path, signer, version="0.9", seq=1).path
    write_medium(usb, Load(older, "fraud-0.9.sealift"), Silent())
    (usb / "holiday.jpg").write_bytes(b"\xff\xd8")
    report = written(usb, bundle)
    assert report.left_alone == ("fraud-0.9.sealift",)
    assert {"fraud-0.9.sealift", "holiday.jpg"} < names(usb)
    assert "fraud-0.9.sealift: OK" in sha256sum(usb)
    (usb / "fraud-0.9.sealift").unlink()
    written(usb, bundle)
    assert "0.9" not in (usb / "SHA256SUMS").read_text()


def test_a_bundle_on_the_medium_itself_gets_its_papers(usb: Path, bundle: Path, signer: Signer) -> None:
    """It was approved there, so that the older list no longer fits."""
    written(usb, bundle)
    before = (usb / NAME).read_bytes()
    with (usb / "SHA256SUMS").open("w") as stream:
        stream.write("0" * 64 + f"  {NAME}\n")
    write_medium(usb, Load(usb / NAME, NAME), Silent())
    assert (usb / NAME).read_bytes() == before
    sha256sum(usb)


def test_no_room_is_said_with_the_numbers_before_a_byte(
    usb: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(medium, "room_of", lambda folder: Room("ext4", 500_000, None))
    with pytest.raises(NoSpace, match=r"1\.\d MB are to be written, 0\.5 MB are free; nothing was") as caught:
        written(usb, bundle)
    assert "--volumes SIZE" in str(caught.value.next_step)
    assert names(usb) == set()


def test_a_fat_medium_s_limit_is_said_before_a_byte(
    usb: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(medium, "room_of", lambda folder: Room("vfat", 10**12, 100_000))
    with pytest.raises(NoSpace, match="is vfat, which takes no file over 100000 bytes") as caught:
        written(usb, bundle)
    assert caught.value.next_step == "give --volumes fat32"
    assert names(usb) == set()
    written(usb, bundle, 100_000)


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_a_medium_that_fails_in_the_middle_is_left_as_it_was(
    at: int, usb: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(usb, bundle)
    before = tree_hash(usb)
    real, calls = os.fsync, []

    def fsync(handle: int) -> None:
        calls.append(handle)
        if len(calls) > at:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(NoSpace, match="the medium is full"):
        written(usb, bundle)
    assert tree_hash(usb) == before


def test_a_medium_that_gives_other_bytes_back_is_not_to_be_carried(
    usb: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = writing.sync

    def sync(folder: Path) -> None:
        real(folder)
        flip(folder / NAME, 70_000)
        (folder / "START-HERE.txt").unlink()

    monkeypatch.setattr(writing, "sync", sync)
    with pytest.raises(HostError, match="do not carry this medium") as caught:
        written(usb, bundle)
    assert list(caught.value.problems) == [
        f"{NAME}: other bytes come back than were written",
        "START-HERE.txt: cannot be read back: No such file or directory",
    ]


def test_what_is_read_back_comes_from_the_medium(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = os.posix_fadvise

    def advise(handle: int, start: int, size: int, advice: int) -> None:
        asked.append(advice)
        real(handle, start, size, advice)

    monkeypatch.setattr(os, "posix_fadvise", advise)
    (tmp_path / "f").write_bytes(b"abc")
    from hashlib import sha256

    read_back(tmp_path, [OnMedium("f", 3, sha256(b"abc").hexdigest())], Silent())
    assert asked == [os.POSIX_FADV_DONTNEED]


@pytest.mark.parametrize("name", ["a b.run", "ä.run", "a\n.run", "-x.run", "SHA256SUMS", NAME.upper()])
def test_names_that_a_list_or_a_stick_cannot_hold_are_refused(
    name: str, usb: Path, bundle: Path, tmp_path: Path
) -> None:
    extra = tmp_path / name
    extra.write_bytes(b"x")
    with pytest.raises(UsageError, match="names of files on a medium"):
        written(usb, bundle, bootstrap=extra)
    assert names(usb) == set()


def test_a_promise_of_another_size_is_a_refusal(tmp_path: Path) -> None:
    def write(sink: IO[bytes]) -> None:
        sink.write(b"four")

    with Pending(tmp_path, Silent()) as pending, pytest.raises(HostError, match="4 bytes were written, 5"):
        pending.add(Item("f", 5, write))
    assert names(tmp_path) == set()


def test_a_damaged_bundle_does_not_reach_a_medium(usb: Path, bundle: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(bundle, broken)
    next(iter((broken / "manifests").iterdir())).unlink()
    with pytest.raises(SealiftError):
        written(usb, broken)
    assert names(usb) == set()


def test_export_medium_writes_an_approved_bundle_in_volumes(
    usb: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main.run(["export", "medium", str(bundle), "-o", str(usb), "--volumes", "80kB"])
    said = capsys.readouterr()
    assert code == 0, said.err
    assert "4 volumes, fraud-1.0.v01-of-04.sealift and on" in said.out
    assert said.out.strip().endswith("read back and the same. It is safe to remove")
    assert names(usb) > PAPERS
    assert main.run(["export", "medium", str(bundle), "-o", str(usb / "none")]) == 2
    assert main.run(["export", "medium", str(bundle), "-o", str(usb), "--volumes", "much"]) == 2


def test_a_bundle_s_file_on_a_medium_is_the_one_that_pack_writes(
    usb: Path, bundle: Path, tmp_path: Path
) -> None:
    from sealift.bundle.source import document
    from sealift.bundle.write import Parts, write_parts

    source = Folder(bundle)
    documents = {name: document(source, name) for name in source.parts()}
    write_parts(tmp_path / "plain.sealift", Parts(documents, {}))
    written(usb, bundle)
    assert (usb / NAME).read_bytes() == (tmp_path / "plain.sealift").read_bytes()
