"""System packages are resolved by real apt and dnf from repositories on disk, and this machine's own is not touched."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest

from sealift.collect.system_packages.base import installed_stanzas, rpm_names, stanzas, status_text
from sealift.collect.system_packages.collect import collect_packages
from sealift.errors import UsageError
from sealift.events import Silent
from sealift.project.project import Project, SystemPackages, TargetWish
from sealift.target.system_packages import FOLDER, LIST, decode_list
from sealift.target.target import Target

TARGET = Target("linux-x86_64", "3.11", "2.36")
CONTROL = "Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: a <a@example.org>\nDescription: x\n"
SPEC = (
    "Name: {name}\nVersion: {version}\nRelease: 1\nSummary: x\nLicense: MIT\nBuildArch: noarch\n{more}"
    "%description\nx\n%files\n"
)
BASE = "Priority: required\nEssential: yes\n"
needs_apt = pytest.mark.skipif(
    shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None, reason="apt is not here"
)
needs_dnf = pytest.mark.skipif(
    any(shutil.which(name) is None for name in ("dnf", "rpmbuild", "createrepo_c")),
    reason="dnf, rpm or createrepo-c is not here (apt install dnf rpm createrepo-c)",
)


def deb(folder: Path, name: str, version: str, more: str = "") -> str:
    """Build a package into `folder`; returns its stanza of a list of packages."""
    control = CONTROL.format(name=name, version=version) + more
    source = folder / "source" / name
    (source / "DEBIAN").mkdir(parents=True)
    (source / "DEBIAN/control").write_text(control)
    path = folder / f"{name}_{version.replace(':', '%3a')}_amd64.deb"
    command = ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", str(source), str(path)]
    subprocess.run(command, check=True, capture_output=True)
    data = path.read_bytes()
    return (
        f"{control}Filename: ./{path.name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
    )


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A repository: an essential base, and `st-app` that needs `st-lib` of any of two kinds, which needs the base."""
    folder = tmp_path / "archive"
    listed = [
        deb(folder, "st-base", "1.0", BASE),
        deb(folder, "st-lib", "2:2.0", "Depends: st-base (>= 1)\nProvides: st-virtual\n"),
        deb(folder, "st-app", "3.0", "Depends: st-virtual, st-base\nRecommends: st-talk\n"),
        deb(folder, "st-talk", "1.0"),
        deb(folder, "st-torn", "1.0", "Depends: st-nowhere\n"),
    ]
    packages = "\n".join(listed).encode()
    (folder / "Packages").write_bytes(packages)
    digest = f" {hashlib.sha256(packages).hexdigest()} {len(packages)} Packages\n"
    (folder / "Release").write_text(f"Suite: x\nDate: {formatdate(usegmt=True)}\nSHA256:\n{digest}")
    shutil.rmtree(folder / "source")
    return folder


def project(folder: Path, wish: SystemPackages, preset: str | None = None) -> Project:
    return Project(folder, "fraud", "1", (), target=TargetWish(preset=preset, packages=wish))


def collected(folder: Path, wish: SystemPackages) -> tuple[dict[str, tuple[str, str]], tuple[str, ...]]:
    """Name -> (version, why) of what travels, and the notes."""
    application = folder / "application"
    application.mkdir()
    notes = collect_packages(project(folder, wish), TARGET, application, Silent())
    carried = decode_list((application / FOLDER / LIST).read_bytes())
    for package in carried.packages:
        data = (application / FOLDER / package.file).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (package.sha256, package.size)
    return {each.name: (each.version, each.why) for each in carried.packages}, notes


def trusted(archive: Path) -> tuple[str, ...]:
    return (f"deb [trusted=yes] file:{archive} ./",)


def test_nothing_is_asked_for_and_nothing_is_written(tmp_path: Path) -> None:
    assert collect_packages(project(tmp_path, SystemPackages()), TARGET, tmp_path, Silent()) == ()
    assert list(tmp_path.iterdir()) == []


@needs_apt
@pytest.mark.slow
def test_what_is_asked_for_travels_with_its_demands_and_the_base_stays(tmp_path: Path, archive: Path) -> None:
    before = Path("/var/lib/apt/lists").stat().st_mtime_ns, Path("/var/lib/dpkg/status").stat().st_mtime_ns
    found, notes = collected(tmp_path, SystemPackages(deb=("st-app",), deb_sources=trusted(archive)))
    assert found == {"st-app": ("3.0", "asked for"), "st-lib": ("2:2.0", "st-app needs it")}
    assert notes[0].startswith("2 system packages travel, 0.0 MB: st-app, st-lib")
    assert not any(":" in path.name for path in (tmp_path / "application").rglob("*"))
    after = Path("/var/lib/apt/lists").stat().st_mtime_ns, Path("/var/lib/dpkg/status").stat().st_mtime_ns
    assert after == before


@needs_apt
@pytest.mark.slow
@pytest.mark.parametrize(
    "installed", ["st-base\t1.0\nst-lib:amd64\t2:2.0\n", "st-base\t1.0\nst-lib\t2:1.9\nst-own\t7\n"]
)
def test_what_the_box_has_already_does_not_travel(tmp_path: Path, archive: Path, installed: str) -> None:
    (tmp_path / "box.txt").write_text(installed)
    wish = SystemPackages(
        deb=("st-app", "st-base"), deb_sources=trusted(archive), installed=tmp_path / "box.txt"
    )
    found, notes = collected(tmp_path, wish)
    assert found == {"st-app": ("3.0", "asked for")}
    assert "the box has already, so it does not travel: st-base" in notes


@needs_apt
@pytest.mark.slow
def test_all_that_cannot_be_given_is_named(tmp_path: Path, archive: Path) -> None:
    wish = SystemPackages(deb=("st-no", "st-nil"), deb_sources=trusted(archive))
    with pytest.raises(UsageError) as caught:
        collect_packages(project(tmp_path, wish), TARGET, tmp_path / "application", Silent())
    assert caught.value.problems == ("Unable to locate package st-no", "Unable to locate package st-nil")
    with pytest.raises(UsageError, match="apt cannot give") as torn:
        collect_packages(project(tmp_path, replace(wish, deb=("st-torn",))), TARGET, tmp_path / "a", Silent())
    assert any("broken packages" in problem for problem in torn.value.problems), torn.value.problems


@needs_apt
@pytest.mark.slow
def test_a_repository_that_no_known_key_signs_is_refused(tmp_path: Path, archive: Path) -> None:
    wish = SystemPackages(deb=("st-app",), deb_sources=(f"deb file:{archive} ./",))
    with pytest.raises(UsageError) as caught:
        collect_packages(project(tmp_path, wish), TARGET, tmp_path / "application", Silent())
    assert any("not signed" in problem for problem in caught.value.problems), caught.value.problems


@needs_apt
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg is not here")
def test_the_projects_own_keyring_vouches_for_a_mirror(tmp_path: Path, archive: Path) -> None:
    home = tmp_path / "gpg"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--passphrase", ""]
    subprocess.run([*gpg, "--quick-gen-key", "mirror", "ed25519", "sign"], check=True, capture_output=True)
    key = subprocess.run([*gpg, "--export"], check=True, capture_output=True).stdout
    (tmp_path / "mirror.gpg").write_bytes(key)
    signed = [*gpg, "--clearsign", "--output", str(archive / "InRelease"), str(archive / "Release")]
    subprocess.run(signed, check=True, capture_output=True)
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False, capture_output=True)
    sources = (f"deb file:{archive} ./",)
    wish = SystemPackages(deb=("st-app",), deb_sources=sources, keyring=tmp_path / "mirror.gpg")
    found, _ = collected(tmp_path, wish)
    assert set(found) == {"st-app", "st-lib"}


def test_another_distribution_than_this_machines_needs_sources_of_its_own(tmp_path: Path) -> None:
    if shutil.which("apt-get") is None:
        pytest.skip("apt is not here")
    wish = SystemPackages(deb=("libgomp1",))
    with pytest.raises(UsageError, match="the box is kylin-v10") as caught:
        collect_packages(project(tmp_path, wish, "kylin-v10"), TARGET, tmp_path / "application", Silent())
    assert caught.value.next_step is not None
    assert "deb_sources" in caught.value.next_step


def test_without_apt_the_way_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="apt is not here") as caught:
        collect_packages(project(tmp_path, SystemPackages(deb=("a1",))), TARGET, tmp_path / "a", Silent())
    assert caught.value.next_step is not None
    assert "pack on a machine with apt" in caught.value.next_step


def show(names: Iterable[str]) -> str:
    return "Package: libx\nVersion: 2\nProvides: x-abi (= 2),\n x-old\n\nPackage: other\nVersion: 1\n"


def test_a_list_of_names_becomes_a_status(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("libx:amd64\t1.9\nmine\t0.1\n")
    text = status_text(tmp_path / "list", "amd64", show)
    assert stanzas(text) == [
        {
            "Package": "libx",
            "Version": "1.9",
            "Architecture": "amd64",
            "Provides": "x-abi (= 2), x-old",
            "Status": "install ok installed",
        },
        {"Package": "mine", "Version": "0.1", "Architecture": "amd64", "Status": "install ok installed"},
    ]


def test_a_status_file_is_taken_as_it_is(tmp_path: Path) -> None:
    text = installed_stanzas([{"Package": "a", "Version": "1", "Filename": "x", "Depends": "b"}])
    assert "Filename" not in text
    (tmp_path / "status").write_text(text)
    assert status_text(tmp_path / "status", "amd64", show) == text


@pytest.mark.parametrize("text", ["", "libgl1 1.0\n", "ii  libgl1  1.0 amd64  a library\n"])
def test_what_says_nothing_of_packages_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "list").write_text(text)
    with pytest.raises(UsageError, match="does not say what is installed") as caught:
        status_text(tmp_path / "list", "amd64", show)
    assert caught.value.next_step is not None
    assert "dpkg-query -W" in caught.value.next_step


def test_names_are_read_from_rpm(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("glibc-2.34-100.el9.x86_64\nmesa-libGL-23.1-1.el9.x86_64\n")
    assert rpm_names(tmp_path / "list") == {"glibc", "mesa-libGL"}
    (tmp_path / "list").write_text("glibc\n")
    with pytest.raises(UsageError, match="does not say what is installed"):
        rpm_names(tmp_path / "list")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """`st-a`, and `st-b` that it needs, as RPM packages."""
    folder = tmp_path / "repository"
    folder.mkdir()
    for name, more in (("st-a", "Requires: st-b\n"), ("st-b", "Epoch: 2\n")):
        spec = tmp_path / f"{name}.spec"
        spec.write_text(SPEC.format(name=name, version="1.0", more=more))
        defines = ["--define", f"_topdir {tmp_path / 'top'}", "--define", f"_rpmdir {folder}"]
        subprocess.run(["rpmbuild", "--quiet", "-bb", *defines, str(spec)], check=True, capture_output=True)
    subprocess.run(["createrepo_c", "--quiet", str(folder)], check=True, capture_output=True)
    return folder


@needs_dnf
@pytest.mark.slow
def test_rpm_packages_travel_with_their_demands(tmp_path: Path, repository: Path) -> None:
    wish = SystemPackages(rpm=("st-a",), rpm_sources=(f"file://{repository}",))
    found, notes = collected(tmp_path, wish)
    assert found == {"st-a": ("1.0-1", "asked for"), "st-b": ("2:1.0-1", "st-a needs it")}
    assert any("nobody has checked who signed" in note for note in notes)


@needs_dnf
@pytest.mark.slow
def test_rpm_packages_that_the_box_has_stay_and_what_is_unknown_is_named(
    tmp_path: Path, repository: Path
) -> None:
    (tmp_path / "box.txt").write_text("st-b-0.9-1.noarch\n")
    sources = (f"file://{repository}",)
    found, _ = collected(
        tmp_path, SystemPackages(rpm=("st-a",), rpm_sources=sources, installed=tmp_path / "box.txt")
    )
    assert found == {"st-a": ("1.0-1", "asked for")}
    for wish, says in (
        (SystemPackages(rpm=("st-no", "st-nil"), rpm_sources=sources), "st-no st-nil"),
        (
            SystemPackages(rpm=("st-a",), rpm_sources=(f"file://{tmp_path}/nowhere",)),
            "Failed to download metadata",
        ),
    ):
        with pytest.raises(UsageError) as caught:
            collect_packages(project(tmp_path, wish), TARGET, tmp_path / f"a-{len(says)}", Silent())
        assert any(says in problem for problem in caught.value.problems), caught.value.problems
