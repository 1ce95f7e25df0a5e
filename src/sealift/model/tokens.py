"""`{"text": ..., "pair": ...}` -> token ids, mask and types, by the tokenizer.json of the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sealift.errors import InvalidInput, ModelError
from sealift.model.arrays import JsonValue, Prepared
from sealift.model.datatypes import NUMPY_OF
from sealift.model.declaration import TextInput
from sealift.model.padding import PadRule
from sealift.model.signature import Axis, Signature, TensorSpec
from sealift.model.tensors import describe
from sealift.model.text import read_texts

_INTEGERS: Final = ("INT64", "INT32")


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A loaded tokenizer.json that never pads, and cuts where that is declared.

    `limit`: the most tokens of an item, the special ones included; None: as many as there are.
    """

    encode: Any
    limit: int | None
    pad_id: int
    pad_type_id: int
    pads_before: bool


class TokenPreparation:
    """Tokenise, check or cut the length, fill the model's inputs; safe from several threads at once.

    Rows are as long as their text, or as long as the graph demands. `pads` says how rows of several requests
    become equally long; it is empty where the model has no mask to tell a filler from a token.

    Args:
        declared, signature: must have passed `token_problems` with the file at `path`.
        path: tokenizer.json.
    Raises: ModelError: the file is no tokenizer, or does not have what is declared.
    """

    def __init__(self, declared: TextInput, path: Path, signature: Signature) -> None:
        self._declared = declared
        self._specs = signature.inputs
        self._tokenizer = _tokenizer(declared, path, signature)
        self._length = _fixed_length(declared, signature)
        first = signature.inputs[0].shape
        self._added: frozenset[Axis] = frozenset({"?"})
        if first is not None:
            self._added = frozenset(first[:1]) if len(first) > 1 else frozenset()
        self._fill = {
            declared.ids: self._tokenizer.pad_id,
            declared.mask: 0,
            declared.types: self._tokenizer.pad_type_id,
        }
        self.pads: Mapping[str, PadRule] = self._rules()

    def __call__(self, payload: bytes | JsonValue) -> Prepared:
        """One item -> every input, [1, tokens] (or [tokens] where the model has no batch axis).

        Raises: InvalidInput: no text, a pair missing or not taken, too many tokens (`too_long`).
        """
        text, pair = read_texts(payload, self._declared.pair)
        try:
            found = self._tokenizer.encode(text, pair)
        except Exception as error:  # the library raises nothing narrower
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            message = f"text: the model's tokenizer does not take it ({reason})"
            raise InvalidInput(message, code="invalid_text", field="text") from error
        self._check_length(len(found.ids))
        values = {
            self._declared.ids: found.ids,
            self._declared.mask: found.attention_mask,
            self._declared.types: found.type_ids,
        }
        return Prepared({spec.name: self._row(spec, values[spec.name]) for spec in self._specs}, self._added)

    def _check_length(self, count: int) -> None:
        limit = self._tokenizer.limit
        if not count:
            raise InvalidInput("text: has no token in it", code="invalid_text", field="text")
        if limit is not None and count > limit:
            text = f"text: {count} tokens, the model takes {limit}; send a shorter one"
            raise InvalidInput(text, code="too_long", field="text")

    def _row(self, spec: TensorSpec, values: list[int]) -> NDArray[Any]:
        dtype = NUMPY_OF[spec.datatype]
        if self._length is None:
            row = np.array(values, dtype)
        else:
            row = np.full(self._length, self._fill[spec.name], dtype)
            start = self._length - len(values) if self._tokenizer.pads_before else 0
            row[start : start + len(values)] = values
        return row if spec.shape is not None and len(spec.shape) == 1 else row[np.newaxis]

    def _rules(self) -> dict[str, PadRule]:
        names = {spec.name for spec in self._specs}
        if self._length is not None or not self._added or self._declared.mask not in names:
            return {}
        before = self._tokenizer.pads_before
        return {name: PadRule(1, self._fill[name], before) for name in names}


def token_problems(declared: TextInput, path: Path, signature: Signature) -> Iterator[str]:
    """Names, datatypes and shapes of the inputs, and the tokenizer itself."""
    names = (declared.ids, declared.mask, declared.types)
    if declared.ids not in {spec.name for spec in signature.inputs}:
        found = ", ".join(spec.name for spec in signature.inputs) or "none"
        yield f"ids: the model has no input {declared.ids!r}, it has {found}; name the one for the token ids"
    for spec in signature.inputs:
        if spec.name not in names:
            text = f"a tokenizer fills {', '.join(names)}, the model also has {spec.name}"
            yield f"{text}; name it as ids, mask or types, or write a handler"
        elif spec.datatype not in _INTEGERS:
            yield f"tokens take an INT64 or INT32 input, {spec.name} is {describe(spec)}"
        elif spec.shape is not None and not 1 <= len(spec.shape) <= 2:
            yield f"tokens take an input of [batch, tokens] or [tokens], {spec.name} is {describe(spec)}"
        elif spec.shape is not None and len(spec.shape) == 2 and spec.shape[0] not in (1, *_names(spec)):
            yield f"a text is one row, {spec.name} is {describe(spec)}; export it with a dynamic first axis"
    fixed = _fixed_length(declared, signature)
    if fixed is not None and declared.max_length is not None and declared.max_length > fixed:
        yield f"max_length = {declared.max_length}, the model takes {fixed} tokens"
    try:
        _tokenizer(declared, path, signature)
    except ModelError as error:
        yield f"tokenizer: {error.message}"


def _names(spec: TensorSpec) -> tuple[str, ...]:
    return tuple(axis for axis in spec.shape or () if isinstance(axis, str))


def _fixed_length(declared: TextInput, signature: Signature) -> int | None:
    """How many tokens the graph demands, where its axis has a fixed size."""
    for spec in signature.inputs:
        if spec.name in (declared.ids, declared.mask, declared.types) and spec.shape:
            last = spec.shape[-1]
            if isinstance(last, int):
                return last
    return None


def _tokenizer(declared: TextInput, path: Path, signature: Signature) -> Tokenizer:
    """Raises: ModelError."""
    try:
        found = path.stat()
    except OSError as error:
        raise ModelError(f"{path.name} cannot be read: {error.strerror}") from error
    fixed = _fixed_length(declared, signature)
    return _loaded(path, (found.st_mtime_ns, found.st_size), declared, fixed)


@lru_cache(maxsize=4)
def _loaded(path: Path, _version: tuple[int, int], declared: TextInput, fixed: int | None) -> Tokenizer:
    """Read once for the check and for the service: a large vocabulary takes half a second."""
    library: Any = _from_file(path)
    padding, truncation = library.padding or {}, library.truncation or {}
    library.no_padding()
    library.no_truncation()
    limit = declared.max_length or fixed or truncation.get("max_length")
    special = library.num_special_tokens_to_add(declared.pair != "refused")
    if limit is not None and limit <= special:
        raise ModelError(f"{limit} tokens leave no room for a text: {special} are special ones")
    if declared.truncation:
        if limit is None:
            raise ModelError("truncation needs max_length: neither the model nor tokenizer.json says one")
        library.enable_truncation(limit, direction=truncation.get("direction", "right"))
    return Tokenizer(
        encode=library.encode,
        limit=limit,
        pad_id=_pad_id(library, declared, padding),
        pad_type_id=padding.get("pad_type_id", 0),
        pads_before=padding.get("direction") == "left",
    )


def _from_file(path: Path) -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise ModelError("the package tokenizers is not installed; pip install 'sealift[pack]'") from error
    try:
        return tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise ModelError(f"{path.name} is not a tokenizer.json: {error}") from error


def _pad_id(library: Any, declared: TextInput, padding: Mapping[str, Any]) -> int:
    if declared.pad_token is None:
        return int(padding.get("pad_id", 0))
    found = library.token_to_id(declared.pad_token)
    if found is None:
        raise ModelError(f"pad_token {declared.pad_token!r} is not in its vocabulary")
    return int(found)
