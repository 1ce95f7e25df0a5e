"""A Python file of the project -> everything of the project that belongs to it."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path

from sealift.errors import ProjectError


def code_files(module: Path) -> tuple[Path, ...]:
    """The file and every module or package beside it that it imports, directly or not; sorted.

    Raises: ProjectError: a file among them is not Python that this interpreter can parse.
    """
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        if path.suffix == ".py":
            waiting += _siblings(_imported(path), module.parent)
    return tuple(sorted(found))


def _imported(path: Path) -> set[str]:
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError, OSError) as error:
        raise ProjectError(f"{path}: {error}") from error
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def _siblings(names: set[str], folder: Path) -> Sequence[Path]:
    files = [folder / f"{name}.py" for name in names if (folder / f"{name}.py").is_file()]
    packages = [folder / name for name in names if (folder / name / "__init__.py").is_file()]
    inside = [path for package in packages for path in package.rglob("*") if path.is_file()]
    return [*files, *(path for path in inside if "__pycache__" not in path.parts)]
