"""A Python file with the module of some weights -> what its `forward` takes, read and not run."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

from sealift.errors import UsageError
from sealift.model.words import nearest, quoted

UNKNOWN: Final = ("input",)
"""A function may build anything: one argument is the likeliest."""

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def forward_arguments(file: Path, name: str) -> tuple[str, ...]:
    """The arguments of `forward()` that have no default, without `self`; `UNKNOWN` where the file does not show them.

    Args:
        name: of a class or function in the file.
    Raises: UsageError: the file cannot be read, is not Python, or has no such name.
    """
    body = _parsed(file).body
    found = [node for node in body if isinstance(node, ast.ClassDef | _Function) and node.name == name]
    if not found and name not in _other_names(body):
        near = nearest(name, [node.name for node in body if isinstance(node, ast.ClassDef | _Function)])
        raise UsageError(f"{file.name} has no {name}" + (f"; did you mean {quoted(near)}?" if near else ""))
    for node in found[-1:]:
        for inner in node.body if isinstance(node, ast.ClassDef) else []:
            if isinstance(inner, _Function) and inner.name == "forward":
                return _required(inner.args) or UNKNOWN
    return UNKNOWN


def _parsed(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_bytes(), filename=str(file))
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"{file.name} is not valid Python: {error}") from error


def _other_names(body: list[ast.stmt]) -> set[str]:
    """Imported and assigned: `from torchvision.models import resnet18`."""
    names: set[str] = set()
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def _required(arguments: ast.arguments) -> tuple[str, ...]:
    positional = [*arguments.posonlyargs, *arguments.args]
    given = positional[: len(positional) - len(arguments.defaults)]
    return tuple(argument.arg for argument in given[1:])
