"""`sealift lock` at its door: what it writes, what it leaves alone when it fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.collect.conftest import write_wheel
from tests.serve.nets import mlp

from sealift.cli.main import run

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one requirement that `shelf` has beside it."""
    folder = tmp_path / "project"
    folder.mkdir()
    mlp(folder / "model.onnx")
    (folder / "requirements.txt").write_text("app-core\n")
    (folder / "sealift.toml").write_text(
        '[project]\nname = "x"\nversion = "1.0"\n[model]\npath = "model.onnx"\n'
        '[python]\nrequirements = "requirements.txt"\n[target]\npreset = "rhel-8"\npython = "3.12"\n'
        'platform = "linux-aarch64"\ninterpreter = "bundled"\n'
    )
    write_wheel(tmp_path / "shelf", "app-core", "1.2")
    return folder


def lock(project: Path, *more: str) -> int:
    """Its exit code, with the shelf as the only source."""
    return run(["lock", str(project), "--no-index", "--find-links", str(project.parent / "shelf"), *more])


def test_a_lock_for_another_box_is_written_from_a_folder_of_wheels(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lock(project, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["packages"] == ["app-core"]
    assert said["target"]["platform"] == "linux-aarch64"
    assert said["size"] == next((project.parent / "shelf").iterdir()).stat().st_size
    first = (project / "pylock.toml").read_bytes()
    assert lock(project, "--no-import-test") == 0
    assert "app-core" in first.decode()
    assert (project / "pylock.toml").read_bytes() == first
    assert 'next: put lock = "pylock.toml" under [python]' in capsys.readouterr().out


def test_what_cannot_be_locked_leaves_the_old_lock_as_it_is(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "pylock.toml").write_text("the old one\n")
    (project / "requirements.txt").write_text("app-core>=2\n")
    assert lock(project) == 2
    said = capsys.readouterr().err
    assert "No wheel satisfies app-core>=2 (requirements.txt line 1) for linux-aarch64, Python 3.12" in said
    assert "requirements.txt line 1: app-core>=2 -> app-core==1.2" in said
    assert (project / "pylock.toml").read_text() == "the old one\n"


def test_vendor_beside_the_project_file_needs_no_name(project: Path) -> None:
    (project.parent / "shelf").rename(project / "vendor")
    (project.parent / "shelf").mkdir()
    assert lock(project) == 0
    assert "app_core-1.2-py3-none-any.whl" in (project / "pylock.toml").read_text()
