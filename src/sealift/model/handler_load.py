"""A handler file -> its two functions.

The file is executed under a private module name. Its folder never enters `sys.path`: a finder at the *end*
of `sys.meta_path` answers for that folder's own modules, so `import sibling` works (inside functions and
from siblings too), and nothing installed can be shadowed. Where an installed or already loaded module would
win over a sibling that the handler imports, loading is refused rather than running the wrong code.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from sealift.errors import ModelError
from sealift.model.arrays import did_you_mean

FUNCTIONS: Final = ("preprocess", "postprocess")

Function = Callable[[Any], Any]


class _Siblings:
    """Finds top-level modules in one handler's folder, after everything else was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, *_target: ModuleType | None
    ) -> ModuleSpec | None:
        """The import system's call; `path` is None for top-level names."""
        return PathFinder.find_spec(name, [str(self.folder)]) if path is None else None


def handler_functions(path: Path) -> frozenset[str]:
    """Which of `preprocess` and `postprocess` the file defines, found without running it.

    Raises: ModelError: unreadable, not Python, or neither function is there.
    """
    tree = _parse(path)
    names = set(_top_level_names(tree.body))
    found = frozenset(names & set(FUNCTIONS))
    if not found:
        close = [hint for name in sorted(names) if (hint := did_you_mean(name, FUNCTIONS))]
        raise ModelError(
            f"{path} defines neither preprocess nor postprocess{close[0] if close else ''}.",
            next_step="def preprocess(body: bytes): ... returns the model's input as an array",
        )
    return found


def _parse(path: Path, what: str = "handler") -> ast.Module:
    try:
        return ast.parse(path.read_bytes(), filename=str(path))
    except OSError as error:
        raise ModelError(f"{what} {path} cannot be read: {error.strerror}.") from error
    except (SyntaxError, ValueError) as error:
        line = f" line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise ModelError(f"{what} {path}{line} is not valid Python: {error}.") from error


def _top_level_names(body: Sequence[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.If | ast.Try):
            yield from _top_level_names([*node.body, *node.orelse])


def load_handler(path: Path) -> dict[str, Function]:
    """Execute the handler and return its functions by name. Loading again executes it again.

    Raises: ModelError: it does not load; a sibling it imports is hidden by another module; a function is
        not callable with one argument, or is asynchronous. The text names type and line of the cause.
    """
    path = path.resolve()
    handler_functions(path)
    module = load_code(path, "handler")
    functions = {wanted: getattr(module, wanted) for wanted in FUNCTIONS if hasattr(module, wanted)}
    problems = [why for wanted, function in functions.items() if (why := _unusable(wanted, function))]
    if problems:
        raise ModelError(f"handler {path} cannot be used.", problems=tuple(problems))
    return functions


def load_code(path: Path, what: str) -> ModuleType:
    """Execute a Python file of the project, as `load_handler` does.

    Args:
        what: what error messages call it, such as `handler`.
    Raises: ModelError: it does not load, or a sibling it imports is hidden by another module.
    """
    path = path.resolve()
    _serve_siblings(path.parent)
    importlib.invalidate_caches()
    _refuse_hidden_siblings(path, what)
    name = f"_sealift_{what}_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ModelError(f"{what} {path} is not a Python file; its name must end in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the edge to foreign code: anything can come out of it
        del sys.modules[name]
        raise ModelError(
            f"{what} {path} does not load: {failure_text(error, path.parent)}.",
            next_step="list what it imports under [python] requirements in sealift.toml",
        ) from error
    return module


def _serve_siblings(folder: Path) -> None:
    finders = [finder for finder in sys.meta_path if isinstance(finder, _Siblings)]
    if all(finder.folder != folder for finder in finders):
        sys.meta_path.append(_Siblings(folder))


def _refuse_hidden_siblings(path: Path, what: str) -> None:
    hidden = []
    for name in sorted(_imported_roots(_parse(path, what))):
        if not ((path.parent / f"{name}.py").exists() or (path.parent / name / "__init__.py").exists()):
            continue
        try:
            spec = importlib.util.find_spec(name)
        except ValueError:  # a module in sys.modules without a spec
            spec = None
        origin = spec.origin if spec is not None else None
        if origin is None or not Path(origin).resolve().is_relative_to(path.parent):
            hidden.append(
                f"import {name}: means {origin or 'a built-in module'}, not the file beside the {what}"
            )
    if hidden:
        raise ModelError(
            f"{what} {path} would import other modules than its siblings.",
            problems=tuple(hidden),
            next_step="rename the sibling files",
        )


def _imported_roots(tree: ast.Module) -> set[str]:
    roots = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            roots.add(node.module.partition(".")[0])
    return roots


def _unusable(name: str, function: object) -> str | None:
    if not callable(function):
        return f"{name} is not a function"
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return f"{name} is asynchronous; write a plain def: handlers run on threads of their own"
    try:
        inspect.signature(function).bind(object())
    except TypeError:
        return f"{name} must take one argument, and no others without a default"
    except ValueError:  # a C function without a signature
        return None
    return None


def failure_text(error: BaseException, folder: Path) -> str:
    """`KeyError: 'x' (handler.py:12)`: type, text, and the innermost line inside the handler's folder."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if Path(frame.filename).is_relative_to(folder)]
    last = inside[-1] if inside else frames[-1] if frames else None
    place = f" ({Path(last.filename).name}:{last.lineno})" if last is not None else ""
    text = str(error).splitlines()[0] if str(error) else ""
    return f"{type(error).__name__}{': ' if text else ''}{text}{place}"
