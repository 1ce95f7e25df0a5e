"""Service: everything a worker must know to serve; the same from a release and from a project."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sealift.model.declaration import Input, Output
from sealift.model.signature import Signature


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
