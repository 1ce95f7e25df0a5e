"""The factory camera: a small network learns to read the digit on a part, is made smaller by measurement, and served.

`sh examples/inspection/run.sh` runs it. Everything it makes lies in `work/` beside this file, or where `--work` says.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import digits
import network
import numpy as np
from export import to_onnx

from sealift.demo.example import Example, answers_in_process, answers_of, main, refused, require_same
from sealift.demo.stage import PROJECT, Box, Stage
from sealift.errors import SealiftError

NAME: Final = "inspection"
ASKED: Final = 4
LEAST_ACCURACY: Final = 0.95

PROJECT_FILE: Final = """\
[project]
name = "{name}"
version = "1.0.0"

[model]
path = "digits.onnx"
license = "Apache-2.0"

[model.input]
kind = "image"
size = [{size}, {size}]
channels = "GRAY"
decode = "exact"
mean = {mean:.4f}
std = {std:.4f}

[model.output]
kind = "classes"
labels = {labels}
top = 3

[optimize]
calibration = "data/calibration"
evaluation = "data/evaluation"

[checks]
golden = "data/golden"
"""


def prepare(stage: Stage) -> None:
    """Photos on disk, a trained network, and the project around them."""
    screen = stage.screen
    screen.step("1. Photos, and a small network trained on them in numpy")
    with stage.timed("get the photos"):
        parts = digits.read_photos()
    screen.note(
        f"scikit-learn's 1,797 real handwritten digits, enlarged to {digits.PHOTO_PX} px, stand in for the number on a "
        "part: " + ", ".join(f"{len(photos)} for {part}" for part, photos in sorted(parts.items()))
    )
    pixels, labels = digits.pixels_of(parts[digits.TRAINING])
    mean, std = round(float(pixels.mean()), 4), round(float(pixels.std()), 4)
    with stage.timed("train"):
        trained = network.train(
            ((pixels - mean) / std).astype(np.float32),
            labels,
            network.Schedule(),
            lambda epoch, loss: screen.note(f"epoch {epoch:2d}: loss {loss:.3f}") if epoch % 5 == 0 else None,
        )
    unseen, truth = digits.pixels_of(parts[digits.EVALUATION])
    right = network.accuracy(trained, ((unseen - mean) / std).astype(np.float32), truth)
    screen.note(f"{right:.2%} of the {len(truth)} photos that it never saw are read right")
    if right < LEAST_ACCURACY:
        raise SealiftError(f"the training went wrong: expected {LEAST_ACCURACY:.0%} right, found {right:.1%}")
    (stage.folder / "digits.onnx").write_bytes(
        to_onnx(trained, digits.SIZE_PX).SerializeToString(deterministic=True)
    )
    screen.step("2. A project around the model")
    _write_project(stage, parts, mean, std)
    stage.sealift("", ["predict", *_golden(stage), "--project", PROJECT])


def _write_project(stage: Stage, parts: dict[str, list[digits.Photo]], mean: float, std: float) -> None:
    """What `init` writes, with what only the training knows filled in, and the data."""
    stage.sealift("init", ["init", PROJECT, "--model", "digits.onnx", "--template", "image", "--name", NAME])
    labels = ", ".join(f'"{label}"' for label in digits.LABELS)
    text = PROJECT_FILE.format(name=NAME, size=digits.SIZE_PX, mean=mean, std=std, labels=f"[{labels}]")
    root = stage.folder / PROJECT
    (root / "sealift.toml").write_text(text)
    data = root / "data"
    digits.write_photos(parts[digits.CALIBRATION], data / "calibration", by_label=False)
    digits.write_photos(parts[digits.EVALUATION], data / "evaluation", by_label=True)
    digits.write_photos(parts[digits.EVALUATION][:ASKED], data / "golden", by_label=False)
    stage.screen.note("filled in what only the training knows, sealift.toml:")
    stage.screen.echo(text)


def _golden(stage: Stage) -> list[str]:
    found = sorted((stage.folder / PROJECT / "data" / "golden").glob("*.png"))
    return [str(path.relative_to(stage.folder)) for path in found]


def ask(stage: Stage, box: Box) -> None:
    """Photos that the network never saw, and a file that is no photo."""
    photos = _golden(stage)
    require_same(stage, answers_of(stage, box, photos), answers_in_process(stage, photos))
    (stage.folder / "half.png").write_bytes((stage.folder / photos[0]).read_bytes()[:200])
    stage.screen.note("a photo of which half arrived:")
    refused(stage, box, "half.png")


EXAMPLE: Final = Example(
    title="Inspection: a camera's network, from training to a box without a network",
    name=NAME,
    prepare=prepare,
    ask=ask,
    next_steps=(
        f"{PROJECT}/optimized/: the variants that travel",
        f"sealift predict {PROJECT}/data/evaluation/7/*.png --project {PROJECT}",
    ),
)

if __name__ == "__main__":
    sys.exit(main(EXAMPLE, Path(__file__).parent))
