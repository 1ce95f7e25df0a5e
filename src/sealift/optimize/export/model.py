"""A PyTorch model -> `model.onnx` that was held against it. Connected side only.

Weights with the Python of their module, TorchScript, and torch.export archives. Needs PyTorch and onnxscript, which
nothing imports for an ONNX model.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealift.errors import ModelError
from sealift.model.graph_formats import files_of
from sealift.model.onnx_graph import read_signature
from sealift.model.signature import Signature
from sealift.optimize.export.checks import ExportReport, check_export
from sealift.optimize.export.graph import export_graph
from sealift.optimize.export.source import Source, source_of
from sealift.optimize.quantise.graph import write_graph
from sealift.project.project import ModelEntry

MODEL_NAME: Final = "model.onnx"
_INSTEAD: Final = "serve it on PyTorch instead: torch.jit.trace(module.eval(), example).save('model.pt')"


@dataclass(frozen=True, slots=True)
class Exported:
    """An ONNX file that answers as its original. `notes` are sentences for people; `report` is what was compared."""

    path: Path
    files: tuple[Path, ...]
    signature: Signature
    notes: tuple[str, ...]
    report: ExportReport


def export_model(entry: ModelEntry, destination: Path) -> Exported:
    """Write `model.onnx` into the folder `destination` (made if missing), under the names of the project.

    The first axis stays open where the model lets it; else the file takes one row, and a note says so. The same model,
    PyTorch and onnxscript give the same bytes, and no path of this machine stands in them.

    Raises: ModelError: PyTorch or onnxscript is missing, the model cannot be loaded or followed, or the file does not
        answer as the original does; then nothing is left in `destination`.
    """
    source = source_of(entry)
    try:
        return _checked(source, destination, ())
    except ModelError as error:
        if source.signature.batch_axis is None or source.kind == "program":
            raise
        why = "; ".join(error.problems) or error.message.partition(": ")[2]
        note = f"its batch cannot stay open, so it takes one row at a time and batching is off: {why}"
        try:
            return _checked(source.for_one_row(), destination, (note,))
        except ModelError:
            raise error from None


def _checked(source: Source, destination: Path, notes: tuple[str, ...]) -> Exported:
    """Make, compare, and only then put into place."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".sealift-export-", dir=destination.parent) as staging:
        made = write_graph(export_graph(source), Path(staging, MODEL_NAME))
        signature = read_signature(made)
        report = check_export(source.run, made, signature)
        if report.problems:
            raise ModelError(
                f"{source.path.name}: its ONNX does not do what the original does",
                problems=report.problems,
                next_step=_way_out(source, report),
            )
        destination.mkdir(exist_ok=True)
        files = tuple(file.replace(destination / file.name) for file in files_of(made))
    return Exported(files[0], files, signature, notes or report.notes, report)


def _way_out(source: Source, report: ExportReport) -> str:
    if not report.steady:
        return "correct the model: whatever served it would answer by chance"
    return _INSTEAD if source.kind == "python" else "leave it to PyTorch, which serves it as it is"
