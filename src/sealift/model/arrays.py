"""What flows through a pipeline: JSON in, arrays through the engine, JSON out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import msgspec
from numpy.typing import NDArray

from sealift.model.signature import Axis

Arrays = dict[str, NDArray[Any]]
"""Tensor name -> array; BYTES tensors are object arrays of `str`."""

JsonValue = None | bool | int | float | str | list[Any] | dict[str, Any]
"""A decoded JSON document."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """One request's tensors, every graph input, C-contiguous.

    `added_axes`: leading axes of size 1, as the signature calls them, that the client did not send (an
    item, not a batch of one); the answer leaves them out again.
    """

    inputs: Arrays
    added_axes: frozenset[Axis] = frozenset()

    @property
    def added_batch(self) -> bool:
        """Whether the request was one item without a batch axis."""
        return bool(self.added_axes)


def shown(value: object, limit: int = 60) -> str:
    """A JSON value as it stands in an error message, cut to about `limit` characters."""
    try:
        text = msgspec.json.encode(value).decode()
    except (TypeError, ValueError, OverflowError, RecursionError):
        text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}..."


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'amount'?` where one of `known` is close, else nothing."""
    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
