"""What the functions that services call give, by their full names: files, constants, requests, answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from sealift.migrate import photo_rules, script_methods
from sealift.migrate.symbols import (
    Arguments,
    Chain,
    Fields,
    Known,
    Opened,
    Photo,
    Result,
    Sent,
    Symbol,
    Table,
)

LOADERS: Final = {
    "torch.jit.load": "torch.jit.load",
    "torch.load": "torch.load",
    "torch.export.load": "torch.export.load",
    "onnxruntime.InferenceSession": "onnxruntime.InferenceSession",
    "pickle.load": "pickle.load",
    "joblib.load": "joblib.load",
    "tensorflow.keras.models.load_model": "keras load_model",
    "keras.models.load_model": "keras load_model",
    "tensorflow.saved_model.load": "tf.saved_model.load",
}
LOADING_METHODS: Final = ("read_model", "compile_model")
"""Of `openvino.Core()`, where they get a path."""
SHAPE_MAKERS: Final = frozenset(
    (
        "torch.randn", "torch.rand", "torch.zeros", "torch.ones", "torch.empty", "numpy.zeros", "numpy.ones",
        "numpy.random.rand", "numpy.random.randn", "numpy.empty", "numpy.random.random",
    )
)  # fmt: skip
"""What warms a model up: their shapes are those of its input."""
_CASTS: Final = frozenset(
    ("int", "float", "str", "round", "list", "tuple", "bool", "bytes", "numpy.squeeze", "numpy.round")
)
_ARRAYS: Final = frozenset(
    (
        "numpy.array", "numpy.asarray", "numpy.ascontiguousarray", "numpy.float32", "numpy.float64", "torch.from_numpy",
        "torch.tensor", "torch.as_tensor", "torch.Tensor", "torchvision.transforms.functional.pil_to_tensor",
    )
)  # fmt: skip
_ACTIVATIONS: Final = ("softmax", "sigmoid", "expit")


def function(name: str, arguments: Arguments) -> Symbol | None:
    """What `NAME(...)` gives; None: nothing is known of it."""
    if name in script_methods.PATHS:
        return script_methods.path(name, arguments)
    if name.rpartition(".")[2] in _ACTIVATIONS:
        return _activated(name.rpartition(".")[2], arguments)
    if name.startswith("torchvision.transforms."):
        return _transform(name.rpartition(".")[2], arguments)
    rule = _FUNCTIONS.get(name)
    if rule is not None:
        return rule(arguments)
    if name in _CASTS or name in _ARRAYS:
        return _cast(name, arguments)
    return None


def _exp(arguments: Arguments) -> Symbol | None:
    first = arguments.get(0)
    if isinstance(first, Result) and first.what == "values" and first.activation in ("", "shifted"):
        return replace(first, activation="exp")
    return None


def _activated(name: str, arguments: Arguments) -> Symbol | None:
    first = arguments.get(0)
    activation = "softmax" if name == "softmax" else "sigmoid"
    return replace(first, activation=activation) if isinstance(first, Result) else None


def _transform(name: str, arguments: Arguments) -> Symbol | None:
    if name != "Compose":
        return Chain(((name, arguments, 0),))
    steps = arguments.get(0)
    parts = steps.value if isinstance(steps, Known) else None
    if not isinstance(parts, list) or not all(isinstance(part, Chain) for part in parts):
        return None
    return Chain(tuple(step for part in parts for step in part.steps))


def _cast(name: str, arguments: Arguments) -> Symbol | None:
    first = arguments.get(0)
    if isinstance(first, Photo):
        datatype = str(arguments.constant(1, "dtype") or (name if "float" in name else ""))
        return photo_rules.as_array(first, datatype) if name in _ARRAYS else None
    if isinstance(first, Known) and name in ("int", "float", "str"):
        return _constant_cast(name, first.value)
    return first if isinstance(first, Known | Result | Fields | Sent | Opened) else None


_CONSTANT_CASTS: Final[dict[str, Callable[[Any], object]]] = {"int": int, "float": float, "str": str}


def _constant_cast(name: str, value: object) -> Known | None:
    try:
        return Known(_CONSTANT_CASTS[name](value))
    except (TypeError, ValueError, OverflowError):
        return None


def _decoded(arguments: Arguments) -> Symbol | None:
    first = arguments.get(0)
    return Sent("base64", first.field) if isinstance(first, Sent) and first.form == "json" else None


def _streamed(arguments: Arguments) -> Symbol | None:
    first = arguments.get(0)
    return replace(first, is_stream=True) if isinstance(first, Sent) else None


def _photo(arguments: Arguments) -> Symbol | None:
    first = arguments.get(0)
    if isinstance(first, Sent) and (first.is_stream or first.form == "file"):
        return Photo(first)
    return None


def _upright(arguments: Arguments) -> Symbol | None:
    first = arguments.get(0)
    return replace(first, is_upright=True) if isinstance(first, Photo) and not first.axes else None


def _method_of(name: str) -> Callable[[Arguments], Symbol | None]:
    """`np.transpose(x, ...)` as `x.transpose(...)`."""

    def call(arguments: Arguments) -> Symbol | None:
        first = arguments.get(0)
        if first is None:
            return None
        return script_methods.method(first, name, Arguments(arguments.given[1:], arguments.named))

    return call


def _expanded(arguments: Arguments) -> Symbol | None:
    first = arguments.get(0)
    if arguments.constant(1, "axis") != 0:
        return None
    if isinstance(first, Photo):
        return photo_rules.indexed(first, None)
    return first if isinstance(first, Fields | Known) else None


def _opened(arguments: Arguments) -> Symbol | None:
    path = arguments.constant(0, "file")
    return Opened(Path(path)) if isinstance(path, str | Path) else None


def _same(arguments: Arguments) -> Symbol | None:
    first = arguments.get(0)
    return first if isinstance(first, Opened | Sent | Table | Known) else None


def _default(arguments: Arguments) -> Symbol | None:
    return arguments.get(1, "default")


def _request_json(_: Arguments) -> Symbol:
    return Sent("json")


def _request_data(_: Arguments) -> Symbol:
    return Sent("raw")


def _answer(arguments: Arguments) -> Symbol | None:
    if arguments.named and not arguments.given:
        return Table(dict(arguments.named))
    first = arguments.get(0)
    return first if isinstance(first, Table | Result) else None


_FUNCTIONS: Final[dict[str, Callable[[Arguments], Symbol | None]]] = {
    "base64.b64decode": _decoded,
    "base64.urlsafe_b64decode": _decoded,
    "base64.decodebytes": _decoded,
    "io.BytesIO": _streamed,
    "PIL.Image.open": _photo,
    "PIL.ImageOps.exif_transpose": _upright,
    "open": _opened,
    "json.load": _same,
    "json.loads": _same,
    "os.environ.get": _default,
    "os.getenv": _default,
    "flask.request.get_json": _request_json,
    "flask.request.get_data": _request_data,
    "flask.jsonify": _answer,
    "json.dumps": _answer,
    "numpy.expand_dims": _expanded,
    "numpy.exp": _exp,
    "numpy.sum": _method_of("sum"),
    "numpy.transpose": _method_of("transpose"),
    "torch.unsqueeze": _method_of("unsqueeze"),
    "numpy.argmax": _method_of("argmax"),
    "torch.argmax": _method_of("argmax"),
    "numpy.max": _method_of("max"),
    "torch.max": _method_of("max"),
    "max": _method_of("max"),
    "torch.topk": _method_of("topk"),
}
