"""A TorchServe archive's folder -> a project.

Source: TorchServe's model-archiver README (MAR-INF/MANIFEST.json) and `ts/torch_handler/` of 0.12: what the built-in
handlers do to their inputs and answers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from sealift.errors import ModelError, UsageError
from sealift.migrate.draft import HANDLER, LABELS, Draft, ModelDraft
from sealift.migrate.engine_packages import with_engine_packages
from sealift.migrate.labels import index_to_name
from sealift.migrate.old_service import OldService
from sealift.migrate.script_input import ORIENTATION, PILLOWS
from sealift.migrate.torchserve_handler import OwnHandler, read_handler
from sealift.model.declaration import ClassesOutput, ImageInput, TensorInput
from sealift.model.engines import SCRIPT_SUFFIXES, default_engine
from sealift.model.signature import TensorSpec
from sealift.model.words import listed, quoted
from sealift.project.scaffold import Source

IMAGE_NET: Final = ImageInput(
    size=(224, 224),
    resize=256,
    mean=(123.675, 116.28, 103.53),
    std=(58.395, 57.12, 57.375),
    decode=PILLOWS,
)
"""`image_classifier` and `image_segmenter`: Resize(256), CenterCrop(224), ToTensor, ImageNet's Normalize."""
_SOFTMAX: Final = ClassesOutput(activation="softmax")
ANSWERS: Final = "/predict answers prediction, label, probabilities and release"
_NOT_DECLARED: Final = {
    "object_detector": "photos of any size, boxes above 0.5: write a handler (docs/how-to/carry-a-handler.md)",
    "text_classifier": 'words by its own vocabulary: kind = "text" with a tokenizer.json, or a handler',
}
_SCRIPTED: Final = (
    "torch.jit.trace(module.eval(), example).save('model.pt'), then torch-model-archiver without --model-file"
)


@dataclass(slots=True)
class _Notes:
    understood: list[str] = field(default_factory=list)
    check: list[str] = field(default_factory=list)


def read_torchserve(folder: Path) -> Draft:
    """Take over the model of an unpacked archive.

    Raises:
        UsageError: the manifest cannot be read, or a file that it names is missing.
        ModelError: the model is in eager mode: weights that only its own code, or a pickle, makes a model of.
    """
    said = _manifest(folder)
    file = _model_file(folder, said)
    name = str(said.get("modelName") or "model")
    notes = _Notes([f"model: {file.name}, {name} {said.get('modelVersion', '')}".rstrip()])
    model = ModelDraft(file=file, place=_place(file))
    files: dict[str, Source] = {}
    labels = folder / "index_to_name.json"
    model, imports = _handled(model, folder, str(said.get("handler", "")), files, notes)
    if labels.is_file():
        words = index_to_name(labels)
        files[LABELS] = "".join(f"{word}\n" for word in words)
        model = replace(model, labels=LABELS)
        if not isinstance(model.output, ClassesOutput):
            model = replace(model, output=ClassesOutput())
        notes.understood.append(f"labels: {len(words)} of them, from {labels.name}")
    model = _with_inputs(model, notes)
    used = {"MAR-INF", file.name, labels.name, str(said.get("handler")), str(said.get("requirementsFile"))}
    rest = sorted(entry.name for entry in folder.iterdir() if entry.name not in used)
    if rest:
        notes.check.append(f"files that are left behind: {', '.join(rest)}")
    service = OldService(form="raw", path=f"/predictions/{name}")
    draft = Draft(
        "a TorchServe archive", (model,), service, files, tuple(notes.understood), tuple(notes.check)
    )
    pins = folder / str(said.get("requirementsFile") or "requirements.txt")
    return with_engine_packages(draft, imports if model.handler else (), pins)


def _manifest(folder: Path) -> Mapping[str, Any]:
    path = folder / "MAR-INF" / "MANIFEST.json"
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise UsageError("the archive has no MAR-INF/MANIFEST.json: it is no TorchServe archive") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"MAR-INF/MANIFEST.json cannot be read: {error}") from error
    model = found.get("model") if isinstance(found, dict) else None
    if not isinstance(model, dict):
        raise UsageError("MAR-INF/MANIFEST.json: expected an object model, found none")
    return model


def _model_file(folder: Path, said: Mapping[str, Any]) -> Path:
    name = str(said.get("serializedFile") or "")
    if said.get("modelFile"):
        raise ModelError(
            f"{quoted(name)} holds weights for the code in {quoted(str(said['modelFile']))} (eager mode), no model",
            next_step=_SCRIPTED,
        )
    if not name or Path(name).name != name or not (folder / name).is_file():
        raise UsageError(f"MAR-INF/MANIFEST.json: serializedFile {quoted(name)} is missing in the archive")
    file = folder / name
    if default_engine(file) not in ("torch", "onnxruntime") and file.suffix != ".pth":
        raise ModelError(f"serializedFile {quoted(name)}: expected TorchScript or ONNX", next_step=_SCRIPTED)
    return file


def _place(file: Path) -> str:
    return f"{file.stem}.pt" if file.suffix == ".pth" else file.name


def _handled(
    model: ModelDraft, folder: Path, handler: str, files: dict[str, Source], notes: _Notes
) -> tuple[ModelDraft, tuple[str, ...]]:
    """With what the handler does; and what its code imports."""
    own = folder / (handler.partition(":")[0])
    if handler and own.suffix == ".py" and own.name == handler.partition(":")[0] and own.is_file():
        return _own(model, read_handler(own), files, notes)
    built_in = handler.removesuffix(".py")
    if built_in == "image_classifier":
        notes.understood.append(
            "handler image_classifier: as TorchServe does it, 256, crop 224, ImageNet, softmax"
        )
        notes.check.append(f"answers were {{label: probability}}; {ANSWERS}")
        notes.check.append(ORIENTATION)
        return replace(model, input=IMAGE_NET, output=_SOFTMAX), ()
    if built_in == "image_segmenter":
        notes.understood.append("handler image_segmenter: shorter side 256, crop 224, ImageNet normalisation")
        notes.check.append(
            "its class per pixel is no answer here: outputs are tensors; write postprocess in a handler"
        )
        notes.check.append(ORIENTATION)
        return replace(model, input=IMAGE_NET), ()
    why = _NOT_DECLARED.get(
        built_in, f"expected {listed(['image_classifier', 'image_segmenter'])} or a Python file"
    )
    notes.check.append(f"handler {quoted(built_in)} is not taken over, inputs are tensors: {why}")
    return model, ()


def _own(
    model: ModelDraft, own: OwnHandler, files: dict[str, Source], notes: _Notes
) -> tuple[ModelDraft, tuple[str, ...]]:
    notes.understood += own.understood
    notes.check += own.check
    if own.text:
        files[HANDLER] = own.text
    if own.is_classifier or own.declared is not None:
        notes.check.append(ORIENTATION)
        declared = own.declared or IMAGE_NET
        spare = HANDLER if own.text else ""
        output = _SOFTMAX if own.is_classifier else model.output
        return replace(model, input=declared, output=output, spare_handler=spare), ()
    return replace(model, handler=HANDLER if own.text else ""), own.imports


def _with_inputs(model: ModelDraft, notes: _Notes) -> ModelDraft:
    """`[[model.inputs]]` to complete, where nothing declares them."""
    if Path(model.place).suffix not in SCRIPT_SUFFIXES or not isinstance(model.input, TensorInput):
        return model
    from sealift.model.torch_file import argument_names

    notes.check.append("TorchScript tells no shapes: complete datatype and shape of [[model.inputs]]")
    names = argument_names(model.file)
    return replace(
        model, inputs=tuple(TensorSpec(name=name, datatype="FP32", shape=("batch", 1)) for name in names)
    )
