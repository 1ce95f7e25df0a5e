"""A Triton model repository -> `[models.NAME]` for each of its models.

Source: Triton's docs, user_guide/model_repository and model_configuration. A model folder holds `config.pbtxt` and one
folder for each version; the newest is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealift.errors import UsageError
from sealift.migrate.draft import Draft, ModelDraft
from sealift.migrate.engine_packages import with_engine_packages
from sealift.migrate.old_service import OldService
from sealift.migrate.pbtxt import Message, NotTextFormat, read_text_format
from sealift.model.datatypes import NUMPY_OF
from sealift.model.declaration import ClassesOutput, Output, TensorOutput
from sealift.model.signature import Axis, TensorSpec
from sealift.model.words import quoted
from sealift.project.scaffold import Source
from sealift.project.sections import NAME

CONFIG: Final = "config.pbtxt"
_FILES: Final = {"model.onnx": "onnxruntime", "model.pt": "pytorch", "model.xml": "openvino"}
_BACKENDS: Final = {
    "onnxruntime_onnx": "onnxruntime", "onnxruntime": "onnxruntime", "pytorch_libtorch": "pytorch",
    "pytorch": "pytorch", "openvino": "openvino",
}  # fmt: skip
_TYPES: Final = {"STRING": "BYTES"}
_WAYS_OUT: Final = {
    "ensemble": "serve its steps as models of their own and join them in a handler",
    "python": "its model.py is code: make it the handler of the model that it calls (docs/how-to/carry-a-handler.md)",
    "tensorrt": 'a TensorRT plan belongs to one GPU: take over the ONNX file it was built from, device = ["tensorrt"]',
    "tensorflow": "python -m tf2onnx.convert --saved-model FOLDER --output model.onnx, then init --model model.onnx",
}
_PLATFORM_KIND: Final = {
    "tensorrt_plan": "tensorrt", "tensorflow_savedmodel": "tensorflow", "tensorflow_graphdef": "tensorflow",
}  # fmt: skip
_IGNORED: Final = (
    "optimization", "sequence_batching", "model_warmup", "parameters", "response_cache", "rate_limiter",
    "version_policy",
)  # fmt: skip


def is_repository(folder: Path) -> bool:
    """Whether the folder, or a folder in it, is a model of Triton's."""
    return any(_model_folders(folder))


def read_triton(folder: Path) -> Draft:
    """Take over every model that can be.

    Raises: UsageError: a configuration that cannot be read (with its line), a model whose file is missing, or no model
        that can be taken over; all problems at once.
    """
    told = _Told([], [], [])
    models = [model for each in _model_folders(folder) if (model := _read_model(each, told)) is not None]
    if told.problems or not models:
        problems = told.problems or told.check
        raise UsageError(f"--from {folder}: the model repository cannot be taken over", problems=problems)
    files: dict[str, Source] = {model.labels: _labels_of(model) for model in models if model.labels}
    draft = Draft(
        "a Triton model repository",
        tuple(models),
        OldService(form="v2", path="/v2/models/{model}/infer"),
        files,
        tuple(told.understood),
        tuple(told.check),
    )
    return with_engine_packages(draft)


@dataclass(frozen=True, slots=True)
class _Told:
    understood: list[str]
    check: list[str]
    problems: list[str]


def _model_folders(folder: Path) -> Iterator[Path]:
    if _is_model(folder):
        yield folder
    else:
        yield from (entry for entry in sorted(folder.iterdir()) if entry.is_dir() and _is_model(entry))


def _is_model(folder: Path) -> bool:
    return (folder / CONFIG).is_file() or any(
        (version / name).is_file() for version in _versions(folder) for name in _FILES
    )


def _versions(folder: Path) -> list[Path]:
    """The version folders, the newest first."""
    found = [
        entry
        for entry in folder.iterdir()
        if entry.is_dir() and entry.name.isdigit() and entry.name[0] != "0"
    ]
    return sorted(found, key=lambda entry: int(entry.name), reverse=True)


def _read_model(folder: Path, told: _Told) -> ModelDraft | None:
    try:
        config = _config(folder)
    except (NotTextFormat, UnicodeDecodeError, OSError) as error:
        told.problems.append(f"{folder / CONFIG}: {error}")
        return None
    backend = _backend(config, folder)
    if backend in _WAYS_OUT:
        told.check.append(f"{folder.name}: {backend} cannot be taken over; {_WAYS_OUT[backend]}")
        return None
    if backend not in _BACKENDS.values():
        told.check.append(
            f"{folder.name}: the backend {quoted(backend)} cannot be taken over; export the model to ONNX"
        )
        return None
    file = _newest_file(folder, config, backend, told)
    name = _name_of(folder, config, told)
    if file is None or name is None:
        return None
    inputs, outputs = _specs(config, "input", told, folder), _specs(config, "output", told, folder)
    output, labels = _output(config, folder, name, told)
    _tell_rest(config, folder, told)
    return ModelDraft(
        file=file,
        place=f"{name}/{file.name}",
        name=name,
        inputs=inputs,
        outputs=outputs,
        output=output,
        labels=labels,
        device=_device(config, folder, told),
        batch_wait_ms=_wait_ms(config),
    )


def _config(folder: Path) -> Message:
    path = folder / CONFIG
    return read_text_format(path.read_text(encoding="utf-8")) if path.is_file() else Message(1)


def _backend(config: Message, folder: Path) -> str:
    said = config.text("backend") or config.text("platform")
    if not said:
        found = [
            kind
            for version in _versions(folder)
            for name, kind in _FILES.items()
            if (version / name).is_file()
        ]
        return found[0] if found else ""
    said = _PLATFORM_KIND.get(said, said)
    return _BACKENDS.get(said, said)


def _newest_file(folder: Path, config: Message, backend: str, told: _Told) -> Path | None:
    usual = next(name for name, kind in _FILES.items() if kind == backend)
    wanted = config.text("default_model_filename") or usual
    versions = _versions(folder)
    if not versions or Path(wanted).name != wanted or not (versions[0] / wanted).is_file():
        newest = versions[0].name if versions else "1"
        told.problems.append(f"{folder.name}: {folder / newest / wanted} is missing")
        return None
    older = ", ".join(version.name for version in versions[1:])
    told.understood.append(f"{folder.name}: version {versions[0].name}, {wanted} ({backend})")
    if older:
        told.check.append(f"{folder.name}: only the newest version is taken over; left behind: {older}")
    return versions[0] / wanted


def _name_of(folder: Path, config: Message, told: _Told) -> str | None:
    said = config.text("name") or folder.name
    name = said.lower().strip("._-")
    if not NAME.pattern.fullmatch(name):
        told.problems.append(
            f"{folder.name}: the name {quoted(said)} cannot be kept: expected {NAME.expected}"
        )
        return None
    if name != said:
        told.check.append(f"{said}: is called {name} here; clients name it in their requests")
    return name


def _specs(config: Message, key: str, told: _Told, folder: Path) -> tuple[TensorSpec, ...]:
    """As `[[model.inputs]]`; only TorchScript needs them, and Triton's own names there are INPUT__0, INPUT__1."""
    batched = any(size > 0 for size in config.integers("max_batch_size"))
    specs = []
    for number, tensor in enumerate(config.messages(key)):
        name = tensor.text("name") or f"{key.upper()}__{number}"
        said = tensor.text("data_type").removeprefix("TYPE_")
        datatype = _TYPES.get(said, said)
        if datatype not in NUMPY_OF:
            told.problems.append(
                f"{folder.name}: line {tensor.line}: data_type {quoted(said)} of {name} is not read here"
            )
        if tensor.messages("reshape"):
            told.check.append(f"{folder.name}: {name} has a reshape; here the model's own shape is asked for")
        dims = (tensor.messages("reshape") or (tensor,))[-1].integers(
            "shape" if tensor.messages("reshape") else "dims"
        )
        specs.append(TensorSpec(name=name, datatype=datatype, shape=_shape(dims, name, batched)))
    return tuple(specs)


def _shape(dims: tuple[int, ...], name: str, batched: bool) -> tuple[Axis, ...]:
    plain = "".join(letter if letter.isalnum() else "_" for letter in name).lower()
    axes = tuple(size if size > 0 else f"{plain}_{number}" for number, size in enumerate(dims))
    return ("batch", *axes) if batched else axes


def _output(config: Message, folder: Path, name: str, told: _Told) -> tuple[Output, str]:
    for tensor in config.messages("output"):
        file = tensor.text("label_filename")
        if not file:
            continue
        if Path(file).name != file or not (folder / file).is_file():
            told.problems.append(
                f"{folder.name}: line {tensor.line}: label_filename {quoted(file)} is missing"
            )
            continue
        told.understood.append(f"{folder.name}: labels of {tensor.text('name')} from {file}")
        return ClassesOutput(name=tensor.text("name") or None), f"{name}/{file}"
    return TensorOutput(), ""


def _labels_of(model: ModelDraft) -> Path:
    home = model.file.parent.parent
    return home / Path(model.labels).name


def _device(config: Message, folder: Path, told: _Told) -> tuple[str, ...]:
    kinds = [group.text("kind") for group in config.messages("instance_group")]
    if "KIND_GPU" not in kinds:
        return ()
    told.check.append(
        f'{folder.name}: it runs on a GPU today: device = ["cuda", "cpu"]; strict is ["cuda"] alone'
    )
    return ("cuda", "cpu")


def _wait_ms(config: Message) -> float | None:
    waits = [
        delay
        for group in config.messages("dynamic_batching")
        for delay in group.integers("max_queue_delay_microseconds")
    ]
    return waits[-1] / 1000 if waits else None


def _tell_rest(config: Message, folder: Path, told: _Told) -> None:
    for group in config.messages("instance_group"):
        if any(count > 1 for count in group.integers("count")):
            told.check.append(
                f"{folder.name}: instance_group count is not taken over; threads follow load here"
            )
    there = [key for key in _IGNORED if config.all(key)]
    if there:
        told.check.append(f"{folder.name}: not taken over: {', '.join(there)}")
