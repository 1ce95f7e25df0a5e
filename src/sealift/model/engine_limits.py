"""Releases of onnxruntime -> the newest ONNX that each reads; a model and a release -> what does not fit.

Standard library only; no engine is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from sealift.errors import ModelError
from sealift.model.engines import default_engine
from sealift.model.onnx_header import OnnxHeader, read_header
from sealift.model.service import ServedModel

ENGINE_PACKAGES: Final = ("onnxruntime", "onnxruntime-gpu")
"""The builds of the engine, by normalised name; a release has one of them."""
ML: Final = "ai.onnx.ml"

_RELEASED: Final[Mapping[tuple[int, int], tuple[int, int, int]]] = {
    (1, 16): (19, 9, 3),
    (1, 17): (20, 9, 4),
    (1, 18): (21, 10, 5),
    (1, 19): (21, 10, 5),
    (1, 20): (21, 10, 5),
    (1, 21): (22, 10, 5),
    (1, 22): (22, 10, 5),
    (1, 23): (23, 11, 5),
    (1, 24): (25, 13, 5),
    (1, 25): (26, 13, 5),
    (1, 26): (26, 13, 5),
    (1, 27): (26, 13, 5),
    (1, 28): (26, 13, 5),
    (1, 29): (26, 13, 5),
    (1, 30): (26, 13, 5),
    (1, 31): (26, 13, 5),
    (1, 32): (28, 14, 5),
}
"""Release -> opset, IR version, opset of ai.onnx.ml. Source: the newest patch of each was installed (1.16.3, 1.17.3,
1.18.1, ... 1.32.0) and given models of rising versions until it refused them."""


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """The highest opset of the default domain, IR version, and opset of `ai.onnx.ml` that an engine reads.

    0: it does not tell.
    """

    engine: str
    opset: int
    ir: int
    ml: int = 0


class NamedModel(Protocol):
    """What is read here of a model of a project, or of one in a release."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def path(self) -> Path: ...  # noqa: D102
    @property
    def engine(self) -> str: ...  # noqa: D102


def limits_of(version: str) -> EngineLimits | None:
    """Of a release of onnxruntime such as `1.20.1`; None: none that was tried."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    known = _RELEASED.get((numbers[0], numbers[1])) if len(numbers) > 1 else None
    return EngineLimits(f"onnxruntime {version}", *known) if known else None


def engine_misfits(header: OnnxHeader, limits: EngineLimits) -> tuple[str, ...]:
    """What of a model is too new for an engine: expected, found and what helps, one sentence each."""
    found = (
        (
            "opset",
            header.opsets.get("", 1),
            limits.opset,
            f"export it with opset_version={limits.opset}, or convert it: onnx.save("
            f"onnx.version_converter.convert_version(onnx.load(PATH), {limits.opset}), PATH)",
        ),
        (
            f"opset of {ML}",
            header.opsets.get(ML, 1),
            limits.ml,
            f'export it with target_opset={{"": {limits.opset}, "{ML}": {limits.ml}}}',
        ),
        (
            "IR version",
            header.ir,
            limits.ir,
            f"model = onnx.load(PATH); model.ir_version = {limits.ir}; onnx.save(model, PATH)",
        ),
    )
    return tuple(
        f"expected {what} {most} or older ({limits.engine}), found {number}; {remedy}"
        for what, number, most, remedy in found
        if most and number > most
    )


def engine_problems(models: Iterable[NamedModel], packages: Mapping[str, str]) -> tuple[str, ...]:
    """One sentence for everything in these models that the engine among `packages` does not read.

    Models of other engines, models that still have to be made, and an engine that was never tried are passed over.

    Args:
        packages: normalised name -> version, as resolved for the target.
    Raises: ModelError: a model cannot be read as ONNX.
    """
    version = next((packages[name] for name in ENGINE_PACKAGES if name in packages), "")
    limits = limits_of(version)
    return tuple(_problems(models, limits)) if limits else ()


def _problems(models: Iterable[NamedModel], limits: EngineLimits) -> Iterator[str]:
    for model in models:
        for label, path, engine in _files(model):
            if (engine or default_engine(path)) != "onnxruntime" or path.suffix != ".onnx":
                continue
            for misfit in engine_misfits(read_header(path), limits):
                yield f"{label} ({path.name}): {misfit}"


def _files(model: NamedModel) -> Iterator[tuple[str, Path, str]]:
    """What to call it, file and engine: the model's own, and those of its variants that are other files."""
    yield f"model {model.name}", model.path, model.engine
    if isinstance(model, ServedModel):
        for variant in model.variants:
            if variant.path != model.path:
                yield f"model {model.name}, variant {variant.name}", variant.path, variant.engine


def check_models(models: Iterable[NamedModel], packages: Mapping[str, str]) -> None:
    """Refuse models that are newer than the engine which the target gets.

    Args:
        packages: normalised name -> version, as resolved for the target.
    Raises: ModelError: everything that does not fit, in all models; or a model cannot be read as ONNX.
    """
    problems = engine_problems(models, packages)
    if problems:
        raise ModelError(
            "The target's engine is too old for the model.",
            next_step="change the models as the lines above say, or choose a [target] with a newer engine: "
            "glibc 2.28 or newer",
            problems=problems,
        )
