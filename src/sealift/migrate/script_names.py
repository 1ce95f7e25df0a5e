"""A script's imports, functions and routes, found by reading it: it is never imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealift.errors import UsageError

Function = ast.FunctionDef | ast.AsyncFunctionDef
_VERBS: Final = ("route", "post", "api_route", "put")


@dataclass(frozen=True, slots=True)
class Route:
    """A function that answers requests, and the path of its URL."""

    path: str
    function: Function


@dataclass(frozen=True, slots=True)
class Script:
    """A parsed file.

    `imports`: local name -> what it means in full (`np` -> `numpy`, `Image` -> `PIL.Image`). `functions`: by name,
    those of no class. `methods`: those of its classes. `classes`: by name.
    """

    path: Path
    lines: tuple[str, ...]
    tree: ast.Module
    imports: Mapping[str, str]
    functions: Mapping[str, Function]
    methods: Mapping[str, Function]
    classes: Mapping[str, ast.ClassDef]
    routes: tuple[Route, ...]

    def dotted(self, node: ast.expr) -> str:
        """`np.random.rand` -> `numpy.random.rand`; empty where it is no plain name."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.insert(0, node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        return ".".join([self.imports.get(node.id, node.id), *parts])

    def text(self, node: ast.AST) -> str:
        """The source of a node, on one line, at most 60 characters."""
        first, last = getattr(node, "lineno", 1), getattr(node, "end_lineno", 1)
        lines = [line.encode() for line in self.lines[first - 1 : last]]
        if lines:  # columns count bytes (ast's documentation)
            lines[-1] = lines[-1][: getattr(node, "end_col_offset", 0)]
            lines[0] = lines[0][getattr(node, "col_offset", 0) :]
        found = " ".join(b" ".join(lines[:20]).decode("utf-8", "replace").split())
        return found if len(found) <= 60 else found[:57] + "..."


def parse_script(path: Path) -> Script:
    """Raises: UsageError: unreadable, or not Python (with its line)."""
    try:
        source = path.read_bytes().decode("utf-8-sig")
        tree = ast.parse(source, filename=str(path))
    except OSError as error:
        raise UsageError(f"--from {path} cannot be read: {error.strerror}") from error
    except (SyntaxError, ValueError, RecursionError) as error:
        line = f"line {error.lineno}: " if isinstance(error, SyntaxError) else ""
        raise UsageError(f"--from {path}: {line}not Python: {error}") from error
    imports = dict(_imports(tree))
    classes = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    inside = [each for node in classes.values() for each in node.body if isinstance(each, Function)]
    methods = {each.name: each for each in inside}
    functions = {
        node.name: node for node in ast.walk(tree) if isinstance(node, Function) and node not in inside
    }
    lines = tuple(source.replace("\r\n", "\n").split("\n"))
    routes = tuple(_routes({**methods, **functions}))
    return Script(path, lines, tree, imports, functions, methods, classes, routes)


def _imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (alias.asname, alias.name) if alias.asname else (alias.name.split(".")[0],) * 2
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _routes(functions: Mapping[str, Function]) -> Iterator[Route]:
    for function in functions.values():
        for decorator in function.decorator_list:
            if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Attribute):
                path = decorator.args[0] if decorator.args else None
                if (
                    decorator.func.attr in _VERBS
                    and isinstance(path, ast.Constant)
                    and isinstance(path.value, str)
                ):
                    yield Route(path.value, function)
