"""A Flask script, as guides write it -> a project. It is parsed and followed, never imported or run."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from sealift.errors import ModelError, UsageError
from sealift.migrate.draft import HANDLER, LABELS, REQUIREMENTS, Draft, ModelDraft
from sealift.migrate.engine_packages import with_engine_packages
from sealift.migrate.extract import Extracted, extract_preprocess, names_of_models
from sealift.migrate.labels import labels_text
from sealift.migrate.old_service import OldService
from sealift.migrate.script_answer import Answering, answering_of
from sealift.migrate.script_calls import SHAPE_MAKERS
from sealift.migrate.script_input import Declared, declared_input
from sealift.migrate.script_methods import fields_of
from sealift.migrate.script_names import Route, Script, parse_script
from sealift.migrate.script_walk import Walked, Walker
from sealift.migrate.symbols import Fields, Model, Photo, Sent, Symbol, Unknown
from sealift.model.declaration import TensorInput
from sealift.model.engines import SCRIPT_SUFFIXES, default_engine, known_suffixes
from sealift.model.signature import TensorSpec
from sealift.project.scaffold import Source

_PICKLES: Final = {
    "torch.load": "build the module, load its weights, then torch.jit.trace(module.eval(), example).save('model.pt')",
    "pickle.load": "skl2onnx.to_onnx(estimator, X[:1]), write its bytes to model.onnx",
    "joblib.load": "skl2onnx.to_onnx(estimator, X[:1]), write its bytes to model.onnx",
}
_ELSEWHERE: Final = {
    "keras load_model": "model.export('model.onnx', format='onnx')",
    "tf.saved_model.load": "python -m tf2onnx.convert --saved-model FOLDER --output model.onnx",
}
_AGAIN: Final = "then: sealift init DIR --model F, and bring preprocess as a handler"


@dataclass(slots=True)
class _Notes:
    understood: list[str] = field(default_factory=list)
    check: list[str] = field(default_factory=list)


def read_script(path: Path) -> Draft:
    """Take over a script that loads one model and answers requests with it.

    Raises:
        UsageError: not Python, no model or several, a model file that is missing or cannot be known, shapes that
            contradict each other.
        ModelError: the model is a pickle or of an engine that sealift does not have; the way out is named.
    """
    script = parse_script(path)
    walker = Walker(script)
    walker.read_module()
    model = _only_model(path, walker.walked.models)
    file = _model_file(path, model)
    route, walked = _answering_route(script, walker)
    notes = _Notes([f"model: {file.name}, loaded by {model.loader} in line {model.line}"])
    given = walked.calls[0].given if walked.calls else Unknown(model.line, "what the model is given")
    declared = declared_input(given)
    extracted = _extracted(script, walked)
    answering = answering_of(walked.answer)
    draft = ModelDraft(
        file=file,
        place=file.name if file.suffix else f"{file.name}.pt",
        input=declared.input or TensorInput(),
        output=answering.output,
        inputs=_script_inputs(script, file, declared, notes),
    )
    files: dict[str, Source] = {}
    draft = _with_handler(draft, declared, extracted, files, notes)
    draft = _with_labels(draft, answering, path.parent, files, notes)
    service = _service(route, _what_was_sent(given, walked), answering, notes)
    _tell_input(given, declared, extracted, notes)
    _tell_rest(script, answering, notes)
    whole = Draft("a Flask script", (draft,), service, files, tuple(notes.understood), tuple(notes.check))
    is_used = isinstance(extracted, Extracted) and bool(draft.handler)
    imports = extracted.imports if is_used and isinstance(extracted, Extracted) else ()
    return with_engine_packages(whole, imports, path.parent / REQUIREMENTS)


def _only_model(path: Path, models: list[Model]) -> Model:
    files = {str(model.file): model for model in models}
    if not files:
        raise UsageError(
            f"--from {path}: no model is loaded in it; looked for torch.jit.load, onnxruntime.InferenceSession, "
            "torch.export.load and OpenVINO's read_model",
            next_step="name the model: sealift init DIR --model F",
        )
    if len(files) > 1:
        raise UsageError(
            f"--from {path}: it loads {len(files)} models; one script is taken over as one model",
            problems=[f"line {model.line}: {model.loader}({name})" for name, model in files.items()],
            next_step="start from one of them: sealift init DIR --model F (docs/how-to/several-models.md)",
        )
    return next(iter(files.values()))


def _model_file(path: Path, model: Model) -> Path:
    where = f"--from {path}: line {model.line}"
    if model.loader in _ELSEWHERE:
        text = f"{where}: {model.loader} loads a model that no engine here runs; export it to ONNX"
        raise ModelError(text, next_step=f"{_ELSEWHERE[model.loader]}, {_AGAIN}")
    if model.file is None:
        raise UsageError(
            f"{where}: which file {model.loader} loads does not show in the script", next_step=_AGAIN[6:]
        )
    file = path.parent / model.file
    if not file.is_file() and (Path.cwd() / model.file).is_file():
        file = Path.cwd() / model.file
    if model.loader in _PICKLES and not _is_torchscript(file):
        text = (
            f"{where}: {model.loader} of {model.file.name} is a Python pickle, which sealift never executes"
        )
        raise ModelError(text, next_step=f"{_PICKLES[model.loader]}; {_AGAIN}")
    if not file.is_file():
        raise UsageError(
            f"{where}: the model file {file} is missing", next_step="copy it there, and run init again"
        )
    if default_engine(file) is None:
        text = f"{where}: {file.name}: expected a name that ends in {known_suffixes()}"
        raise UsageError(text, next_step="rename the file and the line that loads it")
    return file


def _is_torchscript(file: Path) -> bool:
    """`torch.load` reads such archives too."""
    from sealift.model.torch_file import load_script

    try:
        load_script(file)
    except ModelError:
        return False
    return True


def _answering_route(script: Script, walker: Walker) -> tuple[Route | None, Walked]:
    """The first route that runs the model."""
    for route in script.routes:
        walked = walker.follow(route)
        if walked.calls:
            return route, walked
    return None, Walked(models=walker.walked.models)


def _extracted(script: Script, walked: Walked) -> Extracted | str:
    """The script's own preparation as a handler; or why there is none."""
    given = walked.calls[0].given if walked.calls else None
    makers = [call for call in walked.own if call.given_back is given]
    if not makers:
        return "the route prepares its input itself, at least in part; write handler.py"
    if makers[-1].function not in script.functions.values():
        return f"{makers[-1].function.name}() is a method of a class; write handler.py yourself"
    return extract_preprocess(script, makers[-1], names_of_models(script, walked.models))


def _with_handler(
    draft: ModelDraft, declared: Declared, extracted: Extracted | str, files: dict[str, Source], notes: _Notes
) -> ModelDraft:
    if not isinstance(extracted, Extracted):
        return draft
    files[HANDLER] = extracted.text
    if declared.input is not None:
        return replace(draft, spare_handler=HANDLER)
    notes.check += extracted.check
    return replace(draft, handler=HANDLER)


def _with_labels(
    draft: ModelDraft, answering: Answering, folder: Path, files: dict[str, Source], notes: _Notes
) -> ModelDraft:
    if answering.labels is None:
        return draft
    text = labels_text(answering.labels, folder)
    if text is None:
        notes.check.append('labels: they could not be read; set labels = "labels.txt" in [model.output]')
        return draft
    files[LABELS] = text
    notes.understood.append(f"labels: {text.count(chr(10))} of them")
    return replace(draft, labels=LABELS)


def _what_was_sent(given: Symbol, walked: Walked) -> Symbol:
    """What the client sent of it."""
    if isinstance(given, Photo):
        return given.of
    for call in walked.own:
        for each in call.arguments.all:
            if isinstance(each, Sent | Photo):
                return each.of if isinstance(each, Photo) else each
    return Sent("json") if isinstance(given, Fields) or fields_of(given) else given


def _service(route: Route | None, sent: Symbol, answering: Answering, notes: _Notes) -> OldService:
    path = route.path if route else "/predict"
    form = "json"
    if isinstance(sent, Sent):
        form = f"{sent.form}:{sent.field}" if sent.form in ("base64", "file") else sent.form
    if route is None:
        notes.check.append("no route runs the model as far as reading tells; complete old-service.toml")
    else:
        notes.understood.append(f"route: POST {path}, the input as {form}")
    if form.startswith("base64:") and form != "base64:image":
        notes.check.append(f'clients send {{"{form[7:]}": base64}}; /predict takes {{"image": base64}}')
    if form.startswith("file:"):
        notes.understood.append("clients may go on sending a form's file to /predict")
    return OldService(form=form, path=path, prediction=answering.prediction, score=answering.score)


def _script_inputs(script: Script, file: Path, declared: Declared, notes: _Notes) -> tuple[TensorSpec, ...]:
    """`[[model.inputs]]` where the model is TorchScript and no declaration implies them."""
    if file.suffix not in SCRIPT_SUFFIXES or (declared.input is not None):
        return ()
    from sealift.model.torch_file import argument_names

    names = argument_names(file)
    shapes = _warm_up_shapes(script)
    if len(shapes) > 1 and len(names) == 1:
        raise UsageError(
            f"--from {script.path}: the shape of the model's input is not clear",
            problems=[f"line {line}: {list(shape)}" for shape, line in shapes.items()],
            next_step="start from the model: sealift init DIR --model F, and write the shape into [[model.inputs]]",
        )
    shape = next(iter(shapes), None)
    if shape is None or len(names) != 1:
        notes.check.append("TorchScript tells no shapes: complete datatype and shape of [[model.inputs]]")
        return tuple(TensorSpec(name=name, datatype="FP32", shape=("batch", 1)) for name in names)
    notes.understood.append(f"input shape: {list(shape)}, in line {shapes[shape]}")
    return (TensorSpec(name=names[0], datatype="FP32", shape=("batch", *shape[1:])),)


def _warm_up_shapes(script: Script) -> dict[tuple[int, ...], int]:
    """Shapes of made-up inputs with a first axis of 1, with the line of each."""
    found: dict[tuple[int, ...], int] = {}
    for node in ast.walk(script.tree):
        if isinstance(node, ast.Call) and script.dotted(node.func) in SHAPE_MAKERS:
            arguments = (
                node.args[0].elts
                if node.args and isinstance(node.args[0], ast.Tuple | ast.List)
                else node.args
            )
            sizes = [each.value if isinstance(each, ast.Constant) else None for each in arguments]
            if len(sizes) > 1 and sizes[0] == 1 and all(isinstance(size, int) and size > 0 for size in sizes):
                found.setdefault(tuple(int(str(size)) for size in sizes), node.lineno)
    return found


def _tell_input(given: Symbol, declared: Declared, extracted: Extracted | str, notes: _Notes) -> None:
    notes.understood += declared.understood
    notes.check += declared.check
    if declared.input is not None:
        if isinstance(extracted, Extracted):
            notes.understood.append(
                f"its own preparation stands in {HANDLER}, not used: the declaration says the same"
            )
        return
    where = f" (line {given.line}: {given.text})" if isinstance(given, Unknown) and given.line else ""
    if isinstance(extracted, Extracted):
        notes.check.append(
            f"the preparation is no declaration{where}: the script's own code runs, as {HANDLER}"
        )
    else:
        notes.check.append(f"the preparation was not understood{where}, and inputs are tensors: {extracted}")


def _tell_rest(script: Script, answering: Answering, notes: _Notes) -> None:
    notes.understood += answering.understood
    notes.check += answering.check
    for node in ast.walk(script.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "run":
            said = {
                each.arg: each.value.value for each in node.keywords if isinstance(each.value, ast.Constant)
            }
            if isinstance(port := said.get("port"), int):
                where = " on every address" if said.get("host") == "0.0.0.0" else ""  # noqa: S104 - it is read
                notes.check.append(
                    f"it listens on port {port}{where}; a release listens on 127.0.0.1:8000 unless the box says "
                    f"otherwise (sealift config set NAME port={port})"
                )
