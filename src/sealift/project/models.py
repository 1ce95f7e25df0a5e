"""`[model]` or `[models.NAME]`, with `[handler]` -> what each model is and how it is fed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from sealift.model.words import named, quoted
from sealift.project.architecture import read_architecture
from sealift.project.declarations import read_input, read_output
from sealift.project.folder import Folder, Unfit
from sealift.project.keys import SECTION_KEYS
from sealift.project.project import ModelEntry
from sealift.project.section import Form, Section
from sealift.project.sections import NAME
from sealift.project.tensors import UNTOLD_SUFFIXES, implied_inputs, read_engine, read_tensors

DEVICE: Final = Form(
    re.compile(r"cpu|(cuda|tensorrt)(:[0-9]{1,2})?"), '"cpu", "cuda", "cuda:1" or "tensorrt"'
)


def read_models(document: Section, project_name: str) -> tuple[ModelEntry, ...]:
    """All models; a single `[model]` has the project's name."""
    if "model" in document and "models" in document:
        document.report.add(("models",), "[models] cannot stand beside [model]; write [models.NAME] for each")
    if not any(key in document or document.report.is_meant((key,)) for key in ("model", "models")):
        document.report.add((), "no model; add [model] with its path")
    if "models" in document and "handler" in document and "model" not in document:
        document.report.add(("handler",), "[handler] serves a single [model]; write [models.NAME.handler]")
    handler = _handler(document)
    several = _several(document) if "models" in document else ()
    return (*_single(document, project_name, handler), *several)


def _single(document: Section, project_name: str, handler: Path | None) -> tuple[ModelEntry, ...]:
    if "model" not in document:
        return ()
    section = document.child("model")
    section.allow_only(SECTION_KEYS["model"])
    return (_entry(section, project_name, handler),)


def _several(document: Section) -> tuple[ModelEntry, ...]:
    models = document.child("models")
    if not models.table and isinstance(document.table["models"], dict):
        document.report.add(("models",), "[models] is empty; add [models.NAME] with its path")
    named = [name for name in models.table if _is_model(models, name)]
    entries = []
    for name in named:
        section = models.child(name)
        section.allow_only((*SECTION_KEYS["model"], "handler"))
        entries.append(_entry(section, name, _handler(section)))
    return tuple(entries)


def _is_model(models: Section, name: str) -> bool:
    if not isinstance(models.table[name], dict):
        place = (*models.path, name)
        text = f"[models] {named(name)} stands without a model's name; write [models.NAME]"
        models.report.add(place, text)
        return False
    if not NAME.pattern.fullmatch(name):
        models.report.add((*models.path, name), f"[models]: expected {NAME.expected}, got {quoted(name)}")
        return False
    return True


def _entry(section: Section, name: str, handler: Path | None) -> ModelEntry:
    path = None
    if section.require("path"):
        path = section.found("path", None, lambda text: _model_file(section.folder, text))
    (declared, tokenizer), tensors = read_input(section), read_tensors(section, path)
    implied = implied_inputs(declared) if path and path.suffix in UNTOLD_SUFFIXES else ()
    architecture = read_architecture(section, path)
    if architecture is not None and path is not None and "inputs" not in section and not implied:
        text = f"'inputs' is missing: {path.name} tells no shapes; write [[model.inputs]] for what forward() takes"
        section.report.add(section.path, f"{section.title} {text}")
    return ModelEntry(
        name=name,
        path=path or section.folder.root,
        license=section.text("license", None),
        device=section.texts("device", ("cpu",), DEVICE),
        input=declared,
        output=read_output(section),
        handler=handler,
        tokenizer=tokenizer,
        engine=read_engine(section, path),
        inputs=tensors.inputs or implied,
        outputs=tensors.outputs,
        architecture=architecture,
    )


def _model_file(folder: Folder, name: str) -> Path:
    """Raises: Unfit: no file in the project folder; a folder that TensorFlow saved is named for what it is."""
    try:
        return folder.find(name, "file")
    except Unfit as unfit:
        try:
            folder.find(f"{name}/saved_model.pb", "file")
        except Unfit:
            raise unfit from None
        way_out = f"python -m tf2onnx.convert --saved-model {name} --output model.onnx"
        raise Unfit(f"{unfit} that TensorFlow saved (SavedModel); {way_out}") from None


def _handler(above: Section) -> Path | None:
    """`[handler] module`: a Python file of the project's."""
    section = above.child("handler")
    section.allow_only(SECTION_KEYS["handler"])
    if "handler" not in above or not section.require("module"):
        return None
    module = section.path_to("module", "file")
    if module is not None and module.suffix != ".py":
        section.refuse("module", f'expected a Python file such as "handler.py", got {quoted(module.name)}')
    return module
