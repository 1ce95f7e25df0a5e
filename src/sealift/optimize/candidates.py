"""Which variants are tried, and what each is built from. Building is one function a candidate (`build.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sealift.model.service import ServedModel
from sealift.optimize.report import Layer


class NotApt(Exception):
    """A candidate that cannot be built here, or makes no sense for this model; the text is its reason."""


@dataclass(frozen=True, slots=True)
class Built:
    """A candidate on disk: `model.path` lies in `folder`, which holds all its files and nothing else."""

    name: str
    model: ServedModel
    folder: Path
    recipe: Mapping[str, str] = field(default_factory=dict)
    layers: tuple[Layer, ...] = ()
    overflow: str = ""
