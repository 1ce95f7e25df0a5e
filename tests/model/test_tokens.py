"""Texts with a tokenizer: what the library says, checked against the model and cut or padded as declared."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto
from tests.text_models import SENTENCES, text_model, tokenizer, write_tokenizer

from sealift.errors import InvalidInput, ModelError
from sealift.model.agreement import check_declaration
from sealift.model.declaration import TensorOutput, TextInput
from sealift.model.onnx_graph import adapt
from sealift.model.padding import pad_to_same
from sealift.model.pipeline import Pipeline, build_pipeline
from sealift.model.service import ServedModel

TWO = ("input_ids", "attention_mask")
LONG = " ".join(SENTENCES)


def served(
    folder: Path, declared: TextInput, padding: dict[str, Any] | None = None, **kind: Any
) -> ServedModel:
    """A text model with a tokenizer beside it, declared as given."""
    adapted = adapt(text_model(folder / "source", **kind), folder / "adapted")
    path = write_tokenizer(folder, **(padding or {}))
    return ServedModel(
        name="letters",
        path=adapted.path,
        signature=adapted.signature,
        input=declared,
        output=TensorOutput(),
        tokenizer=path,
    )


def pipeline(folder: Path, declared: TextInput | None = None, **kind: Any) -> Pipeline:
    return build_pipeline(served(folder, declared or TextInput(), **kind))


def test_ids_mask_and_types_are_the_librarys_own(tmp_path: Path) -> None:
    found = pipeline(tmp_path, TextInput(pair="optional")).prepare({"text": "my card", "pair": "is late"})
    wanted = tokenizer().encode("my card", "is late")
    assert found.inputs["input_ids"].tolist() == [wanted.ids]
    assert found.inputs["attention_mask"].tolist() == [wanted.attention_mask]
    assert found.inputs["token_type_ids"].tolist() == [wanted.type_ids]
    assert 1 in wanted.type_ids
    assert found.added_axes == {"batch"}


def test_a_raw_body_is_a_text(tmp_path: Path) -> None:
    prepared = pipeline(tmp_path, inputs=TWO).prepare(b"my card was lost")
    assert prepared.inputs["input_ids"].tolist() == [tokenizer().encode("my card was lost").ids]
    assert prepared.inputs.keys() == set(TWO)


@pytest.mark.parametrize(("element", "dtype"), [(TensorProto.INT64, np.int64), (TensorProto.INT32, np.int32)])
def test_the_datatype_is_the_models(tmp_path: Path, element: int, dtype: type) -> None:
    inputs = pipeline(tmp_path, element=element).prepare({"text": "glad"}).inputs
    assert {array.dtype.type for array in inputs.values()} == {dtype}
    assert all(array.flags.c_contiguous for array in inputs.values())


def test_inputs_may_have_other_names(tmp_path: Path) -> None:
    declared = TextInput(ids="tokens", mask="kept", types="segments")
    prepared = pipeline(tmp_path, declared, inputs=("tokens", "kept", "segments")).prepare({"text": "glad"})
    assert prepared.inputs.keys() == {"tokens", "kept", "segments"}


def test_too_long_a_text_is_refused_with_both_counts(tmp_path: Path) -> None:
    taken = pipeline(tmp_path, TextInput(max_length=8), inputs=TWO)
    with pytest.raises(InvalidInput) as caught:
        taken.prepare({"text": LONG})
    count = len(tokenizer().encode(LONG).ids)
    assert caught.value.message == f"text: {count} tokens, the model takes 8; send a shorter one"
    assert (caught.value.code, caught.value.field) == ("too_long", "text")
    assert taken.prepare({"text": "glad"}).inputs["input_ids"].shape[1] <= 8


def test_with_truncation_it_is_cut_and_keeps_its_special_tokens(tmp_path: Path) -> None:
    ids = (
        pipeline(tmp_path, TextInput(max_length=8, truncation=True))
        .prepare({"text": LONG})
        .inputs["input_ids"]
    )
    whole = tokenizer().encode(LONG).ids
    assert ids.tolist() == [[*whole[:7], 3]]


def test_a_fixed_length_is_filled_up(tmp_path: Path) -> None:
    """The graph says [batch, 16]: what is shorter gets fillers that the mask hides."""
    taken = pipeline(tmp_path, TextInput(pad_token="[UNK]"), length=16)
    inputs = taken.prepare({"text": "my card"}).inputs
    count = len(tokenizer().encode("my card").ids)
    assert inputs["input_ids"].shape == (1, 16)
    assert inputs["input_ids"][0, count:].tolist() == [1] * (16 - count)
    assert inputs["attention_mask"][0].tolist() == [1] * count + [0] * (16 - count)
    assert taken.pads == {}, "rows are equally long already"
    with pytest.raises(InvalidInput, match="the model takes 16"):
        taken.prepare({"text": LONG})


def test_the_tokenizers_own_filler_and_side_are_taken(tmp_path: Path) -> None:
    padding = {"pad_id": 3, "pad_token": "[SEP]", "pad_type_id": 1, "direction": "left", "length": 40}
    inputs = pipeline(tmp_path, padding=padding, length=16).prepare({"text": "my card"}).inputs
    count = len(tokenizer().encode("my card").ids)
    assert inputs["input_ids"][0, : 16 - count].tolist() == [3] * (16 - count)
    assert inputs["token_type_ids"][0, : 16 - count].tolist() == [1] * (16 - count)
    assert inputs["attention_mask"][0].tolist() == [0] * (16 - count) + [1] * count


def test_padded_rows_give_the_answers_that_they_give_alone(tmp_path: Path) -> None:
    model = served(tmp_path, TextInput())
    taken = build_pipeline(model)
    session = onnxruntime.InferenceSession(str(model.path))
    rows = [taken.prepare({"text": text}).inputs for text in (*SENTENCES, "glad")]
    assert len({row["input_ids"].shape for row in rows}) > 1
    padded = pad_to_same(rows, taken.pads)
    together = session.run(None, {name: np.concatenate([row[name] for row in padded]) for name in rows[0]})[0]
    alone = np.concatenate([session.run(None, row)[0] for row in rows])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_without_a_mask_rows_of_different_lengths_never_meet(tmp_path: Path) -> None:
    assert pipeline(tmp_path / "a", inputs=("input_ids",)).pads == {}
    assert pipeline(tmp_path / "b", inputs=TWO).pads.keys() == set(TWO)


def test_tensors_may_still_be_sent_as_they_are(tmp_path: Path) -> None:
    payload = {"inputs": {"input_ids": [2, 5, 3], "attention_mask": [1, 1, 1]}}
    assert pipeline(tmp_path, inputs=TWO).prepare(payload).inputs["input_ids"].tolist() == [[2, 5, 3]]


def test_threads_share_a_tokenizer(tmp_path: Path) -> None:
    taken = pipeline(tmp_path, TextInput(max_length=12, truncation=True), inputs=TWO)
    texts = [" ".join(SENTENCES[: 1 + n % 4]) for n in range(200)]
    alone = [taken.prepare({"text": text}).inputs["input_ids"].tolist() for text in texts]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda text: taken.prepare({"text": text}).inputs["input_ids"].tolist(), texts))
    assert found == alone


def test_an_empty_text_is_the_special_tokens_alone(tmp_path: Path) -> None:
    assert pipeline(tmp_path, inputs=TWO).prepare({"text": ""}).inputs["input_ids"].tolist() == [[2, 3]]


def test_text_that_is_no_unicode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="the model's tokenizer does not take it") as caught:
        pipeline(tmp_path, inputs=TWO).prepare({"text": "\ud800"})
    assert caught.value.code == "invalid_text"


@pytest.mark.parametrize(
    ("declared", "kind", "problem"),
    [
        (
            TextInput(ids="tokens"),
            {"inputs": TWO},
            "[model.input] ids: the model has no input 'tokens', it has input_ids, attention_mask; "
            "name the one for the token ids",
        ),
        (
            TextInput(mask="kept"),
            {"inputs": TWO},
            "[model.input] a tokenizer fills input_ids, kept, token_type_ids, the model also has "
            "attention_mask; name it as ids, mask or types, or write a handler",
        ),
        (
            TextInput(max_length=32),
            {"length": 16},
            "[model.input] max_length = 32, the model takes 16 tokens",
        ),
        (
            TextInput(pad_token="<pad>"),
            {},
            "[model.input] tokenizer: pad_token '<pad>' is not in its vocabulary",
        ),
        (
            TextInput(max_length=2),
            {},
            "[model.input] tokenizer: 2 tokens leave no room for a text: 2 are special ones",
        ),
        (
            TextInput(truncation=True),
            {},
            "[model.input] tokenizer: truncation needs max_length: neither the model nor tokenizer.json says one",
        ),
    ],
    ids=["ids", "another input", "length", "filler", "room", "truncation"],
)
def test_what_does_not_fit_is_said_at_pack(
    tmp_path: Path, declared: TextInput, kind: dict[str, Any], problem: str
) -> None:
    model = served(tmp_path, declared, **kind)
    assert problem in check_declaration(model)
    with pytest.raises(ModelError):
        build_pipeline(model)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"model": 5}', b"\xff\xfe", b"[PAD]\n[UNK]\n"])
def test_another_file_is_no_tokenizer(tmp_path: Path, content: bytes) -> None:
    model = served(tmp_path, TextInput())
    assert model.tokenizer is not None
    model.tokenizer.write_bytes(content)
    (problem,) = check_declaration(model)
    assert problem.startswith("[model.input] tokenizer: tokenizer.json is not a tokenizer.json: ")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    model = served(tmp_path, TextInput())
    assert model.tokenizer is not None
    model.tokenizer.unlink()
    (problem,) = check_declaration(model)
    assert problem == "[model.input] tokenizer: tokenizer.json cannot be read: No such file or directory"


def test_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    model = served(tmp_path, TextInput())
    assert check_declaration(model) == ()
    assert model.tokenizer is not None
    shutil.copyfile(model.path, model.tokenizer)
    assert len(check_declaration(model)) == 1


def test_a_worker_loads_these_libraries_with_its_first_model_that_needs_them(tmp_path: Path) -> None:
    """A table model's process pays nothing for photos and texts."""
    code = "import sys, sealift.model.pipeline; print(sorted({NAMES} & set(sys.modules)))"
    names = "{'tokenizers', 'simplejpeg', 'cykooz_resizer', 'huggingface_hub'}"
    done = subprocess.run(
        [sys.executable, "-c", code.replace("{NAMES}", names)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
