"""A driver's installer: what its name says, whether it fits, and what root types."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import pytest

from sealift.collect.driver import carry_driver
from sealift.errors import UsageError
from sealift.project.project import Project, TargetWish
from sealift.target.driver import (
    Installer,
    install_command,
    installer_in_bundle,
    installer_problems,
    installer_version,
)
from sealift.target.target import Target

GUIDE = "NVIDIA-Linux-x86_64-470.57.02.run"
TARGET = Target("linux-x86_64", "3.11", "2.31", cuda="11.8")


@pytest.mark.parametrize(
    ("name", "version"),
    [
        (GUIDE, "470.57.02"),
        ("nvidia-driver-local-repo-ubuntu2004-535.104.05_1.0-1_amd64.deb", "535.104.05"),
        ("nvidia-driver-535_535.104.05-0ubuntu1_amd64.deb", "535.104.05"),
        ("nvidia-driver-local-repo-rhel8-580.65.06-1.0-1.x86_64.rpm", "580.65.06"),
        ("NVIDIA-Linux-aarch64-580.126.run", "580.126"),
        ("driver.run", None),
        ("1470.57.02.run", None),
    ],
)
def test_the_version_stands_in_the_name(name: str, version: str | None) -> None:
    assert installer_version(name) == version


@pytest.mark.parametrize(
    ("name", "cuda", "says"),
    [
        (GUIDE, "11.8", None),
        (GUIDE, "11.4", None),
        (GUIDE, "12.4", "NVIDIA driver: expected 525.60.13 or newer for CUDA 12.4, found 470.57.02"),
        (GUIDE, "13.0", "NVIDIA driver: expected 580.65.06 or newer for CUDA 13.0, found 470.57.02"),
        ("NVIDIA-Linux-aarch64-580.65.06.run", "12.4", "expected an installer for x86_64"),
        ("driver.run", "12.4", "expected the driver's version in the name"),
        ("NVIDIA-Linux-x86_64-550.54.14.zip", "12.4", "expected a .run, .deb, .rpm file"),
        ("NVIDIA 550.54.14; rm -rf.run", "12.4", "named in plain letters"),
    ],
)
def test_an_installer_is_held_against_the_matrix(name: str, cuda: str, says: str | None) -> None:
    problems = installer_problems(name, replace(TARGET, cuda=cuda))
    assert (problems == ()) if says is None else any(says in problem for problem in problems), problems


def project(folder: Path, name: str | None) -> Project:
    path = folder / name if name else None
    if path:
        path.write_bytes(b"installer")
    return Project(folder, "fraud", "1", (), target=TargetWish(driver_installer=path))


def test_it_is_carried_under_its_own_name(tmp_path: Path) -> None:
    assert carry_driver(project(tmp_path, None), TARGET, tmp_path / "application") == ()
    notes = carry_driver(project(tmp_path, GUIDE), TARGET, tmp_path / "application")
    assert (tmp_path / "application/driver" / GUIDE).read_bytes() == b"installer"
    assert "NVIDIA driver 470.57.02 travels" in notes[0]


@pytest.mark.parametrize(("cuda", "says"), [("12.4", "expected 525.60.13"), (None, "expected [target] cuda")])
def test_one_that_does_not_fit_is_refused_and_not_carried(
    tmp_path: Path, cuda: str | None, says: str
) -> None:
    with pytest.raises(UsageError, match="does not fit this target") as caught:
        carry_driver(project(tmp_path, GUIDE), replace(TARGET, cuda=cuda), tmp_path / "application")
    assert any(says in problem for problem in caught.value.problems)
    assert not (tmp_path / "application").exists()


@pytest.mark.parametrize(
    ("path", "command"),
    [
        (f"/var/lib/sealift/driver/{GUIDE}", f"sh /var/lib/sealift/driver/{GUIDE} --silent"),
        ("/p q/d.deb", "dpkg --install '/p q/d.deb'"),
        ("/p/d.rpm", "rpm --upgrade /p/d.rpm"),
    ],
)
def test_the_command_is_one_that_root_can_type(path: str, command: str) -> None:
    assert install_command(PurePath(path)) == command


@dataclass
class Entry:
    sha256: str = "a" * 64
    size: int = 9


@dataclass
class Listing:
    paths: tuple[str, ...]

    def files(self) -> Iterator[tuple[str, Entry]]:
        return ((path, Entry()) for path in self.paths)


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (("application/service.json",), None),
        ((f"application/driver/{GUIDE}",), Installer(GUIDE, "a" * 64, 9)),
        ((f"runtime/driver/{GUIDE}",), None),
        ((f"application/driver/deeper/{GUIDE}",), None),
        (("application/driver/a; reboot.run", "application/driver/notes.txt"), None),
    ],
)
def test_only_one_that_a_person_can_run_is_found_in_a_bundle(
    paths: tuple[str, ...], found: Installer | None
) -> None:
    assert installer_in_bundle(Listing(paths)) == found
