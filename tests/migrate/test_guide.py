"""The engineer's first hour: the guide's Flask service and others run, and the new project answers as they do."""

from __future__ import annotations

import importlib.util
import io
import json
import shutil
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sealift.cli.main import run
from sealift.migrate.old_service import OldService, to_toml

pytestmark = pytest.mark.slow

Serving = Callable[[Callable[[str, bytes], tuple[int, Any]]], AbstractContextManager[str]]
GUIDE = Path(__file__).with_name("guide_service.py")


@pytest.fixture
def guide(tmp_path: Path, script_net: Callable[[Path, int], Path]) -> Iterator[tuple[Path, str]]:
    """The guide's script beside its model, and the URL where it runs."""
    from werkzeug.serving import make_server

    script_net(tmp_path / "model.pt", 3)
    script = Path(shutil.copy(GUIDE, tmp_path / "service.py"))
    spec = importlib.util.spec_from_file_location("guide_service_running", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        spec.loader.exec_module(module)
    server = make_server("127.0.0.1", 0, module.app)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield script, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_guides_service_and_its_project_answer_alike(
    guide: tuple[Path, str], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script, url = guide
    assert run(["init", str(tmp_path / "new"), "--from", str(script)]) == 0
    said = capsys.readouterr().out
    assert "understood, from a Flask script\n  model: model.pt, loaded by torch.jit.load in line 16" in said
    assert "check this\n  photos with an EXIF orientation" in said

    against = ["predict", str(photos), "--project", str(tmp_path / "new"), "--against", url]
    assert run(against) == 0
    assert capsys.readouterr().out.startswith("4 of 4 equal, numbers at most ")

    project = tmp_path / "new" / "sealift.toml"
    text = project.read_text()
    tail = '\n[handler]\nmodule = "handler.py"\n'
    shapes = '\n[[model.inputs]]\nname = "input"\ndatatype = "FP32"\nshape = ["batch", 3, 24, 32]\n'
    head, _, rest = text.partition("[model.input]")
    plain = rest.partition("[model.output]")[2]
    project.write_text(f"{head}{shapes}\n[model.output]{plain}{tail}")
    assert run(against) == 0, "with the script's own code as the handler"
    assert capsys.readouterr().out.startswith("4 of 4 equal")


def test_another_normalisation_is_found_by_the_comparison(
    guide: tuple[Path, str], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script, url = guide
    run(["init", str(tmp_path / "new"), "--from", str(script), "-q"])
    project = tmp_path / "new" / "sealift.toml"
    project.write_text(project.read_text().replace("mean = [123.675, 116.28, 103.53]", "mean = [0, 0, 0]"))
    capsys.readouterr()
    against = [
        "predict",
        str(photos / "0.png"),
        "--project",
        str(tmp_path / "new"),
        "--against",
        url,
        "--json",
    ]
    assert run(against) == 63
    found = json.loads(capsys.readouterr().out)
    assert (found["compared"], found["equal"]) == (1, 0)
    assert found["answers"][0]["difference"] > found["tolerance"] == 1e-3


def as_torchserve_does(body: bytes) -> NDArray[np.float32]:
    """Resize(256), CenterCrop(224), ToTensor, Normalize of torchvision, on a photo that is wider than high."""
    image = Image.open(io.BytesIO(body)).convert("RGB")
    width, height = image.size
    assert width > height
    image = image.resize((int(256 * width / height), 256), Image.Resampling.BILINEAR)
    left, top = round((image.width - 224) / 2.0), round((256 - 224) / 2.0)
    pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32) / 255
    mean, std = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
    scaled = (pixels - mean) / std
    return np.asarray(scaled.transpose(2, 0, 1)[None], np.float32)


def test_torchserves_image_classifier_and_its_project_answer_alike(
    photo_net: Callable[..., Path],
    photos: Path,
    tmp_path: Path,
    old_service: Serving,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import onnxruntime

    folder = tmp_path / "old"
    net = photo_net(folder / "net.onnx", 224, 224)
    (folder / "MAR-INF").mkdir()
    model = {"modelName": "pets", "serializedFile": "net.onnx", "handler": "image_classifier"}
    (folder / "MAR-INF" / "MANIFEST.json").write_text(json.dumps({"model": model}))
    (folder / "index_to_name.json").write_text(json.dumps(dict(enumerate("abcd"))))
    session = onnxruntime.InferenceSession(str(net))

    def answer(path: str, body: bytes) -> tuple[int, Any]:
        if path != "/predictions/pets":
            return 404, {"code": 404}
        (values,) = session.run(None, {"x": as_torchserve_does(body)})
        chances = np.exp(values[0]) / np.exp(values[0]).sum()
        return 200, {"abcd"[index]: float(chances[index]) for index in np.argsort(-chances)}

    assert run(["init", str(tmp_path / "new"), "--from", str(folder), "-q"]) == 0
    with old_service(answer) as url:
        assert run(["predict", str(photos), "--project", str(tmp_path / "new"), "--against", url]) == 0
    assert capsys.readouterr().out.startswith("4 of 4 equal, numbers at most ")


def test_a_triton_model_and_its_project_give_the_same_tensors(
    row_net: Callable[..., Path], tmp_path: Path, old_service: Serving, capsys: pytest.CaptureFixture[str]
) -> None:
    import onnxruntime

    net = row_net(tmp_path / "old" / "risk" / "1" / "model.onnx")
    session = onnxruntime.InferenceSession(str(net))

    def answer(path: str, body: bytes) -> tuple[int, Any]:
        assert path == "/v2/models/risk/infer"
        (given,) = json.loads(body)["inputs"]
        assert (given["name"], given["datatype"], given["shape"]) == ("x", "FP32", [1, 3])
        (values,) = session.run(None, {"x": np.array(given["data"], np.float32).reshape(1, 3)})
        output = {"name": "y", "datatype": "FP32", "shape": [1, 1], "data": values.reshape(-1).tolist()}
        return 200, {"model_name": "risk", "outputs": [output]}

    assert run(["init", str(tmp_path / "new"), "--from", str(tmp_path / "old"), "-q"]) == 0
    (tmp_path / "row.json").write_text('{"inputs": {"x": [0.5, -1, 2]}}')
    with old_service(answer) as url:
        against = [
            "predict",
            str(tmp_path / "row.json"),
            "--project",
            str(tmp_path / "new"),
            "--against",
            url,
        ]
        code = run(against)
        said = capsys.readouterr()
        assert code == 0, said.err
    assert said.out.startswith("1 of 1 equal")


def frames(answer: Any) -> Any:
    """As MLflow's server writes a DataFrame."""
    return answer.to_dict(orient="records")


def test_mlflows_scoring_server_and_its_project_answer_alike(
    row_net: Callable[..., Path], tmp_path: Path, old_service: Serving, capsys: pytest.CaptureFixture[str]
) -> None:
    """MLflow's own loader and its own reading of a request, behind a small server."""
    import onnx
    import pandas  # type: ignore[import-untyped]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.onnx
        from mlflow.models import infer_signature
        from mlflow.pyfunc import load_model

        columns = pandas.DataFrame({"amount": [1.0], "age": [2.0], "income": [3.0]})
        mlflow.onnx.save_model(
            onnx.load(row_net(tmp_path / "net.onnx")),
            str(tmp_path / "old"),
            signature=infer_signature(columns, np.zeros((1, 1), np.float32)),
            pip_requirements=["onnx", "onnxruntime"],
        )
        loaded = load_model(str(tmp_path / "old"))

    def answer(path: str, body: bytes) -> tuple[int, Any]:
        assert path == "/invocations"
        table = json.loads(body)["dataframe_split"]
        frame = pandas.DataFrame(table["data"], columns=table["columns"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return 200, {"predictions": frames(loaded.predict(frame))}

    assert run(["init", str(tmp_path / "new"), "--from", str(tmp_path / "old"), "-q"]) == 0
    (tmp_path / "row.json").write_text('{"age": 1.0, "amount": 0.5, "income": -0.25}')
    with old_service(answer) as url:
        against = [
            "predict",
            str(tmp_path / "row.json"),
            "--project",
            str(tmp_path / "new"),
            "--against",
            url,
        ]
        code = run(against)
        said = capsys.readouterr()
        assert code == 0, said.err
    assert said.out.startswith("1 of 1 equal")


def test_a_sealift_service_is_compared_with_as_it_is(
    row_net: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import subprocess

    row_net(tmp_path / "net.onnx")
    assert run(["init", str(tmp_path / "new"), "--model", str(tmp_path / "net.onnx"), "-q"]) == 0
    (tmp_path / "row.json").write_text('{"inputs": {"x": [0.5, -1, 2]}}')
    command = [sys.executable, "-m", "sealift", "serve", str(tmp_path / "new"), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        assert server.stdout is not None
        line = next(line for line in server.stdout if "http://" in line)
        url = "http://" + line.partition("http://")[2].split()[0].rstrip("/,")
        try:
            row, project = str(tmp_path / "row.json"), str(tmp_path / "new")
            for more in ([], ["--against-form", "v2"]):
                place = f"{url}/v2/models/new/infer" if more else url
                code = run(["predict", row, "--project", project, "--against", place, *more])
                said = capsys.readouterr()
                assert code == 0, said.err
                assert said.out.startswith("1 of 1 equal, numbers at most ")
        finally:
            server.terminate()


def test_what_old_service_toml_says_is_what_init_has_learnt(guide: tuple[Path, str], tmp_path: Path) -> None:
    run(["init", str(tmp_path / "new"), "--from", str(guide[0]), "-q"])
    learnt = OldService(form="base64:image", path="/predict", prediction="prediction", score="confidence")
    assert (tmp_path / "new" / "old-service.toml").read_text() == to_toml(learnt)
