"""ServedModel -> Pipeline: what a request becomes before the engine, and an output after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sealift.errors import ModelError
from sealift.model.agreement import check_declaration
from sealift.model.answers import EmbeddingAnswer, TensorAnswer
from sealift.model.arrays import Arrays, JsonValue, Prepared
from sealift.model.classes import ClassesAnswer
from sealift.model.declaration import (
    ClassesOutput,
    EmbeddingOutput,
    ImageInput,
    ScoresOutput,
    TabularInput,
    TextInput,
)
from sealift.model.handler import HandlerAnswer, HandlerPreparation
from sealift.model.handler_load import Function, load_handler
from sealift.model.image import ImagePreparation
from sealift.model.padding import PadRule
from sealift.model.photo import MAX_PIXELS
from sealift.model.rows import chosen_output
from sealift.model.scores import ScoresAnswer
from sealift.model.service import ServedModel
from sealift.model.signature import Signature
from sealift.model.tabular import TabularPreparation
from sealift.model.tensors import is_raw, prepare_tensors
from sealift.model.text import TextPreparation
from sealift.model.tokens import TokenPreparation

Prepare = Callable[[bytes | JsonValue], Prepared]
Answer = Callable[[Arrays, Prepared], dict[str, Any]]
Many = Callable[[Arrays, int], list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Both ends of one model's run; safe from several threads at once as far as its handler is."""

    signature: Signature
    _prepare: Prepare
    _answer: Answer
    _takes_raw: bool
    _many: Many | None = None
    """`answers`, where the answer can be made for many rows at once, cheaper than for each."""

    @property
    def pads(self) -> Mapping[str, PadRule]:
        """How rows of different lengths become equally long; empty: such rows never share a run."""
        return self._prepare.pads if isinstance(self._prepare, TokenPreparation) else {}

    def prepare(self, payload: bytes | JsonValue) -> Prepared:
        """ONE item -> every model input, right dtype and rank, C-contiguous.

        `payload` is a raw body (`bytes`) or a decoded JSON value. `{"inputs": ...}` brings tensors itself,
        whatever kind is declared, unless a handler preprocesses: it gets everything.

        Raises: InvalidInput, TooLarge: the client's mistake. ModelFailed: the handler's.
        """
        if self._takes_raw and is_raw(payload):
            return prepare_tensors(self.signature, payload)
        return self._prepare(payload)

    def answer(self, outputs: Arrays, prepared: Prepared) -> dict[str, Any]:
        """The engine's outputs -> a JSON object that always has the key `prediction`.

        One item gives plain values. Several rows in one request give a list under every key, one entry a
        row (`threshold` stays one number).

        Raises: ModelFailed: outputs that no answer can be made of. InvalidInput: a handler's refusal.
        """
        return self._answer(outputs, prepared)

    def answers(self, outputs: Arrays, rows: int) -> list[dict[str, Any]]:
        """As `answer` for each of `rows` items that share a run: one after the other along the first axis.

        Raises: ModelFailed, InvalidInput: as `answer`, from the first item that has no answer.
        """
        if self._many is not None:
            return self._many(outputs, rows)
        item = Prepared({}, frozenset({self.signature.batch_axis or "?"}))
        return [
            self._answer({name: array[row : row + 1] for name, array in outputs.items()}, item)
            for row in range(rows)
        ]


_OwnAnswer = TensorAnswer | EmbeddingAnswer | ClassesAnswer | ScoresAnswer


def build_pipeline(model: ServedModel, *, max_pixels: int = MAX_PIXELS) -> Pipeline:
    """Load the handler, compile the declaration.

    Raises: ModelError: declaration, handler and signature do not fit; all problems at once.
    """
    problems = check_declaration(model)
    if problems:
        raise ModelError(
            f"model {model.name!r}: the project file and the model do not fit.",
            problems=problems,
            next_step="correct sealift.toml; sealift init shows the model's inputs and outputs",
        )
    functions = load_handler(model.handler) if model.handler is not None else {}
    preprocess = functions.get("preprocess")
    answer = _answer(model, functions.get("postprocess"))
    return Pipeline(
        signature=model.signature,
        _prepare=_preparation(model, preprocess, max_pixels),
        _answer=answer,
        _many=None if isinstance(answer, HandlerAnswer) else answer.many,
        _takes_raw=preprocess is None and not _declares_inputs(model),
    )


def _declares_inputs(model: ServedModel) -> bool:
    """A table with a field called `inputs` keeps that word for itself."""
    return isinstance(model.input, TabularInput) and any(c.name == "inputs" for c in model.input.columns)


def _preparation(model: ServedModel, preprocess: Function | None, max_pixels: int) -> Prepare:
    signature, declared = model.signature, model.input
    if preprocess is not None and model.handler is not None:
        is_image = isinstance(declared, ImageInput)
        return HandlerPreparation(preprocess, signature, model.handler.resolve().parent, is_image)
    if isinstance(declared, ImageInput):
        return ImagePreparation(declared, signature.inputs[0], max_pixels)
    if isinstance(declared, TabularInput):
        return TabularPreparation(declared, signature)
    if isinstance(declared, TextInput) and model.tokenizer is not None:
        return TokenPreparation(declared, model.tokenizer, signature)
    if isinstance(declared, TextInput):
        return TextPreparation(signature.inputs[0])
    return lambda payload: prepare_tensors(signature, payload)


def _answer(model: ServedModel, postprocess: Function | None) -> _OwnAnswer | HandlerAnswer:
    signature, declared = model.signature, model.output
    if postprocess is not None and model.handler is not None:
        return HandlerAnswer(postprocess, model.handler.resolve().parent)
    if isinstance(declared, ClassesOutput | ScoresOutput | EmbeddingOutput):
        spec = chosen_output(declared, signature)
        if spec is None:
            raise ModelError(f"model {model.name!r} has no output that {declared!r} could mean.")
        is_probability = spec.name in signature.probabilities
        if isinstance(declared, ClassesOutput):
            return ClassesAnswer(declared, spec, is_probability)
        if isinstance(declared, ScoresOutput):
            return ScoresAnswer(declared, spec, is_probability)
        return EmbeddingAnswer(declared, spec)
    return TensorAnswer(signature)
