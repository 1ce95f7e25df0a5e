"""An exporter's error -> what a person can do something about: operators, a reason, a line of the model's Python."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from sealift.errors import ModelError
from sealift.model.arrays import Arrays
from sealift.model.torch_file import import_torch
from sealift.optimize.export.source import OPSET, Source

_FOREIGN = (Exception,)
"""What is asked here is not PyTorch's public interface: where it is gone, the error alone speaks."""

_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")
_ABOUT_ITSELF: Final = re.compile(
    r"\s*(!?\s*For more information, run with|\(unhinted:|See the stack trace).*"
)
_OPERATOR: Final = re.compile(r"OpOverload\(op='([\w.:]+)'|operator '([\w.:]+)'")
_KEEP: Final = (
    "replace them in the model's Python, or serve it on PyTorch: "
    "torch.jit.trace(module.eval(), example).save('model.pt')"
)
_REWRITE: Final = (
    "write that line without a choice that depends on values (torch.where, torch.cond); or save TorchScript, "
    "torch.jit.script(module).save('model.pt'), which is served as it is"
)


def not_followed(source: Source, program: Any, example: Arrays, error: BaseException) -> ModelError:
    """The refusal of a model that an exporter cannot follow.

    Args:
        program: of torch.export; None: it did not come so far, or the model is TorchScript.
    Returns: with all operators that ONNX lacks, where it lacks any; else with the exporter's own reason and the last
        line of the model's Python that it names.
    """
    failed = f"{source.path.name}: PyTorch {import_torch().__version__} cannot make ONNX of it"
    operators = _without_counterpart(source, program, example) or _operators_in(error)
    if operators:
        count = (
            f"{len(operators)} of its operators have" if len(operators) > 1 else "one of its operators has"
        )
        return ModelError(f"{failed}: {count} no counterpart in ONNX", problems=operators, next_step=_KEEP)
    return ModelError(f"{failed}: {_reason(error)}{_place(error, source.folder)}", next_step=_REWRITE)


def _without_counterpart(source: Source, program: Any, example: Arrays) -> tuple[str, ...]:
    """`aten.linalg_eig.default`, sorted; empty: all have one, or this PyTorch does not tell."""
    try:
        if program is not None:
            return tuple(sorted(set(_unregistered(program))))
        if source.kind == "script":
            from torch.onnx._internal.torchscript_exporter.utils import unconvertible_ops

            tensors = tuple(import_torch().from_numpy(np.array(array)) for array in example.values())
            return tuple(sorted(set(unconvertible_ops(source.module, tensors, opset_version=OPSET)[1])))
    except _FOREIGN:
        pass
    return ()


def _unregistered(program: Any) -> Iterator[str]:
    from torch.onnx._internal.exporter import _fx_passes, _registration

    known = _registration.ONNXRegistry.from_torchlib()
    for node in _fx_passes.decompose_with_registry(program, known).graph.nodes:
        if node.op == "call_function" and not known.is_registered(node.target):
            yield str(node.target)


def _operators_in(error: BaseException) -> tuple[str, ...]:
    found = _OPERATOR.findall(" ".join(str(each) for each in _chain(error)))
    return tuple(dict.fromkeys(first or second for first, second in found))


def _reason(error: BaseException) -> str:
    """The first line of what began it all: exporters wrap it in advice about themselves."""
    said = [line.strip() for line in _COLOURS.sub("", str(_chain(error)[-1])).splitlines() if line.strip()]
    return _ABOUT_ITSELF.sub("", said[0])[:300] if said else type(error).__name__


def _chain(error: BaseException) -> list[BaseException]:
    found = [error]
    while found[-1].__cause__ is not None and len(found) < 20:
        found.append(found[-1].__cause__)
    return found


def _place(error: BaseException, folder: Path) -> str:
    """` (net.py:12)`; empty: no line of the model's own Python is named."""
    told = " ".join(str(each) for each in _chain(error))
    places = re.findall(r'File "([^"]+)", line (\d+)', told)
    inside = [(file, line) for file, line in places if Path(file).parent == folder]
    return f" ({Path(inside[-1][0]).name}:{inside[-1][1]})" if inside else ""
