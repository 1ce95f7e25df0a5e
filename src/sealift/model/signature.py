"""What a model takes and gives, as recorded in the release."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

Axis = int | str
"""A fixed size, or the name of a symbolic axis (`"batch"`; an unnamed one is `"?"`)."""


class TensorSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One input or output.

    `datatype` is an Open Inference Protocol name (`FP32`, `BYTES`, ...).
    `shape` is None where the graph leaves even the rank open; `()` is a scalar.
    `labels` names the columns of the last axis, where the model itself carries class labels.
    `words` are strings that the encoders behind a BYTES input know (some refuse every other); at most 64.
    """

    name: str
    datatype: str
    shape: tuple[Axis, ...] | None
    labels: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


def batch_axis_of(specs: Sequence[TensorSpec]) -> str | None:
    """The symbolic name that is the first axis of every one of them; None: there is none."""
    firsts = {spec.shape[0] if spec.shape else None for spec in specs}
    only = firsts.pop() if len(firsts) == 1 else None
    return only if isinstance(only, str) and only != "?" else None


class Signature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Inputs and outputs in the graph's order.

    `batch_axis` is the symbolic name that is the first axis of *every* input and *every* output,
    or None: only then may rows of several requests share a run (DESIGN 4).
    `probabilities` names the outputs whose values the graph itself already makes probabilities
    (a softmax, a sigmoid or a tree classifier at its end).
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batch_axis: str | None = None
    probabilities: tuple[str, ...] = ()
