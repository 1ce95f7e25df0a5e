"""Evaluation and calibration data on disk -> Dataset: names and labels in memory, payloads where they lie."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from sealift.errors import ProjectError
from sealift.optimize.data.item import FileSource, Item
from sealift.optimize.data.labels import has_postprocess, label_problems, label_text
from sealift.optimize.data.npz import read_npz
from sealift.optimize.data.tables import cut, read_cells, read_csv, read_jsonl
from sealift.project.project import ModelEntry

__all__ = ["Dataset", "Item", "evenly", "read_dataset"]

LABELS: Final = "labels.csv"
TABLES: Final = (".csv", ".jsonl", ".npz")
_LEFT_BY_SYSTEMS: Final = ("Thumbs.db", "desktop.ini", "__MACOSX")


@dataclass(frozen=True, slots=True)
class Dataset:
    """Items in a fixed order, and the files that they are read from."""

    items: tuple[Item, ...]
    files: tuple[Path, ...]

    def digest(self) -> str:
        """`sha256:...` over names, labels and bytes. Raises: ProjectError: a file is gone or unreadable."""
        whole = hashlib.sha256(msgspec.json.encode([(item.name, item.label) for item in self.items]))
        for path in self.files:
            try:
                with path.open("rb") as stream:
                    whole.update(hashlib.file_digest(stream, "sha256").digest())
            except OSError as error:
                raise ProjectError(f"{path}: {error.strerror}") from error
        return f"sha256:{whole.hexdigest()}"


def evenly(items: Sequence[Item], n: int) -> tuple[Item, ...]:
    """At most n items, in their order, spread over the whole and over the labels in proportion; always the same."""
    if n >= len(items):
        return tuple(items)
    places = list(range(len(items)))
    if all(item.label is not None for item in items):
        places.sort(key=lambda place: label_text(items[place].label))
    picked = sorted(places[(2 * k + 1) * len(items) // (2 * n)] for k in range(n))
    return tuple(items[place] for place in picked)


def read_dataset(path: Path, entry: ModelEntry, label: str = "label", *, several: bool = False) -> Dataset:
    """Read what `[optimize] calibration` or `evaluation` names.

    A `.csv`, `.jsonl` or `.npz` file (or a folder with nothing else in it); a folder with one folder a label, or with
    a `labels.csv` (`file,label`), or with payload files that have no labels. Files are what golden inputs may be.

    Args:
        label: the column, key or array that holds the labels.
        several: the project has several models: `path` is a folder with a folder or table of each one's name.
    Returns: no items where `several` and there is none of this name.
    Raises: ProjectError: nothing there, or data that cannot be read; all problems at once.
    """
    place = _of_model(path, entry.name) if several else path
    if place is None:
        return Dataset((), ())
    try:
        items, files = _read(place, entry, label)
    except OSError as error:
        raise ProjectError(f"{error.filename or place}: {error.strerror}") from error
    if not items:
        raise ProjectError(
            f"{place} holds no items", next_step="give [optimize] a folder or table with inputs"
        )
    _check_labels(place, entry, items)
    return Dataset(tuple(items), files)


def _of_model(path: Path, name: str) -> Path | None:
    places = [path / name, *(path / f"{name}{suffix}" for suffix in TABLES)]
    found = [place for place in places if place.exists()]
    if len(found) > 1:
        raise ProjectError(
            f"{path} holds {' and '.join(place.name for place in found)}, expected one of them"
        )
    return found[0] if found else None


def _read(path: Path, entry: ModelEntry, label: str) -> tuple[list[Item], tuple[Path, ...]]:
    if path.is_file():
        return _read_table(path, entry, label), (path,)
    inside = _visible(path)
    folders = [each for each in inside if each.is_dir()]
    if len(inside) == 1 and not folders and inside[0].suffix in TABLES and inside[0].name != LABELS:
        return _read_table(inside[0], entry, label), (inside[0],)
    if path / LABELS in inside:
        items = _listed(path, label)
    elif folders:
        items = _by_folder(path, inside)
    else:
        items = [Item(each.name, None, FileSource(each)) for each in inside]
    return items, tuple(item.source.path for item in items if isinstance(item.source, FileSource))


def _read_table(path: Path, entry: ModelEntry, label: str) -> list[Item]:
    if path.suffix == ".csv":
        return read_csv(path, entry.input, label)
    if path.suffix == ".jsonl":
        return read_jsonl(path, label)
    if path.suffix == ".npz":
        return read_npz(path, label)
    raise ProjectError(f"{path}: expected a folder, or a file that ends in {', '.join(TABLES)}")


def _visible(folder: Path) -> list[Path]:
    """Files and folders, without hidden ones, in the order of their names."""
    names = (each for each in folder.iterdir() if each.name[0] != "." and each.name not in _LEFT_BY_SYSTEMS)
    return sorted(names, key=lambda each: each.name)


def _by_folder(path: Path, inside: Sequence[Path]) -> list[Item]:
    problems = [f"{each.name}: a file beside folders of labels" for each in inside if not each.is_dir()]
    items: list[Item] = []
    for folder in inside:
        if not folder.is_dir():
            continue
        for each in _visible(folder):
            name = f"{folder.name}/{each.name}"
            if each.is_dir():
                problems.append(f"{name}: a folder inside the folder of a label")
            items.append(Item(name, folder.name, FileSource(each)))
    if problems:
        raise ProjectError(f"{path} cannot be read in full", problems=cut(problems))
    return items


def _listed(path: Path, label: str) -> list[Item]:
    rows = read_cells(path / LABELS)
    column = label if rows and label in rows[0] else "label"
    problems: list[str] = []
    items: dict[str, Item] = {}
    for number, row in enumerate(rows, start=1):
        name, value = row.get("file", ""), row.get(column, "")
        place = path / name
        if not name or not value:
            problems.append(f"{LABELS} row {number}: expected file and {column}")
        elif Path(name).is_absolute() or ".." in Path(name).parts:
            problems.append(f"{LABELS} row {number}: {name} lies outside the folder")
        elif not place.is_file():
            problems.append(f"{name}: named in {LABELS}, and not there")
        elif name in items:
            problems.append(f"{name}: stands twice in {LABELS}")
        items[name] = Item(name, value, FileSource(place))
    if problems:
        raise ProjectError(f"{path} cannot be read in full", problems=cut(problems))
    return list(items.values())


def _check_labels(path: Path, entry: ModelEntry, items: Sequence[Item]) -> None:
    """What the declaration alone can tell; `metrics_for` knows the model's own classes too."""
    if has_postprocess(entry.handler):
        return
    labels = [item.label for item in items if item.label is not None]
    problems = label_problems(entry.output, labels)
    if problems:
        raise ProjectError(
            f"labels of {path} do not fit model {entry.name}",
            problems=problems,
            next_step="correct the labels, or [model.output]",
        )
