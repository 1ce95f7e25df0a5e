"""`sealift.toml` -> Project, or everything that is wrong with it at once."""

from __future__ import annotations

import os
import re
import shlex
import stat
import tomllib
from pathlib import Path
from typing import Any, Final

from sealift.errors import ProjectError
from sealift.project.folder import Folder
from sealift.project.keys import SECTIONS, homes_of
from sealift.project.models import read_models
from sealift.project.positions import key_lines
from sealift.project.project import Project
from sealift.project.section import Report, Section
from sealift.project.sections import (
    read_gates,
    read_golden,
    read_limits,
    read_name_and_version,
    read_optimize,
    read_python,
    read_slo,
    read_target,
)
from sealift.project.words import listed, named, nearest

FILE_NAME: Final = "sealift.toml"
MAX_FILE_BYTES: Final = 2**20

_NEXT_STEP: Final = "correct these lines; docs/reference/project-file.md explains every key"
_IN_OUR_WORDS: Final = (
    ("Cannot overwrite a value", "a key stands twice"),
    ("Cannot declare", "a section stands twice"),
    ("Illegal character '\\n'", "a string does not end on its line"),
)
_TOML_PLACE: Final = re.compile(r" \((?:at line (?P<line>\d+), column (?P<column>\d+)|at end of document)\)$")


def load_project(root: Path) -> Project:
    """Read the project in a folder, or whose `sealift.toml` this is.

    Raises: ProjectError: the file is missing, unreadable, above 1 MiB, not TOML, or wrong in any of its keys
        or the paths they name; `problems` holds all of them, each with its line.
    """
    path = root if root.name == FILE_NAME else root / FILE_NAME
    text = _decoded(path, _read(path))
    folder = Folder(Path(os.path.realpath(path.parent)))
    table, report = _parse(path, text)
    project = _project(Section(table, (), folder, report))
    if report.found:
        raise _refusal(path, report.problems())
    return project


def _read(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ProjectError(f"{path} is not a regular file", next_step="name the project folder")
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError as error:
        next_step = f"sealift init {shlex.quote(str(path.parent))}"
        raise ProjectError(f"{path} does not exist", next_step=next_step) from error
    except NotADirectoryError as error:
        text = f"{path.parent} is not a project; expected a folder that holds {FILE_NAME}"
        raise ProjectError(text, next_step="name the project folder") from error
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise ProjectError(f"{path} cannot be read: {error}", next_step="check who may read it") from error
    if len(data) > MAX_FILE_BYTES:
        raise ProjectError(
            f"{path} is larger than 1 MiB, the most that is read",
            next_step="put long lists, such as labels, into files of their own",
        )
    return data


def _decoded(path: Path, data: bytes) -> str:
    """The text, without the byte order mark that some editors put first."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _refusal(path, (f"line {line}: not UTF-8; save the file as UTF-8",)) from error


def _parse(path: Path, text: str) -> tuple[dict[str, Any], Report]:
    try:
        return tomllib.loads(text), Report(key_lines(text))
    except tomllib.TOMLDecodeError as error:
        raise _refusal(path, (_syntax_problem(str(error), text),)) from error
    except RecursionError as error:
        raise _refusal(path, ("line 1: not TOML: nested too deeply",)) from error
    except ValueError as error:  # Python refuses to read an integer of more than 4,300 digits
        raise _refusal(path, ("line 1: not TOML: it holds a number with too many digits",)) from error


def _syntax_problem(message: str, text: str) -> str:
    """tomllib's message with its place in front: `line 3: not TOML: ... (column 5)`."""
    place = _TOML_PLACE.search(message)
    reason = _TOML_PLACE.sub("", message)
    reason = next((ours for theirs, ours in _IN_OUR_WORDS if reason.startswith(theirs)), reason)
    reason = reason[:1].lower() + reason[1:]
    if place is None or place["line"] is None:
        last = text.rstrip().count("\n") + 1
        return f"line {last}: not TOML: {reason} (end of the file)"
    return f"line {place['line']}: not TOML: {reason} (column {place['column']})"


def _refusal(path: Path, problems: tuple[str, ...]) -> ProjectError:
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return ProjectError(f"{path}: {count}", problems=problems, next_step=_NEXT_STEP)


def _project(document: Section) -> Project:
    _refuse_unknown_sections(document)
    name, version = read_name_and_version(document)
    return Project(
        root=document.folder.root,
        name=name,
        version=version,
        models=read_models(document, name),
        target=read_target(document),
        python=read_python(document),
        optimize=read_optimize(document),
        slo=read_slo(document),
        limits=read_limits(document),
        golden=read_golden(document),
        gates=read_gates(document),
    )


def _refuse_unknown_sections(document: Section) -> None:
    for key, value in document.table.items():
        if key in SECTIONS:
            continue
        word = named(key)
        homes = [] if isinstance(value, dict) else homes_of(key)
        near = nearest(key, SECTIONS)
        if homes:
            text = f"{word} stands outside any section; it belongs in {homes[0]}"
        elif near:
            text = f"{word} is not a section; did you mean [{near}]?"
            document.report.meant.add((near,))
        else:
            text = f"{word} is not a section; expected {listed([f'[{name}]' for name in SECTIONS], mark='')}"
        document.report.add((key,), text)
