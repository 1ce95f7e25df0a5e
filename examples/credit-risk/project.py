"""Trained models -> the project folder: sealift.toml with what was learned, the models, and cases with their fields."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from columns import as_toml
from models import Trained
from table import BAD, GOOD, Case, Part, Parts

NAME: Final = "credit-risk"
GOLDEN: Final = 3
_HEAD: Final = f"""\
[project]
name = "{NAME}"
version = "1.0.0"

[optimize]
calibration = "data/calibration"
evaluation = "data/evaluation"

[checks]
golden = "data/golden"

[settings]                        # what the bank may set on the box without a new release
models.network.threshold = {{ minimum = 0.05, maximum = 0.5 }}
"""
_MODEL: Final = """
[models.{name}]
path = "{name}.onnx"
license = "Apache-2.0"

[models.{name}.output]
kind = "scores"
name = "probabilities"
positive = "{bad}"
negative = "{good}"
threshold = {threshold}           # costs least on the validation cases

[models.{name}.input]
kind = "tabular"

{columns}
"""


def write_project(root: Path, trained: Sequence[Trained], parts: Parts) -> None:
    """Write everything into `root`, which must not be there yet."""
    root.mkdir()
    (root / "sealift.toml").write_text(_HEAD + "".join(map(_model, trained)))
    for model in trained:
        (root / f"{model.name}.onnx").write_bytes(model.onnx())
        _write_rows(root / "data" / "calibration" / f"{model.name}.jsonl", parts.training)
        _write_rows(root / "data" / "evaluation" / f"{model.name}.jsonl", parts.held_out)
        for number, case in enumerate(parts.validation.cases[:GOLDEN]):
            write_case(root / "data" / "golden" / model.name / f"case-{number}.json", case)


def write_case(path: Path, case: Case) -> None:
    """One case, as a client sends it; a missing field is left out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(case, indent=1) + "\n")


def _model(model: Trained) -> str:
    return _MODEL.format(
        name=model.name,
        bad=BAD,
        good=GOOD,
        threshold=model.threshold,
        columns=as_toml(model.name, model.columns),
    )


def _write_rows(path: Path, part: Part) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{**case, "label": BAD if bad else GOOD} for case, bad in zip(part.cases, part.bad, strict=True)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
