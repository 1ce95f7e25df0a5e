"""A PyTorch file -> a module that can be called, and nothing else that the file might want.

TorchScript is read by PyTorch's own C++ reader, which knows tensors and script objects only. `torch.export`
is looser (2.13): parts of an archive are unpickled without a guard, expressions are evaluated by sympy, and
operators are looked up by name. So an archive is looked through first, and what is no plain graph refused.
Weights alone (`state_dict`, a pickled module) are not loaded at all. torch is imported only here and in
`engine.torch`, and only when such a file is loaded.
"""

from __future__ import annotations

import json
import os
import re
import threading
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sealift.errors import ModelError

_FOREIGN = (Exception,)
"""PyTorch raises whatever it likes on a damaged file: the edge wraps it."""

_OPERATOR: Final = re.compile(
    r"torch\.ops\.(?!_)\w+\.\w+\.\w+|torch\.ops\.higher_order\.\w+|torch\.(_sym|sym)_\w+|math\.\w+|_operator\."
    r"(getitem|add|sub|mul|truediv|floordiv|mod|pow|neg|pos|eq|ne|lt|le|gt|ge|and_|or_|xor|not_|abs|[lr]shift)"
)
_EXPRESSION: Final = re.compile(r"[\w\s+\-*/%(),<>=&|~]{0,500}")
_WORD: Final = re.compile(r"[^\W\d]\w*")
_SYMPY: Final = re.compile(
    r"(?!.*__)([A-Z]\w*|[a-z]{1,5}\d+|oo|int_oo|positive|nonnegative|negative|nonzero|integer|real|evaluate)"
)
"""sympy evaluates what it reads: classes of its own and symbols pass, functions of Python do not."""
_NAME: Final = re.compile(r"(?!__)[\w.]{0,200}")
_NOT_PLAIN: Final = ("/data/aotinductor/", "/data/constants/custom_obj", "/data/constants/opaque_obj")

_EXPORT: Final = "torch.export.save(torch.export.export(module.eval(), example_inputs), 'model.pt2')"
_TO_SCRIPT: Final = (
    "build the module, load its weights, then torch.jit.trace(module.eval(), example).save('model.pt')"
)
_ONE_LOAD: Final = threading.Lock()
_FORCE: Final = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


def import_torch() -> Any:
    """Raises: ModelError: PyTorch is not installed where this runs."""
    try:
        import torch
    except ImportError as error:
        raise ModelError(
            f"the engine torch needs the package torch, which cannot be imported: {error}",
            next_step='name it among the application\'s own packages: [python] requirements, "torch==2.13.0"',
        ) from error
    return torch


def load_script(path: Path, device: str = "cpu") -> Any:
    """A TorchScript archive -> its module in evaluation mode.

    Raises: ModelError: the file is none, is damaged, or asks for operators that this PyTorch lacks.
    """
    _expect(path, "a TorchScript archive", lambda names: any("/code/" in f"/{name}" for name in names))
    torch = import_torch()
    try:
        with warnings.catch_warnings():
            # It is deprecated in favour of torch.export, and what many services of today are made of.
            warnings.simplefilter("ignore", DeprecationWarning)
            return torch.jit.load(str(path), map_location=device).eval()
    except _FOREIGN as error:
        raise _unloadable(path, torch, error) from error


def argument_names(path: Path) -> tuple[str, ...]:
    """Of a TorchScript module's `forward`, those with a default left out. Raises: ModelError: as `load_script`."""
    return required_arguments(load_script(path))


def required_arguments(module: Any) -> tuple[str, ...]:
    """The arguments of `forward` that must be given, without `self`."""
    arguments = module.forward.schema.arguments[1:]
    return tuple(argument.name for argument in arguments if not argument.has_default_value())


def load_exported(path: Path) -> Any:
    """A `torch.export` archive -> its ExportedProgram.

    Raises: ModelError: the file is none, is damaged, or holds more than a graph and its tensors.
    """
    names = _expect(path, "a torch.export archive", lambda names: any(map(_is_program, names)))
    _refuse_code(path, names)
    torch = import_torch()
    with _ONE_LOAD:
        before = os.environ.get(_FORCE)
        # torch.export.load unpickles with weights_only=False; this overrules it (torch/serialization.py).
        os.environ[_FORCE] = "1"
        try:
            return torch.export.load(str(path))
        except _FOREIGN as error:
            raise _unloadable(path, torch, error) from error
        finally:
            os.environ.pop(_FORCE)
            if before is not None:
                os.environ[_FORCE] = before


def flat_tensors(result: Any) -> list[tuple[str, Any]]:
    """What a module returned -> (name, tensor): one tensor, a tuple or list of them, or a dict of them.

    Names are `output`, `output_0` and so on, or the keys. Raises: ValueError: anything else.
    """
    torch = import_torch()
    if isinstance(result, torch.Tensor):
        return [("output", result)]
    if isinstance(result, dict):
        named = [(str(key), value) for key, value in result.items()]
    elif isinstance(result, list | tuple):
        named = [(f"output_{number}", value) for number, value in enumerate(result)]
    else:
        raise ValueError(f"the model returns a {type(result).__name__}")
    for name, value in named:
        if not isinstance(value, torch.Tensor):
            raise ValueError(f"the model returns a {type(value).__name__} as {name}; expected tensors")
    return named


def last_line(error: BaseException) -> str:
    """The line that says what went wrong: TorchScript's messages begin with a traceback of the model."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if re.match(r"\w*(Error|Exception): ", line)]
    return (said or lines or [type(error).__name__])[-1 if said else 0]


def _is_program(name: str) -> bool:
    return name.endswith("/archive_format") or name == "serialized_exported_program.json"


def _expect(path: Path, what: str, is_it: Any) -> list[str]:
    names = _entries(path, what)
    if is_it(names):
        return names
    if any(name.endswith("data.pkl") for name in names) and not any("/code/" in name for name in names):
        raise ModelError(
            f"{path.name} is a PyTorch checkpoint, a pickle that sealift never executes; expected {what}",
            next_step=_TO_SCRIPT,
        )
    raise ModelError(f"{path.name} is not {what}", next_step=f"{_TO_SCRIPT}; or {_EXPORT}")


def _entries(path: Path, what: str) -> list[str]:
    try:
        with path.open("rb") as file:
            start = file.read(2)
        if start.startswith(b"\x80"):
            raise ModelError(
                f"{path.name} is a Python pickle, which sealift never executes; expected {what}",
                next_step=_TO_SCRIPT,
            )
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    except (zipfile.BadZipFile, ValueError) as error:
        raise ModelError(
            f"{path.name} is not {what}, or is damaged: {error}", next_step="export or copy the model again"
        ) from error


def _refuse_code(path: Path, names: list[str]) -> None:
    problems = [f"{name}: more than a graph and its tensors" for name in names if _is_code(name)]
    try:
        with zipfile.ZipFile(path) as archive:
            for name in names:
                if name.endswith(".json"):
                    problems += (f"{name}: {text}" for text in _odd(json.loads(archive.read(name))))
    except (zipfile.BadZipFile, ValueError, RecursionError, NotImplementedError, OSError) as error:
        raise ModelError(
            f"{path.name} is damaged: {error}", next_step="export or copy the model again"
        ) from error
    if problems:
        raise ModelError(
            f"{path.name} holds what could run as code when it is loaded",
            problems=problems[:20],
            next_step=f"export a plain graph: {_EXPORT}",
        )


def _is_code(name: str) -> bool:
    return any(part in f"/{name}" for part in _NOT_PLAIN)


def _odd(value: Any) -> Iterator[str]:
    """Strings that PyTorch would look up, evaluate or write into Python, and that no export writes."""
    rules = {"target": _OPERATOR, "expr_str": _EXPRESSION, "name": _NAME}
    if isinstance(value, dict):
        for key, inner in value.items():
            rule = rules.get(key)
            if rule is not None and isinstance(inner, str) and not _fits(key, inner, rule):
                yield f"{key} {inner[:80]!r}"
            yield from _odd(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _odd(inner)


def _fits(key: str, text: str, rule: re.Pattern[str]) -> bool:
    """Parameters and buffers are targets, too: by the dotted name of what they are."""
    if key == "expr_str":
        plain = re.sub(r"'\w*'", "0", text)
        return bool(_EXPRESSION.fullmatch(plain)) and all(map(_SYMPY.fullmatch, _WORD.findall(plain)))
    if key == "target" and not text.startswith(("torch", "_operator", "math")):
        return _NAME.fullmatch(text) is not None
    return rule.fullmatch(text) is not None


def _unloadable(path: Path, torch: Any, error: Exception) -> ModelError:
    if "Weights only load failed" in str(error):
        return ModelError(
            f"{path.name}: some of its weights are Python pickles, which sealift never executes",
            next_step=f"export it again: {_EXPORT}",
        )
    return ModelError(
        f"{path.name}: PyTorch {torch.__version__} cannot load it: {last_line(error)}",
        next_step="export it again with the PyTorch that the service shall run on",
    )
