"""What the functions that services call give, by their full names: files, constants, requests, answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from sealift.migrate import photo_rules
from sealift.migrate.symbols import (
    Arguments,
    Chain,
    Fields,
    Known,
    Model,
    Opened,
    Photo,
    Result,
    Sent,
    Symbol,
    Table,
    numbers_of,
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
_SAME_RESULT: Final = frozenset(
    ("item", "tolist", "numpy", "cpu", "detach", "squeeze", "flatten", "ravel", "float", "astype", "reshape")
)
_PATHS: Final[dict[str, Callable[[list[Any]], Any]]] = {
    "os.path.join": lambda given: Path(*map(str, given)),
    "os.path.dirname": lambda given: Path(given[0]).parent,
    "os.path.abspath": lambda given: Path(given[0]),
    "os.path.realpath": lambda given: Path(given[0]),
    "os.fspath": lambda given: given[0],
    "pathlib.Path": lambda given: Path(*map(str, given)),
}


def function(name: str, arguments: Arguments) -> Symbol | None:
    """What `NAME(...)` gives; None: nothing is known of it."""
    if name in _PATHS:
        return _path(name, arguments)
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


def method(receiver: Symbol, name: str, arguments: Arguments) -> Symbol | None:
    """What `receiver.NAME(...)` gives; None: nothing is known of it."""
    match receiver:
        case Photo():
            return photo_rules.method(receiver, name, arguments)
        case Sent():
            return _sent_method(receiver, name, arguments)
        case Opened():
            return receiver
        case Known():
            return _known_method(receiver, name, arguments)
        case Result():
            return _result_method(receiver, name, arguments)
        case Model():
            return receiver if name in ("eval", "to", "cuda", "cpu", "float", "half") else None
        case Fields():
            return receiver if name in ("astype", "reshape", "float", "to", "unsqueeze") else None
        case _:
            return None


def attribute(receiver: Symbol, name: str) -> Symbol | None:
    """What `receiver.NAME` is."""
    if isinstance(receiver, Known) and isinstance(receiver.value, Path) and name == "parent":
        return Known(receiver.value.parent)
    if isinstance(receiver, Sent) and name in ("stream", "file"):
        return replace(receiver, is_stream=True)
    return receiver if name in ("data", "T", "values") and isinstance(receiver, Result) else None


def indexed(receiver: Symbol, key: object) -> Symbol | None:
    """What `receiver[KEY]` is; the key is a constant, a tuple with None and slices, or a Result."""
    match receiver:
        case Photo():
            return photo_rules.indexed(receiver, key)
        case Sent(form="json", field="") if isinstance(key, str):
            return Sent("json", key)
        case Result(what="pair") if key in (0, 1):
            return replace(receiver, what="score" if key == 0 else "index")
        case Result(what="values") if isinstance(key, Result) and key.what == "index":
            return replace(receiver, what="score")
        case Result(what="values"):
            return _column(receiver, key)
        case Opened() | Known(value=list() | dict()) if isinstance(key, Result) and key.what == "index":
            return replace(key, what="label", labels=receiver)
        case Result(what="index" | "score"):
            return receiver
        case Known(value=list() | tuple() | dict()):
            return _known_item(receiver.value, key)
        case _:
            return None


def _path(name: str, arguments: Arguments) -> Symbol | None:
    values = [each.value for each in arguments.given if isinstance(each, Known)]
    if len(values) != len(arguments.given) or not all(isinstance(value, str | Path) for value in values):
        return None
    found = _PATHS[name](values) if values else None
    return Known(found) if found is not None else None


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
        return photo_rules.as_array(first) if name in _ARRAYS else None
    if isinstance(first, Known) and name in ("int", "float", "str"):
        return _constant_cast(name, first.value)
    return first if isinstance(first, Known | Result | Fields | Sent | Opened) else None


_CONSTANT_CASTS: Final[dict[str, Callable[[Any], object]]] = {"int": int, "float": float, "str": str}


def _constant_cast(name: str, value: object) -> Known | None:
    try:
        return Known(_CONSTANT_CASTS[name](value))
    except (TypeError, ValueError, OverflowError):
        return None


def _are_fields(values: list[object]) -> bool:
    return all(isinstance(each, Sent) and each.form == "json" and each.field for each in values)


def fields_of(value: Symbol) -> Fields | None:
    """A row (`[a, b]`, `[[a, b]]`) of fields of the JSON that was sent."""
    inner = value.value if isinstance(value, Known) else None
    while isinstance(inner, list) and len(inner) == 1 and isinstance(inner[0], list):
        inner = inner[0]
    if not isinstance(inner, list) or not inner or not _are_fields(inner):
        return None
    names = tuple(each.field for each in inner)
    return Fields(names, (1.0,) * len(names), (0.0,) * len(names)) if len(set(names)) == len(names) else None


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
        return method(first, name, Arguments(arguments.given[1:], arguments.named))

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


def _sent_method(sent: Sent, name: str, arguments: Arguments) -> Symbol | None:
    key = arguments.constant(0)
    if name == "get" and sent.form == "json" and not sent.field and isinstance(key, str):
        return Sent("json", key)
    if name == "read":
        return replace(sent, is_stream=False)
    return sent if name in ("encode", "decode", "strip", "getvalue") else None


def _known_method(known: Known, name: str, arguments: Arguments) -> Symbol | None:
    value = known.value
    if isinstance(value, Path) and name in ("resolve", "absolute", "expanduser"):
        return known
    if isinstance(value, Path) and name == "joinpath":
        return _path("pathlib.Path", Arguments((known, *arguments.given)))
    if isinstance(value, Path) and name in ("read_text", "open", "read_bytes"):
        return Opened(value)
    if (
        name in ("reshape", "astype", "view", "to", "tolist", "float", "unsqueeze")
        and numbers_of(value) is not None
    ):
        return known
    if isinstance(value, dict) and name == "get":
        key = arguments.get(0)
        return indexed(known, key if isinstance(key, Result) else arguments.constant(0))
    return known if fields_of(known) and name in ("reshape", "astype") else None


def _result_method(result: Result, name: str, arguments: Arguments) -> Symbol | None:
    if name in ("softmax", "sigmoid"):
        return replace(result, activation=name)
    if name == "argmax":
        return replace(result, what="index")
    if name in ("max", "topk"):
        by_axis = name == "topk" or arguments.get(0, "dim") is not None
        return replace(result, what="pair" if by_axis else "score")
    return result if name in _SAME_RESULT else None


def _column(result: Result, key: object) -> Result:
    """`[0]` is the first row; `[0, 1]` and `[0][1]` one of its values."""
    one = isinstance(key, tuple) and len(key) == 2 and all(isinstance(each, int) for each in key)
    return replace(result, what="score") if one or (isinstance(key, int) and key > 0) else result


def _known_item(value: object, key: object) -> Symbol | None:
    try:
        found = value[key]  # type: ignore[index]
    except (TypeError, LookupError):
        return None
    return found if isinstance(found, Sent | Known | Chain) else Known(found)


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
    "numpy.transpose": _method_of("transpose"),
    "torch.unsqueeze": _method_of("unsqueeze"),
    "numpy.argmax": _method_of("argmax"),
    "torch.argmax": _method_of("argmax"),
    "numpy.max": _method_of("max"),
    "torch.max": _method_of("max"),
    "max": _method_of("max"),
    "torch.topk": _method_of("topk"),
}
