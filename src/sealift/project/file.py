"""`sealift.toml` -> Project, or everything that is wrong with it at once."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path
from typing import Final

from sealift.errors import ProjectError
from sealift.model.toml_text import NotToml, TomlText, read_toml
from sealift.model.words import listed, named, nearest
from sealift.project.folder import Folder
from sealift.project.keys import SECTIONS, homes_of
from sealift.project.models import read_models
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
from sealift.project.settings import read_settings

FILE_NAME: Final = "sealift.toml"
MAX_FILE_BYTES: Final = 2**20

_NEXT_STEP: Final = "correct these lines; docs/reference/project-file.md explains every key"


def load_project(root: Path) -> Project:
    """Read the project in a folder, or whose `sealift.toml` this is.

    Raises: ProjectError: the file is missing, unreadable, above 1 MiB, not TOML, or wrong in any of its keys
        or the paths they name; `problems` holds all of them, each with its line.
    """
    path = root if root.name == FILE_NAME else root / FILE_NAME
    toml = _parsed(path, _read(path))
    report = Report(toml.lines)
    project = _project(Section(toml.table, (), Folder(Path(os.path.realpath(path.parent))), report))
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


def _parsed(path: Path, data: bytes) -> TomlText:
    try:
        return read_toml(data)
    except NotToml as error:
        raise _refusal(path, (str(error),)) from error


def _refusal(path: Path, problems: tuple[str, ...]) -> ProjectError:
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return ProjectError(f"{path}: {count}", problems=problems, next_step=_NEXT_STEP)


def _project(document: Section) -> Project:
    _refuse_unknown_sections(document)
    name, version = read_name_and_version(document)
    models, slo, limits = read_models(document, name), read_slo(document), read_limits(document)
    return Project(
        root=document.folder.root,
        name=name,
        version=version,
        models=models,
        target=read_target(document),
        python=read_python(document),
        optimize=read_optimize(document),
        slo=slo,
        limits=limits,
        golden=read_golden(document),
        gates=read_gates(document),
        settings=read_settings(document, models, slo, limits),
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
