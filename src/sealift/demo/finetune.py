"""A month of new photos: Lite0's classifier, trained further by gradient descent in numpy, without torch.

Only the head moves (1,281,000 numbers, 28 % of the model): softmax regression on the pooled features of
random crops, with label smoothing (https://arxiv.org/abs/1512.00567, section 7) and weight decay. The same
photos give the same model on the same machine.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from sealift.demo.lite0 import CLASSES, IMAGE_PX
from sealift.errors import ModelError

LABELS: Final[Mapping[str, int]] = {
    "chelsea.png": 282,
    "coffee.png": 967,
    "rocket.jpg": 657,
    "motorcycle.png": 665,
    "china.jpg": 698,
    "flower.jpg": 985,
}
"""What the demo's photos show, as classes of ImageNet."""
_SEED: Final = 2026
_CROPS: Final = 16
_STEPS: Final = 12
_RATE: Final = 2e-3
_DECAY: Final = 1e-2
_SMOOTHING: Final = 0.1
_FEATURES: Final = "flat"
_WEIGHT, _BIAS = "classifier.weight", "classifier.bias"

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Tuned:
    """`model`: the new ONNX file. `crops`, `steps`: what it was trained on, and for how long. `moved`: how many
    numbers changed. `loss_before`, `loss_after`: mean cross entropy on the crops, in nats."""

    model: bytes
    crops: int
    steps: int
    moved: int
    loss_before: float
    loss_after: float


def fine_tune(model: bytes, photos: Mapping[str, bytes]) -> Tuned:
    """Train the head of `model` (what `build_lite0` wrote) further on the photos that `LABELS` names.

    Raises: ModelError: not that model, or none of its photos.
    """
    labelled = {name: photos[name] for name in LABELS if name in photos}
    if not labelled:
        raise ModelError("none of the photos has a label to learn from", problems=sorted(photos))
    proto = onnx.load_model_from_string(model)
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    if not {_WEIGHT, _BIAS} <= tensors.keys():
        raise ModelError(f"the model has no {_WEIGHT} and {_BIAS} to train")
    rng = np.random.default_rng(_SEED)
    features = _features(proto, np.concatenate([_crops(photo, rng) for photo in labelled.values()]))
    targets = _targets([LABELS[name] for name in labelled])
    old = (numpy_helper.to_array(tensors[_WEIGHT]), numpy_helper.to_array(tensors[_BIAS]))
    weight, bias = _descend(features, targets, *old)
    tensors[_WEIGHT].CopyFrom(numpy_helper.from_array(weight, _WEIGHT))
    tensors[_BIAS].CopyFrom(numpy_helper.from_array(bias, _BIAS))
    return Tuned(
        model=proto.SerializeToString(deterministic=True),
        crops=len(features),
        steps=_STEPS,
        moved=int((weight != old[0]).sum() + (bias != old[1]).sum()),
        loss_before=_loss(_softmax(features @ old[0].T + old[1]), targets),
        loss_after=_loss(_softmax(features @ weight.T + bias), targets),
    )


def _crops(photo: bytes, rng: np.random.Generator) -> Array:
    """Random squares of at least 60 % of the shorter side, half of them mirrored: [_CROPS, 3, 224, 224]."""
    image = Image.open(io.BytesIO(photo)).convert("RGB")
    cut = []
    for _ in range(_CROPS):
        side = min(image.size) * rng.uniform(0.6, 1)
        left, top = rng.uniform(0, image.width - side), rng.uniform(0, image.height - side)
        box = (left, top, left + side, top + side)
        pixels = np.asarray(image.resize((IMAGE_PX, IMAGE_PX), Image.Resampling.BICUBIC, box), np.float32)
        cut.append(pixels[:, ::-1] if rng.random() < 0.5 else pixels)
    return _single(((np.stack(cut) - 127) / 128).transpose(0, 3, 1, 2))


def _features(model: onnx.ModelProto, images: Array) -> Array:
    """What the head sees of each image: float32 [images, 1280]. Leaves `model` as it was."""
    import onnxruntime  # it takes a fifth of a second, which `--help` should not pay

    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    tapped.graph.output.append(helper.make_tensor_value_info(_FEATURES, TensorProto.FLOAT, ["batch", 1280]))
    session = onnxruntime.InferenceSession(tapped.SerializeToString(), providers=["CPUExecutionProvider"])
    batches = [images[start : start + _CROPS] for start in range(0, len(images), _CROPS)]
    return np.concatenate([session.run([_FEATURES], {"input": batch})[0] for batch in batches])


def _targets(labels: list[int]) -> Array:
    """One row per crop: most of the weight on its class, the rest spread over all."""
    targets = np.full((len(labels) * _CROPS, CLASSES), _SMOOTHING / CLASSES, np.float32)
    targets[np.arange(len(targets)), np.repeat(labels, _CROPS)] += np.float32(1 - _SMOOTHING)
    return targets


def _descend(features: Array, targets: Array, weight: Array, bias: Array) -> tuple[Array, Array]:
    """Plain gradient descent on the whole set; float32 all the way, as the model is."""
    rate, decay = np.float32(_RATE), np.float32(_DECAY)
    for _ in range(_STEPS):
        error = _single((_softmax(features @ weight.T + bias) - targets) / len(features))
        weight = _single(weight - rate * (error.T @ features + decay * weight))
        bias = _single(bias - rate * error.sum(axis=0))
    return weight, bias


def _softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return _single(powers / powers.sum(axis=1, keepdims=True))


def _single(array: NDArray[np.floating[Any]]) -> Array:
    return np.asarray(array, np.float32)


def _loss(probabilities: Array, targets: Array) -> float:
    return float(-(targets * np.log(probabilities + np.float32(1e-30))).sum(axis=1).mean())
