"""ServedModels <-> the release's `service.json`: canonical order, paths relative to the release."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

import msgspec

from sealift.errors import MalformedBundle, ModelError
from sealift.model.declaration import Input, Output
from sealift.model.service import ServedModel, Variant
from sealift.model.signature import Signature

FORMAT: Final = 1
_FLOAT: Final = "$float"
"""JSON has no NaN, and a table may declare `missing = nan`: `{"$float": "nan"}` stands for it."""


class _Variant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    path: str
    engine: str = ""
    precision: str = ""


class _Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    path: str
    signature: Signature
    input: Input
    output: Output
    device: tuple[str, ...]
    handler: str | None = None
    tokenizer: str | None = None
    engine: str = ""
    variants: tuple[_Variant, ...] = ()


class _Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: int
    models: tuple[_Model, ...]


def dump_models(models: Sequence[ServedModel], root: Path) -> bytes:
    """UTF-8 JSON with sorted keys and a final newline; equal models give equal bytes.

    Raises: ModelError: a model, handler or tokenizer lies outside `root`, or two models share a name.
    """
    _refuse_twins([model.name for model in models])
    document = _Document(format=FORMAT, models=tuple(_to_record(model, root) for model in models))
    plain = _with_marked_floats(msgspec.to_builtins(document))
    return msgspec.json.encode(plain, order="sorted") + b"\n"


def load_models(data: bytes, root: Path) -> tuple[ServedModel, ...]:
    """The models with absolute paths under `root`; the files are not looked at.

    Raises: MalformedBundle: not this format, unknown or missing fields, or a path that leaves `root`.
    """
    try:
        plain = _with_real_floats(msgspec.json.decode(data))
        document = msgspec.convert(plain, _Document)
    except (msgspec.DecodeError, msgspec.ValidationError, ValueError, RecursionError) as error:
        raise MalformedBundle(f"service.json is not readable: {error}.") from error
    if document.format != FORMAT:
        raise MalformedBundle(
            f"service.json has format {document.format}, this sealift reads {FORMAT}.",
            next_step="serve the release with the sealift that it was packed with, or update sealift",
        )
    try:
        _refuse_twins([record.name for record in document.models])
    except ModelError as error:
        raise MalformedBundle(f"service.json: {error.message}") from error
    return tuple(_from_record(record, root) for record in document.models)


def _refuse_twins(names: Sequence[str]) -> None:
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        raise ModelError(f"several models are called {', '.join(map(repr, twins))}; names must differ.")


def _to_record(model: ServedModel, root: Path) -> _Model:
    return _Model(
        name=model.name,
        path=_relative(model.path, root),
        signature=model.signature,
        input=model.input,
        output=model.output,
        device=model.device,
        engine=model.engine,
        handler=None if model.handler is None else _relative(model.handler, root),
        tokenizer=None if model.tokenizer is None else _relative(model.tokenizer, root),
        variants=tuple(
            _Variant(
                name=each.name,
                path=_relative(each.path, root),
                engine=each.engine,
                precision=each.precision,
            )
            for each in model.variants
        ),
    )


def _from_record(record: _Model, root: Path) -> ServedModel:
    variants = tuple(
        Variant(each.name, _inside(each.path, root), each.engine, each.precision) for each in record.variants
    )
    model = ServedModel(
        name=record.name,
        path=_inside(record.path, root),
        signature=record.signature,
        input=record.input,
        output=record.output,
        device=record.device,
        engine=record.engine,
        handler=None if record.handler is None else _inside(record.handler, root),
        tokenizer=None if record.tokenizer is None else _inside(record.tokenizer, root),
        variants=variants,
    )
    return model.running_as(variants[0].name) if variants else model


def _relative(path: Path, root: Path) -> str:
    try:
        relative = path.absolute().relative_to(root.absolute())
    except ValueError:
        relative = None
    if relative is None or ".." in relative.parts or not relative.parts:
        raise ModelError(f"{path} does not lie inside {root}; a release carries only its own files.")
    return relative.as_posix()


def _inside(text: str, root: Path) -> Path:
    pure = PurePosixPath(text)
    if not text or "\0" in text or pure.is_absolute() or ".." in pure.parts or str(pure) != text:
        raise MalformedBundle(
            f"service.json names the path {text!r}; expected a plain path inside the release."
        )
    return root.absolute() / pure


def _with_marked_floats(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_marked_floats(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_with_marked_floats(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT: str(value)}
    return value


def _with_real_floats(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_FLOAT}:
            if value[_FLOAT] not in ("nan", "inf", "-inf"):
                raise ValueError(f"{value[_FLOAT]!r} is not nan, inf or -inf")
            return float(value[_FLOAT])
        return {key: _with_real_floats(inner) for key, inner in value.items()}
    return [_with_real_floats(inner) for inner in value] if isinstance(value, list) else value
