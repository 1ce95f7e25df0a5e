"""The tensor datatypes that a request can carry, in the three vocabularies that meet in sealift.

Source: Open Inference Protocol v2, "Tensor Data Types"; ONNX `TensorProto.DataType`.
"""

from __future__ import annotations

from typing import Final

import numpy as np

NUMPY_OF: Final[dict[str, np.dtype[np.generic]]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(np.object_),
}
"""Open Inference Protocol datatype -> numpy dtype; BYTES elements are `str` inside sealift."""

ORT_NAME_OF: Final[dict[str, str]] = {
    "BOOL": "tensor(bool)",
    "UINT8": "tensor(uint8)",
    "UINT16": "tensor(uint16)",
    "UINT32": "tensor(uint32)",
    "UINT64": "tensor(uint64)",
    "INT8": "tensor(int8)",
    "INT16": "tensor(int16)",
    "INT32": "tensor(int32)",
    "INT64": "tensor(int64)",
    "FP16": "tensor(float16)",
    "FP32": "tensor(float)",
    "FP64": "tensor(double)",
    "BYTES": "tensor(string)",
}
"""Open Inference Protocol datatype -> onnxruntime's `NodeArg.type`."""


def datatype_of(dtype: np.dtype[np.generic]) -> str:
    """The protocol's name for a numpy dtype; any string or object dtype is BYTES.

    Raises: KeyError: no protocol datatype carries it (complex, datetime).
    """
    if dtype.kind in "OUS":
        return "BYTES"
    for name, known in NUMPY_OF.items():
        if known == dtype:
            return name
    raise KeyError(str(dtype))
