"""`.csv` and `.jsonl` -> items, one a row; of the rows only their place in the file is kept."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from sealift.errors import ProjectError, UsageError
from sealift.model.arrays import Prepared, did_you_mean
from sealift.model.declaration import CategoricalColumn, Input, TabularInput
from sealift.model.pipeline import Pipeline
from sealift.optimize.data.item import Item

_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_WHOLE: Final = re.compile(r"[+-]?\d+", re.ASCII)
_DELIMITERS: Final = (",", ";", "\t")
_PROBLEMS: Final = 10


@dataclass(frozen=True, slots=True)
class _Table:
    """A CSV file and how its cells are read. `words`: columns that are never numbers."""

    path: Path
    columns: tuple[str, ...]
    delimiter: str
    label: str
    words: frozenset[str]

    def fields(self, offset: int) -> dict[str, Any]:
        """The row that begins at a byte; empty cells and the label are left out."""
        try:
            with self.path.open("rb") as stream:
                stream.seek(offset)
                cells = next(_records(stream, self.delimiter))[1]
        except (OSError, StopIteration, csv.Error, UnicodeDecodeError) as error:
            raise UsageError(f"{self.path} changed while it was read") from error
        pairs = zip(self.columns, cells, strict=False)
        return {name: self._value(name, cell) for name, cell in pairs if name != self.label and cell.strip()}

    def _value(self, name: str, cell: str) -> Any:
        text = cell.strip()
        if name in self.words:
            return text
        if text[0] == "[":
            try:
                return msgspec.json.decode(text)
            except msgspec.DecodeError:
                return text
        if not _NUMBER.fullmatch(text):
            return text
        return int(text) if _WHOLE.fullmatch(text) and len(text) < 19 else float(text)


@dataclass(frozen=True, slots=True)
class _CsvRow:
    table: _Table
    offset: int

    def payload(self) -> Any:
        return self.table.fields(self.offset)

    def prepare(self, pipeline: Pipeline) -> Prepared:
        return pipeline.prepare(self.payload())


@dataclass(frozen=True, slots=True)
class _JsonLine:
    path: Path
    offset: int
    label: str

    def payload(self) -> Any:
        try:
            with self.path.open("rb") as stream:
                stream.seek(self.offset)
                value = msgspec.json.decode(stream.readline())
        except (OSError, msgspec.DecodeError) as error:
            raise UsageError(f"{self.path} changed while it was read") from error
        return {key: field for key, field in value.items() if key != self.label}

    def prepare(self, pipeline: Pipeline) -> Prepared:
        return pipeline.prepare(self.payload())


def read_csv(path: Path, declared: Input, label: str) -> list[Item]:
    """A row is a JSON object of named fields; its name is that of the file and the line.

    Delimiter `,`, `;` or tab, whichever the first line has most of. A cell that is empty is a missing field. Cells
    become numbers where the declaration does not call the column categorical. Columns that are no fields are left
    out; without the column `label` there are no labels.

    Raises: ProjectError: not UTF-8 text with a header, a declared column is absent, rows of another length, empty
        labels; all problems at once, at most 10.
    """
    header, delimiter = _header(path)
    problems = _header_problems(header, declared, label)
    if problems:
        raise ProjectError(f"{path} does not fit the model", problems=problems)
    table = _Table(path, header, delimiter, label, _word_columns(declared))
    place = header.index(label) if label in header else None
    items: list[Item] = []
    for number, (offset, cells) in enumerate(_rows(path, delimiter)):
        if number == 0 or not any(cells):
            continue
        where = f"row {number}"
        value = cells[place].strip() if place is not None and place < len(cells) else None
        if len(cells) != len(header):
            problems.append(f"{where}: {len(cells)} cells, the header has {len(header)}")
        elif value == "":
            problems.append(f"{where}: {label} is empty")
        items.append(Item(f"{path.name}:{number}", value, _CsvRow(table, offset)))
    if problems:
        raise ProjectError(f"{path} cannot be read in full", problems=cut(problems))
    return items


def cut(problems: Sequence[str]) -> list[str]:
    """The first 10, and how many more."""
    more = len(problems) - _PROBLEMS
    return [*problems[:_PROBLEMS], *([f"and {more} more"] if more > 0 else [])]


def read_cells(path: Path) -> list[dict[str, str]]:
    """A small table as it is: a dict of stripped cells a row. Raises: ProjectError: as `read_csv`."""
    header, delimiter = _header(path)
    return [
        dict(zip(header, map(str.strip, cells), strict=False))
        for number, (_, cells) in enumerate(_rows(path, delimiter))
        if number and any(cells)
    ]


def _header(path: Path) -> tuple[tuple[str, ...], str]:
    try:
        with path.open("rb") as stream:
            first = stream.readline().decode("utf-8-sig")
    except OSError as error:
        raise ProjectError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ProjectError(f"{path} is not UTF-8 text: {error.reason}") from error
    delimiter = max(_DELIMITERS, key=first.count)
    header = tuple(cell.strip() for cell in next(csv.reader([first], delimiter=delimiter), []))
    twice = sorted({name for name in header if header.count(name) > 1})
    if not any(header) or twice:
        why = (
            f"{', '.join(twice)} stands twice in its first line"
            if twice
            else "its first line names no column"
        )
        raise ProjectError(f"{path}: {why}", next_step="write the names of the fields into the first line")
    return header, delimiter


def _rows(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    try:
        with path.open("rb") as stream:
            yield from _records(stream, delimiter)
    except OSError as error:
        raise ProjectError(f"{path}: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise ProjectError(f"{path} is not CSV in UTF-8: {error}") from error


def _records(stream: io.BufferedReader, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(byte where it begins, cells) of every record from where the stream stands; records may span lines."""
    begin = after = stream.tell()

    def lines() -> Iterator[str]:
        nonlocal after
        for line in stream:
            after += len(line)
            yield line.decode("utf-8-sig" if after == len(line) else "utf-8")

    for cells in csv.reader(lines(), delimiter=delimiter):
        yield begin, cells
        begin = after


def _header_problems(header: Sequence[str], declared: Input, label: str) -> list[str]:
    if not isinstance(declared, TabularInput):
        hint = did_you_mean(label, header)
        return [f"no column {label!r}{hint}"] if label not in header and hint else []
    fields = [column.name for column in declared.columns]
    problems = [f"no column {name!r}{did_you_mean(name, header)}" for name in fields if name not in header]
    others = [name for name in header if name not in fields]
    if label not in header and others:
        problems.append(
            f"no column {label!r} for the labels; {', '.join(others)} are no fields of the model: name one in "
            "[optimize] label, or leave them out"
        )
    return problems


def _word_columns(declared: Input) -> frozenset[str]:
    columns = declared.columns if isinstance(declared, TabularInput) else ()
    return frozenset(column.name for column in columns if isinstance(column, CategoricalColumn))


def read_jsonl(path: Path, label: str) -> list[Item]:
    """A line is a JSON object as a client sends it, with the label among its keys; empty lines are skipped.

    Raises: ProjectError: a line that is no JSON object, or some with a label and some without; at most 10.
    """
    items: list[Item] = []
    problems: list[str] = []
    offset = 0
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                where, offset = offset, offset + len(line)
                if not line.strip():
                    continue
                value = _decoded(line)
                if isinstance(value, dict):
                    source = _JsonLine(path, where, label)
                    items.append(Item(f"{path.name}:{number}", value.get(label), source))
                else:
                    problems.append(f"line {number}: expected a JSON object")
    except OSError as error:
        raise ProjectError(f"{path}: {error.strerror}") from error
    bare = [item.name for item in items if item.label is None]
    if 0 < len(bare) < len(items):
        problems += [f"{name}: no {label!r}, others have one" for name in bare]
    if problems:
        raise ProjectError(f"{path} cannot be read in full", problems=cut(problems))
    return items


def _decoded(line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
