"""Carried packages are installed by the real dpkg and rpm into a root of their own, from the files of the release."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sealift.errors import HostError
from sealift.host.packages import Lacking, Machine, install, lacking
from sealift.target.system_packages import FOLDER, Kind, SystemPackage, SystemPackages

CONTROL = (
    "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: a <a@example.org>\nDescription: x\n"
)
SPEC = (
    "Name: {name}\nVersion: {version}\nRelease: 1\nSummary: x\nLicense: MIT\nBuildArch: noarch\n{more}"
    "%description\nx\n%files\n"
)
HOLD = """
import fcntl, sys
held = open(sys.argv[1], "w")
fcntl.lockf(held, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""

pytestmark = [
    pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg is not here"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root installs packages, into another root too"),
]
needs_rpm = pytest.mark.skipif(
    shutil.which("rpmbuild") is None, reason="rpmbuild is not here (apt install rpm)"
)


def deb(folder: Path, name: str, version: str, more: str = "", script: str = "") -> Path:
    source = folder / f"{name}-{version}"
    (source / "DEBIAN").mkdir(parents=True)
    (source / "DEBIAN/control").write_text(CONTROL.format(name=name, version=version) + more)
    (source / "usr/share" / name).mkdir(parents=True)
    (source / "usr/share" / name / "version").write_text(version)
    if script:
        (source / "DEBIAN/postinst").write_text(f"#!/bin/sh\n{script}\n")
        (source / "DEBIAN/postinst").chmod(0o755)
    path = folder / f"{name}_{version}_all.deb"
    command = ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", str(source), str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


def rpm(folder: Path, name: str, version: str, more: str = "") -> Path:
    spec = folder / f"{name}.spec"
    spec.write_text(SPEC.format(name=name, version=version, more=more))
    defines = ["--define", f"_topdir {folder / 'top'}", "--define", f"_rpmdir {folder}"]
    subprocess.run(["rpmbuild", "--quiet", "-bb", *defines, str(spec)], check=True, capture_output=True)
    return folder / "noarch" / f"{name}-{version}-1.noarch.rpm"


def release(tree: Path, kind: Kind, files: list[tuple[str, str, Path]]) -> SystemPackages:
    """A release tree that carries these (name, version, file)."""
    folder = tree / "application" / FOLDER
    (folder / kind).mkdir(parents=True)
    packages = []
    for name, version, path in files:
        data = path.read_bytes()
        (folder / kind / path.name).write_bytes(data)
        architecture = "all" if kind == "deb" else "noarch"
        digest = hashlib.sha256(data).hexdigest()
        place = f"{kind}/{path.name}"
        packages.append(SystemPackage(name, version, architecture, place, digest, len(data), "asked for"))
    return SystemPackages(kind, tuple(packages))


@pytest.fixture
def debian(tmp_path: Path) -> Machine:
    """The root of a machine that has no package."""
    folder = tmp_path / "root/var/lib/dpkg"
    for name in ("info", "updates", "triggers"):
        (folder / name).mkdir(parents=True)
    for name in ("status", "available"):
        (folder / name).touch()
    return Machine(tmp_path / "root", wait_s=0.0)


@pytest.fixture
def redhat(tmp_path: Path) -> Machine:
    root = tmp_path / "rpm-root"
    root.mkdir()
    subprocess.run(["rpm", "--root", str(root), "--initdb"], check=True, capture_output=True)
    return Machine(root, wait_s=0.0)


def status(machine: Machine) -> str:
    return (machine.root / "var/lib/dpkg/status").read_text()


def two(tmp_path: Path) -> SystemPackages:
    """`st-a`, and `st-b` that it needs."""
    made = tmp_path / "made"
    return release(
        tmp_path / "tree",
        "deb",
        [
            ("st-a", "1.0", deb(made, "st-a", "1.0", "Depends: st-b (>= 2)\n")),
            ("st-b", "1:2.0", deb(made, "st-b", "1:2.0")),
        ],
    )


def test_what_the_box_lacks_is_installed_and_then_nothing_is_lacking(tmp_path: Path, debian: Machine) -> None:
    carried = two(tmp_path)
    missing = lacking(carried, debian)
    assert [str(each) for each in missing] == [
        "system package: expected st-a 1.0 or newer, found none",
        "system package: expected st-b 1:2.0 or newer, found none",
    ]
    install(carried, missing, tmp_path / "tree", debian)
    assert lacking(carried, debian) == ()
    assert (debian.root / "usr/share/st-b/version").read_text() == "1:2.0"


def test_a_newer_version_stays_and_an_older_one_is_lacking(tmp_path: Path, debian: Machine) -> None:
    for name, version in (("st-a", "0.9"), ("st-b", "1:3")):
        file = deb(tmp_path / "older", name, version)
        subprocess.run(["dpkg", f"--root={debian.root}", "-i", str(file)], check=True, capture_output=True)
    carried = two(tmp_path)
    missing = lacking(carried, debian)
    assert missing == (Lacking(carried.packages[0], "0.9"),)
    install(carried, missing, tmp_path / "tree", debian)
    assert (debian.root / "usr/share/st-a/version").read_text() == "1.0"
    assert (debian.root / "usr/share/st-b/version").read_text() == "1:3"


def test_a_demand_that_does_not_travel_is_refused_before_anything_is_unpacked(
    tmp_path: Path, debian: Machine
) -> None:
    file = deb(tmp_path / "made", "st-a", "1.0", "Depends: st-elsewhere (>= 2)\n")
    carried = release(tmp_path / "tree", "deb", [("st-a", "1.0", file)])
    before = status(debian)
    with pytest.raises(HostError, match="none was installed") as caught:
        install(carried, lacking(carried, debian), tmp_path / "tree", debian)
    assert any("st-elsewhere" in problem for problem in caught.value.problems)
    assert status(debian) == before
    assert not (debian.root / "usr").exists()


def test_a_package_whose_script_fails_is_told(tmp_path: Path, debian: Machine) -> None:
    file = deb(tmp_path / "made", "st-a", "1.0", script="echo the disk is on fire >&2; exit 3")
    carried = release(tmp_path / "tree", "deb", [("st-a", "1.0", file)])
    with pytest.raises(HostError, match="not activated") as caught:
        install(carried, lacking(carried, debian), tmp_path / "tree", debian)
    assert any("st-a" in problem for problem in caught.value.problems), caught.value.problems
    assert caught.value.next_step == "dpkg --configure -a, then install again"
    assert lacking(carried, debian) != ()


@pytest.fixture
def held(debian: Machine) -> Iterator[Callable[[], None]]:
    """dpkg's lock, held by a process of its own, until it is called (or the test ends)."""
    path = debian.root / "var/lib/dpkg/lock-frontend"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == "held\n"

    def let_go() -> None:
        assert holder.stdin is not None
        holder.stdin.close()
        holder.wait()

    yield let_go
    if holder.poll() is None:
        let_go()
    holder.stdout.close()


def test_another_package_manager_at_work_is_named(
    tmp_path: Path, debian: Machine, held: Callable[[], None]
) -> None:
    carried = two(tmp_path)
    before = status(debian)
    with pytest.raises(HostError, match=r"Another package manager works on this box \(process \d+\)"):
        install(carried, lacking(carried, debian), tmp_path / "tree", debian)
    assert status(debian) == before


def test_another_package_manager_is_waited_for(
    tmp_path: Path, debian: Machine, held: Callable[[], None]
) -> None:
    carried = two(tmp_path)
    patient = Machine(debian.root, wait_s=30.0, sleep=lambda _: held())
    install(carried, lacking(carried, patient), tmp_path / "tree", patient)
    assert lacking(carried, patient) == ()


def test_a_box_of_another_kind_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    carried = SystemPackages(
        "rpm", (SystemPackage("a", "1", "noarch", "rpm/a.rpm", "0" * 64, 1, "asked for"),)
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError, match="rpm does not start") as caught:
        lacking(carried, Machine(tmp_path))
    assert caught.value.next_step is not None
    assert "another kind of system" in caught.value.next_step


@needs_rpm
def test_rpm_packages_are_installed_together(tmp_path: Path, redhat: Machine) -> None:
    made = tmp_path / "made"
    made.mkdir()
    files = [
        ("st-a", "1.0-1", rpm(made, "st-a", "1.0", "Requires: st-b >= 2:2\n")),
        ("st-b", "2:2.0-1", rpm(made, "st-b", "2.0", "Epoch: 2\n")),
    ]
    carried = release(tmp_path / "tree", "rpm", files)
    missing = lacking(carried, redhat)
    assert [each.package.name for each in missing] == ["st-a", "st-b"]
    install(carried, missing, tmp_path / "tree", redhat)
    assert lacking(carried, redhat) == ()
    older = release(tmp_path / "again", "rpm", [("st-b", "2:1.9-1", files[1][2])])
    assert lacking(older, redhat) == ()
    newer = release(tmp_path / "third", "rpm", [("st-b", "2:2.1-1", files[1][2])])
    assert [each.found for each in lacking(newer, redhat)] == ["2:2.0-1"]


@needs_rpm
def test_an_rpm_demand_that_does_not_travel_is_refused(tmp_path: Path, redhat: Machine) -> None:
    (tmp_path / "made").mkdir()
    file = rpm(tmp_path / "made", "st-a", "1.0", "Requires: st-elsewhere\n")
    carried = release(tmp_path / "tree", "rpm", [("st-a", "1.0-1", file)])
    with pytest.raises(HostError, match="none was installed") as caught:
        install(carried, lacking(carried, redhat), tmp_path / "tree", redhat)
    assert any("st-elsewhere is needed by" in problem for problem in caught.value.problems)
    assert lacking(carried, redhat) != ()
