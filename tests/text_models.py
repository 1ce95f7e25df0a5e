"""A tiny tokenizer and a text model that uses it, both real: built here, nothing downloaded.

The model is an embedding, the mean over the tokens that the mask keeps, and a linear layer to two classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from tests.models_zoo import info, model, node, save, weights
from tokenizers import Tokenizer, models, pre_tokenizers, processors

SENTENCES = (
    "my card was lost and somebody uses it",
    "the transfer is late and nobody answers",
    "thank you the people at the bank were kind",
    "the money is back and I am glad",
)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
WIDTH = 6


def tokenizer() -> Tokenizer:
    """Word pieces: the words of `SENTENCES` and single letters; `[CLS] text [SEP] pair [SEP]`.

    The vocabulary is written down, not trained: the library's trainers break ties differently in every run.
    """
    words = sorted({word for sentence in SENTENCES for word in sentence.split()})
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    pieces = dict.fromkeys([*SPECIAL, *words, *letters, *(f"##{letter}" for letter in letters)])
    found = Tokenizer(models.WordPiece({piece: n for n, piece in enumerate(pieces)}, unk_token="[UNK]"))
    found.pre_tokenizer = pre_tokenizers.Whitespace()
    found.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return found


def write_tokenizer(folder: Path, **padding: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    made = tokenizer()
    if padding:
        made.enable_padding(**padding)
    path = folder / "tokenizer.json"
    made.save(str(path))
    return path


def text_model(
    folder: Path,
    *,
    length: int | str = "tokens",
    element: int = TensorProto.INT64,
    inputs: Sequence[str] = ("input_ids", "attention_mask", "token_type_ids"),
) -> Path:
    """`inputs` in the order ids, mask, types; the last ones may be missing."""
    shape = ("batch", length)
    ids, mask, types = (*inputs, "", "")[:3]
    nodes = [node("Gather", ["words", ids], ["word"])]
    words = "word"
    if types:
        nodes += [node("Gather", ["kinds", types], ["kind"]), node("Add", ["word", "kind"], ["both"])]
        words = "both"
    if mask:
        nodes += [
            node("Cast", [mask], ["kept_float"], to=TensorProto.FLOAT),
            node("Unsqueeze", ["kept_float", "last"], ["keep"]),
            node("Mul", [words, "keep"], ["masked"]),
            node("ReduceSum", ["masked", "first"], ["sum"], keepdims=0),
            node("ReduceSum", ["keep", "first"], ["count"], keepdims=0),
            node("Div", ["sum", "count"], ["mean"]),
        ]
    else:
        nodes.append(node("ReduceMean", [words], ["mean"], axes=[1], keepdims=0))
    nodes.append(node("MatMul", ["mean", "out"], ["logits"]))
    constants = [weights("words", 120, WIDTH), weights("out", WIDTH, 2, seed=8)]
    constants += [weights("kinds", 2, WIDTH, seed=9)] if types else []
    constants += [axes("last", 2), axes("first", 1)] if mask else []
    given = [info(name, element, shape) for name in inputs]
    proto = model(nodes, given, [info("logits", TensorProto.FLOAT, ("batch", 2))], constants)
    onnx.checker.check_model(proto)
    return save(proto, folder, "model.onnx")


def axes(name: str, value: int) -> TensorProto:
    return numpy_helper.from_array(np.array([value], np.int64), name)


PROJECT = """\
[project]
name = "letters"
version = "1.0.0"

[model]
path = "model.onnx"

[model.input]
kind = "text"
tokenizer = "tokenizer.json"
max_length = 12
truncation = true

[model.output]
kind = "classes"
labels = ["complaint", "praise"]
"""


def write_project(folder: Path) -> Path:
    text_model(folder, inputs=("input_ids", "attention_mask"))
    write_tokenizer(folder)
    (folder / "sealift.toml").write_text(PROJECT)
    return folder
