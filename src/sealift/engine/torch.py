"""PyTorch behind the engine protocol: TorchScript and torch.export, on the CPU and on CUDA."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sealift.engine.devices import Device, Refused, first_usable, nvidia_problem
from sealift.engine.protocol import Arrays, EngineOptions
from sealift.engine.stored import give_back_free_memory
from sealift.errors import ModelError, ModelFailed
from sealift.model.engines import SCRIPT_SUFFIXES
from sealift.model.torch_file import (
    flat_tensors,
    import_torch,
    last_line,
    load_exported,
    load_script,
    required_arguments,
)

log = logging.getLogger(__name__)

Call = Callable[[Sequence[Any]], Any]
"""Tensors in the order of the model's arguments -> what it returns."""

_FOREIGN = (Exception,)
"""A model is a program of its own, and PyTorch raises whatever it likes: the edge wraps it."""
_TOO_FEW: Final = "the model takes {expected} tensors, the signature names {got}"


class Torch:
    """Loads `.pt` and `.ts` (TorchScript) and `.pt2` (torch.export).

    `inputs`, `outputs`: the tensors' names in the order of the model's arguments and results. Empty: as the
    file says, where it does (`input` for an argument without a name).
    """

    def __init__(self, inputs: Sequence[str] = (), outputs: Sequence[str] = ()) -> None:
        self._inputs = tuple(inputs)
        self._outputs = tuple(outputs)

    def load(self, model: Path, options: EngineOptions) -> TorchSession:
        """As `engine.protocol.Engine.load`; only what stands in `options.device` is used.

        Raises: ModelError: PyTorch is not installed, no declared device can be used, or the file cannot be
            loaded or takes another number of tensors than the signature names.
        """
        import_torch()
        found, degraded = first_usable(
            model.name, options.device, lambda device: self._load_on(device, model, options)
        )
        found.degraded = degraded
        return found

    def _load_on(self, device: Device, model: Path, options: EngineOptions) -> TorchSession:
        torch = import_torch()
        if device.family == "cuda":
            _prepare_cuda(torch, device, options)
        elif device.family != "cpu":
            raise Refused("PyTorch serves here on cpu and cuda")
        place = "cpu" if device.family == "cpu" else f"cuda:{device.number}"
        if model.suffix in SCRIPT_SUFFIXES:
            names, call = _script(model, place, len(self._inputs))
        else:
            names, call = _exported(model, place)
        if self._inputs and len(self._inputs) != len(names):
            text = _TOO_FEW.format(expected=len(names), got=len(self._inputs))
            raise ModelError(f"{model.name}: {text}")
        return TorchSession(call, self._inputs or names, self._outputs, device.text, place, options.threads)


class TorchSession:
    """One loaded module; it may be run from several threads, each with as many threads as this session has."""

    def __init__(
        self, call: Call, inputs: Sequence[str], outputs: Sequence[str], device: str, place: str, threads: int
    ) -> None:
        self._torch = import_torch()
        self._call = call
        self._place = place
        self._threads = threads
        self._default_threads: int = threads or self._torch.get_num_threads()
        self.input_names = tuple(inputs)
        self.output_names = tuple(outputs)
        self.device = device
        self.degraded = ""

    def with_threads(self, threads: int, *, may_copy: bool) -> TorchSession | None:  # noqa: ARG002
        """As `engine.protocol.Loaded.with_threads`: the module itself is shared, so nothing is ever copied."""
        if self._place != "cpu":
            return None
        again = TorchSession(
            self._call, self.input_names, self.output_names, self.device, self._place, threads
        )
        again.degraded = self.degraded
        return again

    def idle(self) -> None:
        """As `engine.protocol.Loaded.idle`: on a GPU, blocks that PyTorch keeps for later go back."""
        if self._place == "cpu":
            give_back_free_memory()
        else:
            self._torch.cuda.empty_cache()

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> Arrays:
        """As `engine.protocol.Session.run`."""
        torch = self._torch
        if self._place == "cpu":
            # OpenMP keeps the number per thread and MKL for the process: whoever runs says it (4 us).
            torch.set_num_threads(self._default_threads)
        try:
            with torch.inference_mode():
                # A copy: models may write into what they are given, and it is the request's own body.
                tensors = [
                    torch.from_numpy(np.array(inputs[name], order="C")).to(self._place)
                    for name in self.input_names
                ]
                found = flat_tensors(self._call(tensors))
                values = [(name, np.array(tensor.detach().cpu().numpy())) for name, tensor in found]
        except _FOREIGN as error:
            text = f"the model refused this input: {last_line(error)}"
            raise ModelFailed(text, code="model_failed") from error
        return _chosen(self._named(values), outputs)

    def _named(self, values: list[tuple[str, NDArray[Any]]]) -> Arrays:
        if not self.output_names:
            return dict(values)
        if len(values) != len(self.output_names):
            raise ModelFailed(
                f"the model returned {len(values)} tensors, its signature names {len(self.output_names)}",
                code="model_failed",
            )
        return {name: array for name, (_, array) in zip(self.output_names, values, strict=True)}


def _chosen(found: Arrays, outputs: Sequence[str] | None) -> Arrays:
    if outputs is None:
        return found
    try:
        return {name: found[name] for name in outputs}
    except KeyError as error:
        raise ModelFailed(f"the model has no output {error}", code="model_failed") from error


def _script(model: Path, place: str, given: int) -> tuple[tuple[str, ...], Call]:
    """`given`: how many tensors the signature names; arguments with a default may be among them."""
    module = load_script(model, place)
    needed = required_arguments(module)
    known = tuple(argument.name for argument in module.forward.schema.arguments[1:])
    names = known[:given] if len(needed) <= given <= len(known) else needed
    return names, lambda tensors: module(*tensors)


def _exported(model: Path, place: str) -> tuple[tuple[str, ...], Call]:
    program = load_exported(model)
    # Guards are Python text in the archive that would be executed; the signature holds the shapes instead.
    module = program.module(check_guards=False).to(place)
    tree = program.call_spec.in_spec
    unflatten = import_torch().utils._pytree.tree_unflatten

    def call(tensors: Sequence[Any]) -> Any:
        arguments, named = unflatten(list(tensors), tree)
        return module(*arguments, **named)

    return tuple(program.graph_signature.user_inputs), call


def _prepare_cuda(torch: Any, device: Device, options: EngineOptions) -> None:
    """Raises: Refused: the device cannot be used."""
    if not torch.backends.cuda.is_built():
        raise Refused(f"the installed PyTorch {torch.__version__} is built without CUDA")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of what is told below
        usable = torch.cuda.is_available() and device.number < torch.cuda.device_count()
    if not usable:
        raise Refused(nvidia_problem(device.number) or "PyTorch finds no such device and gives no reason")
    # The quickest kernel for a shape is measured at its first run; TF32 would leave the recorded tolerance.
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    if options.memory_bytes:
        total = torch.cuda.get_device_properties(device.number).total_memory
        share = min(1.0, options.memory_bytes / total)
        torch.cuda.set_per_process_memory_fraction(share, device.number)
