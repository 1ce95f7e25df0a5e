"""How far a calibration came <-> one file; written whole or not at all."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from sealift.errors import UsageError
from sealift.events import Progress
from sealift.optimize.quantise.histogram import BINS, Histogram

_FORMAT: Final = "sealift-calibration-1"


@dataclass(frozen=True, slots=True)
class State:
    """`start` stands for the model and the wish; `seen` for these and the first `items` items in their order."""

    start: str
    items: int
    seen: str
    tensors: dict[str, Histogram]


def write_state(path: Path, state: State) -> None:
    """Temporary file, fsync, rename, fsync of the folder.

    Raises: UsageError: the disk refuses; an older state stays as it was.
    """
    head = {"format": _FORMAT, "start": state.start, "items": state.items, "seen": state.seen}
    histograms = list(state.tensors.values())
    buffer = io.BytesIO()
    np.savez(
        buffer,
        head=np.frombuffer(json.dumps(head | {"names": list(state.tensors)}).encode(), np.uint8),
        ends=np.array([[entry.low, entry.high] for entry in histograms], np.float64),
        exponents=np.array([entry.exponent for entry in histograms], np.int64),
        counts=np.stack([entry.counts for entry in histograms]),
    )
    incoming = path.with_name(f".{path.name}.incoming")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        incoming.write_bytes(buffer.getbuffer())
        _sync(incoming)
        incoming.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise UsageError(f"{path}: the state of the calibration cannot be written: {error}") from error


def read_state(path: Path, start: str, progress: Progress) -> State | None:
    """The state of the calibration that begins with `start`; None: there is none, or a note says why it is no use."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    try:
        state = _decode(data)
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile):
        progress.note(f"{path.name} is damaged; the calibration begins anew.")
        return None
    if state.start != start:
        progress.note(
            "The calibration that was begun earlier is of another model or another wish; it begins anew."
        )
        return None
    return state


def _decode(data: bytes) -> State:
    """Raises: ValueError, KeyError, EOFError, BadZipFile: not a whole state of this format."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        head = json.loads(arrays["head"].tobytes())
        ends, exponents, counts = arrays["ends"], arrays["exponents"], arrays["counts"]
    names: list[str] = head["names"]
    if head["format"] != _FORMAT or counts.shape != (len(names), BINS) or len(exponents) != len(names):
        raise ValueError("another format")
    found: Iterable[tuple[str, Histogram]] = (
        (name, Histogram(float(low), float(high), int(exponent), row.copy()))
        for name, (low, high), exponent, row in zip(names, ends, exponents, counts, strict=True)
    )
    return State(str(head["start"]), int(head["items"]), str(head["seen"]), dict(found))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
