"""An ONNX file -> the model as a release carries it, its signature and its size.

Pack side only: the one gate through which `onnx` is used (with the `graph_*` files behind it). External
data is never read into memory.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import onnx

from sealift.errors import ModelError
from sealift.model.adapted import Adapted
from sealift.model.graph_edges import cast_edges, edge_problems, remove_zipmaps
from sealift.model.graph_file import PROTOBUF_LIMIT, read_model
from sealift.model.graph_signature import signature_of
from sealift.model.graph_tensors import external_files
from sealift.model.signature import Signature

MODEL_NAME: Final = "model.onnx"


def read_signature(path: Path) -> Signature:
    """The signature that the model will have in a release, that is after the changes of `adapt`.

    Raises: ModelError: as `adapt`, except that external data is not looked at.
    """
    model = read_model(path)
    _change(path, model)
    return signature_of(model)


def data_files(path: Path) -> tuple[Path, ...]:
    """The model's external data files, sorted; each exists, is long enough and lies in its folder.

    Raises: ModelError: the model cannot be read, or a data file breaks one of these rules.
    """
    return tuple(path.parent / name for name in external_files(path, read_model(path)))


def model_size(path: Path) -> int:
    """Bytes on disk of the model with its external data.

    Raises: ModelError: as `data_files`.
    """
    return sum(file.stat().st_size for file in (path, *data_files(path)))


def adapt(path: Path, destination: Path) -> Adapted:
    """Write the model as a release carries it into the folder `destination` (made if missing).

    The file becomes `model.onnx`; external data files keep their relative names. Two runs give the same
    bytes. ZipMap outputs become tensors with labels, types without a protocol datatype are cast at the
    edge; everything else is copied as it is.

    Raises: ModelError: not readable as ONNX, a data file is missing or outside the model's folder, or an
        input or output has a type that no release can carry; all such edges are named at once.
    """
    model = read_model(path)
    names = external_files(path, model)
    notes = _change(path, model)
    target = destination / MODEL_NAME
    if destination.resolve() == path.parent.resolve():
        raise ModelError(f"{destination} holds the model itself; choose another folder to write into.")
    if MODEL_NAME in names:
        raise ModelError(
            f"{path} keeps its weights in a file called {MODEL_NAME}, the name a release gives the graph.",
            next_step="onnx.save(onnx.load(path), path, save_as_external_data=True, location='weights.bin')",
        )
    _write(path, target, model if notes else None)
    for name in names:
        (destination / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path.parent / name, destination / name)
    files = (target, *(destination / name for name in names))
    return Adapted(target, files, signature_of(model), tuple(notes))


def _change(path: Path, model: onnx.ModelProto) -> list[str]:
    notes = remove_zipmaps(model)
    problems = list(edge_problems(model.graph))
    if not problems:
        try:
            notes += cast_edges(model)
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ModelError(
            f"{path} has inputs or outputs that no release can carry.",
            problems=tuple(problems),
            next_step="change the export as the lines above say, then run this command again",
        )
    return notes


def _write(path: Path, target: Path, changed: onnx.ModelProto | None) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if changed is None:
        shutil.copyfile(path, target)
        return
    if changed.ByteSize() > PROTOBUF_LIMIT:
        raise ModelError(
            f"{path} would pass 2 GiB after its edges were changed.",
            next_step="onnx.save(model, 'model.onnx', save_as_external_data=True)",
        )
    target.write_bytes(changed.SerializeToString(deterministic=True))
