"""Model + items -> the range of every activation, in bounded memory and resumable.

onnxruntime's own calibrators keep every activation of every item. Here each tensor is reduced to a histogram at once,
so that 2,000 images take no more memory than one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np

from sealift.errors import ModelError, UsageError
from sealift.events import Progress
from sealift.model.arrays import Arrays
from sealift.model.onnx_graph import data_files
from sealift.optimize.quantise.activations import kinds_for, observed_tensors
from sealift.optimize.quantise.calibration_state import State, read_state, write_state
from sealift.optimize.quantise.graph import read_graph
from sealift.optimize.quantise.histogram import Histogram, NotFinite
from sealift.optimize.quantise.probe import Probe
from sealift.optimize.quantise.ranges import range_of

Items = Iterable[tuple[str, Arrays]]
"""Name and inputs of each; can be gone through more than once (a list, or an object that reads them anew)."""

_NEXT: Final = "look at this item; if it is right, leave it out of [optimize] calibration"


@dataclass(frozen=True, slots=True)
class CalibrationWish:
    """How to calibrate.

    `kinds`: operator types that will be quantised; empty: what suits the graph. `memory_bytes` bounds the activations
    that are held at once. The state is written every `every` items. `threads`: 0 is what onnxruntime takes.
    """

    kinds: tuple[str, ...] = ()
    memory_bytes: int = 512_000_000
    every: int = 16
    threads: int = 0


@dataclass(frozen=True, slots=True)
class Observed:
    """What `items` items showed of each tensor. `digest` stands for the model, the items and the wish."""

    items: int
    digest: str
    tensors: Mapping[str, Histogram]

    def ranges(self, method: str) -> dict[str, tuple[float, float]]:
        """Tensor -> `(low, high)`, `low <= 0 <= high`.

        Args:
            method: one of `ranges.METHODS`.
        Raises: UsageError: no such method.
        """
        return {name: range_of(histogram, method) for name, histogram in self.tensors.items()}


def calibrate(model: Path, items: Items, wish: CalibrationWish, state: Path, progress: Progress) -> Observed:
    """Run every item once and observe each activation that static quantising needs.

    The order of the items does not matter to the ranges, and neither does being interrupted: what `state` holds of
    the same model, the same first items and the same wish is continued; other states are discarded with a note.

    Raises: ModelError: the model cannot be read or run, or an activation is NaN or infinite. UsageError: there is no
        item, or the state cannot be written.
    """
    graph = read_graph(model, weights=False)
    names = observed_tensors(graph.graph, wish.kinds or kinds_for(graph.graph))
    if not names:
        raise ModelError(f"{model.name} has nothing that static quantising could use: no layer with weights.")
    if iter(items) is items:
        raise TypeError("items must be something that can be gone through again, not an iterator")
    start = _start(model, names)
    kept = _resumed(read_state(state, start, progress), items, progress) or State(
        start, 0, start, _empty(names)
    )
    progress.start("calibrating", len(items) if isinstance(items, Sized) else None)
    progress.advance(kept.items)
    probe = Probe(graph, model.parent, names, wish.memory_bytes, wish.threads)
    rest = islice(iter(items), kept.items, None)
    while block := list(islice(rest, max(wish.every, 1))):
        _observe(probe, block, kept.tensors, progress)
        kept = State(start, kept.items + len(block), _chained(kept.seen, block), kept.tensors)
        write_state(state, kept)
    if not kept.items:
        raise UsageError("there is no item to calibrate on", next_step="give [optimize] calibration data")
    return Observed(kept.items, kept.seen, kept.tensors)


def _start(model: Path, names: Sequence[str]) -> str:
    """Digest of the model with its data and of what is observed of it."""
    digest = hashlib.sha256()
    for path in (model, *data_files(model)):
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    digest.update("\0".join(names).encode())
    return digest.hexdigest()


def _chained(seen: str, block: Iterable[tuple[str, Arrays]]) -> str:
    for name, inputs in block:
        digest = hashlib.sha256(f"{seen}\0{name}".encode())
        for tensor in sorted(inputs):
            array = np.ascontiguousarray(inputs[tensor])
            digest.update(f"\0{tensor}\0{array.dtype.str}\0{array.shape}\0".encode())
            digest.update(repr(array.tolist()).encode() if array.dtype.hasobject else array.data)
        seen = digest.hexdigest()
    return seen


def _empty(names: Iterable[str]) -> dict[str, Histogram]:
    return {name: Histogram.empty() for name in names}


def _resumed(kept: State | None, items: Items, progress: Progress) -> State | None:
    """The state, if its items are the first of these."""
    if kept is None:
        return None
    seen, count = kept.start, 0
    for item in islice(iter(items), kept.items):
        seen, count = _chained(seen, [item]), count + 1
    if count < kept.items or seen != kept.seen:
        progress.note("The calibration that was begun earlier saw other items; it begins anew.")
        return None
    progress.note(f"Calibration continues after {kept.items} items.")
    return kept


def _observe(
    probe: Probe, block: Sequence[tuple[str, Arrays]], tensors: Mapping[str, Histogram], progress: Progress
) -> None:
    for found in probe.run(block):
        try:
            tensors[found.name].add(found.values)
        except NotFinite as error:
            raise ModelError(
                f"calibration item {block[found.position][0]}: the tensor {found.name!r} holds NaN or infinite values.",
                next_step=_NEXT,
            ) from error
        if found.last:
            progress.advance()
