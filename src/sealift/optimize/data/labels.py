"""Labels as people write them -> classes, sides of a threshold, numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sealift.model.arrays import did_you_mean
from sealift.model.declaration import ClassesOutput, Output, ScoresOutput
from sealift.model.handler_load import handler_functions
from sealift.model.rows import index_of

_YES: Final = ("1", "true")
_NO: Final = ("0", "false")


def label_text(label: object) -> str:
    """As it would stand in a table: `true`, `3` (also for 3.0), `tiger cat`."""
    if isinstance(label, bool | np.bool_):
        return "true" if label else "false"
    if isinstance(label, float | np.floating) and float(label).is_integer():
        return str(int(label))
    return str(label).strip()


def class_index(label: object, labels: Sequence[str], classes: int | None) -> int | None:
    """The class that a label means: a text of `labels`, else an index; None: neither.

    A text wins where both would fit: of the classes `("1", "2")` the label `1` is the first.

    Args:
        classes: how many there are, None where that is not known.
    """
    text = label_text(label)
    found = index_of(labels, text)
    if found is not None:
        return found
    if not (text.isascii() and text.isdigit()):
        return None
    number = int(text)
    return number if classes is None or number < classes else None


def is_positive(label: object, positive: str, negative: str | None) -> bool:
    """On which side of a threshold a label stands; a word that is neither is the negative one."""
    text = label_text(label)
    if text == positive:
        return True
    if text == negative or positive in (*_YES, *_NO):
        return False
    return text in _YES


def has_postprocess(handler: Path | None) -> bool:
    """Whether the project's own code makes the answer. Raises: ModelError: the handler cannot be read."""
    return handler is not None and "postprocess" in handler_functions(handler)


def label_problems(
    declared: Output, labels: Sequence[object], texts: Sequence[str] = (), classes: int | None = None
) -> list[str]:
    """What labels mean nothing to an output; each text once, at most 10.

    Args:
        texts: the model's own names of its classes, where the project declares none.
        classes: how many there are, None where that is not known.
    """
    if isinstance(declared, ScoresOutput):
        others = [text for text in texts if text != declared.positive]
        negative = declared.negative or (others[0] if len(others) == 1 else None)
        return _side_problems(labels, declared.positive, negative)
    if isinstance(declared, ClassesOutput):
        known = declared.labels or texts
        count = len(known) or classes
        wrong = [each for each in labels if class_index(each, known, count) is None]
        expected = "a label of the model, or a class number" + (f" below {count}" if count else "")
        hints = {label_text(each): did_you_mean(label_text(each), known) for each in wrong[:1000]}
        return [f"label {text[:60]!r}: expected {expected}{hint}" for text, hint in list(hints.items())[:10]]
    return []


def number_problems(labels: Sequence[object]) -> list[str]:
    """Labels that are no numbers; each text once, at most 10."""
    wrong = dict.fromkeys(label_text(each) for each in labels if numbers_of(each) is None)
    return [f"label {text[:60]!r}: expected a number" for text in list(wrong)[:10]]


def _side_problems(labels: Sequence[object], positive: str, negative: str | None) -> list[str]:
    """Words that cannot be told apart: only two may stand for the two sides."""
    known = {positive, *_YES, *_NO, *([negative] if negative is not None else [])}
    others = sorted({label_text(label) for label in labels} - known)
    allowed = 0 if negative is not None else 1
    if len(others) <= allowed:
        return []
    sides = f"{positive!r} and {negative!r}" if negative is not None else f"{positive!r} and one other word"
    return [f"label {word!r}: expected {sides}, or 1 and 0" for word in others[:10]]


def numbers_of(label: object) -> NDArray[np.float64] | None:
    """A number, a text that is one, or a (nested) list of numbers, flattened; None: it is none of them."""
    value: Any = label
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    try:
        array = np.asarray(value)
    except ValueError:  # a ragged list
        return None
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        return None
    return array.astype(np.float64).reshape(-1)
