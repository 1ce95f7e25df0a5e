"""What methods, attributes and indices give, by what they are called on."""

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
    numbers_of,
)

_SAME_RESULT: Final = frozenset(
    ("item", "tolist", "numpy", "cpu", "detach", "squeeze", "flatten", "ravel", "float", "astype", "reshape")
)
PATHS: Final[dict[str, Callable[[list[Any]], Any]]] = {
    "os.path.join": lambda given: Path(*map(str, given)),
    "os.path.dirname": lambda given: Path(given[0]).parent,
    "os.path.abspath": lambda given: Path(given[0]),
    "os.path.realpath": lambda given: Path(given[0]),
    "os.fspath": lambda given: given[0],
    "pathlib.Path": lambda given: Path(*map(str, given)),
}


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
            return replace(receiver, what="best" if key == 0 else "index")
        case Result(what="values") if _is_index(key):
            return replace(receiver, what="best")
        case Result(what="values"):
            return _column(receiver, key)
        case Opened() | Known(value=list() | dict()) if isinstance(key, Result) and key.what == "index":
            return replace(key, what="label", labels=receiver)
        case Result(what="index" | "score" | "best"):
            return receiver
        case Result(what="label") if key in (1, -1):  # of ["n01440764", "tench"] the word
            return receiver
        case Known(value=list() | tuple() | dict()):
            return _known_item(receiver.value, key)
        case _:
            return None


def path(name: str, arguments: Arguments) -> Symbol | None:
    """A path of parts that are all known, by the name of what joins or changes them."""
    values = [each.value for each in arguments.given if isinstance(each, Known)]
    if len(values) != len(arguments.given) or not all(isinstance(value, str | Path) for value in values):
        return None
    found = PATHS[name](values) if values else None
    return Known(found) if found is not None else None


def _is_index(key: object) -> bool:
    """`[best]`, or `[0, best]`."""
    last = key[-1] if isinstance(key, tuple) and key else key
    return isinstance(last, Result) and last.what == "index"


def _sent_method(sent: Sent, name: str, arguments: Arguments) -> Symbol | None:
    key = arguments.constant(0)
    if name == "get" and sent.form == "json" and not sent.field and isinstance(key, str):
        default = numbers_of(arguments.constant(1))
        return Sent("json", key, default=default[0] if default and len(default) == 1 else None)
    if name == "read":
        return replace(sent, is_stream=False)
    return sent if name in ("encode", "decode", "strip", "getvalue") else None


def _known_method(known: Known, name: str, arguments: Arguments) -> Symbol | None:
    value = known.value
    if isinstance(value, Path) and name in ("resolve", "absolute", "expanduser"):
        return known
    if isinstance(value, Path) and name == "joinpath":
        return path("pathlib.Path", Arguments((known, *arguments.given)))
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
    if name == "sum" and result.activation == "exp":
        return result
    if name in ("max", "topk"):
        by_axis = name == "topk" or arguments.get(0, "dim") is not None
        return replace(result, what="pair" if by_axis else "best")
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


def fields_of(value: Symbol) -> Fields | None:
    """A row (`[a, b]`, `[[a, b]]`) of fields of the JSON that was sent."""
    inner = value.value if isinstance(value, Known) else None
    while isinstance(inner, list) and len(inner) == 1 and isinstance(inner[0], list):
        inner = inner[0]
    if not isinstance(inner, list) or not inner or not _are_fields(inner):
        return None
    names = tuple(each.field for each in inner)
    if len(set(names)) != len(names):
        return None
    missing = tuple(each.default for each in inner)
    return Fields(names, missing, (1.0,) * len(names), (0.0,) * len(names))


def _are_fields(values: list[object]) -> bool:
    return all(isinstance(each, Sent) and each.form == "json" and each.field for each in values)
