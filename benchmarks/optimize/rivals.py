"""What others would do with the same model: onnxruntime's own static quantiser, as its documentation shows it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from sealift.model.arrays import Arrays

ACTIVATIONS: Final = ("int8", "uint8")


class Reader:
    """Inputs as onnxruntime's calibrator asks for them."""

    def __init__(self, rows: Iterable[Arrays]) -> None:
        self._rows: Iterator[Arrays] = iter(rows)

    def get_next(self) -> Arrays | None:
        return next(self._rows, None)


def plain_static(model: Path, rows: Iterable[Arrays], activations: str, folder: Path) -> Path:
    """`quant_pre_process`, then `quantize_static` as it is (QDQ, minmax), but with weights per channel.

    Args:
        activations: `int8`, the default, or `uint8`.
    """
    from onnxruntime.quantization import QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    folder.mkdir()
    prepared, made = folder / "prepared.onnx", folder / "model.onnx"
    logging.disable(logging.WARNING)
    quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
    kind = {"int8": QuantType.QInt8, "uint8": QuantType.QUInt8}[activations]
    quantize_static(str(prepared), str(made), Reader(rows), per_channel=True, activation_type=kind)
    logging.disable(logging.NOTSET)
    return made
