"""Whole services as people write them: a class, helpers in helpers, a model loaded when it is first asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sealift.migrate.draft import Draft
from sealift.migrate.script import read_script
from sealift.migrate.take_over import take_over
from sealift.model.declaration import ClassesOutput, ImageInput, NumericColumn, ScoresOutput, TabularInput

A_CLASS = """
import base64, io, logging, os
import numpy as np
import onnxruntime as ort
from flask import Flask, jsonify, request
from PIL import Image

logger = logging.getLogger(__name__)
BASE_DIR = os.path.dirname(os.path.abspath(__file__))


class Classifier:
    LABELS = ["ok", "scratch", "dent", "other"]

    def __init__(self, path: str):
        self.session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.input_name = self.session.get_inputs()[0].name
        self.mean = np.array([0.485, 0.456, 0.406], dtype=np.float32).reshape(3, 1, 1)
        self.std = np.array([0.229, 0.224, 0.225], dtype=np.float32).reshape(3, 1, 1)

    def preprocess(self, image: Image.Image) -> np.ndarray:
        image = image.convert("RGB").resize((32, 24), Image.Resampling.BILINEAR)
        x = np.array(image, dtype=np.float32).transpose(2, 0, 1) / 255.0
        x = (x - self.mean) / self.std
        return x[np.newaxis, :].astype(np.float32)

    def predict(self, image):
        outputs = self.session.run(None, {self.input_name: self.preprocess(image)})
        logits = outputs[0][0]
        exp = np.exp(logits - np.max(logits))
        probs = exp / exp.sum()
        idx = int(np.argmax(probs))
        return {"label": self.LABELS[idx], "confidence": float(probs[idx])}


classifier = Classifier(os.path.join(BASE_DIR, "net.onnx"))
app = Flask(__name__)


@app.route("/api/v1/inspect", methods=["POST"])
def inspect_part():
    try:
        payload = request.get_json(force=True)
        result = classifier.predict(Image.open(io.BytesIO(base64.b64decode(payload["image_base64"]))))
        logger.info("result %s", result)
        return jsonify(result)
    except Exception as error:
        return jsonify({"error": str(error)}), 500
"""

THE_TUTORIAL = """
import io
import json
import onnxruntime
import torchvision.transforms as transforms
from PIL import Image
from flask import Flask, jsonify, request

app = Flask(__name__)
class_index = json.load(open('index.json'))
model = onnxruntime.InferenceSession('net.onnx')


def transform_image(image_bytes):
    my_transforms = transforms.Compose([transforms.Resize(40),
                                        transforms.CenterCrop((24, 32)),
                                        transforms.ToTensor(),
                                        transforms.Normalize(
                                            [0.485, 0.456, 0.406],
                                            [0.229, 0.224, 0.225])])
    image = Image.open(io.BytesIO(image_bytes))
    return my_transforms(image).unsqueeze(0)


def get_prediction(image_bytes):
    tensor = transform_image(image_bytes=image_bytes)
    outputs = model.run(None, {"x": tensor})[0]
    y_hat = outputs.argmax(1)
    predicted_idx = str(y_hat.item())
    return class_index[predicted_idx]


@app.route('/predict', methods=['POST'])
def predict():
    if request.method == 'POST':
        file = request.files['file']
        img_bytes = file.read()
        class_id, class_name = get_prediction(image_bytes=img_bytes)
        return jsonify({'class_id': class_id, 'class_name': class_name})
"""

LOADED_LATER = """
import functools
import numpy as np
import onnxruntime
from flask import Flask, request

app = Flask(__name__)
FEATURES = ["a", "b", "c"]


@functools.lru_cache(maxsize=1)
def get_model():
    return onnxruntime.InferenceSession("net.onnx")


def to_row(payload):
    values = [float(payload.get(name, 0)) for name in FEATURES]
    return np.array([values], dtype=np.float32)


@app.post("/predict")
def predict():
    p = float(get_model().run(None, {"x": to_row(request.get_json())})[0][0])
    return {"fraud": p > 0.7, "probability": round(p, 4), "decision": "block" if p > 0.7 else "allow"}
"""


def taken(folder: Path, text: str) -> Draft:
    (folder / "service.py").write_text(text)
    draft = take_over(folder / "new", folder / "service.py").draft
    assert not any("does not run" in each for each in draft.check)
    return draft


def test_a_service_that_is_a_class(tmp_path: Path, photo_net: Callable[[Path], Path]) -> None:
    photo_net(tmp_path / "net.onnx")
    draft = taken(tmp_path, A_CLASS)
    (model,) = draft.models
    assert isinstance(model.input, ImageInput)
    assert model.input.mean == (123.675, 116.28, 103.53)
    assert model.output == ClassesOutput(activation="softmax")
    assert draft.files["labels.txt"] == "ok\nscratch\ndent\nother\n"
    assert (draft.service.form, draft.service.path) == ("base64:image_base64", "/api/v1/inspect")
    assert (draft.service.prediction, draft.service.score) == ("label", "confidence")


def test_the_way_of_the_tutorial(tmp_path: Path, photo_net: Callable[[Path], Path]) -> None:
    photo_net(tmp_path / "net.onnx")
    (tmp_path / "index.json").write_text(
        '{"0": ["n0", "a"], "1": ["n1", "b"], "2": ["n2", "c"], "3": ["n3", "d"]}'
    )
    draft = taken(tmp_path, THE_TUTORIAL)
    (model,) = draft.models
    assert isinstance(model.input, ImageInput)
    assert (model.input.resize, model.input.size) == (40, (24, 32))
    assert draft.files["labels.txt"] == "a\nb\nc\nd\n"
    assert (draft.service.form, draft.service.prediction) == ("file:file", "class_name")
    assert "def transform_image(image_bytes):" in str(draft.files["handler.py"])


def test_a_model_that_is_loaded_when_it_is_first_asked(tmp_path: Path, row_net: Callable[..., Path]) -> None:
    row_net(tmp_path / "net.onnx")
    draft = taken(tmp_path, LOADED_LATER)
    (model,) = draft.models
    assert model.input == TabularInput(columns=tuple(NumericColumn(name=name, missing=0.0) for name in "abc"))
    assert model.output == ScoresOutput(positive="block", negative="allow", threshold=0.7, activation="none")
    assert (draft.service.prediction, draft.service.score) == ("decision", "probability")


def test_a_preparation_that_goes_on_in_the_route_is_not_taken_for_the_whole(
    tmp_path: Path, row_net: Callable[..., Path]
) -> None:
    row_net(tmp_path / "net.onnx")
    text = LOADED_LATER.replace("to_row(request.get_json())", "np.log1p(to_row(request.get_json()))")
    (tmp_path / "service.py").write_text(text)
    draft = read_script(tmp_path / "service.py")
    assert "handler.py" not in draft.files
    assert draft.models[0].handler == ""
    assert any("the route prepares its input itself, at least in part" in each for each in draft.check)
