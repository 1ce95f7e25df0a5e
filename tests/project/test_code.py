"""Which files belong to a Python file of the project: they travel with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealift.errors import ProjectError
from sealift.project.code import code_files


def test_modules_and_packages_beside_the_handler_travel_when_they_are_imported(tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_text("import numpy, near\nfrom kit.part import x\n")
    (tmp_path / "near.py").write_text("def f():\n    import far\n")
    (tmp_path / "far.py").write_text("")
    (tmp_path / "kit" / "__pycache__").mkdir(parents=True)
    (tmp_path / "kit" / "__init__.py").write_text("")
    (tmp_path / "kit" / "part.py").write_text("import deep\n")
    (tmp_path / "kit" / "words.txt").write_text("data of the package")
    (tmp_path / "kit" / "__pycache__" / "part.pyc").write_text("")
    (tmp_path / "deep.py").write_text("")
    (tmp_path / "train.py").write_text("not imported")
    (tmp_path / "numpy.txt").write_text("")
    names = [path.relative_to(tmp_path).as_posix() for path in code_files(tmp_path / "handler.py")]
    assert names == [
        "deep.py",
        "far.py",
        "handler.py",
        "kit/__init__.py",
        "kit/part.py",
        "kit/words.txt",
        "near.py",
    ]


def test_a_handler_that_is_not_python_is_named(tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_text("def f(:\n")
    with pytest.raises(ProjectError, match=r"handler\.py: "):
        code_files(tmp_path / "handler.py")


def test_modules_that_import_each_other_are_taken_once(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import b")
    (tmp_path / "b.py").write_text("import a")
    assert len(code_files(tmp_path / "a.py")) == 2
