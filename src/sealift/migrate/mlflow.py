"""An MLflow model folder -> a project. The flavour `onnx` is taken over; pickles are refused with the way out.

Source: MLflow's docs, "MLflow Models" (storage format, signature) and the flavours' `MLmodel` files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sealift.errors import ModelError, UsageError
from sealift.migrate.draft import Draft, ModelDraft
from sealift.migrate.mlmodel import Node, NotYaml, read_mlmodel
from sealift.migrate.old_service import OldService
from sealift.model.declaration import Input, NumericColumn, TabularInput, TensorInput
from sealift.model.signature import Signature
from sealift.model.tabular import width
from sealift.model.words import listed, quoted

_THEN: Final = "then sealift init DIR --model model.onnx"
_WAYS_OUT: Final = {
    "pytorch": "load it where it was trained, then mlflow.onnx.save_model of torch.onnx.export(model.eval(), ...), or "
    "torch.jit.trace(model.eval(), example).save('model.pt') and sealift init DIR --model model.pt",
    "sklearn": f"skl2onnx.to_onnx(estimator, X[:1]), write its bytes to model.onnx, {_THEN}",
    "xgboost": f"onnxmltools.convert_xgboost, {_THEN}",
    "lightgbm": f"onnxmltools.convert_lightgbm, {_THEN}",
    "tensorflow": f"python -m tf2onnx.convert --saved-model FOLDER --output model.onnx, {_THEN}",
    "keras": f"model.export('model.onnx', format='onnx'), {_THEN}",
    "transformers": f"optimum-cli export onnx, {_THEN}",
    "python_function": f"export the model in its pickled object to ONNX, bring the rest as a handler, {_THEN}",
}
_NUMBERS: Final = frozenset({"double", "float", "integer", "long"})
_SERVICE: Final = OldService(form="mlflow", path="/invocations", prediction="", score="")


def read_mlflow(folder: Path) -> Draft:
    """Take over the model that `MLmodel` describes.

    Raises:
        UsageError: `MLmodel` cannot be read (with its line), names no flavour, or its model file is missing.
        ModelError: no flavour of it is one that can be taken over; the way out is named.
    """
    document = _document(folder / "MLmodel")
    flavours = document.get("flavors")
    if not isinstance(flavours, dict) or not flavours:
        raise UsageError(f"{folder / 'MLmodel'}: expected flavors, such as onnx; found none")
    if "onnx" not in flavours:
        raise _refused(folder, list(flavours))
    file = _model_file(folder, flavours["onnx"])
    columns, understood, check = _columns(document, folder)
    declared, fit = _fitting(file, columns)
    data_name = f"flavour onnx: {file.name}"
    draft = ModelDraft(file=file, place=file.name, input=declared)
    check += fit
    check.append(
        "clients that POST /invocations change: sealift's forms are /predict and /v2/models/NAME/infer"
    )
    if len(flavours) > 2:
        understood.append(
            f"other flavours are left behind: {', '.join(set(flavours) - {'onnx', 'python_function'})}"
        )
    return Draft("an MLflow model", (draft,), _SERVICE, {}, (data_name, *understood), tuple(check))


def _document(path: Path) -> dict[str, Node]:
    try:
        return read_mlmodel(path.read_text(encoding="utf-8"))
    except (NotYaml, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error


def _refused(folder: Path, flavours: Sequence[str]) -> ModelError:
    named = next((name for name in _WAYS_OUT if name in flavours), None)
    what = (
        "a Python pickle, which sealift never executes"
        if named in ("pytorch", "sklearn")
        else "not taken over"
    )
    return ModelError(
        f"{folder / 'MLmodel'}: the flavour {quoted(named or flavours[0])} is {what}; expected the flavour onnx",
        next_step=_WAYS_OUT[named] if named else "save the model with mlflow.onnx.save_model",
    )


def _model_file(folder: Path, flavour: Node) -> Path:
    said = flavour.get("data") if isinstance(flavour, dict) else None
    path = folder / str(said or "model.onnx")
    if path.is_dir():  # with external data MLflow makes a folder of it
        path = path / "model.onnx"
    if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
        raise UsageError(
            f"{folder / 'MLmodel'}: flavors.onnx.data: {quoted(str(said))} is missing in the folder"
        )
    return path


def _columns(document: Mapping[str, Node], folder: Path) -> tuple[list[dict[str, Any]], list[str], list[str]]:
    """The signature's inputs; what was understood of them; what to check."""
    signature = document.get("signature")
    said = signature.get("inputs") if isinstance(signature, dict) else None
    if not isinstance(said, str):
        return [], [], ["the model has no signature: inputs are tensors as the ONNX file says"]
    try:
        columns = json.loads(said)
    except ValueError as error:
        raise UsageError(f"{folder / 'MLmodel'}: signature.inputs is no JSON: {error}") from error
    if not isinstance(columns, list) or not all(isinstance(column, dict) for column in columns):
        raise UsageError(f"{folder / 'MLmodel'}: signature.inputs: expected a list of columns or tensors")
    return columns, [], []


def _fitting(file: Path, columns: Sequence[Mapping[str, Any]]) -> tuple[Input, list[str]]:
    """Named fields where the signature names numeric columns that the model has room for; else tensors."""
    from sealift.model.onnx_graph import read_signature

    names = [str(column.get("name", "")) for column in columns]
    if not columns or any(column.get("type") == "tensor" for column in columns) or not all(names):
        return TensorInput(), []
    words = [name for name, column in zip(names, columns, strict=True) if column.get("type") not in _NUMBERS]
    if words:
        return TensorInput(), [f"columns that are no numbers need a declaration of yours: {listed(words)}"]
    optional = [name for name, column in zip(names, columns, strict=True) if column.get("required") is False]
    declared = TabularInput(columns=tuple(NumericColumn(name=name) for name in names))
    found = read_signature(file)
    if not _has_room(declared, found):
        return TensorInput(), [
            f"the signature has {len(names)} columns, the ONNX file another shape; inputs are tensors"
        ]
    check = (
        [f"optional columns are required here; declare missing = ...: {listed(optional)}"] if optional else []
    )
    return declared, check


def _has_room(declared: TabularInput, signature: Signature) -> bool:
    if len(signature.inputs) == 1:
        shape = signature.inputs[0].shape
        return shape is not None and len(shape) == 2 and shape[1] == sum(map(width, declared.columns))
    return {spec.name for spec in signature.inputs} == {column.name for column in declared.columns}
