"""Service: everything a worker must know to serve; the same from a release and from a project."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealift.model.declaration import Input, Output
from sealift.model.signature import Signature

UNPROVEN: Final = "not proven when it was packed"
PROVEN_AT_LOAD: Final = "not proven yet"
"""The reason of a project that nobody packed, until its worker has looked for itself."""


@dataclass(frozen=True, slots=True)
class Batching:
    """Whether rows of several requests may share a run.

    `reason`: why not; empty: they may. `max_rows`: the most rows of one run, as measured on this box (0: not
    measured). `wait_s`: how long a run that could begin waits for more rows.
    """

    reason: str = UNPROVEN
    max_rows: int = 0
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One model, ready to be loaded: paths are absolute. `handler` is a Python file, `tokenizer` a tokenizer.json.

    `engine` is one of `model.engines.ENGINES`; empty: the default of the file's suffix.
    """

    name: str
    path: Path
    signature: Signature
    input: Input
    output: Output
    handler: Path | None = None
    tokenizer: Path | None = None
    device: tuple[str, ...] = ("cpu",)
    engine: str = ""
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
