"""Declared kinds over real models, from body to answer."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from sealift.errors import InvalidInput, TooLarge
from sealift.model.arrays import Arrays
from sealift.model.declaration import (
    CategoricalColumn,
    ClassesOutput,
    EmbeddingOutput,
    ImageInput,
    NumericColumn,
    ScoresOutput,
    TabularInput,
    TensorInput,
    TensorOutput,
    TextInput,
)
from sealift.model.onnx_graph import adapt
from sealift.model.pipeline import Pipeline, build_pipeline
from sealift.model.service import ServedModel

Zoo = dict[str, Callable[[Path], Path]]
Predict = Callable[[Any], dict[str, Any]]


def opened(source: Path, folder: Path, **declared: Any) -> tuple[Pipeline, Predict]:
    """The adapted model behind its pipeline: payload -> answer."""
    adapted = adapt(source, folder)
    parts = {"input": TensorInput(), "output": TensorOutput(), **declared}
    pipeline = build_pipeline(ServedModel("m", adapted.path, adapted.signature, **parts))
    session = onnxruntime.InferenceSession(str(adapted.path))
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Arrays) -> Arrays:
        return dict(zip(names, session.run(names, inputs), strict=True))

    def predict(payload: Any) -> dict[str, Any]:
        prepared = pipeline.prepare(payload)
        return pipeline.answer(run(prepared.inputs), prepared)

    return pipeline, predict


def photo() -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(3).integers(0, 256, (50, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_photo_is_classified_alike_raw_in_json_and_as_a_tensor(zoo: Zoo, tmp_path: Path) -> None:
    pipeline, predict = opened(
        zoo["float_image"](tmp_path / "in"),
        tmp_path / "out",
        input=ImageInput(size=(32, 32), resize=40, mean=(127.0,), std=(128.0,)),
        output=ClassesOutput(labels=("a", "b", "c", "d", "e"), top=2),
    )
    raw = predict(photo())
    assert raw == predict({"image": base64.b64encode(photo()).decode()})
    assert raw["label"] == "abcde"[raw["prediction"]]
    assert len(raw["probabilities"]) == 2
    tensor = pipeline.prepare(photo()).inputs["image"]
    rows = predict({"inputs": {"image": np.concatenate([tensor, tensor]).tolist()}})
    assert rows["prediction"] == [raw["prediction"]] * 2
    assert rows["probabilities"] == [raw["probabilities"]] * 2
    assert predict({"inputs": tensor[0].tolist()}) == raw


def test_probabilities_of_the_graph_are_not_squashed_again(zoo: Zoo, tmp_path: Path) -> None:
    pipeline, predict = opened(
        zoo["float_image"](tmp_path / "in"),
        tmp_path / "out",
        input=ImageInput(size=(32, 32), std=(255.0,)),
        output=ClassesOutput(top=5),
    )
    session = onnxruntime.InferenceSession(str(tmp_path / "out" / "model.onnx"))
    chances = session.run(None, dict(pipeline.prepare(photo()).inputs))[0][0]
    found = {entry["class"]: entry["probability"] for entry in predict(photo())["probabilities"]}
    assert [found[i] for i in range(5)] == [float(chance) for chance in chances]


def test_uint8_models_take_the_pixels_as_they_are(zoo: Zoo, tmp_path: Path) -> None:
    _, predict = opened(
        zoo["uint8_image"](tmp_path / "in"),
        tmp_path / "out",
        input=ImageInput(size=(16, 16), layout="NHWC"),
        output=EmbeddingOutput(normalize=True),
    )
    assert np.linalg.norm(predict(photo())["prediction"]) == pytest.approx(1.0)


def test_the_pixel_limit_is_a_setting(zoo: Zoo, tmp_path: Path) -> None:
    adapted = adapt(zoo["float_image"](tmp_path / "in"), tmp_path / "out")
    declared = ImageInput(size=(32, 32))
    model = ServedModel("m", adapted.path, adapted.signature, declared, TensorOutput())
    with pytest.raises(TooLarge, match="image: 40 x 50 pixels, the limit is 1,999"):
        build_pipeline(model, max_pixels=1999).prepare(photo())


@pytest.mark.slow
def test_named_fields_reach_a_pipeline_of_strings_and_numbers(zoo: Zoo, tmp_path: Path) -> None:
    """A ColumnTransformer export serves {"amount": ..., "country": ...} with a score and a threshold."""
    _, predict = opened(
        zoo["mixed_table"](tmp_path / "in"),
        tmp_path / "out",
        input=TabularInput(
            columns=(
                NumericColumn(name="amount"),
                CategoricalColumn(name="country", vocabulary=("DE", "FR", "US"), encoding="string"),
            )
        ),
        output=ScoresOutput(positive="fraud", threshold=0.5),
    )
    high, low = predict({"amount": 400.0, "country": "US"}), predict({"amount": 5, "country": "DE"})
    assert (high["prediction"], low["prediction"]) == ("fraud", "good")
    assert high["score"] > 0.5 > low["score"]
    assert high["threshold"] == 0.5
    rows = predict({"inputs": {"amount": [[400.0], [5.0]], "country": [["US"], ["DE"]]}})
    assert rows == {
        "prediction": ["fraud", "good"],
        "score": [high["score"], low["score"]],
        "threshold": 0.5,
    }
    with pytest.raises(InvalidInput) as caught:
        predict({"amount": "12,5", "country": "UK"})
    assert caught.value.message == (
        'amount: expected a number, got "12,5"; country: expected one of DE, FR, US, got "UK"'
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["boosting_int_classes", "boosting_string_classes"])
def test_a_default_boosting_export_answers_with_its_own_labels(
    name: str, zoo: Zoo, zoo_module: ModuleType, tmp_path: Path
) -> None:
    _, predict = opened(
        zoo[name](tmp_path / "in"),
        tmp_path / "out",
        input=TabularInput(columns=tuple(NumericColumn(name=part) for part in "abcd")),
        output=ClassesOutput(),
    )
    features, classes = zoo_module.iris()
    answer = predict(dict(zip("abcd", features[0].tolist(), strict=True)))
    assert answer["prediction"] == classes[0] == 0
    assert answer["label"] == ("0" if "int" in name else "setosa")
    assert sum(entry["probability"] for entry in answer["probabilities"]) == pytest.approx(1.0, abs=1e-6)


def test_texts_come_as_json_or_as_the_body(zoo: Zoo, zoo_module: ModuleType, tmp_path: Path) -> None:
    node, info = zoo_module.node, zoo_module.info
    graph = zoo_module.model(
        [node("Identity", ["t"], ["y"])], [info("t", 8, ["n", 1])], [info("y", 8, ["n", 1])]
    )
    _, predict = opened(zoo_module.save(graph, tmp_path / "in"), tmp_path / "out", input=TextInput())
    assert predict({"text": "grüß\n"}) == predict("grüß\n".encode()) == {"prediction": ["grüß\n"]}
    for payload, message in (
        (b"ab\xff", "the body is not UTF-8 text: byte 2 is 0xff"),
        ({"text": 5}, "text: expected a string, got 5"),
        ({"txt": "a"}, 'expected {"text": "..."}, got {"txt":"a"}'),
        ({"text": "a", "lang": "de"}, "lang: only text is taken"),
        ([1], 'expected {"text": "..."}, got [1]'),
    ):
        with pytest.raises(InvalidInput) as caught:
            predict(payload)
        assert caught.value.message == message


def test_threads_share_one_pipeline(zoo: Zoo, tmp_path: Path) -> None:
    pipeline, _ = opened(
        zoo["float_image"](tmp_path / "in"), tmp_path / "out", input=ImageInput(size=(32, 32), resize=40)
    )
    bodies = []
    for shade in range(16):
        buffer = io.BytesIO()
        Image.new("RGB", (45, 60), (shade, 2 * shade, 255 - shade)).save(buffer, "PNG")
        bodies.append(buffer.getvalue())
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda body: pipeline.prepare(body).inputs["image"], bodies * 4))
    for position, tensor in enumerate(found):
        shade = position % 16
        assert tensor[0, :, 0, 0].tolist() == [shade, 2 * shade, 255 - shade]
        assert (tensor == tensor[:, :, :1, :1]).all()
