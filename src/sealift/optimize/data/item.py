"""One item of a data set: a name, a label, and a payload that stays on disk until somebody asks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sealift.model.arrays import Prepared
from sealift.model.payload import read_payload
from sealift.model.pipeline import Pipeline


class Source(Protocol):
    """Where an item's payload lies; not for several threads at once."""

    def payload(self) -> Any:
        """As a client would send it: bytes, or a JSON value. Raises: UsageError: it cannot be read any more."""
        ...

    def prepare(self, pipeline: Pipeline) -> Prepared:
        """As the engine gets it. Raises: RequestError: not what the model takes. UsageError: as `payload`."""
        ...


@dataclass(frozen=True, slots=True)
class Item:
    """One input. `label` is as it was written (text, number, list); None: it has none."""

    name: str
    label: Any
    source: Source

    def payload(self) -> Any:
        """As `Source.payload`; read anew each time."""
        return self.source.payload()

    def prepare(self, pipeline: Pipeline) -> Prepared:
        """As `Source.prepare`."""
        return self.source.prepare(pipeline)


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file of its own, by the rules of golden inputs."""

    path: Path

    def payload(self) -> Any:
        """As `Source.payload`."""
        return read_payload(self.path)

    def prepare(self, pipeline: Pipeline) -> Prepared:
        """As `Source.prepare`."""
        return pipeline.prepare(self.payload())
