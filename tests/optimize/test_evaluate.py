"""Items -> outcomes: one at a time as served, reduced to what comparisons need, failures collected by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.optimize.colours import NAMES, colour_model, colour_photos, loaded

from sealift.errors import ProjectError
from sealift.events import Silent
from sealift.model.declaration import EmbeddingOutput, TensorInput, TensorOutput
from sealift.model.pipeline import build_pipeline
from sealift.model.service import ServedModel
from sealift.optimize.data.dataset import Dataset, read_dataset
from sealift.optimize.evidence.evaluate import VALUES_KEPT, Outcome, evaluate, thinned
from sealift.project.project import ModelEntry


class Counted(Silent):
    def __init__(self) -> None:
        self.done = 0

    def advance(self, amount: int = 1) -> None:
        self.done += amount


def data_of(folder: Path, model: ServedModel) -> Dataset:
    return read_dataset(
        folder, ModelEntry(name=model.name, path=model.path, input=model.input, output=model.output)
    )


def answered(model: ServedModel, data: Dataset) -> tuple[Outcome, ...]:
    return evaluate(loaded(model), build_pipeline(model), model, data.items, Silent())


def test_every_item_is_answered_alone_and_in_order(tmp_path: Path) -> None:
    model = colour_model(tmp_path)
    data = data_of(colour_photos(tmp_path / "photos", 1), model)
    progress = Counted()
    outcomes = evaluate(loaded(model), build_pipeline(model), model, data.items, progress)
    assert progress.done == len(data.items) == 8
    assert [outcome.answer["label"] for outcome in outcomes] == [item.label for item in data.items]
    for outcome in outcomes:
        assert outcome.vector.dtype == np.float32
        assert outcome.vector.shape == (outcome.size,) == (8,)
        assert outcome.answer["prediction"] == outcome.vector.argmax()


@pytest.mark.parametrize("output", [TensorOutput(), EmbeddingOutput()])
def test_a_vector_is_kept_of_every_kind_of_output(
    output: TensorOutput | EmbeddingOutput, tmp_path: Path
) -> None:
    model = colour_model(tmp_path, output=output)
    np.savez(tmp_path / "x.npz", photo=np.zeros((2, 3, 8, 8), np.float32))
    outcomes = answered(model, data_of(tmp_path / "x.npz", model))
    for outcome in outcomes:
        assert outcome.vector.tolist() == pytest.approx(outcome.answer["prediction"])


def test_the_projects_own_answer_is_kept_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_text(
        'def postprocess(outputs):\n    return {"prediction": "dark", "sum": float(outputs["logits"].sum())}\n'
    )
    model = replace(colour_model(tmp_path), handler=tmp_path / "handler.py")
    data = data_of(colour_photos(tmp_path / "photos", 1), model)
    outcome = answered(model, data)[0]
    assert outcome.answer == {
        "prediction": "dark",
        "sum": pytest.approx(float(outcome.vector.sum()), rel=1e-4),
    }


def test_of_large_tensors_a_fixed_part_is_kept() -> None:
    values = np.arange(100_000.0)
    few = thinned(values)
    assert few.shape == (VALUES_KEPT,)
    assert (few[0], few[-1]) == (0, 99_999)
    assert np.array_equal(few, thinned(values))
    assert thinned(values[:10]) is not None
    assert thinned(values[:10]).shape == (10,)


def test_items_that_cannot_be_answered_are_named_ten_at_most(tmp_path: Path) -> None:
    model = colour_model(tmp_path)
    folder = colour_photos(tmp_path / "photos", 1)
    for number in range(12):
        (folder / NAMES[0] / f"x{number:02}.png").write_bytes(b"no photo")
    data = data_of(folder, model)
    (folder / NAMES[1] / "00.png").unlink()
    with pytest.raises(ProjectError) as failure:
        answered(model, data)
    assert failure.value.message == "13 of 20 item(s) cannot be answered by colours"
    assert len(failure.value.problems) == 11
    assert failure.value.problems[0].startswith("brown/00.png: ")
    assert "No such file" in failure.value.problems[0]
    assert failure.value.problems[1].startswith("red/x00.png: image: not a photo in a known format")
    assert failure.value.problems[-1] == "and 3 more"


def test_an_item_of_several_rows_is_refused(tmp_path: Path) -> None:
    model = colour_model(tmp_path)
    (tmp_path / "two").mkdir()
    rows = np.zeros((2, 3, 8, 8)).tolist()
    (tmp_path / "two" / "a.json").write_text(json.dumps({"inputs": rows}))
    with pytest.raises(ProjectError) as failure:
        answered(model, data_of(tmp_path / "two", replace(model, input=TensorInput())))
    assert failure.value.problems == ("a.json: 2 rows, expected one an item",)
