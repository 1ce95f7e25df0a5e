"""EfficientNet-Lite0 through `sealift optimize` and `sealift pack`, on the fixed views of views.py.

python benchmarks/optimize/lite0.py [--json F]

The views have no labels: agreement with fp32 is what the verb gates on. The 26 labelled photos are looked at here, as a
paired comparison of what ships with fp32. Beside it: what onnxruntime's own `quantize_static` makes with
per-channel weights, and activations in int8 (its default) or uint8, on the same views.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec
from figures import main_of
from quiet import surroundings, wait_quiet
from rivals import ACTIVATIONS, plain_static
from views import CALIBRATION_SEED, EVALUATION_SEED, Photo, photos, write_photos, write_views

from sealift.demo.material import default_cache, read_material
from sealift.demo.project import build_model, write_project
from sealift.engine.choose import engine_of
from sealift.engine.protocol import EngineOptions
from sealift.events import Silent
from sealift.model.pipeline import build_pipeline
from sealift.model.service import ServedModel
from sealift.optimize.data.dataset import read_dataset
from sealift.optimize.data.item import Item
from sealift.optimize.evidence.evaluate import Outcome, evaluate
from sealift.optimize.evidence.metrics import agreement_for, metrics_for
from sealift.optimize.evidence.paired import compare
from sealift.optimize.report import Comparison
from sealift.optimize.speed import Effort, race
from sealift.project.file import load_project
from sealift.project.optimized import folder_of, read_shipping
from sealift.project.project import Project
from sealift.project.served import served_model

CALIBRATION: Final = 400
EVALUATION: Final = 1040
"""40 of each photo."""
RIVALS_CALIBRATION: Final = 100
RACE: Final = Effort(rounds=25, runs=12, budget_s=12.0, throughput_s=0.1)
CORES: Final = len(os.sched_getaffinity(0))
_OPTIMIZE: Final = """
[optimize]
calibration = "data/calibration"
evaluation = "data/evaluation"
candidates = ["int8-static"]
"""
Found = dict[str, Any]


def measure() -> Found:
    """Every figure of this benchmark, as JSON."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = photos()
        project = _project(folder / "lite0", given)
        write_photos(folder / "photos", given)
        wait_quiet(60)
        with surroundings() as others:
            report, peak_mb = _optimized(project)
            models = _models(project, report)
            rivals = _rivals(project, models["fp32"], folder)
            races = _races(project, models["fp32"], models["shipped"])
        packed = _packed(folder, report)
        labelled = _on_photos(project, models, folder / "photos")
    report.pop("suspicions"), report.pop("data")
    for variant in report["variants"]:
        variant.pop("differences"), variant.pop("layers")
    return {
        "report": report,
        "verb_peak_mb": peak_mb,
        "races": races,
        "photos": labelled,
        "packed": packed,
        "rivals": rivals,
        "others": others.as_json(),
    }


def _project(folder: Path, given: Sequence[Photo]) -> Project:
    material = read_material(default_cache())
    write_project(folder, material, build_model(material))
    write_views(folder / "data" / "calibration", given, CALIBRATION_SEED, CALIBRATION)
    write_views(folder / "data" / "evaluation", given, EVALUATION_SEED, EVALUATION)
    with (folder / "sealift.toml").open("a", encoding="utf-8") as stream:
        stream.write(_OPTIMIZE)
    return load_project(folder)


def _optimized(project: Project) -> tuple[Found, int]:
    """What the verb reports, and the peak memory of its process in MB."""
    found = _sealift("optimize", project.root, "--json")
    peak_kb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return found["models"][0], round(peak_kb * 1024 / 1e6)


def _sealift(*words: str | Path) -> Found:
    command = [sys.executable, "-m", "sealift", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    result: Found = json.loads(done.stdout)
    return result


def _models(project: Project, report: Mapping[str, Any]) -> dict[str, ServedModel]:
    """`fp32`, and `shipped`: the first file that travels. Its digest is the report's, or reading it raises."""
    (entry,) = project.models
    shipping = read_shipping(project, entry)
    assert shipping is not None
    first = shipping.variants[0]
    reference = served_model(entry, entry.path, shipping.signature)
    path = folder_of(project, entry.name) / first.folder / first.files[0].name
    return {
        "fp32": reference,
        "shipped": replace(reference, path=path, engine=first.engine, precision=first.precision),
    }


def _items(project: Project) -> tuple[Item, ...]:
    assert project.optimize.evaluation is not None
    return read_dataset(project.optimize.evaluation, project.models[0]).items


def _examples(project: Project, model: ServedModel) -> list[Any]:
    pipeline = build_pipeline(model)
    return [item.prepare(pipeline).inputs for item in _items(project)[:: EVALUATION // 8]]


def _races(project: Project, reference: ServedModel, variant: ServedModel) -> Found:
    """Threads -> both, one row at a time, in one race."""
    examples, found = _examples(project, reference), {}
    for threads in sorted({1, CORES}):
        contest = race(reference, variant, examples, effort=RACE, cores=threads)
        found[str(threads)] = {
            "fp32": msgspec.to_builtins(contest.reference),
            "variant": msgspec.to_builtins(contest.variant),
        }
    return found


def _answers(model: ServedModel, items: Sequence[Item]) -> tuple[Outcome, ...]:
    session = engine_of(model).load(model.path, EngineOptions(threads=CORES, device=("cpu",)))
    return evaluate(session, build_pipeline(model), model, items, Silent())


def _on_photos(project: Project, models: Mapping[str, ServedModel], folder: Path) -> list[Found]:
    """Top-1 and top-5 on the labelled photos, what ships against fp32."""
    items = read_dataset(folder, project.models[0]).items
    labels = [item.label for item in items]
    answers = {name: _answers(model, items) for name, model in models.items()}
    metrics = metrics_for(models["fp32"], None, labels)
    return [_told(compare(metric, answers["fp32"], answers["shipped"], labels)) for metric in metrics]


def _rivals(project: Project, reference: ServedModel, folder: Path) -> list[Found]:
    """onnxruntime's own recipes on the first calibration views, held against fp32 on the evaluation views."""
    pipeline, items = build_pipeline(reference), _items(project)
    assert project.optimize.calibration is not None
    calibration = read_dataset(project.optimize.calibration, project.models[0]).items[:RIVALS_CALIBRATION]
    expected, found = _answers(reference, items), []
    for activations in ACTIVATIONS:
        rows = (item.prepare(pipeline).inputs for item in calibration)
        path = plain_static(reference.path, rows, activations, folder / activations)
        model = replace(reference, path=path, precision="int8")
        agreement = compare(agreement_for(model), expected, _answers(model, items), [None] * len(items))
        found.append(
            {
                "activations": activations,
                "bytes": path.stat().st_size,
                "races": _races(project, reference, model),
                "agreement": _told(agreement),
            }
        )
    return found


def _packed(folder: Path, report: Mapping[str, Any]) -> Found:
    """Whether the release holds the very bytes that were measured, and the report itself."""
    _sealift("pack", folder / "lite0", "-o", folder / "bundle", "--unsigned", "--json")
    (shipped,) = (each for each in report["variants"] if each["standing"] == "ships")
    measured = {file["sha256"] for file in shipped["files"]}
    return {
        "measured": sorted(measured),
        "in_release": sorted(measured & _application_digests(folder / "bundle")),
    }


def _application_digests(bundle: Path) -> set[str]:
    release = json.loads((bundle / "release.json").read_bytes())
    digest = release["layers"]["application"]["manifest"]
    manifest = json.loads((bundle / "manifests" / f"{digest}.json").read_bytes())
    return {entry["sha256"] for entry in manifest["files"].values()}


def _told(comparison: Comparison) -> Found:
    found: Found = msgspec.to_builtins(comparison)
    return found


if __name__ == "__main__":
    sys.exit(main_of(measure, __doc__))
