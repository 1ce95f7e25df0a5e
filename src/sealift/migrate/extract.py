"""A function of a script, with all that it needs -> the text of a `handler.py`. The script is read, never imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sealift.migrate.script_names import Function, Script
from sealift.migrate.script_walk import CallOfOwn
from sealift.migrate.symbols import Model, Photo, Sent, Symbol


@dataclass(frozen=True, slots=True)
class Extracted:
    """`text`: of the handler. `imports`: its top-level modules. `check`: what a person has to look at."""

    text: str
    imports: tuple[str, ...]
    check: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """A statement of the top level, and the names that it gives and needs."""

    node: ast.stmt
    gives: frozenset[str]
    needs: frozenset[str]


def extract_preprocess(script: Script, call: CallOfOwn, model_names: frozenset[str]) -> Extracted | str:
    """The handler that calls the script's own function as its route did; or why there cannot be one.

    Args:
        call: the function, and what the route gave it.
        model_names: of the module, which hold a model; what needs one of them cannot be taken along.
    """
    argument = _argument(call.arguments.all)
    if argument is None:
        return (
            f"{call.function.name}() is called with more than what the client sent; write handler.py yourself"
        )
    annotation, expression, imports = argument
    parts = _needed(script, {call.function.name})
    foreign = sorted({name for part in parts for name in part.gives} & model_names)
    if foreign:
        return f"{call.function.name}() uses {', '.join(foreign)}, which holds a model; write handler.py yourself"
    own = [part for part in parts if not isinstance(part.node, ast.Import | ast.ImportFrom)]
    lines = [
        f'"""Taken over from {script.path.name} by sealift init --from: its own code, called as its route did."""',
        "",
        *sorted({*_imports(parts), *imports}),
        "",
    ]
    for part in own:
        lines += ["", *_source(script, part.node), ""]
    name = call.function.name
    if name == "preprocess":
        lines += ["", f"_{name}_of_the_script = {name}", ""]
        name = f"_{name}_of_the_script"
    lines += ["", f"def preprocess({annotation}):", f"    return {name}({expression})"]
    modules = {line.split()[1].split(".")[0] for line in [*_imports(parts), *imports]}
    return Extracted("\n".join(lines) + "\n", tuple(sorted(modules)), tuple(_files_read(script, own)))


def _argument(given: Sequence[Symbol]) -> tuple[str, str, tuple[str, ...]] | None:
    """The handler's parameter, what it passes on, and what that imports."""
    if len(given) != 1:
        return None
    match given[0]:
        case Sent(form="json", field=""):
            return "payload", "payload", ()
        case Sent(form="json", field=field):
            return "payload", f"payload[{field!r}]", ()
        case Sent(is_stream=True):
            return "image: bytes", "io.BytesIO(image)", ("import io",)
        case Sent():
            return "image: bytes", "image", ()
        case Photo(axes="", size=None, shorter=None, channels=channels, is_upright=False):
            mode = {"RGB": '.convert("RGB")', "GRAY": '.convert("L")'}.get(channels, "")
            return (
                "image: bytes",
                f"Image.open(io.BytesIO(image)){mode}",
                ("import io", "from PIL import Image"),
            )
        case _:
            return None


def _needed(script: Script, names: set[str]) -> list[_Part]:
    """The top-level statements that give these names, and what those need in turn; in their order."""
    parts = [part for node in script.tree.body for part in _parts(node)]
    wanted, taken = set(names), set[int]()
    while True:
        new = [number for number, part in enumerate(parts) if number not in taken and part.gives & wanted]
        if not new:
            return [part for number, part in enumerate(parts) if number in taken]
        for number in new:
            taken.add(number)
            wanted |= parts[number].needs


def _parts(node: ast.stmt) -> Iterator[_Part]:
    if isinstance(node, ast.If | ast.Try):
        for inner in node.body:
            yield from _parts(inner)
        return
    gives = frozenset(_given(node))
    if gives:
        names = {
            each.id
            for each in ast.walk(node)
            if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load)
        }
        yield _Part(node, gives, frozenset(names) - gives)


def _given(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, Function | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name.split(".")[0] for alias in node.names)
    elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        yield from (each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name))


def _imports(parts: Sequence[_Part]) -> Iterator[str]:
    """One line for each module; what the server needed is left out with what needed it."""
    for part in parts:
        if isinstance(part.node, ast.Import):
            yield from (f"import {_alias(alias)}" for alias in part.node.names if _is_used(alias, parts))
        elif isinstance(part.node, ast.ImportFrom):
            names = ", ".join(_alias(alias) for alias in part.node.names if _is_used(alias, parts))
            yield f"from {'.' * part.node.level}{part.node.module or ''} import {names}"


def _is_used(alias: ast.alias, parts: Sequence[_Part]) -> bool:
    name = alias.asname or alias.name.split(".")[0]
    return any(name in part.needs for part in parts)


def _alias(alias: ast.alias) -> str:
    return f"{alias.name} as {alias.asname}" if alias.asname else alias.name


def _source(script: Script, node: ast.stmt) -> list[str]:
    decorators = node.decorator_list if isinstance(node, Function | ast.ClassDef) else []
    first = min([node.lineno, *(each.lineno for each in decorators)])
    last = node.end_lineno or node.lineno
    where = f"line {first}" if first == last else f"lines {first}-{last}"
    text = script.lines[first - 1 : last]
    indent = len(text[0]) - len(text[0].lstrip())
    return [f"# {script.path.name}, {where}", *(line[indent:] for line in text)]


def _files_read(script: Script, parts: Sequence[_Part]) -> Iterator[str]:
    for part in parts:
        for node in ast.walk(part.node):
            if isinstance(node, ast.Call) and script.dotted(node.func) in (
                "open",
                "numpy.load",
                "numpy.loadtxt",
            ):
                yield (
                    f"handler.py opens a file ({script.text(node)}, line {node.lineno} of {script.path.name}); "
                    "put it into a package beside the handler"
                )


def names_of_models(script: Script, models: Sequence[Model]) -> frozenset[str]:
    """The module's names that are assigned where one of the models is loaded."""
    lines = {model.line for model in models}
    found = set[str]()
    for part in (part for node in script.tree.body for part in _parts(node)):
        last = part.node.end_lineno or part.node.lineno
        is_code = isinstance(part.node, Function | ast.ClassDef)
        if not is_code and any(part.node.lineno <= line <= last for line in lines):
            found |= part.gives
    return frozenset(found)
