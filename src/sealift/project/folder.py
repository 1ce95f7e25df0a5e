"""Paths that a project file names: inside the project folder, there, and of the right kind."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Literal

from sealift.model.words import nearest, quoted

Kind = Literal["file", "folder", "file or folder"]

_MAX_LABEL_BYTES: Final = 16 * 2**20


class Unfit(Exception):
    """Why a named path cannot be used; the text goes into a problem of the project file."""


@dataclass(frozen=True, slots=True)
class Folder:
    """The project folder. `root` is absolute and free of symbolic links."""

    root: Path

    def find(self, name: str, kind: Kind) -> Path:
        """The path that `name` (relative, `/` between parts) means, its symbolic links kept.

        Raises: Unfit: it is absolute, leaves the folder once links are followed, is not there, cannot be
            looked at, or is not of this kind.
        """
        if "\0" in name:
            raise Unfit(f"{quoted(name)} holds a zero byte, which no path can")
        if name.startswith(("/", "~/")):
            raise Unfit(f"expected a path relative to the project folder, got {quoted(name)}")
        path = self.root / name
        self._refuse_outside(name, path)
        try:
            mode = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            raise Unfit(f"{quoted(name)} does not exist{self._advice(path)}") from None
        except OSError as error:
            raise Unfit(f"{quoted(name)} cannot be read: {error.strerror}") from error
        if not _is(mode, kind):
            raise Unfit(f"expected a {kind}, and {quoted(name)} is {_word_for(mode)}")
        return path

    def find_wheels(self, pattern: str) -> tuple[Path, ...]:
        """The wheels that a glob means, sorted.

        Raises: Unfit: the pattern is absolute, holds `..` or is malformed; it means no wheel, or something
            that is no wheel or lies outside the folder.
        """
        if pattern.startswith(("/", "~/")) or ".." in PurePosixPath(pattern).parts or "\0" in pattern:
            raise Unfit(f"expected a pattern inside the project folder, got {quoted(pattern)}")
        try:
            found = sorted(self.root.glob(pattern))
        except (ValueError, IndexError, NotImplementedError) as error:
            raise Unfit(f"{quoted(pattern)} is not a pattern: {error}") from error
        except OSError as error:
            raise Unfit(f"{quoted(pattern)} cannot be followed: {error.strerror}") from error
        if not found:
            raise Unfit(f"{quoted(pattern)} matches nothing")
        for path in found:
            name = path.relative_to(self.root).as_posix()
            if not name.endswith(".whl") or not path.is_file():
                raise Unfit(f"{quoted(pattern)} matches {quoted(name)}, which is not a wheel")
            self._refuse_outside(name, path)
        return tuple(found)

    def read_labels(self, name: str) -> tuple[str, ...]:
        """One label a line, UTF-8, without the spaces around it.

        Raises: Unfit: as for `find`; or empty lines among the labels, no label, not UTF-8, above 16 MiB.
        """
        path = self.find(name, "file")
        try:
            with path.open("rb") as stream:
                data = stream.read(_MAX_LABEL_BYTES + 1)
        except OSError as error:
            raise Unfit(f"{quoted(name)} cannot be read: {error.strerror}") from error
        if len(data) > _MAX_LABEL_BYTES:
            raise Unfit(f"{quoted(name)} is larger than 16 MiB; expected one label a line")
        try:
            labels = tuple(label.strip() for label in data.decode("utf-8-sig").rstrip().split("\n"))
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise Unfit(f"{quoted(name)} line {line} is not UTF-8") from error
        if labels == ("",):
            raise Unfit(f"{quoted(name)} holds no label")
        if "" in labels:
            raise Unfit(f"{quoted(name)} line {labels.index('') + 1} is empty; expected one label a line")
        return labels

    def _refuse_outside(self, name: str, path: Path) -> None:
        real = os.path.realpath(path)
        if real != str(self.root) and not Path(real).is_relative_to(self.root):
            raise Unfit(f"{quoted(name)} leaves the project folder")

    def _advice(self, path: Path) -> str:
        try:
            near = nearest(path.name, _names_in(path.parent))
        except OSError:
            return ""
        if near is None:
            return ""
        return f"; did you mean {quoted(os.path.relpath(path.parent / near, self.root))}?"


def _names_in(folder: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        yield from sorted(entry.name for entry in entries if not entry.name.startswith("."))


def _is(mode: int, kind: Kind) -> bool:
    return (stat.S_ISREG(mode) and kind != "folder") or (stat.S_ISDIR(mode) and kind != "file")


def _word_for(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a file" if stat.S_ISREG(mode) else "neither a file nor a folder"
