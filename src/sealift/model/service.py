"""Service: everything a worker must know to serve; the same from a release and from a project."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from sealift.errors import ModelError
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
class Variant:
    """A file that answers in a model's place, made and measured by `sealift optimize`.

    `engine` as in `ServedModel`. `precision` is what most of it is calculated in, `bf16`, `fp16` or `int8`; empty: as
    the project's own file is. Only for bf16 the engine has to be told.
    """

    name: str
    path: Path
    engine: str = ""
    precision: str = ""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One model, ready to be loaded: paths are absolute. `handler` is a Python file, `tokenizer` a tokenizer.json.

    `engine` is one of `model.engines.ENGINES`; empty: the default of the file's suffix. `variants` are those that
    travel, the one to begin with first; `variant` is the name of the one that `path`, `engine` and `precision`
    mean; nothing where the model was not optimised.
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
    precision: str = ""
    variant: str = ""
    variants: tuple[Variant, ...] = ()

    def running_as(self, name: str) -> ServedModel:
        """The same model, answered by one of its variants.

        Raises: ModelError: no variant of that name travels.
        """
        for variant in self.variants:
            if variant.name == name:
                return replace(
                    self,
                    path=variant.path,
                    engine=variant.engine,
                    precision=variant.precision,
                    variant=name,
                )
        known = ", ".join(variant.name for variant in self.variants) or "none"
        raise ModelError(f"model {self.name} has no variant {name!r} (those that travel: {known})")


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
