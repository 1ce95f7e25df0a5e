"""A model entry that PyTorch understands -> its module, and what that takes and gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from sealift.errors import ModelError
from sealift.model.arrays import Arrays
from sealift.model.examples import example_candidates
from sealift.model.graph_torch import called_signature, exported_signature, run_module, script_signature
from sealift.model.signature import Signature, TensorSpec
from sealift.model.torch_file import load_exported, load_script
from sealift.optimize.export.architecture import build_module, import_exporter
from sealift.project.project import ModelEntry

OPSET: Final = 19
"""onnxruntime reads it since 1.16, the newest for boxes with glibc 2.17. Gelu is one operator since 20 only, but the
engines fuse what it is made of, to the same time."""

_FOREIGN = (Exception,)
"""A model is a program of its own: it may raise anything."""


@dataclass(frozen=True, slots=True)
class Source:
    """A PyTorch model in evaluation mode.

    `kind` is what can be made of it: a TorchScript module, a torch.export program, a module in Python. `folder` holds
    that Python. `signature` has the names of the project.
    """

    path: Path
    kind: Literal["script", "program", "python"]
    module: Any
    signature: Signature
    program: Any = None
    folder: Path = field(default_factory=Path)

    def run(self, inputs: Arrays) -> Arrays:
        """What the original answers, by the signature's names. It may raise anything."""
        ordered = {spec.name: inputs[spec.name] for spec in self.signature.inputs}
        answers = run_module(self.module, ordered).values()
        return {spec.name: value for spec, value in zip(self.signature.outputs, answers, strict=True)}

    def example(self, rows: int) -> Arrays:
        """Inputs that it takes; open axes longer than one where possible, for exporters write a 1 into the graph.

        Raises: ModelError: it takes none that are made from its signature.
        """
        said = "no shapes fit"
        candidates = list(example_candidates(self.signature, seed=0, rows=rows))
        for inputs in sorted(candidates, key=self._has_a_short_axis):
            try:
                self.run(inputs)
            except _FOREIGN as error:
                said = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
                continue
            return inputs
        raise ModelError(f"{self.path.name} takes no inputs of {rows} row(s) made from its signature: {said}")

    def _has_a_short_axis(self, inputs: Arrays) -> bool:
        return any(
            isinstance(axis, str) and size == 1
            for spec in self.signature.inputs
            for axis, size in zip(spec.shape or (), inputs[spec.name].shape, strict=False)
        )

    def for_one_row(self) -> Source:
        """The same, its batch closed to a single row."""
        axis = self.signature.batch_axis
        closed = Signature(
            inputs=tuple(_closed(spec, axis) for spec in self.signature.inputs),
            outputs=tuple(_closed(spec, axis) for spec in self.signature.outputs),
            probabilities=self.signature.probabilities,
        )
        return Source(self.path, self.kind, self.module, closed, self.program, self.folder)


def source_of(entry: ModelEntry) -> Source:
    """Load what an entry names.

    Raises: ModelError: no PyTorch model, PyTorch or onnxscript is missing, or as `build_module`, `script_signature`
        and `exported_signature`.
    """
    import_exporter()
    path = entry.path
    if entry.architecture is not None:
        module = build_module(entry.architecture, path)
        signature = called_signature(path, module, entry.inputs, entry.outputs)
        return Source(path, "python", module, signature, folder=entry.architecture.module.parent)
    if path.suffix == ".pt2":
        program = load_exported(path)
        return Source(path, "program", program.module(), exported_signature(path), program)
    if path.suffix in (".pt", ".ts"):
        signature = script_signature(path, entry.inputs, entry.outputs)
        return Source(path, "script", load_script(path), signature)
    raise ModelError(f"{path.name} is no PyTorch model: only those are exported to ONNX")


def _closed(spec: TensorSpec, axis: str | None) -> TensorSpec:
    if spec.shape is None:
        return spec
    return msgspec.structs.replace(spec, shape=tuple(1 if each == axis else each for each in spec.shape))
