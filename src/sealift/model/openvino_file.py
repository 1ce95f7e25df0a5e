"""An OpenVINO IR or ONNX file -> OpenVINO's model and the names of what it takes and gives.

openvino is imported only here and in `engine.openvino`, and only when such a file is loaded.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any, Final

from sealift.errors import ModelError

_FOREIGN = (Exception,)
"""OpenVINO raises RuntimeError and others: the edge wraps whatever comes."""


_CONVERTER: Final = "openvino.tools.ovc"


@functools.cache
def runtime() -> Any:
    """OpenVINO's Core, one a process: its plug-ins take a while to load.

    Raises: ModelError: OpenVINO is not installed where this runs.
    """
    try:
        openvino = _without_converter()
    except ImportError as error:
        raise ModelError(
            f"the engine openvino needs the package openvino, which cannot be imported: {error}",
            next_step='name it among the application\'s own packages: [python] requirements, "openvino==2026.4.1"',
        ) from error
    return openvino.Core()


def _without_converter() -> Any:
    """Import OpenVINO without its model converter: that one brings telemetry, and half of the time it takes."""
    fresh = "openvino" not in sys.modules and _CONVERTER not in sys.modules
    if fresh:
        sys.modules[_CONVERTER] = None  # type: ignore[assignment]
    try:
        import openvino

        return openvino
    finally:
        if fresh:
            del sys.modules[_CONVERTER]


def read_ir(path: Path) -> Any:
    """A file, with the `.bin` of the same name beside an `.xml` -> openvino.Model.

    Raises: ModelError: OpenVINO is not installed, or cannot read it.
    """
    core = runtime()
    weights = path.with_suffix(".bin")
    if path.suffix == ".xml" and not weights.is_file():
        raise ModelError(
            f"{path.name}: the weights {weights.name} do not lie beside it",
            next_step="copy both files that openvino.save_model wrote",
        )
    try:
        return core.read_model(path)
    except _FOREIGN as error:
        raise ModelError(f"{path.name}: OpenVINO cannot read it: {words_of(error)}") from error


def port_names(ports: Any, word: str) -> tuple[str, ...]:
    """A name for each port, in order: the first of its own, else its node's, else `input_0` and so on."""
    names: list[str] = []
    for number, port in enumerate(ports):
        own = sorted(port.get_names())
        name = own[0] if own else f"{word}_{number}"
        names.append(name if name not in names else f"{word}_{number}")
    return tuple(names)


def words_of(error: BaseException) -> str:
    """OpenVINO's own words, without the places in its source that stand around them."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith(("Exception from", "Check '", "While "))]
    return (said or lines or [type(error).__name__])[-1]
