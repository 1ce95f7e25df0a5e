"""Path -> ModelProto, or a refusal that says what the file really is. Pack side only."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Final

import onnx
from google.protobuf.message import DecodeError

from sealift.errors import ModelError
from sealift.model.graph_unpickle import PLAIN_WEIGHTS, names_in

PROTOBUF_LIMIT: Final = 2**31 - 1
"""Bytes; protobuf reads no larger message."""

_EXPORT: Final = "torch.onnx.export(model.eval(), example_inputs, 'model.onnx')"
_EXPORT_TORCHSCRIPT: Final = (
    "let its name end in .pt, then it is served as it is; "
    "or torch.onnx.export(torch.jit.load('{name}').eval(), inputs, 'model.onnx')"
)
_EXPORT_PT2: Final = (
    "let its name end in .pt2, then it is served as it is; "
    "or torch.onnx.export(torch.export.load('{name}'), f='model.onnx')"
)
_EXPORT_STATE: Final = (
    'weights alone: [model] architecture = "net.py:Net" names the Python that builds their module; '
    f"or build the module, load the weights into it, then {_EXPORT}"
)
_EXPORT_TF: Final = "python -m tf2onnx.convert --saved-model FOLDER --output model.onnx"
_EXPORT_KERAS: Final = "in Keras 3: model.export('model.onnx', format='onnx')"
_EXPORT_PICKLE: Final = (
    f"scikit-learn: skl2onnx.to_onnx(estimator, X[:1]), write its bytes; torch: {PLAIN_WEIGHTS}"
)
_PICKLE: Final = "a Python pickle, which sealift never executes"
_SUFFIXES: Final[dict[str, tuple[str, str]]] = {
    ".joblib": (f"a joblib file, {_PICKLE}", _EXPORT_PICKLE),
    ".pkl": (_PICKLE, _EXPORT_PICKLE),
    ".pickle": (_PICKLE, _EXPORT_PICKLE),
    ".h5": ("a Keras model", _EXPORT_KERAS),
    ".keras": ("a Keras archive", _EXPORT_KERAS),
    ".mar": ("a TorchServe archive", "sealift init NEW --from {name}"),
}
"""What a name says where the first bytes say nothing, and the file is no ONNX."""

_STARTS: Final[tuple[tuple[bytes, int, str, str], ...]] = (
    (b"version https://git-lfs", 0, "a Git LFS pointer, not the model itself", "git lfs pull"),
    (b"\x89HDF\r\n\x1a\n", 0, "an HDF5 file (Keras weights)", _EXPORT_KERAS),
    (b"TFL3", 4, "a TensorFlow Lite model", "python -m tf2onnx.convert --tflite {name} --output model.onnx"),
    (b"ORTM", 4, "a model in onnxruntime's own ORT format", "give the .onnx file that it was made from"),
    (b"GGUF", 0, "a GGUF language model", "export it to ONNX with optimum-cli export onnx"),
    (b"ftrt", 0, "a TensorRT engine", "give the .onnx file that it was built from"),
    (b"ptrt", 0, "a TensorRT engine", "give the .onnx file that it was built from"),
    (b"<?xml", 0, "an XML file (OpenVINO IR?)", "an IR is served as it is where its name ends in .xml"),
    (b"<net", 0, "an OpenVINO IR description", "let its name end in .xml, then it is served as it is"),
    (b"<!DOCTYPE", 0, "a web page", "fetch the model again: the download link gave a page, not the file"),
    (b"<html", 0, "a web page", "fetch the model again: the download link gave a page, not the file"),
    (b"\x1f\x8b", 0, "a gzip archive", "gunzip it first"),
    (b"\x28\xb5\x2f\xfd", 0, "a zstd archive", "unzstd it first"),
    (b"\x80", 0, _PICKLE, _EXPORT_PICKLE),
)


def read_model(path: Path) -> onnx.ModelProto:
    """Parse the file without its external data.

    Raises: ModelError: missing, unreadable, empty, a folder, above protobuf's 2 GiB, another format, or
        an ONNX file that is broken or holds no graph.
    """
    data = _read(path)
    refusal = _other_format(path, data[:4096])
    if refusal is not None:
        what, next_step = refusal
        raise ModelError(
            f"{path} is {what}; expected an ONNX model.", next_step=next_step.replace("{name}", path.name)
        )
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise _broken(path, "it does not parse as ONNX: cut short, damaged, or another format") from error
    _refuse_hollow(path, model)
    return model


def _read(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise _is_folder(path)
        size = path.stat().st_size
        if size > PROTOBUF_LIMIT:
            raise ModelError(
                f"{path} has {size:,} bytes; protobuf reads at most {PROTOBUF_LIMIT:,}.",
                next_step="onnx.save(model, 'model.onnx', save_as_external_data=True)",
            )
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"{path} cannot be read: {error.strerror}.", next_step="check [model] path in sealift.toml"
        ) from error
    if not data:
        raise ModelError(f"{path} is empty.", next_step="export or copy the model again")
    return data


def _is_folder(path: Path) -> ModelError:
    if (path / "saved_model.pb").exists():
        return ModelError(
            f"{path} is a TensorFlow SavedModel folder; expected an ONNX model.",
            next_step=_EXPORT_TF.replace("FOLDER", str(path)),
        )
    inside = sorted(entry.name for entry in path.glob("*.onnx"))
    hint = f"set path to one of: {', '.join(inside)}" if inside else "set path to the .onnx file"
    return ModelError(f"{path} is a folder; expected an ONNX file.", next_step=hint)


def _other_format(path: Path, head: bytes) -> tuple[str, str] | None:
    if head.startswith(b"PK\x03\x04"):
        return _zip_format(path)
    for magic, offset, what, next_step in _STARTS:
        if head[offset : offset + len(magic)].lower() == magic.lower():
            return _with_names(path, what), next_step
    if head[8:9] == b"{" and b'"dtype"' in head:
        return "a safetensors file: weights without a graph", _EXPORT_STATE
    if path.suffix == ".pb" and not _parses(path):
        return "not ONNX (a TensorFlow graph?)", _EXPORT_TF
    if path.suffix in _SUFFIXES and not _parses(path):
        return _SUFFIXES[path.suffix]
    return None


def _with_names(path: Path, what: str) -> str:
    """A pickle is told with what it would import."""
    names = names_in(path) if what == _PICKLE else ()
    return f"{what} (it asks for {', '.join(names)})" if names else what


def _parses(path: Path) -> bool:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError:
        return False
    return bool(model.HasField("graph")) and model.ir_version > 0 and len(model.opset_import) > 0


def _zip_format(path: Path) -> tuple[str, str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return "a damaged zip archive", "export or copy the model again"
    if "MAR-INF/MANIFEST.json" in names:
        return _SUFFIXES[".mar"]
    if any("/code/" in f"/{name}" for name in names):
        return "a TorchScript archive", _EXPORT_TORCHSCRIPT
    if any(name.endswith(("/archive_format", "serialized_exported_program.json")) for name in names):
        return "a torch.export archive (.pt2)", _EXPORT_PT2
    if any(name.endswith("data.pkl") for name in names):
        return "a PyTorch checkpoint, a pickle that sealift never executes", _EXPORT_STATE
    if "model.weights.h5" in names:
        return "a Keras archive", _EXPORT_KERAS
    if any(name.endswith(".onnx") for name in names):
        return "a zip archive with an ONNX model in it", "unzip it first and set path to the .onnx file"
    return "a zip archive", "set path to the .onnx file itself"


def _refuse_hollow(path: Path, model: onnx.ModelProto) -> None:
    if not model.HasField("graph") or model.ir_version <= 0:
        raise _broken(path, "it holds no ONNX graph")
    if not model.opset_import and model.ir_version >= 3:
        raise _broken(path, "it names no operator set (opset_import)")
    if not model.graph.output:
        raise _broken(path, "its graph has no outputs")
    for kind, values in (("inputs", model.graph.input), ("outputs", model.graph.output)):
        names = [value.name for value in values]
        if "" in names or len(set(names)) != len(names):
            raise _broken(path, f"its {kind} are not distinctly named: {names}")


def _broken(path: Path, why: str) -> ModelError:
    return ModelError(
        f"{path} is not a usable ONNX model: {why}.",
        next_step=f"see python -c \"import onnx; onnx.checker.check_model('{path}')\", then export it again",
    )
