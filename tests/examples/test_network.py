"""The numpy network: its gradients against finite differences, its training, and its ONNX file against itself."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

Array = NDArray[Any]
SIDE = 8
STEP = 1e-6


def small(network: ModuleType) -> tuple[dict[str, Array], Array, Array]:
    """Parameters in double precision, five images and their labels."""
    rng = np.random.default_rng(3)
    made = network.new_parameters(SIDE, 1, (1, 3, 4, 5))
    exact = {name: each.astype(np.float64) + rng.normal(0, 0.1, each.shape) for name, each in made.items()}
    return exact, rng.normal(size=(5, SIDE, SIDE, 1)), np.array([0, 3, 9, 3, 1])


@pytest.mark.parametrize(
    "name", [f"{part}{tail}" for part in ("conv1", "conv2", "conv3", "dense") for tail in ("", "_bias")]
)
def test_every_gradient_is_what_finite_differences_say(
    name: str, inspection: Callable[[str], ModuleType]
) -> None:
    network = inspection("network")
    parameters, images, labels = small(network)
    _, slopes = network.gradients(parameters, images, labels)
    rng = np.random.default_rng(5)
    for place in rng.integers(0, parameters[name].size, 6):
        losses = []
        for sign in (1, -1):
            moved = parameters[name].copy()
            moved.flat[place] += sign * STEP
            losses.append(network.gradients({**parameters, name: moved}, images, labels)[0])
        assert slopes[name].flat[place] == pytest.approx((losses[0] - losses[1]) / (2 * STEP), abs=1e-6)


def test_the_same_images_train_the_same_network_twice(inspection: Callable[[str], ModuleType]) -> None:
    network = inspection("network")
    rng = np.random.default_rng(1)
    images, labels = rng.normal(size=(64, SIDE, SIDE, 1)).astype(np.float32), rng.integers(0, 10, 64)
    schedule = network.Schedule(epochs=2, batch=32, shift_px=1)
    losses: list[float] = []
    first, second = (
        network.train(images, labels, schedule, lambda _, loss: losses.append(loss)) for _ in range(2)
    )
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert losses[:2] == losses[2:]


def test_training_lowers_the_loss_and_learns_what_it_saw(inspection: Callable[[str], ModuleType]) -> None:
    network = inspection("network")
    rng = np.random.default_rng(2)
    labels = np.arange(60) % 3
    images = rng.normal(0, 0.3, (60, SIDE, SIDE, 1)).astype(np.float32)
    for number, label in enumerate(labels):
        images[number, 2 * label : 2 * label + 2] += 2
    losses: list[float] = []
    schedule = network.Schedule(epochs=6, batch=20, shift_px=0)
    trained = network.train(images, labels, schedule, lambda _, loss: losses.append(loss))
    assert losses[-1] < losses[0] / 4
    assert network.accuracy(trained, images, labels) > 0.95


def test_the_onnx_file_answers_as_the_network_and_takes_any_batch(
    inspection: Callable[[str], ModuleType],
) -> None:
    network, export = inspection("network"), inspection("export")
    parameters = network.new_parameters(16, 4)
    images = np.random.default_rng(6).normal(size=(3, 16, 16, 1)).astype(np.float32)
    model = export.to_onnx(parameters, 16)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for rows in (1, 3):
        [logits] = session.run(None, {"image": images[:rows].transpose(0, 3, 1, 2)})
        np.testing.assert_allclose(logits, network.forward(parameters, images[:rows]), atol=1e-4)
    assert (model.ir_version, model.opset_import[0].version) == (8, 17)
