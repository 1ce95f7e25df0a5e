"""What was understood of an old service, before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sealift.migrate.old_service import OldService
from sealift.model.declaration import Input, Output, TensorInput, TensorOutput
from sealift.model.signature import TensorSpec
from sealift.project.scaffold import Source

HANDLER: Final = "handler.py"
LABELS: Final = "labels.txt"
REQUIREMENTS: Final = "requirements.txt"


@dataclass(frozen=True, slots=True)
class ModelDraft:
    """One model of the project.

    `file`: where the model lies today. `place`: its path in the project; its data files come along beside it.
    `name`: of `[models.NAME]`; empty: the project's only model. `labels`: a file of the project. `handler`: the
    module that is used; `spare_handler`: one that
    stands in a comment.
    """

    file: Path
    place: str
    name: str = ""
    input: Input = field(default_factory=TensorInput)
    output: Output = field(default_factory=TensorOutput)
    labels: str = ""
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    device: tuple[str, ...] = ()
    handler: str = ""
    spare_handler: str = ""
    batch_wait_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """A project to be: its models, its other files by place, and what a person should know.

    `understood` says what was taken over and from where; `check` what a person has to look at, because it was
    guessed, is done differently here, or could not be taken over.
    """

    kind: str
    models: tuple[ModelDraft, ...]
    service: OldService
    files: Mapping[str, Source] = field(default_factory=dict)
    understood: tuple[str, ...] = ()
    check: tuple[str, ...] = ()
