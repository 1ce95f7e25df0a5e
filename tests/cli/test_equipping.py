"""What a release needs beside itself is named before anything comes in, and nothing is installed unasked."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.made_bundles import FILES, Signer, make_bundle, make_signer, tree_hash

from sealift.cli.main import run
from sealift.target.host import own_python, read_host
from sealift.target.system_packages import FOLDER, PLACE, SystemPackage, SystemPackages, encode_list
from sealift.target.target import Target

Captured = pytest.CaptureFixture[str]
GUIDE = "NVIDIA-Linux-x86_64-470.57.02.run"
DRIVER = {f"application/driver/{GUIDE}": b"#!/bin/sh\n: the installer\n"}
pytestmark = [
    pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="dpkg is not here"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the driver's installer is for x86_64"),
]


@pytest.fixture
def signer() -> Signer:
    return make_signer()


def with_package(name: str, version: str) -> dict[str, bytes]:
    """Files of a release that carries one package."""
    data = b"a package"
    place = f"deb/{name}_{version}_amd64.deb"
    digest = hashlib.sha256(data).hexdigest()
    package = SystemPackage(name, version, "amd64", place, digest, len(data), "asked for")
    return {PLACE: encode_list(SystemPackages("deb", (package,))), f"application/{FOLDER}/{place}": data}


def carried(
    folder: Path, signer: Signer, more: Mapping[str, bytes], cuda: str | None = None, glibc: str = "2.17"
) -> tuple[Path, list[str]]:
    """A bundle for this very machine with these files, and the options that install it below `folder`/box."""
    (folder / "root.json").write_bytes(signer.signed.encode())
    target = Target(read_host().platform, own_python(), glibc, cuda=cuda)
    bundle = make_bundle(folder, signer, files={**FILES, **more}, target=target.to_json()).path
    return bundle, ["--prefix", str(folder / "box"), "--trust", str(folder / "root.json"), "--no-input"]


def test_packages_that_are_lacking_are_named_and_nothing_comes_in(
    tmp_path: Path, signer: Signer, capsys: Captured
) -> None:
    bundle, options = carried(tmp_path, signer, with_package("st-absent", "1.0"))
    assert run(["install", str(bundle), *options]) == 31
    said = capsys.readouterr().err
    assert "fraud 1.0 needs what this box lacks" in said
    assert "system package: expected st-absent 1.0 or newer, found none" in said
    assert f"next: sudo sealift install {bundle} --with-packages" in said
    assert not list((tmp_path / "box").rglob("objects/*")), "something came in"


def test_a_dry_run_refuses_the_same_and_writes_nothing(
    tmp_path: Path, signer: Signer, capsys: Captured
) -> None:
    bundle, options = carried(tmp_path, signer, with_package("st-absent", "1.0"))
    before = tree_hash(tmp_path / "box") if (tmp_path / "box").exists() else None
    assert run(["install", str(bundle), *options, "--dry-run"]) == 31
    assert "--with-packages" in capsys.readouterr().err
    assert (tree_hash(tmp_path / "box") if (tmp_path / "box").exists() else None) == before


def test_a_package_that_is_here_in_a_newer_version_stands_in_nobodys_way(
    tmp_path: Path, signer: Signer, capsys: Captured
) -> None:
    bundle, options = carried(tmp_path, signer, with_package("libc6", "2.0"))
    assert run(["install", str(bundle), *options, "--dry-run"]) == 0
    assert "nothing was changed; an install would" in capsys.readouterr().out


def test_consent_counts_only_from_root_and_for_the_systems_own_prefix(
    tmp_path: Path, signer: Signer, capsys: Captured
) -> None:
    bundle, options = carried(tmp_path, signer, with_package("st-absent", "1.0"))
    assert run(["install", str(bundle), *options, "--with-packages"]) == 2
    assert "only root does that, and only for the system's prefix" in capsys.readouterr().err


def test_a_list_that_cannot_be_read_is_a_malformed_bundle(
    tmp_path: Path, signer: Signer, capsys: Captured
) -> None:
    bundle, options = carried(tmp_path, signer, {PLACE: b'{"kind":"deb"}'})
    assert run(["install", str(bundle), *options]) == 11
    assert "expected format sealift-packages/1" in capsys.readouterr().err


needs_no_driver = pytest.mark.skipif(Path("/proc/driver/nvidia/version").exists(), reason="a driver is here")


@needs_no_driver
def test_a_box_without_a_driver_is_told_where_the_carried_one_will_lie(
    tmp_path: Path, signer: Signer, capsys: Captured
) -> None:
    bundle, options = carried(tmp_path, signer, DRIVER, cuda="11.8")
    assert run(["install", str(bundle), *options]) == 31
    said = capsys.readouterr().err
    place = tmp_path / "box/state/driver" / GUIDE
    assert "NVIDIA driver: expected 450.80.02 or newer for CUDA 11.8, found none" in said
    assert f"the bundle carries {GUIDE}" in said
    assert (
        f"`sudo sealift install {bundle} --with-driver` puts it to {place}, then `sh {place} --silent`"
        in said
    )
    assert not place.exists()


@needs_no_driver
def test_with_driver_puts_the_verified_installer_there_and_says_how_to_run_it(
    tmp_path: Path, signer: Signer, capsys: Captured
) -> None:
    bundle, options = carried(tmp_path, signer, DRIVER, cuda="11.8")
    assert run(["install", str(bundle), *options, "--with-driver"]) == 31
    place = tmp_path / "box/state/driver" / GUIDE
    assert f"next: sh {place} --silent   then: sudo sealift install {bundle}" in capsys.readouterr().err
    assert place.read_bytes() == DRIVER[f"application/driver/{GUIDE}"]
    assert sorted(path.name for path in place.parent.iterdir()) == [GUIDE]
    events = [json.loads(line) for line in (tmp_path / "box/state/ledger.jsonl").read_text().splitlines()]
    assert {"event": "packages", "outcome": "offered"} in [
        {"event": each["event"], "outcome": each["facts"].get("outcome")} for each in events
    ]


@needs_no_driver
def test_an_installer_that_was_damaged_on_the_way_is_not_put_there(
    tmp_path: Path, signer: Signer, capsys: Captured
) -> None:
    bundle, options = carried(tmp_path, signer, DRIVER, cuda="11.8")
    digest = hashlib.sha256(DRIVER[f"application/driver/{GUIDE}"]).hexdigest()
    stored = bundle / "objects" / digest[:2] / digest
    stored.write_bytes(stored.read_bytes()[:-1] + b"X")
    assert run(["install", str(bundle), *options, "--with-driver"]) == 22
    assert "Traceback" not in capsys.readouterr().err
    assert list((tmp_path / "box/state/driver").iterdir()) == []


@needs_no_driver
def test_where_nothing_that_came_along_helps_nothing_is_offered(
    tmp_path: Path, signer: Signer, capsys: Captured
) -> None:
    bundle, options = carried(tmp_path, signer, DRIVER, cuda="11.8", glibc="2.99")
    assert run(["install", str(bundle), *options]) == 31
    said = capsys.readouterr().err
    assert "expected glibc 2.99 or newer" in said
    assert "next: pack it again with a [target] that describes this box" in said


@needs_no_driver
@pytest.mark.parametrize(
    ("devices", "code"),
    [
        ([["cuda", "cpu"], ["cpu"]], 0),
        ([["cuda:1"], ["cpu"]], 31),
        ([["cuda", "tensorrt"]], 31),
        (["cuda"], 31),
        ([], 31),
    ],
)
def test_a_release_that_may_run_on_the_processor_does_not_need_the_driver(
    tmp_path: Path, signer: Signer, capsys: Captured, devices: list[object], code: int
) -> None:
    models = [{"device": device} for device in devices]
    service = {"application/service.json": json.dumps({"models": models}).encode()}
    bundle, options = carried(tmp_path, signer, service, cuda="11.8")
    assert run(["install", str(bundle), *options, "--dry-run"]) == code
    assert ("NVIDIA driver" in capsys.readouterr().err) == (code == 31)
