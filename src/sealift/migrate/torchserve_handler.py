"""A TorchServe handler's Python file -> a declaration, or its own methods as a `handler.py`. It is never imported.

A handler is a class; what it inherits from TorchServe stays behind, so what its methods use of `self` must be its own.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealift.migrate.photo_rules import transformed
from sealift.migrate.script_eval import Evaluator, Followers, Scope
from sealift.migrate.script_input import photo_declaration
from sealift.migrate.script_names import Function, Script, parse_script
from sealift.migrate.symbols import Chain, Known, Photo, Sent, Unknown
from sealift.model.declaration import ImageInput

_BY_HAND: Final = "write handler.py yourself (docs/how-to/carry-a-handler.md)"
_METHODS: Final = ("preprocess", "postprocess")
_CLASSIFIERS: Final = ("ImageClassifier",)
_VISION: Final = ("VisionHandler", "ImageClassifier")


@dataclass(frozen=True, slots=True)
class OwnHandler:
    """`is_classifier`: it answers as `image_classifier`. `declared`: its transforms as a declaration.

    `text`: of the handler; empty: it could not be extracted.
    """

    is_classifier: bool = False
    declared: ImageInput | None = None
    text: str = ""
    imports: tuple[str, ...] = ()
    understood: tuple[str, ...] = ()
    check: tuple[str, ...] = ()


def read_handler(path: Path) -> OwnHandler:
    """Read the file's handler class. Raises: UsageError: it is no Python."""
    script = parse_script(path)
    found = next(
        (node for node in script.tree.body if isinstance(node, ast.ClassDef) and _methods(node)), None
    )
    classes = [node for node in script.tree.body if isinstance(node, ast.ClassDef)]
    handler = found or next(iter(classes), None)
    if handler is None:
        return OwnHandler(check=(f"{path.name} has no handler class; {_BY_HAND}",))
    bases = {script.dotted(base).rpartition(".")[2] for base in handler.bases}
    methods = _methods(handler)
    declared = _transforms(script, handler) if bases & set(_VISION) and "preprocess" not in methods else None
    if declared is not None and "postprocess" not in methods:
        said = f"handler {handler.name}: its transforms as a declaration: {list(declared.size)}"
        return OwnHandler(bool(bases & set(_CLASSIFIERS)), declared, understood=(said,))
    if bases & set(_CLASSIFIERS) and not methods and not _has_transforms(handler):
        return OwnHandler(is_classifier=True, understood=(f"handler {handler.name}: as image_classifier",))
    return _extracted(script, handler, methods)


def _methods(node: ast.ClassDef) -> dict[str, Function]:
    return {each.name: each for each in node.body if isinstance(each, Function) and each.name in _METHODS}


def _has_transforms(node: ast.ClassDef) -> bool:
    return _image_processing(node) is not None


def _image_processing(node: ast.ClassDef) -> ast.expr | None:
    for each in node.body:
        if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == "image_processing":
            return each.value
    return None


def _transforms(script: Script, node: ast.ClassDef) -> ImageInput | None:
    """`image_processing = transforms.Compose([...])` of the class."""
    unknown = Unknown(0, "")
    evaluator = Evaluator(
        script, Followers(lambda *_: unknown, lambda *_: unknown, lambda _: None, lambda *_: None)
    )
    said = _image_processing(node)
    chain = None if said is None else evaluator.value(said, Scope({}, {"__file__": Known(script.path)}, {}))
    if not isinstance(chain, Chain):
        return None
    photo = transformed(Photo(Sent("raw", is_stream=True), channels="RGB"), chain)
    declared = photo_declaration(photo).input if isinstance(photo, Photo) else None
    return declared if isinstance(declared, ImageInput) else None


def _extracted(script: Script, handler: ast.ClassDef, methods: Mapping[str, Function]) -> OwnHandler:
    if "preprocess" not in methods:
        return OwnHandler(check=(f"{handler.name} inherits its preprocess; {_BY_HAND}",))
    kept = _kept(handler, methods)
    missing = sorted(_self_names(kept) - _names_of(kept))
    check = [
        f"handler.py: self.{name} came from TorchServe or initialize(); give it in the class"
        for name in missing
    ]
    check.append("the handler gets one request at a time, as [{'body': bytes}]")
    text = _text(script, handler, kept, "postprocess" in methods)
    imports = tuple(sorted({name.partition(".")[0] for name in _imported(script, kept).values()}))
    understood = f"handler {handler.name}: {' and '.join(methods)} as {'handler.py'}, its own code"
    return OwnHandler(text=text, imports=imports, understood=(understood,), check=tuple(check))


def _kept(handler: ast.ClassDef, methods: Mapping[str, Function]) -> list[ast.stmt]:
    """The methods, what they call of `self`, and the constants of the class."""
    by_name = {each.name: each for each in handler.body if isinstance(each, Function)}
    wanted, before = set(methods), set[str]()
    while wanted != before:
        before = set(wanted)
        wanted |= {name for name in _self_names([by_name[each] for each in before]) if name in by_name}
    return [
        each
        for each in handler.body
        if isinstance(each, ast.Assign | ast.AnnAssign)
        or (isinstance(each, Function) and each.name in wanted)
    ]


def _self_names(nodes: list[ast.stmt] | list[Function]) -> set[str]:
    return {
        each.attr
        for node in nodes
        for each in ast.walk(node)
        if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id == "self"
    }


def _names_of(nodes: list[ast.stmt]) -> set[str]:
    found = {node.name for node in nodes if isinstance(node, Function)}
    for node in nodes:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def _imported(script: Script, nodes: list[ast.stmt]) -> dict[str, str]:
    """Local name -> full name, of what the nodes use and TorchServe does not bring."""
    used = {each.id for node in nodes for each in ast.walk(node) if isinstance(each, ast.Name)}
    return {
        name: full for name, full in script.imports.items() if name in used and full.partition(".")[0] != "ts"
    }


def _import_lines(script: Script, nodes: list[ast.stmt]) -> Iterator[str]:
    used = _imported(script, nodes)
    for node in ast.walk(script.tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias for alias in node.names if (alias.asname or alias.name.split(".")[0]) in used]
            if names:
                yield ast.unparse(_with_names(node, names))


def _with_names(node: ast.Import | ast.ImportFrom, names: list[ast.alias]) -> ast.stmt:
    return (
        ast.Import(names) if isinstance(node, ast.Import) else ast.ImportFrom(node.module, names, node.level)
    )


def _text(script: Script, handler: ast.ClassDef, kept: list[ast.stmt], has_postprocess: bool) -> str:
    uses_torch = any(full.partition(".")[0] == "torch" for full in script.imports.values())
    imports = {*_import_lines(script, kept), *(["import torch"] if uses_torch and has_postprocess else [])}
    body = [
        f'"""Taken over from {script.path.name} by sealift init --from: its own methods, called as TorchServe did."""',
        "",
        *sorted(imports),
        "",
        "",
        f"class {handler.name}:",
    ]
    for node in kept:
        body += [f"    # {script.path.name}, lines {node.lineno}-{node.end_lineno}"]
        body += [*script.lines[_first_line(node) - 1 : node.end_lineno], ""]
    body += ["", f"_HANDLER = {handler.name}()", "", "", "def preprocess(body: bytes):"]
    body += ['    return _HANDLER.preprocess([{"body": body}])']
    if has_postprocess:
        first = "torch.from_numpy(first)" if uses_torch else "first"
        body += ["", "", "def postprocess(outputs):", "    first = next(iter(outputs.values()))"]
        body += [f"    return _HANDLER.postprocess({first})[0]"]
    return "\n".join(body) + "\n"


def _first_line(node: ast.stmt) -> int:
    decorators = node.decorator_list if isinstance(node, Function) else []
    return min([node.lineno, *(each.lineno for each in decorators)])
