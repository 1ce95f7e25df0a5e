"""onnxruntime behind the engine protocol; CPU now, other providers when a release declares them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import onnxruntime as ort
from numpy.typing import NDArray

from sealift.engine.protocol import Arrays, EngineOptions
from sealift.errors import ModelError, ModelFailed

PROVIDER_OF: Final[dict[str, str]] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}

_FOREIGN = (Exception,)
"""onnxruntime's pybind exceptions share no base of their own: the edge wraps whatever it raises."""


class OnnxRuntime:
    """Loads `.onnx` files, external data beside them included."""

    def load(self, model: Path, options: EngineOptions) -> OnnxSession:
        """Load on the first device of `options.device` that this build offers.

        A device that is declared but cannot be used is an error, never a silent fall-back (DESIGN 4).

        Raises: ModelError: no declared device is available, or onnxruntime cannot load the file.
        """
        device = self._choose_device(options.device)
        settings = ort.SessionOptions()
        settings.log_severity_level = 3
        settings.intra_op_num_threads = options.threads
        settings.inter_op_num_threads = 1
        # Spinning threads of an idle pool starve the event loop on a small box.
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = ort.InferenceSession(str(model), settings, providers=[PROVIDER_OF[device]])
        except _FOREIGN as error:
            raise ModelError(
                f"{model.name}: onnxruntime {ort.__version__} cannot load it: {error}"
            ) from error
        in_use = session.get_providers()[0]
        if in_use != PROVIDER_OF[device]:
            raise ModelError(f"{model.name}: asked for {device}, onnxruntime runs on {in_use}")
        return OnnxSession(session, device)

    def _choose_device(self, wanted: Sequence[str]) -> str:
        available = ort.get_available_providers()
        for device in wanted:
            if PROVIDER_OF.get(device) in available:
                return device
        raise ModelError(
            f"device {', '.join(wanted)}: this onnxruntime offers "
            f"{', '.join(name for name, provider in PROVIDER_OF.items() if provider in available)}",
            next_step='declare device = ["cpu"], or pack with an engine that offers the device',
        )


class OnnxSession:
    """One loaded model; onnxruntime sessions may be run from several threads."""

    def __init__(self, session: ort.InferenceSession, device: str) -> None:
        self._session = session
        self.device = device
        self.input_names: tuple[str, ...] = tuple(node.name for node in session.get_inputs())
        self.output_names: tuple[str, ...] = tuple(node.name for node in session.get_outputs())

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> Arrays:
        """As `engine.protocol.Session.run`."""
        names = self.output_names if outputs is None else tuple(outputs)
        try:
            values = self._session.run(list(names), dict(inputs))
        except _FOREIGN as error:
            raise ModelFailed(f"the model refused this input: {error}", code="model_failed") from error
        return dict(zip(names, values, strict=True))
