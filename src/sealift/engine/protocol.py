"""What every engine offers. Engines are loaded only when a model asks for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
"""Tensor name -> array; BYTES tensors are object arrays of `str`."""


QUICK_RUN_S: Final = 0.0003
"""A model that is quicker is served on one thread: a pool's hand-over costs it more than it gains."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How a model is loaded.

    `threads`: intra-op threads of one run (0: one per core). `device`: tried strictly in order.
    `memory_bytes`: the most that the engine may take beside the weights on the CPU, or with them on a GPU
    (0: no bound). `share`: load so that `with_threads` need not copy the weights, where the engine can.
    `spin`: the threads of a run wait for each other on their cores: Lite0 on two cores took 5 ms in place of 7 at
    best, and twice as long where other processes had the cores. `room_bytes`: memory that loading may take
    for a moment (None: not known); too little: nothing is shared.
    """

    threads: int = 0
    device: tuple[str, ...] = ("cpu",)
    memory_bytes: int = 0
    share: bool = True
    spin: bool = False
    room_bytes: int | None = None


class Session(Protocol):
    """A loaded model. `run` is safe from several threads at once."""

    @property
    def device(self) -> str:
        """The device really in use, e.g. `cpu`."""
        ...

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> Arrays:
        """Run once.

        Args:
            inputs: every graph input; dtype and rank as in the signature, C-contiguous.
            outputs: the names wanted, None for all, in the graph's order.
        Raises: ModelFailed: the engine refused or failed; the message is the engine's own.
        """
        ...


class Loaded(Session, Protocol):
    """A session as an engine gives it: it knows how it came to its device, and can be had once more."""

    @property
    def degraded(self) -> str:
        """Why the first declared device is not in use, with what is missing; empty when it is."""
        ...

    def with_threads(self, threads: int, *, may_copy: bool) -> Loaded | None:
        """The same model once more, for another number of threads a run; the weights are shared where possible.

        Args:
            threads: intra-op threads of one run.
            may_copy: whether the weights may be loaded a second time where they cannot be shared.
        Returns: None where that would take a copy that is not allowed, or threads mean nothing (a GPU).
        """
        ...

    def idle(self) -> None:
        """Nobody has asked for a while: give back what is only kept to be quick. Any thread; runs may overlap."""
        ...


class Engine(Protocol):
    """Loads model files of one family."""

    def load(self, model: Path, options: EngineOptions) -> Loaded:
        """Raises: ModelError: not loadable here, e.g. an opset or device this build lacks."""
        ...
