"""Model + items -> static INT8 as OpenVINO likes it, by NNCF.

nncf and openvino are imported here only when somebody asks, without what would call home: nncf reports its use to a
web service unless its telemetry package cannot be imported.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import re
import sys
import warnings
from collections.abc import Iterator, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sealift.errors import ModelError, UsageError
from sealift.events import Progress
from sealift.model.openvino_file import read_ir, words_of
from sealift.optimize.quantise.calibrate import Items
from sealift.optimize.quantise.onnxruntime_tool import quiet

_KEPT_OUT: Final = ("openvino_telemetry", "openvino.tools.ovc", "torch")
"""Telemetry; the converter, which brings telemetry; and torch, which is for models that sealift exports before."""

_CONVOLUTIONS: Final = frozenset({"Convolution", "GroupConvolution", "ConvolutionBackpropData"})

_INSTALL: Final = "pip install 'sealift[openvino]'"

_FOREIGN = (Exception,)
"""nncf and openvino raise RuntimeError and many others: the edge wraps whatever comes."""


@dataclass(frozen=True, slots=True)
class NncfRecipe:
    """How to quantise. `most_items`: of the items, the first so many. `overflow_fix`: weights in half the range in
    every layer, which cannot overflow without VNNI; else nncf does so in the first layer alone."""

    most_items: int = 300
    overflow_fix: bool = False


def quantise_nncf(
    model: Path, items: Items, recipe: NncfRecipe, destination: Path, progress: Progress
) -> Path:
    """Write an OpenVINO IR: `destination`, which ends in `.xml`, and its weights beside it in `.bin`.

    Items are read one at a time, several times over. The same arguments give the same bytes on the same machine
    with the same versions of nncf and openvino, which the IR names.

    Args:
        model: `.onnx` or `.xml`.
    Raises: UsageError: nncf or openvino is not installed, or there is no item. ModelError: they refuse the model.
    """
    nncf = _nncf()
    given = read_ir(model)
    read = _Streamed(items, recipe.most_items, progress)
    progress.start("calibrating for OpenVINO", read.total)
    try:
        with _silenced(), _without_callers():
            made = nncf.quantize(given, nncf.Dataset(read), **_arguments(nncf, given, recipe))
            _save(made, destination)
    except _FOREIGN as error:
        if not read.seen:
            raise UsageError(
                "there is no item to calibrate on", next_step="give [optimize] calibration data"
            ) from error
        raise ModelError(f"{model.name}: nncf cannot quantise it: {words_of(error)}") from error
    return destination


def nncf_problem() -> str:
    """Why nncf cannot be used here; empty: it can."""
    try:
        _nncf()
    except UsageError as error:
        return error.message
    return ""


class _Streamed:
    """Inputs only, as often as somebody wants to read them; the first time is what a person watches."""

    def __init__(self, items: Items, most: int, progress: Progress) -> None:
        self._items = items
        self._most = most
        self._progress = progress
        self.seen = 0
        length = len(items) if isinstance(items, Sized) else None
        self.total = None if length is None else min(length, most)

    def __iter__(self) -> Iterator[Any]:
        for number, (_, inputs) in enumerate(self._items):
            if number == self._most:
                return
            if number >= self.seen:
                self.seen = number + 1
                self._progress.advance()
            yield inputs


def _arguments(nncf: Any, given: Any, recipe: NncfRecipe) -> dict[str, Any]:
    kinds = {node.get_type_name() for node in given.get_ops()}
    fix = nncf.OverflowFix.ENABLE if recipe.overflow_fix else nncf.OverflowFix.FIRST_LAYER
    return {
        "subset_size": recipe.most_items,
        "target_device": nncf.TargetDevice.CPU,
        "model_type": None if kinds & _CONVOLUTIONS else nncf.ModelType.TRANSFORMER,
        "advanced_parameters": nncf.AdvancedQuantizationParameters(overflow_fix=fix),
    }


def _save(made: Any, destination: Path) -> None:
    import openvino

    destination.parent.mkdir(parents=True, exist_ok=True)
    _name_by_order(made)
    openvino.save_model(made, destination, compress_to_fp16=False)


def _name_by_order(made: Any) -> None:
    """OpenVINO numbers what it names itself through the life of the process: number it within the model."""
    for number, node in enumerate(made.get_ordered_ops()):
        kind = node.get_type_name()
        if re.fullmatch(rf"{kind}_\d+", node.get_friendly_name()):
            node.set_friendly_name(f"{kind}_{number}")


def _nncf() -> Any:
    """Raises: UsageError: it cannot be imported."""
    try:
        with _silenced(), _without_callers():
            nncf = importlib.import_module("nncf")
    except _FOREIGN as error:
        raise UsageError(
            f"INT8 for OpenVINO needs the packages nncf and openvino: {error}", next_step=_INSTALL
        ) from error
    # Not nncf.set_log_level: what handles its logger's records may handle others' too.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    return nncf


@contextlib.contextmanager
def _without_callers() -> Iterator[None]:
    """What is kept out cannot be imported; a module that is there already stays."""
    blocked = [name for name in _KEPT_OUT if name not in sys.modules]
    for name in blocked:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in blocked:
            del sys.modules[name]


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """nncf draws its own bars on stdout, where results go, and warns of what its own dependencies do."""
    with quiet(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
