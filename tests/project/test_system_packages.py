"""`[target.packages]` and `[target] driver_installer`: what is read, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealift.errors import ProjectError
from sealift.project.file import load_project
from sealift.project.project import Project, SystemPackages

HEAD = '[project]\nname = "fraud"\nversion = "1"\n[model]\npath = "model.onnx"\n'


def project(folder: Path, text: str) -> Project:
    (folder / "sealift.toml").write_text(HEAD + text)
    return load_project(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("model.onnx", "status", "mirror.gpg", "NVIDIA-Linux-x86_64-470.57.02.run"):
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def test_without_the_section_nothing_is_asked_for(folder: Path) -> None:
    wish = project(folder, "").target
    assert (wish.packages, wish.driver_installer) == (SystemPackages(), None)


def test_everything_is_read(folder: Path) -> None:
    found = project(
        folder,
        '[target]\ndriver_installer = "NVIDIA-Linux-x86_64-470.57.02.run"\n[target.packages]\n'
        'deb = ["libgl1", "libstdc++6"]\ndeb_sources = ["deb [arch=amd64] MIRROR/debian bookworm main"]\n'
        'keyring = "mirror.gpg"\ninstalled = "status"\n',
    ).target
    assert found.driver_installer == folder / "NVIDIA-Linux-x86_64-470.57.02.run"
    assert found.packages == SystemPackages(
        deb=("libgl1", "libstdc++6"),
        deb_sources=("deb [arch=amd64] MIRROR/debian bookworm main",),
        keyring=folder / "mirror.gpg",
        installed=folder / "status",
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('deb = ["a1"]\nrpm = ["b"]', "[target.packages] rpm: expected deb or rpm, not both"),
        ('deb_sources = ["deb M s main"]', "[target.packages] deb_sources: expected 'deb' beside it"),
        ('deb = ["LibGL"]', 'deb: expected a Debian package such as "libgl1", got "LibGL"'),
        ('deb = ["lib gl; rm -rf /"]', "deb: expected a Debian package"),
        ('deb = ["--purge"]', "deb: expected a Debian package"),
        ('rpm = ["-x"]', "rpm: expected an RPM package"),
        ('rpm = ["a"]\nrpm_sources = ["/x"]', "rpm_sources: expected the address of a repository"),
        ('installed = "nowhere"', 'installed: "nowhere" does not exist'),
        ('debs = ["a1"]', "'debs' is not a key; did you mean 'deb'?"),
    ],
)
def test_what_cannot_be_meant_is_refused(folder: Path, text: str, says: str) -> None:
    with pytest.raises(ProjectError) as caught:
        project(folder, f"[target.packages]\n{text}\n")
    assert any(says in problem for problem in (caught.value.message, *caught.value.problems)), (
        caught.value.problems
    )
