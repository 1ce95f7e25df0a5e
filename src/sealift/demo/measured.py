"""`sealift optimize` in the story, and the proof that what answers on the box is the file that it measured."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sealift.demo.answers import Answer, read_answers
from sealift.demo.project import PROJECT_NAME
from sealift.demo.stage import PROJECT, SEALIFT, Stage
from sealift.errors import SealiftError
from sealift.optimize.report import QualityReport, Variant, decode_report
from sealift.project.optimized import FOLDER, REPORT

AS_CLOSE: Final = 0.01
"""The release decodes photos with its own locked libraries, and a pixel may be read otherwise by another version."""


def optimize(stage: Stage, title: str) -> QualityReport:
    """Measure the project's model, and tell where nothing is better on this machine: the story goes on all the same.

    Returns: what was measured, of what is packed from now on.
    """
    stage.sealift(title, ["optimize", PROJECT, "--quick"], live=True)
    report = read_report(stage.folder / PROJECT)
    if report.chosen == report.variants[0].name:
        stage.screen.note("nothing that was tried is better on this machine, so the model travels as it is")
    return report


def read_report(project: Path) -> QualityReport:
    """What `sealift optimize` left in the demo's project. Raises: SealiftError: nothing that can be read."""
    path = project / FOLDER / PROJECT_NAME / REPORT
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SealiftError(f"sealift optimize left no report: {path}: {error.strerror}") from error
    return decode_report(data, path)


def require_installed(stage: Stage) -> None:
    """Hold the model of the release that is active on the box to the digest in the report.

    Raises: SealiftError: the release has other files than those that were measured.
    """
    report = read_report(stage.folder / PROJECT)
    measured = {file.sha256 for file in report.variant(report.chosen).files}
    models = stage.folder / "box" / "current" / PROJECT_NAME / "application" / "models"
    installed = {_sha256(path) for path in models.rglob("*") if path.is_file()}
    if installed != measured:
        raise SealiftError(
            "the box has another model than the one that was measured",
            problems=[f"measured {each[:12]}..." for each in sorted(measured - installed)]
            + [f"installed {each[:12]}..." for each in sorted(installed - measured)],
        )
    digest = ", ".join(f"sha256:{each[:12]}..." for each in sorted(measured))
    stage.screen.note(f"the model on the box is the file that was measured, {report.chosen}: {digest}")


def require_same_answers(stage: Stage, served: Mapping[str, Answer]) -> None:
    """Hold what the box answered to what the measured file answers in process.

    Args:
        served: by photo, relative to the demo's folder.
    Raises: SealiftError: another class, or a probability that is more than `AS_CLOSE` away.
    """
    argv = [*SEALIFT, "predict", *served, "--project", PROJECT, "--json", "-q"]
    pairs = list(zip(served.items(), read_answers(stage.quiet(argv)), strict=True))
    different = [
        f"{photo}: {_words(on_box)} on the box, {_words(here)} in process"
        for (photo, on_box), here in pairs
        if on_box.index != here.index or _apart(on_box, here) > AS_CLOSE
    ]
    if different:
        raise SealiftError("the box answers other than what was measured", problems=different)
    furthest = max((_apart(on_box, here) for (_, on_box), here in pairs), default=0.0)
    close = f"probabilities at most {furthest:.1g} apart" if furthest else "to the last digit"
    stage.screen.note(f"{len(pairs)} of {len(pairs)} answers are those of that file in process, {close}")


def sizes(report: QualityReport) -> list[tuple[str, Variant]]:
    """The model and, where that is another, what ships of it; each with a title."""
    whole, chosen = report.variants[0], report.variant(report.chosen)
    rows = [("model.onnx", whole)]
    return rows if chosen is whole else [*rows, (f"what travels of it, {chosen.name}", chosen)]


def _apart(one: Answer, other: Answer) -> float:
    return abs(one.probability - other.probability)


def _words(answer: Answer) -> str:
    return f"{answer.label} {answer.probability:.6f}"


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
