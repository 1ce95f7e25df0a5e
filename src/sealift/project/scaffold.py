"""A model file -> a project folder with its first `sealift.toml`."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from sealift.errors import UsageError
from sealift.model.engines import SCRIPT_SUFFIXES
from sealift.model.words import listed, nearest, quoted
from sealift.project.file import FILE_NAME
from sealift.project.sections import NAME
from sealift.project.templates import TEMPLATES, Template, project_text, template_for
from sealift.project.weights_scaffold import architecture_problems, read_built

_NO_HARDLINKS: Final = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)
_NEXT_STEP: Final = "correct this and run sealift init again; nothing was written"

Source = Path | str
"""A file to copy, or the text to write."""


def init_project(
    directory: Path,
    *,
    model: Path | None = None,
    architecture: str | None = None,
    template: str | None = None,
    name: str | None = None,
) -> tuple[Path, ...]:
    """Make a project in `directory`: `sealift.toml`, and a copy of the model with its external data.

    A model that already lies in `directory` is used where it is. Parents of `directory` are made. On any
    failure the disk is as it was before.

    Args:
        architecture: `FILE.py:NAME`, where the model is weights alone; the file comes along with what it imports
            beside it, and is not run.
        template: `image`, `tabular` or `tensor`; None: what the model's inputs look like.
        name: the project's; None: made from the folder's name.
    Returns: the files written, `sealift.toml` first.
    Raises:
        UsageError: `sealift.toml` or a file that the model needs is already there, an argument is wrong,
            or the disk refuses; `problems` holds all of them.
        ModelError: the model cannot be read.
    """
    _refuse_arguments(directory, model, template, name)
    _refuse(directory, architecture_problems(model, architecture))
    signature, path, copies = None, "model.onnx", dict[str, Source]()
    arguments: tuple[str, ...] = ()
    built = None
    if model is not None and architecture is not None:
        built = read_built(directory, model, architecture)
        arguments = built.arguments
        path, copies = _path_and_copies(directory, model, built.copies)
    elif model is not None:
        # What reads a model takes a while to import and stays on the engineer's machine
        from sealift.model.graph_checkpoint import refuse_checkpoint
        from sealift.model.graph_formats import ModelFile, signature_of_file
        from sealift.model.torch_file import argument_names

        if model.suffix in SCRIPT_SUFFIXES:
            refuse_checkpoint(model)
            arguments = argument_names(model)
        else:
            signature = signature_of_file(ModelFile(model))
        path, copies = _path_and_copies(directory, model)
    chosen: Template = template_for(signature) if signature else "tensor"
    chosen = next((known for known in TEMPLATES if known == template), chosen)
    text = project_text(
        name or name_from(directory), path, chosen, signature, arguments, built.architecture if built else ""
    )
    return _place(directory, {FILE_NAME: text, **copies})


def place_project(directory: Path, files: Mapping[str, Source]) -> tuple[Path, ...]:
    """Put a project that is written already into `directory`; on any failure the disk is as it was before.

    Args:
        files: by their place in the folder, `sealift.toml` among them. Parents are made.
    Returns: the files written, `sealift.toml` first.
    Raises: UsageError: one of them is already there, or the disk refuses; `problems` holds all of them.
    """
    refuse_place(directory)
    _refuse_unwritable(directory, files)
    _refuse(
        directory, [f"{directory / name} is already there" for name in files if _is_there(directory, name)]
    )
    return _place(directory, {FILE_NAME: files[FILE_NAME], **files})


def refuse_place(directory: Path, name: str | None = None) -> None:
    """Say at once that no project can be made there, or not under that name. Raises: UsageError."""
    _refuse_arguments(directory, None, None, name)


def name_from(directory: Path) -> str:
    """The folder's name in the letters a project may have; `service` when none are left."""
    plain = re.sub(r"[^a-z0-9._-]+", "-", directory.resolve().name.lower())
    return plain.strip("._-")[:64] or "service"


def _is_there(directory: Path, name: str) -> bool:
    return os.path.lexists(directory / name)


def _refuse_arguments(directory: Path, model: Path | None, template: str | None, name: str | None) -> None:
    problems = []
    if template is not None and template not in TEMPLATES:
        near = nearest(template, TEMPLATES)
        advice = f'; did you mean "{near}"?' if near else ""
        problems.append(f"template: expected {listed(TEMPLATES)}, got {quoted(template)}{advice}")
    if name is not None and not NAME.pattern.fullmatch(name):
        problems.append(f"name: expected {NAME.expected}, got {quoted(name)}")
    if directory.exists() and not directory.is_dir():
        problems.append(f"{directory} is not a folder")
    elif os.path.lexists(directory / FILE_NAME):
        problems.append(f"{directory / FILE_NAME} is already there; it is never overwritten")
    if model is not None and not model.is_file():
        problems.append(f"model: {model} is {'not a file' if model.exists() else 'not there'}")
    _refuse(directory, problems)


def _refuse(directory: Path, problems: list[str]) -> None:
    if problems:
        raise UsageError(f"{directory}: no project was made", problems=problems, next_step=_NEXT_STEP)


def _path_and_copies(
    directory: Path, model: Path, more: Mapping[str, Path] | None = None
) -> tuple[str, dict[str, Source]]:
    """What `[model] path` says, and the files to copy, `more` among them, by their place in the project folder."""
    from sealift.model.graph_formats import files_of

    inside, real = directory.resolve(), model.resolve()
    path, copies = model.name, dict[str, Source](more or {})
    if real.is_relative_to(inside):
        path = real.relative_to(inside).as_posix()
    else:
        copies[model.name] = model
        copies.update({file.relative_to(model.parent).as_posix(): file for file in files_of(model)})
    _refuse_unwritable(directory, dict.fromkeys((path, *copies)))
    there = [f"{directory / name} is already there" for name in copies if _is_there(directory, name)]
    if FILE_NAME in copies:
        there.append(f"the model needs a file of its own called {FILE_NAME}")
    _refuse(directory, there)
    return path, copies


def _refuse_unwritable(directory: Path, names: Iterable[str]) -> None:
    """TOML is UTF-8; a file name that is not cannot stand in it."""
    odd = [name for name in names if any("\ud800" <= letter <= "\udfff" for letter in name)]
    _refuse(directory, [f"the name of the model file {name!a} is not UTF-8" for name in odd])


def _place(directory: Path, sources: Mapping[str, Source]) -> tuple[Path, ...]:
    """Write all files beside their places first, then link each into place; undo all on any failure.

    `sealift.toml` is linked last: whoever sees it sees a whole project.
    """
    targets = {directory / name: source for name, source in sources.items()}
    try:
        with ExitStack() as undo:
            _make_folder(directory, undo)
            with tempfile.TemporaryDirectory(prefix=".sealift-init-", dir=directory) as staging:
                staged = [Path(staging, str(number)) for number in range(len(targets))]
                for (target, source), file in zip(targets.items(), staged, strict=True):
                    _write(source, file)
                    _make_folder(target.parent, undo)
                for target, file in reversed(list(zip(targets, staged, strict=True))):
                    _put(file, target)
                    undo.callback(target.unlink, missing_ok=True)
            _sync(directory)
            undo.pop_all()
    except OSError as error:
        place = error.filename2 or error.filename or directory
        text = f"{directory}: no project was made: {place}: {error.strerror}"
        raise UsageError(text, next_step=_NEXT_STEP) from error
    return tuple(targets)


def _make_folder(folder: Path, undo: ExitStack) -> None:
    missing = [part for part in (folder, *folder.parents) if not part.exists()]
    for part in reversed(missing):
        part.mkdir()
        undo.callback(_remove_folder, part)


def _remove_folder(folder: Path) -> None:
    with suppress(OSError):  # somebody else put a file there meanwhile: it is theirs
        folder.rmdir()


def _write(source: Source, file: Path) -> None:
    if isinstance(source, Path):
        shutil.copyfile(source, file)
    else:
        file.write_text(source, encoding="utf-8")
    _sync(file)


def _put(file: Path, target: Path) -> None:
    """Give a whole file its name, never over another file's.

    Raises: FileExistsError: the name was taken since it was looked at.
    """
    try:
        target.hardlink_to(file)
    except OSError as error:
        if error.errno not in _NO_HARDLINKS:
            raise
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
        file.rename(target)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
