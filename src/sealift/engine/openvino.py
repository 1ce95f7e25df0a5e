"""OpenVINO behind the engine protocol, on the CPU."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sealift.engine.devices import Device, Refused, first_usable
from sealift.engine.protocol import Arrays, EngineOptions
from sealift.engine.stored import give_back_free_memory
from sealift.errors import ModelError, ModelFailed
from sealift.model.openvino_file import port_names, read_ir, runtime, words_of

PRECISION: Final = "f32"
"""OpenVINO's own default is bf16 where a CPU has it: twice as quick, and answers that leave the tolerance
recorded elsewhere. A variant in bf16 is a choice of its own (`sealift optimize`)."""

_FOREIGN = (Exception,)
"""OpenVINO raises RuntimeError and others: the edge wraps whatever comes."""


class OpenVino:
    """Loads `.xml` with its `.bin`, and `.onnx` where a project asks for this engine.

    `inputs`, `outputs`: the tensors' names, in order; empty: as OpenVINO names them. `precision`: what it calculates
    in where the file is in floating point, `f32` or `bf16`; a processor without bf16 calculates in f32.
    """

    def __init__(
        self, inputs: Sequence[str] = (), outputs: Sequence[str] = (), *, precision: str = PRECISION
    ) -> None:
        self._inputs = tuple(inputs)
        self._outputs = tuple(outputs)
        self._precision = precision

    def load(self, model: Path, options: EngineOptions) -> OpenVinoSession:
        """As `engine.protocol.Engine.load`.

        Raises: ModelError: OpenVINO is not installed, cannot load the file, or the device is not `cpu`.
        """
        found, degraded = first_usable(
            model.name, options.device, lambda device: self._load_on(device, model, options)
        )
        found.degraded = degraded
        return found

    def _load_on(self, device: Device, model: Path, options: EngineOptions) -> OpenVinoSession:
        if device.family != "cpu":
            raise Refused("OpenVINO serves here on cpu")
        read = read_ir(model)
        inputs = _named(model, self._inputs, port_names(read.inputs, "input"))
        outputs = _named(model, self._outputs, port_names(read.outputs, "output"))
        source = _Source(read, model, self._precision)
        return OpenVinoSession(source, _compiled(source, options.threads), inputs, outputs)


@dataclass(frozen=True, slots=True)
class _Source:
    """What a layout is compiled from: OpenVINO's model, its file, and the precision to calculate in."""

    model: Any
    path: Path
    precision: str


class OpenVinoSession:
    """One compiled model. Each thread that runs it has a request of its own, and with it its own buffers."""

    def __init__(
        self, source: _Source, compiled: Any, inputs: tuple[str, ...], outputs: tuple[str, ...]
    ) -> None:
        self._source = source
        self._compiled = compiled
        self._own = threading.local()
        self.device = "cpu"
        self.degraded = ""
        self.input_names = inputs
        self.output_names = outputs

    def with_threads(self, threads: int, *, may_copy: bool) -> OpenVinoSession | None:
        """As `engine.protocol.Loaded.with_threads`; a second layout lays out its own weights."""
        if not may_copy:
            return None
        compiled = _compiled(self._source, threads)
        again = OpenVinoSession(self._source, compiled, self.input_names, self.output_names)
        again.degraded = self.degraded
        return again

    def idle(self) -> None:
        """As `engine.protocol.Loaded.idle`."""
        give_back_free_memory()

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> Arrays:
        """As `engine.protocol.Session.run`."""
        try:
            request = self._request()
            given = {number: inputs[name] for number, name in enumerate(self.input_names)}
            request.infer(given, share_inputs=True, share_outputs=True)
            wanted = range(len(self.output_names)) if outputs is None else map(self._place, outputs)
            # Copied: the next run of this thread writes into the same buffers.
            return {self.output_names[n]: np.array(request.get_output_tensor(n).data) for n in wanted}
        except _FOREIGN as error:
            text = f"the model refused this input: {words_of(error)}"
            raise ModelFailed(text, code="model_failed") from error

    def _request(self) -> Any:
        try:
            return self._own.request
        except AttributeError:
            self._own.request = self._compiled.create_infer_request()
            return self._own.request

    def _place(self, output: str) -> int:
        return self.output_names.index(output)


def _named(model: Path, names: tuple[str, ...], own: tuple[str, ...]) -> tuple[str, ...]:
    """The signature's names where there are some: one tensor may have several of its own."""
    if names and len(names) != len(own):
        raise ModelError(
            f"{model.name} has {len(own)} tensors ({', '.join(own)}), the signature {len(names)}"
        )
    return names or own


def _compiled(source: _Source, threads: int) -> Any:
    """Raises: ModelError.

    As many streams as runs fit side by side: without a stream of its own a run waits for another's.
    """
    cores = len(os.sched_getaffinity(0))
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": source.precision}
    if threads:
        streams = max(1, cores // threads)
        settings |= {"INFERENCE_NUM_THREADS": streams * threads, "NUM_STREAMS": streams}
    try:
        return runtime().compile_model(source.model, "CPU", settings)
    except _FOREIGN as error:
        raise ModelError(f"{source.path.name}: OpenVINO cannot load it: {words_of(error)}") from error
