"""Service: everything a worker must know to serve; the same from a release and from a project."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sealift.model.declaration import Input, Output
from sealift.model.signature import Signature


@dataclass(frozen=True, slots=True)
class Batching:
    """Whether rows of several requests may share a run.

    `reason`: why not; empty: they may. `max_rows`: the most rows of one run, as measured on this box (0: not
    measured). `wait_s`: how long a run that could begin waits for more rows.
    """

    reason: str = "not proven when it was packed"
    max_rows: int = 0
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One model, ready to be loaded: paths are absolute, `handler` is a Python file or None."""

    name: str
    path: Path
    signature: Signature
    input: Input
    output: Output
    handler: Path | None = None
    device: tuple[str, ...] = ("cpu",)
    batching: Batching = Batching()


@dataclass(frozen=True, slots=True)
class Service:
    """A named, versioned set of models. `identity` is the release's digest, None for a project."""

    name: str
    version: str
    models: tuple[ServedModel, ...]
    identity: str | None = None

    @property
    def release(self) -> str:
        """`name@version`, as every answer carries it."""
        return f"{self.name}@{self.version}"
