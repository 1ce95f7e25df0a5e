"""Pickle bytes -> inert values: an interpreter of the few opcodes that torch's state dicts need.

Connected side only. Nothing is ever imported or called: a global is only a name, REDUCE goes through the
caller's closed table, every other opcode is refused. Opcodes and stack effects: CPython `Lib/pickletools.py`.
"""

from __future__ import annotations

import io
import itertools
import pickletools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from sealift.errors import ModelError

PLAIN_WEIGHTS: Final = (
    "where it was trained, save plain tensors, torch.save(model.state_dict(), 'weights.pth') or "
    "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors'), and name [model] architecture; "
    "or export the model there to ONNX or TorchScript"
)
_MOST_OPCODES: Final = 1_000_000
_MOST_NAMES: Final = 5


@dataclass(frozen=True, slots=True)
class Global:
    """The name of something that a pickle mentions, e.g. `torch._utils._rebuild_tensor_v2`."""

    name: str


@dataclass(frozen=True, slots=True)
class Allowed:
    """What one pickle may ask for; the default allows plain values and nothing else.

    `calls` are the globals that may be mentioned and REDUCEd: each function is ours, gets the tuple of
    pickled arguments and raises ModelError where they do not fit. `names` may be mentioned only.
    `persistent` turns a persistent id into a value.
    """

    calls: Mapping[str, Callable[[tuple[object, ...]], object]] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    persistent: Callable[[object], object] | None = None


def load(stream: io.BytesIO, allowed: Allowed) -> object:
    """Read one pickle and leave the stream just behind its STOP.

    Time and memory are linear in the bytes read: values are shared, never copied or compared.

    Raises: ModelError: malformed, truncated, or it asks for anything outside `allowed` (named).
    """
    machine = _Machine(allowed)
    try:
        for name, argument in _opcodes(stream):
            machine.step(name, argument)
    except ValueError as error:  # what pickletools' readers raise on bytes that end or do not decode
        raise ModelError(f"the pickle inside the weights file is damaged: {_short(error)}") from error
    return machine.result()


def names_in(path: Path) -> tuple[str, ...]:
    """What a pickle would import, such as `os.system`: for messages. Nothing is run; a few names, as they come."""
    try:
        with path.open("rb") as stream:
            return names_of(stream)[:_MOST_NAMES]
    except OSError:
        return ()


def names_of(stream: IO[bytes]) -> tuple[str, ...]:
    """As `names_in`, all of them; of a pickle that is damaged further on, those before the damage."""
    found: dict[str, None] = {}
    texts: list[str] = []
    try:
        for opcode, argument, _ in itertools.islice(pickletools.genops(stream), _MOST_OPCODES):
            if opcode.name in ("GLOBAL", "INST"):
                found[_short(str(argument).replace(" ", "."))] = None
            elif opcode.name == "STACK_GLOBAL":
                found[_short(".".join(texts[-2:]))] = None
            elif isinstance(argument, str):
                texts = [*texts[-1:], argument]
    except (OSError, ValueError):
        pass
    return tuple(found)


def _opcodes(stream: io.BytesIO) -> Iterator[tuple[str, Any]]:
    """Each opcode's name and argument, up to STOP; an argument is read only for an opcode of the subset."""
    name = ""
    while name != "STOP":
        code = stream.read(1)
        opcode = _OPCODES.get(code.decode("latin-1"))
        name = opcode.name if opcode is not None else "?"
        if opcode is None or name not in _SUBSET:
            shown = repr(code) if name == "?" else name
            raise ModelError(f"the weights file uses the pickle opcode {shown}, which no state dict needs")
        if name == "GLOBAL":  # pickletools would undo escapes that no pickle module undoes
            yield name, f"{_line(stream)}.{_line(stream)}"
        else:
            yield name, opcode.arg.reader(stream) if opcode.arg is not None else None


def _line(stream: io.BytesIO) -> str:
    line = stream.readline(_MAX_NAME_BYTES)
    if not line.endswith(b"\n"):
        raise ValueError("a name does not end")
    return line[:-1].decode()


class _Machine:
    """The pickle stack, its marks and its memo."""

    def __init__(self, allowed: Allowed) -> None:
        self._allowed = allowed
        self._stack: list[object] = []
        self._marks: list[int] = []
        self._memo: dict[int, object] = {}

    def step(self, name: str, argument: Any) -> None:
        if name in _PUSH_ARGUMENT:
            self._stack.append(argument)
        elif name in _PUSH_NEW:
            self._stack.append(_PUSH_NEW[name]())
        elif name in _TUPLE_LENGTH:
            items = [self._pop() for _ in range(_TUPLE_LENGTH[name])]
            self._stack.append(tuple(reversed(items)))
        elif name in _ACTIONS:
            _ACTIONS[name](self, argument)

    def result(self) -> object:
        if len(self._stack) != 1 or self._marks:
            raise ModelError("the pickle inside the weights file leaves values behind")
        return self._stack[0]

    def _pop(self) -> object:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise ModelError("the pickle inside the weights file takes from an empty stack")
        return self._stack.pop()

    def _pop_to_mark(self) -> list[object]:
        if not self._marks:
            raise ModelError("the pickle inside the weights file closes a group that it never opened")
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _mark(self, _: object) -> None:
        self._marks.append(len(self._stack))

    def _tuple(self, _: object) -> None:
        self._stack.append(tuple(self._pop_to_mark()))

    def _get(self, index: int) -> None:
        if index not in self._memo:
            raise ModelError(f"the pickle inside the weights file recalls entry {index} before storing it")
        self._stack.append(self._memo[index])

    def _put(self, index: int | None) -> None:
        value = self._pop()
        self._stack.append(value)
        self._memo[len(self._memo) if index is None else index] = value

    def _stack_global(self, _: object) -> None:
        name, module = self._pop(), self._pop()
        self._global(f"{module}.{name}" if isinstance(name, str) and isinstance(module, str) else "?")

    def _global(self, name: str) -> None:
        if name not in self._allowed.calls and name not in self._allowed.names:
            raise ModelError(
                f"the weights file asks for {_short(name)}, no part of a state dict; nothing was run",
                next_step=PLAIN_WEIGHTS,
            )
        self._stack.append(Global(name))

    def _reduce(self, _: object) -> None:
        arguments, target = self._pop(), self._pop()
        if not isinstance(target, Global) or target.name not in self._allowed.calls:
            shown = target.name if isinstance(target, Global) else type(target).__name__
            raise ModelError(f"the weights file wants to call {_short(shown)}; nothing was run")
        if not isinstance(arguments, tuple):
            raise ModelError(f"the weights file calls {target.name} with something that is no tuple")
        self._stack.append(self._allowed.calls[target.name](arguments))

    def _persistent(self, _: object) -> None:
        if self._allowed.persistent is None:
            raise ModelError("the weights file holds a persistent id where none belongs")
        self._stack.append(self._allowed.persistent(self._pop()))

    def _set_item(self, _: object) -> None:
        value, key = self._pop(), self._pop()
        self._set([key, value])

    def _set_items(self, _: object) -> None:
        self._set(self._pop_to_mark())

    def _set(self, items: list[object]) -> None:
        target = self._stack[-1] if self._stack else None
        if not isinstance(target, dict) or len(items) % 2:
            raise ModelError("the pickle inside the weights file sets items of something that is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str):
                raise ModelError(f"a key in the weights file is a {type(key).__name__}, expected text")
            target[key] = value

    def _append(self, _: object) -> None:
        self._extend([self._pop()])

    def _appends(self, _: object) -> None:
        self._extend(self._pop_to_mark())

    def _extend(self, items: list[object]) -> None:
        target = self._stack[-1] if self._stack else None
        if not isinstance(target, list):
            raise ModelError("the pickle inside the weights file appends to something that is no list")
        target.extend(items)

    def _build(self, _: object) -> None:
        # The one attribute that torch sets on a state dict; its values are layer versions, of no use here.
        state = self._pop()
        target = self._stack[-1] if self._stack else None
        if not isinstance(target, dict) or not isinstance(state, dict) or set(state) - {"_metadata"}:
            raise ModelError("the weights file wants to set attributes of an object; nothing was run")


def _short(what: object) -> str:
    text = ascii(str(what))[1:-1]
    return text if len(text) <= 100 else text[:97] + "..."


_OPCODES: Final = {opcode.code: opcode for opcode in pickletools.opcodes}
_MAX_NAME_BYTES: Final = 1024
_NO_EFFECT: Final = frozenset({"PROTO", "FRAME", "STOP"})
_PUSH_ARGUMENT: Final = frozenset(
    {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"}
)
_PUSH_NEW: Final[dict[str, Callable[[], object]]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
_TUPLE_LENGTH: Final = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_ACTIONS: Final[dict[str, Callable[[_Machine, Any], None]]] = {
    "MARK": _Machine._mark,
    "TUPLE": _Machine._tuple,
    "BINGET": _Machine._get,
    "LONG_BINGET": _Machine._get,
    "BINPUT": _Machine._put,
    "LONG_BINPUT": _Machine._put,
    "MEMOIZE": _Machine._put,
    "GLOBAL": _Machine._global,
    "STACK_GLOBAL": _Machine._stack_global,
    "REDUCE": _Machine._reduce,
    "BINPERSID": _Machine._persistent,
    "SETITEM": _Machine._set_item,
    "SETITEMS": _Machine._set_items,
    "APPEND": _Machine._append,
    "APPENDS": _Machine._appends,
    "BUILD": _Machine._build,
}
_SUBSET: Final = _NO_EFFECT | _PUSH_ARGUMENT | {*_PUSH_NEW, *_TUPLE_LENGTH, *_ACTIONS}
