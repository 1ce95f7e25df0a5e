"""`[python] find_links`, and `vendor/` that is looked at without being named."""

from pathlib import Path

import pytest

from sealift.errors import ProjectError
from sealift.project.file import load_project

HEAD = '[project]\nname = "x"\nversion = "1.0"\n[model]\npath = "model.onnx"\n[python]\n'


def write(folder: Path, python: str) -> Path:
    (folder / "model.onnx").touch()
    (folder / "requirements.txt").touch()
    (folder / "pylock.toml").touch()
    (folder / "sealift.toml").write_text(HEAD + python)
    return folder


def test_folders_and_pages_are_kept_in_order_and_vendor_comes_last(tmp_path: Path) -> None:
    for name in ("wheels", "vendor"):
        (tmp_path / name).mkdir()
    page = "https://host.example/cpu/"
    project = load_project(write(tmp_path, f'find_links = ["wheels", "{page}"]\n'))
    assert project.python.find_links == (str(tmp_path / "wheels"), page)
    (tmp_path / "vendor" / "x-1-py3-none-any.whl").touch()
    assert load_project(tmp_path).python.find_links[2:] == (str(tmp_path / "vendor"),)


def test_a_folder_that_is_not_there_or_outside_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProjectError) as caught:
        load_project(write(tmp_path, 'find_links = ["nowhere", "../up", "model.onnx"]\n'))
    assert [problem.partition(": ")[0] for problem in caught.value.problems] == ["line 7"] * 3
    assert all("[python] find_links" in problem for problem in caught.value.problems)


def test_a_lock_stands_beside_what_it_was_made_of(tmp_path: Path) -> None:
    sources = load_project(
        write(tmp_path, 'requirements = "requirements.txt"\nlock = "pylock.toml"\n')
    ).python
    assert sources.requirements == tmp_path / "requirements.txt"
    assert sources.lock == tmp_path / "pylock.toml"
