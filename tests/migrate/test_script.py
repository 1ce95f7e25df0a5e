"""Flask scripts in the ways that people write them: what is understood, and what is left to check."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sealift.errors import ModelError, UsageError
from sealift.migrate.draft import Draft
from sealift.migrate.script import read_script
from sealift.migrate.take_over import take_over
from sealift.model.declaration import (
    ClassesOutput,
    ImageInput,
    NumericColumn,
    ScoresOutput,
    TabularInput,
    TensorInput,
)
from sealift.model.signature import TensorSpec
from sealift.project.file import load_project

HEAD = """\
import base64, io, json, os
from pathlib import Path
import numpy as np
import onnxruntime as ort
from flask import Flask, request, jsonify
from PIL import Image
app = Flask(__name__)
"""
SESSION = 'session = ort.InferenceSession(str(Path(__file__).parent / "models" / "net.onnx"))\n'
NAME = "session.get_inputs()[0].name"


@pytest.fixture
def written(tmp_path: Path, photo_net: Callable[[Path], Path]) -> Callable[[str], Draft]:
    """A script beside a model of photos, read."""

    def read(text: str) -> Draft:
        photo_net(tmp_path / "models" / "net.onnx")
        (tmp_path / "service.py").write_text(HEAD + text)
        return read_script(tmp_path / "service.py")

    return read


def test_torchvision_transforms_become_a_declaration(written: Callable[[str], Draft]) -> None:
    draft = written(
        f"""
from torchvision import transforms as T
{SESSION}
LABELS = ["cat", "dog", "horse", "other"]
prepare = T.Compose([
    T.Resize(40, interpolation=T.InterpolationMode.BICUBIC),
    T.CenterCrop((24, 32)),
    T.ToTensor(),
    T.Normalize(mean=[0.5, 0.5, 0.5], std=[0.25, 0.25, 0.25]),
])

@app.post("/classify")
def classify():
    image = Image.open(request.files["photo"].stream).convert("RGB")
    x = prepare(image).unsqueeze(0).numpy()
    logits = session.run(None, {{{NAME}: x}})[0]
    best = int(np.argmax(logits))
    return {{"class": best, "name": LABELS[best]}}
"""
    )
    (model,) = draft.models
    assert model.input == ImageInput(
        size=(24, 32), resize=40, interpolation="bicubic", mean=(127.5,) * 3, std=(63.75,) * 3, decode="exact"
    )
    assert isinstance(model.output, ClassesOutput)
    assert draft.files["labels.txt"] == "cat\ndog\nhorse\nother\n"
    assert (draft.service.form, draft.service.path) == ("file:photo", "/classify")
    assert draft.service.prediction == "class"
    assert model.handler == ""


def test_a_preparation_in_the_route_itself_is_followed(written: Callable[[str], Draft]) -> None:
    draft = written(
        f"""
{SESSION}
def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()

with open(os.path.join(os.path.dirname(__file__), "words.txt")) as file:
    words = [line.strip() for line in file]

@app.route("/predict", methods=["POST"])
def predict():
    img = Image.open(io.BytesIO(base64.b64decode(request.json["img"])))
    if img.mode != "RGB":
        img = img.convert("RGB")
    x = np.asarray(img.resize((32, 24), Image.BILINEAR), dtype=np.float32)[:, :, ::-1]
    x = (x - 127.5) / 127.5
    x = np.expand_dims(x.transpose(2, 0, 1), axis=0)
    probs = softmax(session.run(None, {{"x": x}})[0][0])
    top = probs.argmax()
    return jsonify(prediction=words[top], score=float(probs[top]))
"""
    )
    (model,) = draft.models
    assert isinstance(model.input, ImageInput)
    assert (model.input.size, model.input.channels, model.input.interpolation) == (
        (24, 32),
        "BGR",
        "bilinear",
    )
    assert (model.input.mean, model.input.std) == ((127.5,), (127.5,))
    assert (draft.service.form, draft.service.prediction, draft.service.score) == (
        "base64:img",
        "prediction",
        "score",
    )
    assert 'clients send {"img": base64}; /predict takes {"image": base64}' in draft.check
    assert any(text.startswith("labels: they could not be read") for text in draft.check), (
        "words.txt is not there"
    )


def test_named_fields_and_a_threshold_become_columns_and_scores(
    tmp_path: Path, row_net: Callable[..., Path]
) -> None:
    row_net(tmp_path / "net.onnx", columns=3)
    (tmp_path / "service.py").write_text(
        HEAD
        + f"""
session = ort.InferenceSession("net.onnx")
COLUMNS = ["amount", "age", "income"]
MEAN, STD = np.array([100.0, 40.0, 3000.0]), np.array([50.0, 10.0, 1000.0])
THRESHOLD = float(os.environ.get("THRESHOLD", 0.83))

@app.route("/score", methods=["POST"])
def score():
    data = request.get_json(force=True)
    row = np.array([[float(data[name]) for name in COLUMNS]], dtype=np.float32)
    row = (row - MEAN) / STD
    value = float(session.run(None, {{{NAME}: row.astype(np.float32)}})[0][0][0])
    if value >= THRESHOLD:
        verdict = "fraud"
    else:
        verdict = "ok"
    return jsonify({{"verdict": verdict, "value": value}})

app.run(port=8080)
"""
    )
    taken = take_over(tmp_path / "new", tmp_path / "service.py")
    entry = load_project(tmp_path / "new").models[0]
    assert entry.input == TabularInput(
        columns=(
            NumericColumn(name="amount", mean=100.0, std=50.0),
            NumericColumn(name="age", mean=40.0, std=10.0),
            NumericColumn(name="income", mean=3000.0, std=1000.0),
        )
    )
    assert entry.output == ScoresOutput(positive="fraud", negative="ok", threshold=0.83, activation="none")
    assert (taken.draft.service.form, taken.draft.service.prediction, taken.draft.service.score) == (
        "json",
        "verdict",
        "value",
    )
    assert any(text.startswith("it listens on port 8080") for text in taken.draft.check)
    assert not any("does not run" in text for text in taken.draft.check)


def test_a_default_of_the_script_stands_in_for_a_missing_field(
    tmp_path: Path, row_net: Callable[..., Path]
) -> None:
    row_net(tmp_path / "net.onnx", columns=2)
    (tmp_path / "service.py").write_text(
        HEAD
        + """
session = ort.InferenceSession("net.onnx")

@app.route("/score", methods=["POST"])
def score():
    data = request.json
    row = np.array([data["amount"], data.get("age", 40)], dtype=np.float32).reshape(1, -1)
    return jsonify(score=float(session.run(None, {"x": row})[0]))
"""
    )
    assert read_script(tmp_path / "service.py").models[0].input == TabularInput(
        columns=(NumericColumn(name="amount"), NumericColumn(name="age", missing=40.0))
    )


@pytest.mark.slow
def test_shapes_that_contradict_each_other_are_all_named(
    tmp_path: Path, script_net: Callable[[Path, int], Path], contents: Callable[[Path], dict[str, bytes]]
) -> None:
    script_net(tmp_path / "net.pt", 5)
    text = HEAD + 'import torch\nnet = torch.jit.load("net.pt")\nnet(torch.zeros(1, 5))\n'
    (tmp_path / "service.py").write_text(text)
    (model,) = read_script(tmp_path / "service.py").models
    assert model.inputs == (TensorSpec(name="input", datatype="FP32", shape=("batch", 5)),)
    (tmp_path / "service.py").write_text(text + "net(torch.randn((1, 7)))\n")
    before = contents(tmp_path)
    with pytest.raises(UsageError, match="the shape of the model's input is not clear") as caught:
        take_over(tmp_path / "new", tmp_path / "service.py")
    assert caught.value.problems == ("line 10: [1, 5]", "line 11: [1, 7]")
    assert contents(tmp_path) == before


@pytest.mark.slow
def test_a_pickle_that_calls_itself_torchscript_is_refused(tmp_path: Path) -> None:
    import torch

    torch.save({"w": torch.zeros(3)}, tmp_path / "net.pt")
    (tmp_path / "service.py").write_text(HEAD + 'import torch\nnet = torch.jit.load("net.pt")\n')
    with pytest.raises(ModelError, match="a pickle that sealift never executes") as caught:
        take_over(tmp_path / "new", tmp_path / "service.py")
    assert caught.value.next_step is not None
    assert not (tmp_path / "new").exists()


OWN_CODE = f"""
import cv2
{SESSION}
SIZE = 24

def letterbox(image, size):
    return cv2.copyMakeBorder(image, 0, size, 0, 0, cv2.BORDER_CONSTANT)

def preprocess(data):
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return letterbox(image, SIZE)[None]

@app.post("/predict")
def predict():
    return jsonify(prediction=int(session.run(None, {{"x": preprocess(request.get_data())}})[0].argmax()))
"""


def test_what_no_declaration_says_runs_as_the_scripts_own_code(written: Callable[[str], Draft]) -> None:
    draft = written(OWN_CODE)
    (model,) = draft.models
    assert (model.input, model.handler) == (TensorInput(), "handler.py")
    text = draft.files["handler.py"]
    assert isinstance(text, str)
    assert "# service.py, lines 17-19\ndef preprocess(data):" in text
    assert "def letterbox(image, size):" in text
    assert "SIZE = 24" in text
    assert text.endswith("def preprocess(image: bytes):\n    return _preprocess_of_the_script(image)\n")
    assert "flask" not in text
    assert "InferenceSession" not in text
    assert draft.files["requirements.txt"] == "opencv-python-headless\n"
    assert any("line 18: np.frombuffer(" in each for each in draft.check)


def test_versions_come_from_the_requirements_beside_the_script(
    tmp_path: Path, written: Callable[[str], Draft]
) -> None:
    (tmp_path / "requirements.txt").write_text("Flask==2.0\nopencv_python.headless==4.10.0.84  # pinned\n")
    draft = written(OWN_CODE)
    assert draft.files["requirements.txt"] == "opencv_python.headless==4.10.0.84\n"
    assert not any(text.startswith("requirements.txt") for text in draft.check)


def test_code_that_needs_the_loaded_model_is_not_taken_along(written: Callable[[str], Draft]) -> None:
    draft = written(OWN_CODE.replace("letterbox(image, SIZE)[None]", f"letterbox(image, {NAME})"))
    assert "handler.py" not in draft.files
    assert any("preprocess() uses session, which holds a model" in text for text in draft.check)


def test_the_script_is_never_run(written: Callable[[str], Draft], tmp_path: Path) -> None:
    written(f'{SESSION}\nopen({str(tmp_path / "ran")!r}, "w").close()\nraise SystemExit\n')
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("", UsageError, "no model is loaded in it"),
        ("def f(:\n", UsageError, "line 8: not Python"),
        ('s = ort.InferenceSession("gone.onnx")', UsageError, "gone.onnx is missing"),
        (
            "s = ort.InferenceSession(choose())",
            UsageError,
            "which file onnxruntime.InferenceSession loads does not show",
        ),
        (
            'import torch\nm = torch.load("net.pth")',
            ModelError,
            "line 9: torch.load of net.pth is a Python pickle",
        ),
        (
            'import pickle\nm = pickle.load(open("m.pkl", "rb"))',
            ModelError,
            "pickle.load of m.pkl is a Python pickle",
        ),
        (
            'import joblib\nm = joblib.load("m.joblib")',
            ModelError,
            "joblib.load of m.joblib is a Python pickle",
        ),
        ('from tensorflow import keras\nm = keras.models.load_model("m")', ModelError, "no engine here runs"),
        (
            'a = ort.InferenceSession("a.onnx")\nb = ort.InferenceSession("b.onnx")',
            UsageError,
            "it loads 2 models",
        ),
    ],
)
def test_what_cannot_be_taken_over_is_refused_with_the_way_out(
    tmp_path: Path, contents: Callable[[Path], dict[str, bytes]], text: str, kind: type[UsageError], said: str
) -> None:
    (tmp_path / "service.py").write_text(HEAD + text)
    before = contents(tmp_path)
    with pytest.raises(kind, match="--from") as caught:
        take_over(tmp_path / "new", tmp_path / "service.py")
    assert said in caught.value.message
    assert contents(tmp_path) == before
    assert not (tmp_path / "new").exists()


def test_all_models_of_a_script_are_named(tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text(
        HEAD + 'a = ort.InferenceSession("a.onnx")\nb = ort.InferenceSession("b.onnx")\n'
    )
    with pytest.raises(UsageError) as caught:
        read_script(tmp_path / "s.py")
    assert caught.value.problems == (
        "line 8: onnxruntime.InferenceSession(a.onnx)",
        "line 9: onnxruntime.InferenceSession(b.onnx)",
    )


@pytest.mark.parametrize(
    "line", ["def f(): return f()", "f = lambda: f()", "x = [y for y in x]", "x[0], *y = g(*z)"]
)
def test_odd_python_does_not_stop_the_reading(written: Callable[[str], Draft], line: str) -> None:
    assert written(f"{SESSION}\n{line}\n").models[0].place == "net.onnx"


ROUTE = f"""
{SESSION}
MEAN = np.array([0.5, 0.5, 0.5])

@app.post("/predict")
def predict():
    image = Image.open(io.BytesIO(request.get_data())).convert("RGB")
    STEPS
    return jsonify(prediction=int(session.run(None, {{"x": x}})[0].argmax()))
"""


@pytest.mark.parametrize(
    "steps",
    [
        "x = np.array(image.resize((32, 24))) - 127; x = x.transpose(2, 0, 1)[None]",
        "x = (np.array(image.resize((32, 24))) / 255.0).astype(np.uint8).transpose(2, 0, 1)[None]",
        "image.thumbnail((32, 24)); x = np.array(image.resize((32, 24)), np.float32).transpose(2, 0, 1)[None]",
        "x = np.array(image.resize((32, 24), box=(0, 0, 9, 9)), np.float32).transpose(2, 0, 1)[None]",
        "x = np.array(image.crop((0, 0, 32, 24)), np.float32).transpose(2, 0, 1)[None]",
        "x = np.array(image, np.float32).transpose(2, 0, 1)[None]",
        "x = np.sqrt(np.array(image.resize((32, 24)), np.float32)).transpose(2, 0, 1)[None]",
        "x = np.array(image.resize((32, 24)), np.float32).transpose(2, 1, 0)[None]",
        "x = np.array(image.resize((32, 24)), np.float32); x[0] = 0; x = x.transpose(2, 0, 1)[None]",
        "x = np.array(image.resize((32, 24)), np.float32); np.clip(x, 0, 9, x); x = x.transpose(2, 0, 1)[None]",
        "x = np.array(image.resize((32, 24)), np.float32).transpose(2, 0, 1)[None] / [1.0, 2.0]",
    ],
)
def test_what_a_declaration_would_do_differently_is_not_declared(
    written: Callable[[str], Draft], steps: str
) -> None:
    """Overflow, rounding, changes in place, other parts of the photo: one wrong step would be wrong silently."""
    draft = written(ROUTE.replace("STEPS", steps))
    assert draft.models[0].input == TensorInput()
    assert any(text.startswith("the preparation was not understood") for text in draft.check)


@pytest.mark.parametrize(
    "steps",
    [
        "x = ((np.array(image.resize((32, 24))) - 127.5) / 127.5).transpose(2, 0, 1)[None].astype(np.float32)",
        "x = np.asarray(image.resize((32, 24)), dtype='float32') / 255; x -= MEAN; x /= 0.5; "
        "x = x.transpose(2, 0, 1)[None]",
        "x = np.float32(image.resize(size=(32, 24))); x = (x * (1 / 255.0) - 0.5) / MEAN; "
        "x = np.transpose(x, (2, 0, 1))[None, ...]",
        "x = np.array(image.resize((32, 24))); print(x.shape); x = 1 / 127.5 * x - 1.0; "
        "x = np.expand_dims(x.transpose(2, 0, 1), 0)",
    ],
)
def test_the_same_arithmetic_in_any_spelling_is_the_same_declaration(
    written: Callable[[str], Draft], steps: str
) -> None:
    declared = written(ROUTE.replace("STEPS", steps)).models[0].input
    assert isinstance(declared, ImageInput), declared
    assert (declared.size, declared.layout) == ((24, 32), "NCHW")
    assert set(declared.mean) == set(declared.std) == {127.5}
