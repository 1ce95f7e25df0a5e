"""onnxruntime behind the engine protocol: CPU, CUDA and TensorRT."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import onnxruntime as ort
from numpy.typing import NDArray

from sealift.engine.devices import Device, Refused, first_usable, nvidia_problem
from sealift.engine.nvidia_libraries import load_from_wheels
from sealift.engine.protocol import Arrays, EngineOptions
from sealift.engine.stored import StoredModel, give_back_free_memory, own_bytes
from sealift.errors import ModelError, ModelFailed

log = logging.getLogger(__name__)

PROVIDERS: Final[dict[str, tuple[str, ...]]] = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider",),
    # TensorRT leaves to CUDA what it has no kernel for.
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider"),
}
"""Device family -> the providers it is made of; the first must be in use."""

SHARED_FROM_BYTES: Final = 1_000_000
"""A smaller model is loaded twice sooner than it is stored once."""

SHARED_UP_TO_BYTES: Final = 1_500_000_000
"""onnxruntime's own format is a flatbuffer and ends at 2 GiB."""

_ROOM_FOR_SHARING: Final = 4
"""While it is stored a model is there as file cache, as weights, as optimised weights and as what is written."""

_SAVE: Final = {
    "session.save_model_format": "ORT",
    # Packing is for running, and this session never runs.
    "session.disable_prepacking": "1",
}
_MAP: Final = {
    "session.load_model_format": "ORT",
    "session.use_memory_mapped_ort_model": "1",
    "session.use_ort_model_bytes_directly": "1",
    "session.use_ort_model_bytes_for_initializers": "1",
}
"""onnxruntime_session_options_config_keys.h. Mapped, never handed over as bytes: the Python binding frees
those when the constructor returns, and the weights would be read from freed memory."""

_COPY: Final = {"session.load_model_format": "ORT"}

_FOREIGN = (Exception,)
"""onnxruntime's pybind exceptions share no base of their own: the edge wraps whatever it raises."""


_Source = Path | StoredModel
"""What a session was loaded from, and another can be."""


class OnnxRuntime:
    """Loads `.onnx` files, external data beside them included."""

    def load(self, model: Path, options: EngineOptions) -> OnnxSession:
        """Load on the first device of `options.device` that can be used, and say so when it is not the first.

        Only what stands in `options.device` is used, never a silent fall-back (DESIGN 4).

        Raises: ModelError: no declared device can be used, or onnxruntime cannot load the file.
        """
        found, degraded = first_usable(
            model.name, options.device, lambda device: _load_on(device, model, options)
        )
        found.degraded = degraded
        return found


class OnnxSession:
    """One loaded model; onnxruntime sessions may be run from several threads."""

    def __init__(
        self, session: ort.InferenceSession, source: _Source, options: EngineOptions, device: str
    ) -> None:
        self._session = session
        self._source = source
        self._options = options
        self.device = device
        self.degraded = ""
        self.input_names: tuple[str, ...] = _input_names(session)
        self.output_names: tuple[str, ...] = tuple(node.name for node in session.get_outputs())
        self._all = list(self.output_names)

    @property
    def shares_weights(self) -> bool:
        """Whether `with_threads` maps the same weights."""
        return isinstance(self._source, StoredModel)

    def with_threads(self, threads: int, *, may_copy: bool) -> OnnxSession | None:
        """As `engine.protocol.Loaded.with_threads`."""
        if self.device != "cpu" or not (may_copy or self.shares_weights):
            return None
        options = replace(self._options, threads=threads, spin=self._options.spin and threads != 1)
        again = OnnxSession(_open_on_cpu(self._source, options), self._source, options, self.device)
        again.degraded = self.degraded
        if not self.shares_weights:
            give_back_free_memory()
        return again

    def idle(self) -> None:
        """As `engine.protocol.Loaded.idle`."""
        give_back_free_memory()

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> Arrays:
        """As `engine.protocol.Session.run`."""
        names = self._all if outputs is None else list(outputs)
        try:
            values = self._session.run(names, inputs)
        except _FOREIGN as error:
            raise ModelFailed(f"the model refused this input: {error}", code="model_failed") from error
        return dict(zip(names, values, strict=True))


def _input_names(session: ort.InferenceSession) -> tuple[str, ...]:
    return tuple(node.name for node in session.get_inputs())


def _load_on(device: Device, model: Path, options: EngineOptions) -> OnnxSession:
    """Raises: Refused: the device cannot be used. ModelError: the file cannot be loaded."""
    if device.family == "cpu":
        return _load_on_cpu(model, options)
    if device.family not in PROVIDERS:
        raise Refused(f"onnxruntime has no such device (known: {', '.join(PROVIDERS)})")
    providers = PROVIDERS[device.family]
    if providers[0] not in ort.get_available_providers():
        raise Refused(
            f"the installed onnxruntime {ort.__version__} is built without {providers[0]}; "
            "onnxruntime-gpu has it ([target] cuda)"
        )
    load_from_wheels(_libraries(device))
    details = [(name, _details(name, device, options)) for name in providers]
    try:
        session = ort.InferenceSession(str(model), _settings(options), providers=details, enable_fallback=0)
    except _FOREIGN as error:
        raise Refused(_why_not(device, f"onnxruntime says: {error}")) from error
    if session.get_providers()[0] != providers[0]:
        raise Refused(_why_not(device, f"onnxruntime runs on {session.get_providers()[0]} instead"))
    return OnnxSession(session, model, options, device.text)


def _load_on_cpu(model: Path, options: EngineOptions) -> OnnxSession:
    size = _size(model)
    session = _shared_if_worth_it(model, options, size)
    if session is None:
        session = OnnxSession(_open_on_cpu(model, options), model, options, "cpu")
    if size >= SHARED_FROM_BYTES:
        give_back_free_memory()  # what loading took, nearly as much again as the weights
    return session


def _size(model: Path) -> int:
    """Bytes of the model's folder: its external data lies there."""
    try:
        return sum(path.stat().st_size for path in model.parent.iterdir() if path.is_file())
    except OSError:
        return 0  # the load itself says what is wrong


def _shared_if_worth_it(model: Path, options: EngineOptions, size: int) -> OnnxSession | None:
    room = options.room_bytes
    fits = room is None or room >= _ROOM_FOR_SHARING * size
    if not (options.share and fits and SHARED_FROM_BYTES <= size <= SHARED_UP_TO_BYTES):
        return None
    try:
        return _load_stored(model, options)
    except _FOREIGN as error:
        log.info("%s: each thread layout has its own weights: %s", model.name, str(error))
    give_back_free_memory()
    return None


def _load_stored(model: Path, options: EngineOptions) -> OnnxSession:
    """Store the optimised model and map it, or read it back where its kernels pack most of the weights anyway.

    Raises: OSError, and whatever onnxruntime raises: it cannot be stored or read back. ModelError: stored, it
        takes other inputs.
    """
    stored = StoredModel(model.name)
    settings = _settings(replace(options, threads=1), _SAVE)
    settings.optimized_model_filepath = stored.path
    taken = _input_names(_cpu_session(model, settings))
    give_back_free_memory()
    stored.seal()
    before = own_bytes()
    session = _open_on_cpu(stored, options)
    private = own_bytes() - before
    if _input_names(session) != taken:  # 1.16 stores weights that are listed as inputs as inputs alone
        raise ModelError(f"{model.name}: stored, it takes {', '.join(_input_names(session))}")
    if private <= stored.size / 2:
        return OnnxSession(session, stored, options, "cpu")
    packed = f"{private / 1e6:.0f} of {stored.size / 1e6:.0f} MB are packed for running"
    log.info("%s: each thread layout has its own weights: %s", model.name, packed)
    del session
    give_back_free_memory()
    copied = _cpu_session(Path(stored.path), _settings(options, _COPY))
    return OnnxSession(copied, model, options, "cpu")


def _open_on_cpu(source: _Source, options: EngineOptions) -> ort.InferenceSession:
    """Raises: ModelError."""
    if isinstance(source, StoredModel):
        return _cpu_session(Path(source.path), _settings(options, _MAP))
    return _cpu_session(source, _settings(options))


def _cpu_session(model: Path, settings: ort.SessionOptions) -> ort.InferenceSession:
    try:
        return ort.InferenceSession(str(model), settings, providers=list(PROVIDERS["cpu"]), enable_fallback=0)
    except _FOREIGN as error:
        raise ModelError(f"{model.name}: onnxruntime {ort.__version__} cannot load it: {error}") from error


def _settings(options: EngineOptions, entries: Mapping[str, str] | None = None) -> ort.SessionOptions:
    settings = ort.SessionOptions()
    settings.log_severity_level = 3
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    # An idle pool never spins: it would starve the event loop on a small box.
    settings.add_session_config_entry("session.intra_op.allow_spinning", str(int(options.spin)))
    settings.add_session_config_entry("session.force_spinning_stop", str(int(options.spin)))
    if _arena(options.memory_bytes):
        settings.add_session_config_entry("session.use_env_allocators", "1")
    for key, value in (entries or {}).items():
        settings.add_session_config_entry(key, value)
    return settings


@functools.cache
def _arena(memory_bytes: int) -> bool:
    """One arena for all models and layouts of this process, which takes what is asked for and no more.

    Layouts take turns, so they need the room for what flows through a model once, not each.

    Args:
        memory_bytes: its bound; 0: none.
    Returns: False: there is one with another bound already.
    Source: onnxruntime_c_api.h, OrtArenaCfg: arena_extend_strategy 1 is kSameAsRequested.
    """
    place = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    bounds = ort.OrtArenaCfg({"max_mem": memory_bytes, "arena_extend_strategy": 1})
    try:
        ort.create_and_register_allocator(place, bounds)
    except _FOREIGN as error:
        log.warning("onnxruntime's memory stays bounded as it was: %s", error)
        return False
    return True


def _details(provider: str, device: Device, options: EngineOptions) -> dict[str, str]:
    """Source: onnxruntime's pages of the CUDA and TensorRT execution providers, "Configuration Options"."""
    if provider == "TensorrtExecutionProvider":
        bound = {"trt_max_workspace_size": str(options.memory_bytes)} if options.memory_bytes else {}
        return {"device_id": str(device.number), **bound}
    bound = {"gpu_mem_limit": str(options.memory_bytes)} if options.memory_bytes else {}
    # TF32 rounds to 10 bits: answers would leave the tolerance that was recorded on a CPU.
    exact = {"use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"}
    return {"device_id": str(device.number), **exact, **bound}


def _why_not(device: Device, else_: str) -> str:
    return nvidia_problem(device.number, _libraries(device)) or else_


def _libraries(device: Device) -> list[Path]:
    """What onnxruntime itself opens for a device, in this order."""
    folder = Path(ort.capi.__file__).parent
    names = ("cuda", "tensorrt") if device.family == "tensorrt" else ("cuda",)
    return [folder / f"libonnxruntime_providers_{part}.so" for part in ("shared", *names)]
