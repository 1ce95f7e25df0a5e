"""The words for a model's classes, as old services keep them -> a `labels.txt`, one a line."""

from __future__ import annotations

import json
from pathlib import Path

from sealift.errors import UsageError
from sealift.migrate.symbols import Known, Opened


def labels_text(source: Opened | Known, folder: Path) -> str | None:
    """Of a constant of the script, or of a file of lines or JSON; None: they cannot be read as labels."""
    if isinstance(source, Known):
        return _text(_ordered(source.value))
    path = folder / source.path
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    if path.suffix == ".json":
        try:
            return _text(_ordered(json.loads(text)))
        except ValueError:
            return None
    return _text([line.strip() for line in text.splitlines() if line.strip()])


def index_to_name(path: Path) -> list[str]:
    """TorchServe's `index_to_name.json`: `{"0": "cat"}`, or `{"0": ["n02123045", "tabby"]}` (the last word counts).

    Raises: UsageError: no such mapping of all indices from 0.
    """
    try:
        found = _ordered(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path.name} cannot be read: {error}") from error
    if found is None:
        raise UsageError(f'{path.name}: expected a label for each class from "0" on')
    return found


def _ordered(value: object) -> list[str] | None:
    """A list, or a mapping of the indices from 0."""
    if isinstance(value, dict):
        if list(value) == ["object_type_names"]:
            return _ordered(value["object_type_names"])
        by_index = {str(key): each for key, each in value.items()}
        if set(by_index) != {str(number) for number in range(len(by_index))}:
            return None
        value = [by_index[str(number)] for number in range(len(by_index))]
    if not isinstance(value, list) or not value:
        return None
    words = [each[-1] if isinstance(each, list) and each else each for each in value]
    return [str(word) for word in words]


def _text(labels: list[str] | None) -> str | None:
    if not labels or any("\n" in label or not label.strip() for label in labels):
        return None
    return "".join(f"{label}\n" for label in labels)
