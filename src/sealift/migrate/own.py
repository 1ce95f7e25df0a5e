"""What is asked, and what the project makes of it in process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sealift.model.arrays import Arrays


@dataclass(frozen=True, slots=True)
class Input:
    """One file: its name, its bytes and their content type."""

    name: str
    body: bytes
    media: str


@dataclass(frozen=True, slots=True)
class Own:
    """The project's tensors and answer. `refusal`: why there are none. `has_fields`: inputs are named fields."""

    inputs: Arrays = field(default_factory=dict)
    outputs: Arrays = field(default_factory=dict)
    answer: Mapping[str, Any] = field(default_factory=dict)
    refusal: str = ""
    has_fields: bool = False


Run = Callable[[Input], Own]
"""Through the project, in process; never raises for what a request can be refused for."""
