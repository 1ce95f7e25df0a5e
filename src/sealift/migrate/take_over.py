"""A path to an old service -> a project folder that loads, all of it or nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sealift.errors import ProjectError, SealiftError, UsageError
from sealift.migrate import old_service
from sealift.migrate.document import project_document
from sealift.migrate.draft import Draft, ModelDraft
from sealift.migrate.recognise import read_old
from sealift.model.engines import SCRIPT_SUFFIXES
from sealift.project.file import FILE_NAME, load_project
from sealift.project.scaffold import Source, name_from, place_project, refuse_place
from sealift.project.served import prepare_models


@dataclass(frozen=True, slots=True)
class TakenOver:
    """What was written (`sealift.toml` first), and the draft that it was written from."""

    files: tuple[Path, ...]
    draft: Draft


def take_over(directory: Path, source: Path, *, name: str | None = None) -> TakenOver:
    """Make a project in `directory` of the old service at `source`, which is read and never run.

    Its model is loaded once, to say what does not fit: that is no reason to write nothing, but a thing to check.

    Args:
        source: a Flask script, a TorchServe archive, a Triton model repository or an MLflow model.
    Raises:
        UsageError: `source` is none of them, something in it cannot be taken over, or `directory` cannot be
            written; nothing was.
        ModelError: the model is a pickle, or cannot be read.
    """
    refuse_place(directory, name)
    with tempfile.TemporaryDirectory(prefix="sealift-from-") as scratch:
        draft = read_old(source, Path(scratch, "unpacked"))
        for model in draft.models:
            _refuse_unreadable(model)
        title = name or name_from(directory)
        draft = replace(draft, check=(*draft.check, *_tried(_files(draft, title), Path(scratch, "tried"))))
        return TakenOver(place_project(directory, _files(draft, title)), draft)


def _refuse_unreadable(model: ModelDraft) -> None:
    """Raises: ModelError: the file is a pickle, damaged, or no model of its suffix."""
    from sealift.model.graph_formats import ModelFile, signature_of_file
    from sealift.model.torch_file import argument_names

    if Path(model.place).suffix in SCRIPT_SUFFIXES:
        argument_names(model.file)
    else:
        signature_of_file(ModelFile(model.file))


def _files(draft: Draft, name: str) -> dict[str, Source]:
    """Everything that is written, by its place in the project. Raises: UsageError: two want the same place."""
    from sealift.model.graph_formats import files_of

    files: dict[str, Source] = {FILE_NAME: project_document(draft, name)}
    clashes = []
    for model in draft.models:
        home = Path(model.place).parent
        is_script = Path(model.place).suffix in SCRIPT_SUFFIXES
        for file in (model.file,) if is_script else files_of(model.file):
            beside = file.relative_to(model.file.parent)
            place = model.place if file == model.file else (home / beside).as_posix()
            if model.file.suffix == ".xml" and file != model.file:
                place = Path(model.place).with_suffix(file.suffix).as_posix()
            clashes += [place] if place in files else []
            files[place] = file
    clashes += [place for place in draft.files if place in files]
    if clashes:
        raise UsageError(
            "two files of the old service would get the same name in the project",
            problems=sorted(clashes),
            next_step="rename one of them; nothing was written",
        )
    return {**files, **draft.files, old_service.FILE_NAME: old_service.to_toml(draft.service)}


def _tried(files: Mapping[str, Source], folder: Path) -> tuple[str, ...]:
    """What the project file, or its models, do not agree about. Raises: ProjectError: it does not load."""
    for place, source in files.items():
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, str):
            target.write_text(source, encoding="utf-8")
        else:
            _link_or_copy(source, target)
    try:
        project = load_project(folder)
    except ProjectError as error:
        raise UsageError(
            "what was understood makes no project that loads",
            problems=error.problems or (error.message,),
            next_step="start from the model instead: sealift init DIR --model F; nothing was written",
        ) from error
    try:
        prepare_models(project, folder / ".prepared")
    except SealiftError as error:
        return tuple(f"it does not run yet: {text}" for text in error.problems or (error.message,))
    return ()


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source.resolve())
    except OSError:
        shutil.copyfile(source, target)
