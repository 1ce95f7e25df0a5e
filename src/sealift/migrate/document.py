"""Draft -> the text of its `sealift.toml`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any

import msgspec

from sealift.migrate.draft import REQUIREMENTS, Draft, ModelDraft
from sealift.model.declaration import ImageInput, Input, Output, TabularInput
from sealift.model.engines import SCRIPT_SUFFIXES
from sealift.model.signature import TensorSpec


def project_document(draft: Draft, name: str) -> str:
    """The whole file: what was taken over as keys, what has to be looked at as comments."""
    several = bool(draft.models[0].name)
    lines = [
        f"# Taken over by sealift init --from ({draft.kind}). Every key: docs/reference/project-file.md",
        *(f"# CHECK: {_one_line(text)}" for text in draft.check),
        "",
        "[project]",
        f"name = {_toml(name)}",
        'version = "0.1.0"',
    ]
    for model in draft.models:
        lines += ["", *_model(model, f"models.{_key(model.name)}" if several else "model")]
    if REQUIREMENTS in draft.files:
        lines += ["", "[python]", f"requirements = {_toml(REQUIREMENTS)}"]
    lines += _settings(draft.models)
    lines += [
        "",
        "# [checks]",
        '# golden = "data/golden"          # inputs; the outputs are recorded at pack time',
    ]
    return "\n".join(lines) + "\n"


def _model(model: ModelDraft, table: str) -> Iterator[str]:
    yield f"[{table}]"
    yield f"path = {_toml(model.place)}"
    if model.device:
        yield f"device = {_toml(list(model.device))}"
    if PurePath(model.place).suffix in SCRIPT_SUFFIXES:
        yield from _tensors(f"{table}.inputs", model.inputs)
        yield from _tensors(f"{table}.outputs", model.outputs)
    yield from _input(model.input, f"{table}.input")
    yield from _output(model.output, model.labels, f"{table}.output")
    handler = "handler" if table == "model" else f"{table}.handler"
    if model.handler:
        yield from ("", f"[{handler}]", f"module = {_toml(model.handler)}")
    elif model.spare_handler:
        yield from (
            "",
            f"# The old service's own code does the same as [{table}.input]; to use it instead:",
            f"# [{handler}]",
            f"# module = {_toml(model.spare_handler)}",
        )


def _tensors(table: str, specs: Sequence[TensorSpec]) -> Iterator[str]:
    for spec in specs:
        yield from ("", f"[[{table}]]", f"name = {_toml(spec.name)}", f"datatype = {_toml(spec.datatype)}")
        yield f"shape = {_toml(list(spec.shape or ()))}"


def _input(declared: Input, table: str) -> Iterator[str]:
    kind = type(declared).__struct_config__.tag
    yield from ("", f"[{table}]", f"kind = {_toml(kind)}")
    if isinstance(declared, ImageInput):
        values = msgspec.to_builtins(declared)
        for key in ("size", "resize", "interpolation", "mean", "std", "layout", "channels"):
            if values[key] is not None:
                yield f"{key} = {_toml(values[key])}"
        yield f"decode = {_toml(declared.decode):<25}# the default, fast, is three times faster and close to it"
    elif isinstance(declared, TabularInput):
        for column in declared.columns:
            yield from ("", f"[[{table}.columns]]")
            yield from (
                f"{key} = {_toml(value)}"
                for key, value in msgspec.to_builtins(column).items()
                if value is not None
            )


def _output(declared: Output, labels: str, table: str) -> Iterator[str]:
    yield from ("", f"[{table}]")
    for key, value in msgspec.to_builtins(declared).items():
        if value is not None and value != [] and key != "labels":
            yield f"{key} = {_toml(value)}"
    if labels:
        yield f"labels = {_toml(labels)}"


def _settings(models: Sequence[ModelDraft]) -> list[str]:
    lines = []
    for model in models:
        if model.batch_wait_ms is not None:
            prefix = f"models.{_key(model.name)}." if len(models) > 1 else ""
            lines.append(f"{prefix}batch_wait_ms = {{ default = {model.batch_wait_ms:g} }}")
    return ["", "[settings]", *lines] if lines else []


def _key(name: str) -> str:
    return _toml(name) if "." in name else name


def _one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _toml(value: Any) -> str:
    """A string, number or array as TOML; JSON's escapes are TOML's too, DEL aside."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
