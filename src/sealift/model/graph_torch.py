"""A PyTorch file -> its signature. Connected side only.

`torch.export` writes names and shapes into its archive. TorchScript does not: there the project names what
the model takes, and what it gives is read off runs with made-up inputs of two and three rows.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from sealift.errors import ModelError
from sealift.model.arrays import Arrays
from sealift.model.datatypes import datatype_of
from sealift.model.examples import example_candidates
from sealift.model.signature import Axis, Signature, TensorSpec, batch_axis_of
from sealift.model.tensors import describe
from sealift.model.torch_file import (
    flat_tensors,
    import_torch,
    last_line,
    load_exported,
    load_script,
    required_arguments,
)

_ROWS: Final = (2, 3)
_FOREIGN = (Exception,)
"""A model is a program of its own: the edge wraps whatever it raises."""


def script_signature(path: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Signature:
    """The declared inputs, proven by runs, and the outputs of those runs.

    Args:
        inputs: as the project declares them, in the order of the model's arguments.
        outputs: likewise; empty: named `output`, or `output_0` and so on, or as the keys that it returns.
    Raises: ModelError: not TorchScript, another number of inputs or outputs than declared, the model refuses
        all made-up inputs of the declared shapes, or its outputs are not as declared.
    """
    module = load_script(path)
    arguments = [argument.name for argument in module.forward.schema.arguments[1:]]
    needed = required_arguments(module)
    if not len(needed) <= len(inputs) <= len(arguments):
        raise _undeclared(path, needed, inputs)
    return called_signature(path, module, inputs, outputs)


def called_signature(
    path: Path, module: Any, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> Signature:
    """As `script_signature`, of any module in evaluation mode that can be called.

    Args:
        path: what error messages name.
    Raises: ModelError: as `script_signature`.
    """
    runs = _runs(path, module, Signature(inputs=tuple(inputs), outputs=()))
    batch = _rows_axis(inputs)
    found = tuple(
        _seen(name, [run[name] for _, run in runs], [rows for rows, _ in runs], batch) for name in runs[0][1]
    )
    given = _named(path, found, outputs, batch)
    kinds = _result_kinds(module, len(given))
    sure = tuple(
        spec.name
        for spec, seen, kind in zip(given, found, kinds, strict=True)
        if _makes_probabilities(kind) or all(_are_distributions(run[seen.name]) for _, run in runs)
    )
    return Signature(
        inputs=tuple(inputs),
        outputs=given,
        batch_axis=batch_axis_of((*inputs, *given)),
        probabilities=sure,
    )


def exported_signature(path: Path) -> Signature:
    """What the archive says of its user's inputs and outputs.

    Raises: ModelError: not a plain torch.export archive, or a tensor that no request can carry.
    """
    program = load_exported(path)
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    names: dict[str, str] = {}
    problems: list[str] = []
    inputs = tuple(
        _spec(name, values.get(name), names, problems) for name in program.graph_signature.user_inputs
    )
    results = program.graph_signature.user_outputs
    keys = _result_names(program, len(results))
    outputs = tuple(
        _spec(key, values.get(name), names, problems) for key, name in zip(keys, results, strict=True)
    )
    if problems:
        raise ModelError(f"{path.name} has inputs or outputs that no release can carry", problems=problems)
    targets = {node.name: str(node.target) for node in program.graph.nodes}
    return Signature(
        inputs=inputs,
        outputs=outputs,
        batch_axis=batch_axis_of((*inputs, *outputs)),
        probabilities=tuple(
            spec.name
            for spec, name in zip(outputs, results, strict=True)
            if _makes_probabilities(targets.get(name, ""))
        ),
    )


def _rows_axis(inputs: Sequence[TensorSpec]) -> str | None:
    """The open first axis that the runs vary; other inputs may have none."""
    firsts = [spec.shape[0] for spec in inputs if spec.shape]
    return next((axis for axis in firsts if isinstance(axis, str)), None)


def _makes_probabilities(operator: str) -> bool:
    """`aten::softmax`, `aten.softmax.int`, `aten._softmax.default`, `aten.sigmoid.default`."""
    return re.fullmatch(r"aten(::|\.)_?(softmax|sigmoid)(\..*)?", operator) is not None


def _result_kinds(module: Any, count: int) -> list[str]:
    """The operator behind each result of a TorchScript module; '' where it does not show, as in Python."""
    if not hasattr(module, "inlined_graph"):
        return [""] * count
    (result,) = module.inlined_graph.outputs()
    node = result.node()
    if node.kind() in ("prim::TupleConstruct", "prim::ListConstruct"):
        kinds = [value.node().kind() for value in node.inputs()]
    else:
        kinds = [node.kind()]
    return kinds if len(kinds) == count else [""] * count


def _are_distributions(values: Any) -> bool:
    """Rows of at least two numbers from 0 to 1 whose sum is 1, whatever was put in: a softmax made them."""
    if values.ndim < 2 or values.shape[-1] < 2 or values.dtype.kind != "f" or values.min() < 0:
        return False
    return bool(np.all(np.abs(values.sum(-1, dtype=np.float64) - 1) < 1e-3))


def _result_names(program: Any, count: int) -> list[str]:
    """As `torch_file.flat_tensors` names what the program returns."""
    unflatten = import_torch().utils._pytree.tree_unflatten
    result = unflatten([import_torch().empty(0)] * count, program.call_spec.out_spec)
    try:
        return [name for name, _ in flat_tensors(result)]
    except ValueError as error:
        raise ModelError(f"{error}; return a tensor, a tuple of tensors or a dict of them") from error


def _spec(name: str, value: Any, names: dict[str, str], problems: list[str]) -> TensorSpec:
    if value is None or not hasattr(value, "dtype"):
        problems.append(f"{name} is no tensor")
        return TensorSpec(name=name, datatype="FP32", shape=None)
    try:
        datatype = datatype_of(import_torch().empty(0, dtype=value.dtype).numpy().dtype)
    except (TypeError, KeyError):
        problems.append(f"{name} is {value.dtype}; convert it at the edge of the model")
        datatype = "FP32"
    shape = tuple(_axis(number, size, names) for number, size in enumerate(value.shape))
    return TensorSpec(name=str(name), datatype=datatype, shape=shape)


def _axis(number: int, size: Any, names: dict[str, str]) -> Axis:
    """PyTorch's own symbols (`s31`) say nothing to a reader: the first axis is the batch, others are counted."""
    if isinstance(size, int):
        return size
    text = str(size)
    if not text.isidentifier():
        return "?"
    fresh = "batch" if number == 0 and "batch" not in names.values() else f"axis_{len(names)}"
    return names.setdefault(text, fresh)


def _undeclared(path: Path, needed: Sequence[str], inputs: Sequence[TensorSpec]) -> ModelError:
    counted = f"{len(inputs)} declared" if inputs else "none declared"
    tables = " ".join(
        f'[[model.inputs]] name = "{name}" datatype = "FP32" shape = ["batch", ...]' for name in needed
    )
    return ModelError(
        f"{path.name} takes {len(needed)} tensors ({', '.join(needed)}), {counted}: TorchScript does not tell "
        "their shapes",
        next_step=f"name them in sealift.toml: {tables}",
    )


def _runs(path: Path, module: Any, signature: Signature) -> list[tuple[int, Arrays]]:
    """(rows, outputs) of the made-up inputs that the model takes.

    Raises: ModelError: it takes none.
    """
    said = ["no made-up input fits its shapes"]
    found = [run for rows in _ROWS for run in itertools.islice(_taken(module, signature, rows, said), 2)]
    if not found:
        raise ModelError(
            f"{path.name} refuses tensors of the declared shapes: {said[-1]}",
            next_step="correct datatype and shape of [[model.inputs]], or size, layout and channels of [model.input]",
        )
    return found


def _taken(module: Any, signature: Signature, rows: int, said: list[str]) -> Iterator[tuple[int, Arrays]]:
    for inputs in example_candidates(signature, seed=0, rows=rows):
        try:
            yield rows, run_module(module, inputs)
        except _FOREIGN as error:
            said.append(last_line(error))


def run_module(module: Any, inputs: Arrays) -> Arrays:
    """What a module answers, named by `torch_file.flat_tensors`; inputs go by their order. It may raise anything."""
    torch = import_torch()
    with torch.inference_mode():
        result = module(*(torch.from_numpy(np.array(array)) for array in inputs.values()))
    return {name: np.array(tensor.detach().numpy()) for name, tensor in flat_tensors(result)}


def _seen(name: str, arrays: Sequence[Any], rows: Sequence[int], batch: str | None) -> TensorSpec:
    """An axis that is as long as the runs had rows is the batch; one that varies otherwise is open."""
    shapes = [array.shape for array in arrays]
    datatype = datatype_of(arrays[0].dtype)
    if len({len(shape) for shape in shapes}) != 1:
        return TensorSpec(name=name, datatype=datatype, shape=None)
    return TensorSpec(name=name, datatype=datatype, shape=tuple(_axes(shapes, rows, batch)))


def _axes(shapes: Sequence[tuple[int, ...]], rows: Sequence[int], batch: str | None) -> Iterator[Axis]:
    for number, sizes in enumerate(zip(*shapes, strict=True)):
        if number == 0 and batch and sizes == tuple(rows):
            yield batch
        else:
            yield int(sizes[0]) if len(set(sizes)) == 1 else "?"


def _named(
    path: Path, found: Sequence[TensorSpec], outputs: Sequence[TensorSpec], batch: str | None
) -> tuple[TensorSpec, ...]:
    if not outputs:
        return tuple(found)
    if len(found) != len(outputs):
        raise ModelError(
            f"{path.name} returns {len(found)} tensors, [[model.outputs]] names {len(outputs)}",
            next_step=f"declare all of them, or none: {', '.join(f'{s.name} {describe(s)}' for s in found)}",
        )
    problems = [
        f"output {declared.name} is declared {describe(declared)}, the model returns {describe(seen)}"
        for declared, seen in zip(outputs, found, strict=True)
        if not _agree(declared, seen, batch)
    ]
    if problems:
        raise ModelError(f"{path.name}: its outputs are not as declared", problems=problems)
    return tuple(outputs)


def _agree(declared: TensorSpec, seen: TensorSpec, batch: str | None) -> bool:
    """The batch must be one; any other axis may be declared open although it did not move."""
    if declared.datatype != seen.datatype:
        return False
    if declared.shape is None or seen.shape is None:
        return declared.shape == seen.shape
    return len(declared.shape) == len(seen.shape) and all(
        said == real or (isinstance(said, str) and said != batch)
        for said, real in zip(declared.shape, seen.shape, strict=True)
    )
