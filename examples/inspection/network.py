"""A small convolutional network in numpy: forward, gradients, training. No torch, under a minute on one core.

Three blocks of 3 x 3 convolution (padding 1), ReLU and 2 x 2 max pooling, then one dense layer. Tensors are
channels-last, [images, height, width, channels]: a convolution is then one matrix product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Parameters = dict[str, Array]
"""`conv1` to `conv3`: [3, 3, in, out]; `dense`: [features, classes]; each with its `_bias`."""

CLASSES: Final = 10
CHANNELS: Final = (1, 24, 48, 96)
BLOCKS: Final = len(CHANNELS) - 1
_BETAS: Final = (0.9, 0.999)


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to train. The rate falls to 0 along half a cosine; `shift_px`: how far each image
    is moved, at random, before the network sees it."""

    epochs: int = 14
    batch: int = 64
    rate: float = 2e-3
    decay: float = 1e-2
    shift_px: int = 2
    seed: int = 2026


def new_parameters(size_px: int, seed: int, channels: tuple[int, ...] = CHANNELS) -> Parameters:
    """Random weights of the variance that ReLU keeps (He et al. 2015, arXiv 1502.01852, eq. 10), biases 0."""
    rng = np.random.default_rng(seed)
    shapes = {f"conv{n}": (3, 3, channels[n - 1], channels[n]) for n in range(1, BLOCKS + 1)}
    shapes["dense"] = ((size_px // 2**BLOCKS) ** 2 * channels[-1], CLASSES)  # type: ignore[assignment]
    made: Parameters = {}
    for name, shape in shapes.items():
        made[name] = rng.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape).astype(np.float32)
        made[f"{name}_bias"] = np.zeros(shape[-1], np.float32)
    return made


def forward(parameters: Parameters, images: Array) -> Array:
    """Logits, [images, CLASSES]."""
    return _forward(parameters, images)[0]


def gradients(parameters: Parameters, images: Array, labels: NDArray[np.int64]) -> tuple[float, Parameters]:
    """Mean cross entropy in nats, and its gradient by every parameter."""
    logits, features, steps_back = _forward(parameters, images)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    loss = float(-np.log(probabilities[rows, labels] + 1e-30).mean())
    probabilities[rows, labels] -= 1
    error = probabilities / len(labels)
    found = {"dense": features.T @ error, "dense_bias": error.sum(axis=0)}
    flowing = error @ parameters["dense"].T
    for number in range(BLOCKS, 0, -1):
        flowing, weight, bias = steps_back[number - 1](flowing)
        found |= {f"conv{number}": weight, f"conv{number}_bias": bias}
    return loss, found


def train(
    images: Array, labels: NDArray[np.int64], schedule: Schedule, tell: Callable[[int, float], None]
) -> Parameters:
    """AdamW (arXiv 1711.05101, algorithm 2) on shifted images. The same images give the same weights on one machine.

    Args:
        images: float32 [images, side, side, 1], normalised.
        tell: gets the number of each epoch and its mean loss.
    """
    rng = np.random.default_rng(schedule.seed)
    parameters = new_parameters(images.shape[1], schedule.seed)
    moments = {name: (np.zeros_like(each), np.zeros_like(each)) for name, each in parameters.items()}
    steps = schedule.epochs * (len(images) // schedule.batch)
    step = 0
    for epoch in range(1, schedule.epochs + 1):
        losses = []
        order = rng.permutation(len(images))
        for first in range(0, len(images) - schedule.batch + 1, schedule.batch):
            chosen = order[first : first + schedule.batch]
            loss, slopes = gradients(
                parameters, _shifted(images[chosen], schedule.shift_px, rng), labels[chosen]
            )
            step += 1
            rate = schedule.rate * (1 + np.cos(np.pi * step / steps)) / 2
            for name, slope in slopes.items():
                moments[name] = _moved(moments[name], slope)
                parameters[name] = _stepped(parameters[name], moments[name], step, rate, schedule.decay)
            losses.append(loss)
        tell(epoch, float(np.mean(losses)))
    return parameters


def accuracy(parameters: Parameters, images: Array, labels: NDArray[np.int64]) -> float:
    """Share of the images whose highest logit is their label's."""
    return float((forward(parameters, images).argmax(axis=1) == labels).mean())


_StepBack = Callable[[Array], tuple[Array, Array, Array]]


def _forward(parameters: Parameters, images: Array) -> tuple[Array, Array, list[_StepBack]]:
    """Logits, what the dense layer saw, and per block the way back: error -> errors of its input, weight and bias."""
    flowing, steps_back = images, []
    for number in range(1, BLOCKS + 1):
        flowing, back = _block(flowing, parameters[f"conv{number}"], parameters[f"conv{number}_bias"])
        steps_back.append(back)
    features = flowing.reshape(len(images), -1)
    return features @ parameters["dense"] + parameters["dense_bias"], features, steps_back


def _block(images: Array, weight: Array, bias: Array) -> tuple[Array, _StepBack]:
    count, height, width, channels = images.shape
    flat = weight.reshape(-1, weight.shape[-1])
    windows = _windows(images)
    convolved = (windows @ flat + bias).reshape(count, height // 2, 2, width // 2, 2, -1)
    pooled = convolved.max(axis=(2, 4))
    output = np.maximum(pooled, 0)

    def back(error: Array) -> tuple[Array, Array, Array]:
        error = error.reshape(output.shape) * (output > 0)
        chosen = convolved == pooled[:, :, None, :, None, :]
        share = error / chosen.sum(axis=(2, 4))
        spread = (chosen * share[:, :, None, :, None, :]).reshape(-1, flat.shape[1])
        by_input = _from_windows((spread @ flat.T).reshape(count, height, width, 3, 3, channels))
        return by_input, (windows.T @ spread).reshape(weight.shape), spread.sum(axis=0)

    return output, back


def _windows(images: Array) -> Array:
    """The 3 x 3 neighbourhood of every pixel, 0 beyond the edge: [pixels, 9 * channels]."""
    count, height, width, channels = images.shape
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    cut = np.empty((count, height, width, 3, 3, channels), images.dtype)
    for row in range(3):
        for column in range(3):
            cut[:, :, :, row, column] = padded[:, row : row + height, column : column + width]
    return cut.reshape(-1, 9 * channels)


def _from_windows(windows: Array) -> Array:
    """The transpose of `_windows`: every value goes back to the pixel that it was copied from, and is added there."""
    count, height, width, _, _, channels = windows.shape
    padded = np.zeros((count, height + 2, width + 2, channels), windows.dtype)
    for row in range(3):
        for column in range(3):
            padded[:, row : row + height, column : column + width] += windows[:, :, :, row, column]
    return padded[:, 1:-1, 1:-1]


def _shifted(images: Array, most_px: int, rng: np.random.Generator) -> Array:
    """Each image moved by up to `most_px` in both directions; what comes in from the edge repeats it."""
    side = images.shape[1]
    padded = np.pad(images, ((0, 0), (most_px, most_px), (most_px, most_px), (0, 0)), mode="edge")
    places = rng.integers(0, 2 * most_px + 1, (len(images), 2))
    return np.stack([image[y : y + side, x : x + side] for image, (y, x) in zip(padded, places, strict=True)])


def _moved(moments: tuple[Array, Array], slope: Array) -> tuple[Array, Array]:
    first, second = _BETAS
    return first * moments[0] + (1 - first) * slope, second * moments[1] + (1 - second) * slope**2


def _stepped(value: Array, moments: tuple[Array, Array], step: int, rate: float, decay: float) -> Array:
    mean, square = (moment / (1 - beta**step) for moment, beta in zip(moments, _BETAS, strict=True))
    return (value - rate * (mean / (np.sqrt(square) + 1e-8) + decay * value)).astype(value.dtype)
