"""onnxruntime behind the engine protocol; CPU now, other providers when a release declares them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import onnxruntime as ort
from numpy.typing import NDArray

from sealift.engine.protocol import Arrays, EngineOptions
from sealift.errors import ModelError, ModelFailed

log = logging.getLogger(__name__)

PROVIDER_OF: Final[dict[str, str]] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}

_FOREIGN = (Exception,)
"""onnxruntime's pybind exceptions share no base of their own: the edge wraps whatever it raises."""


class OnnxRuntime:
    """Loads `.onnx` files, external data beside them included."""

    def load(self, model: Path, options: EngineOptions) -> OnnxSession:
        """Load on the first device of `options.device` that can be used, and say so when it is not the first.

        Only what stands in `options.device` is used, never a silent fall-back (DESIGN 4).

        Raises: ModelError: no declared device can be used, or onnxruntime cannot load the file.
        """
        refused: list[str] = []
        for device in self._offered(options.device):
            session = self._open(model, device, options.threads)
            in_use = session.get_providers()[0]
            if in_use == _provider_of(device):
                if refused:
                    log.warning("%s: runs on %s: %s", model.name, device, "; ".join(refused))
                return OnnxSession(session, device)
            refused.append(f"asked for {device}, onnxruntime runs on {in_use}")
        raise ModelError(
            f"{model.name}: {'; '.join(refused)}",
            next_step="look at the driver of the device, or declare another device",
        )

    def _open(self, model: Path, device: str, threads: int) -> ort.InferenceSession:
        settings = ort.SessionOptions()
        settings.log_severity_level = 3
        settings.intra_op_num_threads = threads
        settings.inter_op_num_threads = 1
        # Spinning threads of an idle pool starve the event loop on a small box.
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        number = device.partition(":")[2]
        details = {"device_id": number} if number else {}
        try:
            return ort.InferenceSession(str(model), settings, providers=[(_provider_of(device), details)])
        except _FOREIGN as error:
            raise ModelError(
                f"{model.name}: onnxruntime {ort.__version__} cannot load it: {error}"
            ) from error

    def _offered(self, wanted: Sequence[str]) -> list[str]:
        available = ort.get_available_providers()
        offered = [device for device in wanted if _provider_of(device) in available]
        if not offered:
            raise ModelError(
                f"device {', '.join(wanted)}: this onnxruntime offers "
                f"{', '.join(name for name, provider in PROVIDER_OF.items() if provider in available)}",
                next_step='declare device = ["cpu"], or pack with an engine that offers the device',
            )
        return offered


def _provider_of(device: str) -> str | None:
    """`cuda:1` is a device of the provider of `cuda`."""
    return PROVIDER_OF.get(device.partition(":")[0])


class OnnxSession:
    """One loaded model; onnxruntime sessions may be run from several threads."""

    def __init__(self, session: ort.InferenceSession, device: str) -> None:
        self._session = session
        self.device = device
        self.input_names: tuple[str, ...] = tuple(node.name for node in session.get_inputs())
        self.output_names: tuple[str, ...] = tuple(node.name for node in session.get_outputs())
        self.degraded = ""

    def with_threads(self, threads: int, *, may_copy: bool) -> OnnxSession | None:  # noqa: ARG002
        """As `engine.protocol.Session.with_threads`."""
        return None

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> Arrays:
        """As `engine.protocol.Session.run`."""
        names = self.output_names if outputs is None else tuple(outputs)
        try:
            values = self._session.run(list(names), dict(inputs))
        except _FOREIGN as error:
            raise ModelFailed(f"the model refused this input: {error}", code="model_failed") from error
        return dict(zip(names, values, strict=True))
