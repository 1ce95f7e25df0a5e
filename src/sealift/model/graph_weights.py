"""A torch `.pth` state dict -> numpy tensors, without torch and without running its pickle. Connected side only.

Both containers of torch.save: the zip archive (torch 1.6 and later) and the stream of pickles before
it. Source: pytorch `torch/serialization.py`, `_save`, `_legacy_save`, `_legacy_load`.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from sealift.errors import ModelError
from sealift.model.graph_unpickle import PLAIN_WEIGHTS, Allowed, Global, load

MAX_FILE_BYTES: Final = 4 << 30
_BF16: Final = np.dtype([("bf16", "<u2")])
"""numpy has no such type: the upper half of a float32, kept apart from real whole numbers."""
_LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL: Final = 1001
_MAX_RANK: Final = 32
_DTYPE_OF: Final[dict[str, np.dtype[Any]]] = {
    "torch.DoubleStorage": np.dtype("<f8"),
    "torch.FloatStorage": np.dtype("<f4"),
    "torch.HalfStorage": np.dtype("<f2"),
    "torch.BFloat16Storage": _BF16,
    "torch.LongStorage": np.dtype("<i8"),
    "torch.IntStorage": np.dtype("<i4"),
    "torch.ShortStorage": np.dtype("<i2"),
    "torch.CharStorage": np.dtype("i1"),
    "torch.ByteStorage": np.dtype("u1"),
    "torch.BoolStorage": np.dtype("?"),
}
_NESTED: Final = ("state_dict", "model_state_dict", "model")
"""Where training scripts keep the weights among other plain values."""


@dataclass(frozen=True, slots=True)
class _Storage:
    key: str
    dtype: np.dtype[Any]
    numel: int

    @property
    def nbytes(self) -> int:
        return self.numel * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class _Tensor:
    """`offset` and `strides` count elements of the storage, as torch does."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_tensors(source: Path | IO[bytes]) -> dict[str, NDArray[Any]]:
    """Read every tensor of a state dict, in the file's order.

    Args:
        source: a path, or a binary stream read to its end and left open.
    Returns: read-only little-endian arrays that share the file's bytes; strides are the file's own,
        so an array need not be C-contiguous. bfloat16 comes as a float32 of its own. Of a checkpoint that
        keeps its weights under `state_dict`, `model_state_dict` or `model`, those.
    Raises: ModelError: not such a file, damaged, truncated, out of bounds, or it asks for code.
    """
    data = _read_all(source)
    if data[:4] == b"PK\x03\x04":
        return _read_zip(data)
    return _read_legacy(data)


def _read_all(source: Path | IO[bytes]) -> bytes:
    try:
        if isinstance(source, Path):
            with source.open("rb") as stream:
                data = stream.read(MAX_FILE_BYTES + 1)
        else:
            data = source.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ModelError(f"the weights file cannot be read: {error}") from error
    if len(data) > MAX_FILE_BYTES:
        raise ModelError(f"the weights file is larger than {MAX_FILE_BYTES:,} bytes")
    return data


def _read_legacy(data: bytes) -> dict[str, NDArray[Any]]:
    """Five pickles (magic, protocol, system, state dict, storage keys), then each storage with its length."""
    stream = io.BytesIO(data)
    if load(stream, Allowed()) != _LEGACY_MAGIC:
        raise ModelError("the weights file is no torch state dict (neither a zip nor the older format)")
    if load(stream, Allowed()) != _LEGACY_PROTOCOL:
        raise ModelError("the weights file is of an unknown torch protocol, expected 1001")
    system = load(stream, Allowed())
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ModelError("the weights file was not written on a little-endian machine")
    tensors, storages = _load_state_dict(stream)
    keys = load(stream, Allowed())
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(storages):
        raise ModelError("the weights file lists other storages than its tensors use")
    position, buffers = stream.tell(), {}
    for storage in (storages[str(key)] for key in keys):
        numel = int.from_bytes(data[position : position + 8], "little", signed=True)
        buffers[storage.key] = memoryview(data)[position + 8 : position + 8 + storage.nbytes]
        if numel != storage.numel or buffers[storage.key].nbytes != storage.nbytes:
            raise ModelError(
                f"the weights file ends too early or is damaged: storage {storage.key[:40]!a} should hold "
                f"{storage.numel} elements"
            )
        position += 8 + storage.nbytes
    return _arrays(tensors, buffers)


def _read_zip(data: bytes) -> dict[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _read_archive(archive, len(data))
    except (
        zipfile.BadZipFile,
        ValueError,
        OSError,
        EOFError,
        KeyError,
        NotImplementedError,  # a compression or zip version that this Python lacks
        RuntimeError,  # an encrypted member
        struct.error,
    ) as error:
        raise ModelError(f"the weights file is a damaged zip archive: {str(error)[:100]!a}") from error


def _read_archive(archive: zipfile.ZipFile, size_bytes: int) -> dict[str, NDArray[Any]]:
    members = {info.filename: info for info in archive.infolist()}
    stored = all(info.compress_type == zipfile.ZIP_STORED for info in members.values())
    if not stored or len(members) != len(archive.infolist()):
        raise ModelError("the weights file is a zip archive with compressed or doubled members")
    if sum(info.file_size for info in members.values()) > size_bytes:
        raise ModelError("the weights file is a zip archive whose members overlap")
    roots = [name.removesuffix("data.pkl") for name in members if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise ModelError("the weights file is a zip archive without one data.pkl; torch did not write it")
    root = roots[0]
    if f"{root}byteorder" in members and archive.read(f"{root}byteorder") != b"little":
        raise ModelError("the weights file was not written on a little-endian machine")
    tensors, storages = _load_state_dict(io.BytesIO(archive.read(f"{root}data.pkl")))
    buffers = {}
    for storage in storages.values():
        name = f"{root}data/{storage.key}"
        if name not in members or members[name].file_size != storage.nbytes:
            raise ModelError(f"storage {storage.key[:40]!a} is missing or not {storage.nbytes} bytes long")
        buffers[storage.key] = memoryview(archive.read(name))
    return _arrays(tensors, buffers)


def _load_state_dict(stream: io.BytesIO) -> tuple[dict[str, _Tensor], dict[str, _Storage]]:
    storages: dict[str, _Storage] = {}

    def persistent(identity: object) -> _Storage:
        storage = _parse_storage(identity)
        if storages.setdefault(storage.key, storage) != storage:
            raise ModelError(f"storage {storage.key[:40]!a} is declared twice, differently")
        return storage

    calls = {
        "collections.OrderedDict": _new_dict,
        "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
        "torch._utils._rebuild_parameter": _rebuild_parameter,
    }
    value = load(stream, Allowed(calls=calls, names=frozenset(_DTYPE_OF), persistent=persistent))
    if not isinstance(value, dict):
        raise ModelError(f"the weights file holds a {type(value).__name__}, expected a dict of tensors")
    if not any(isinstance(item, _Tensor) for item in value.values()):
        inner = (value.get(key) for key in _NESTED)
        value = next((each for each in inner if isinstance(each, dict) and each), value)
    strangers = [key for key, item in value.items() if not isinstance(item, _Tensor)]
    if strangers:
        shown = tuple(f"{key[:60]!a} is no tensor" for key in strangers[:20])
        raise ModelError("the weights file is no plain state dict", problems=shown, next_step=PLAIN_WEIGHTS)
    return value, storages


def _parse_storage(identity: object) -> _Storage:
    """Read `("storage", type, key, location, numel[, view])`; a view is refused."""
    match identity:
        case ("storage", Global(name), str(key), str(), int(numel)) | (
            "storage",
            Global(name),
            str(key),
            str(),
            int(numel),
            None,
        ) if name in _DTYPE_OF and not isinstance(numel, bool) and 0 <= numel <= MAX_FILE_BYTES:
            return _Storage(key, _DTYPE_OF[name], numel)
    raise ModelError("the weights file describes a storage in a form that torch does not write")


def _new_dict(arguments: tuple[object, ...]) -> dict[str, object]:
    if arguments:
        raise ModelError("the weights file builds an OrderedDict from arguments")
    return {}


def _rebuild_parameter(arguments: tuple[object, ...]) -> object:
    if len(arguments) != 3 or not isinstance(arguments[0], _Tensor):
        raise ModelError("the weights file describes a parameter in a form that torch does not write")
    return arguments[0]


def _rebuild_tensor(arguments: tuple[object, ...]) -> _Tensor:
    match arguments:
        case (_Storage() as storage, int(offset), tuple(shape), tuple(strides), bool(), _, *rest) if (
            len(rest) <= 1
        ):
            tensor = _Tensor(storage, offset, _sizes(shape), _sizes(strides))
            _check_bounds(tensor)
            return tensor
    raise ModelError("the weights file describes a tensor in a form that torch does not write")


def _sizes(values: tuple[object, ...]) -> tuple[int, ...]:
    sizes = tuple(v for v in values if isinstance(v, int) and 0 <= v <= MAX_FILE_BYTES)
    if len(sizes) != len(values) or len(sizes) > _MAX_RANK:
        raise ModelError("the weights file gives a tensor a shape or strides that no tensor has")
    return sizes


def _check_bounds(tensor: _Tensor) -> None:
    """Every element lies inside the storage, and there are no more elements than the storage has."""
    elements = 1
    for size in tensor.shape:
        elements *= size
    last = tensor.offset + sum(
        (size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=False)
    )
    fits = elements == 0 or (last < tensor.storage.numel and elements <= tensor.storage.numel)
    if len(tensor.shape) != len(tensor.strides) or tensor.offset < 0 or not fits:
        raise ModelError(
            f"a tensor of shape {tensor.shape}, strides {tensor.strides} and offset {tensor.offset} "
            f"does not fit its storage of {tensor.storage.numel} elements"
        )


def _arrays(tensors: Mapping[str, _Tensor], buffers: Mapping[str, memoryview]) -> dict[str, NDArray[Any]]:
    try:
        return {name: _array(tensor, buffers[tensor.storage.key]) for name, tensor in tensors.items()}
    except ValueError as error:  # numpy: an empty tensor whose other axes overflow its address space
        raise ModelError(f"a tensor in the weights file has an impossible shape: {error}") from error


def _array(tensor: _Tensor, buffer: memoryview) -> NDArray[Any]:
    dtype = tensor.storage.dtype
    if 0 in tensor.shape:
        empty = np.empty(tensor.shape, dtype)
        empty.flags.writeable = False
        return empty
    strides = tuple(stride * dtype.itemsize for stride in tensor.strides)
    if dtype == _BF16:
        halves = np.ndarray(tensor.shape, "<u2", buffer, tensor.offset * 2, strides)
        wide = (halves.astype(np.uint32) << 16).view(np.float32)
        wide.flags.writeable = False
        return wide
    return np.ndarray(tensor.shape, dtype, buffer, tensor.offset * dtype.itemsize, strides)
