"""A model is optimised or refused by measuring: every refusal of the issue, on real models in this process."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from tests.optimize.projects import (
    HURRIED,
    digit_net,
    digit_project,
    encoder_project,
    linear_project,
    write_digits,
)

from sealift.check.record import record_service
from sealift.engine.choose import engine_of
from sealift.engine.protocol import EngineOptions
from sealift.errors import ModelError, ProjectError, SealiftError
from sealift.events import Silent
from sealift.model.pipeline import build_pipeline
from sealift.model.service import Service
from sealift.optimize.report import QualityReport, Standing, Variant, Verdict, decode_report
from sealift.optimize.run import optimize_model
from sealift.project.file import load_project
from sealift.project.optimized import read_shipping
from sealift.project.served import prepare_models

pytestmark = pytest.mark.slow

DATA = 'calibration = "calibration"\nevaluation = "evaluation"\n'


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A net that knows digits, 64 calibration pictures and 300 labelled ones to evaluate."""
    folder = tmp_path_factory.mktemp("digits")
    digit_net(folder / "net.onnx")
    write_digits(folder / "calibration", range(1000, 1064), labelled=False)
    write_digits(folder / "evaluation", range(1100, 1400))
    return folder


@pytest.fixture
def project(digits: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(digits, tmp_path / "project"))


def optimised(folder: Path) -> QualityReport:
    project = load_project(folder)
    return optimize_model(project, project.models[0], Silent(), HURRIED)


def gate(variant: Variant, name: str) -> Verdict:
    return next(each.verdict for each in variant.gates if each.name == name)


def files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_int8_of_a_convolutional_net_ships_and_is_what_serves(project: Path, tmp_path: Path) -> None:
    report = optimised(digit_project(project, DATA + "max_accuracy_drop_points = 3.0\ntravel = 2\n"))
    assert report.chosen == "int8-static", report.verdict
    best = report.variant("int8-static")
    assert best.speed is not None
    assert best.speed.speedup > 1.3
    assert best.size < 0.35 * report.variant("fp32").size
    assert best.comparisons[0].n == 300
    assert {each.verdict for each in best.gates} == {Verdict.PASSED}
    assert len(best.layers) == 3

    served = prepare_models(load_project(project), tmp_path / "served").models[0]
    assert [each.name for each in served.variants] == ["int8-static", "fp32"]
    assert served.variant == "int8-static"
    assert hashlib.sha256(served.path.read_bytes()).hexdigest() == best.files[0].sha256
    assert record_service(Service("x", "1", (served,)), None, tmp_path / "goldens") == ()
    session = engine_of(served).load(served.path, EngineOptions(threads=1))
    picture = next((project / "evaluation" / "3").iterdir()).read_bytes()
    pipeline = build_pipeline(served)
    prepared = pipeline.prepare(picture)
    assert pipeline.answer(session.run(prepared.inputs), prepared)["prediction"] == 3


def test_what_is_kept_tells_nobodys_inputs(project: Path) -> None:
    report = optimised(digit_project(project, DATA))
    assert report.data.examples
    assert report.data.examples[0].picture.startswith(b"\xff\xd8")
    path = project / "optimized" / "digits" / "report.json"
    kept = decode_report(path.read_bytes(), path)
    assert kept.data.examples == ()
    assert not any(each.picture or each.shown for variant in kept.variants for each in variant.differences)
    shipping = read_shipping(load_project(project), load_project(project).models[0])
    assert shipping is not None
    assert shipping.report == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert not (project / "optimized" / "digits" / ".work").exists()


def test_a_layer_that_hurts_stays_in_floating_point_and_both_are_judged(project: Path) -> None:
    """One channel of 2,000 takes the resolution of the other 63: whole INT8 forgets the digits."""
    digit_net(project / "net.onnx", outlier=2000.0)
    report = optimised(digit_project(project, DATA + "max_accuracy_drop_points = 5.0\n"))
    whole, mixed = report.variant("int8-static"), report.variant("int8-mixed")
    assert gate(whole, "accuracy") is Verdict.FAILED
    assert gate(mixed, "accuracy") is Verdict.PASSED
    assert mixed.recipe["in floating point"] == "conv2, conv1", (
        "the channel leaves the one and enters the other"
    )
    assert {layer.node for layer in mixed.layers if layer.excluded} == {"conv1", "conv2"}
    assert not any(layer.excluded for layer in whole.layers)
    assert report.chosen in ("int8-mixed", "fp32"), "which of them is quicker is for the race to say"


def test_dynamic_int8_of_a_convolutional_net_is_measured_to_be_slower(project: Path) -> None:
    report = optimised(digit_project(project, DATA + 'candidates = ["int8-dynamic"]\n'))
    found = report.variant("int8-dynamic")
    assert report.chosen == "fp32"
    assert found.standing is Standing.REFUSED
    assert gate(found, "speed") is Verdict.FAILED
    assert found.speed is not None
    assert found.speed.speedup < 0.8


def test_by_itself_dynamic_int8_is_not_tried_on_convolutions(project: Path) -> None:
    report = optimised(digit_project(project, DATA))
    found = report.variant("int8-dynamic")
    assert found.standing is Standing.NOT_BUILT
    assert "convolutions get slower" in found.reasons[0]


def test_a_small_network_gains_nothing_and_stays(tmp_path: Path) -> None:
    report = optimised(linear_project(tmp_path / "p", (30, 16, 2), 'candidates = ["int8-static"]'))
    assert report.chosen == "fp32"
    assert gate(report.variant("int8-static"), "speed") in (Verdict.FAILED, Verdict.NOT_ENOUGH_EVIDENCE)
    assert report.verdict == "fp32 ships: the other variant is not better and within every gate"


def test_rows_of_dynamic_int8_see_each_other_and_it_is_refused(tmp_path: Path) -> None:
    wanted = 'candidates = ["int8-dynamic"]\nprefer = "size"\nmin_agreement = 0.5'
    report = optimised(linear_project(tmp_path / "p", (512, 512, 64), wanted))
    found = report.variant("int8-dynamic")
    assert gate(found, "batch independence") is Verdict.FAILED
    assert report.chosen == "fp32"
    assert found.size < report.variant("fp32").size, "it would have been smaller"


def test_an_encoder_comes_out_faster_and_alike_or_stays_with_the_reason(tmp_path: Path) -> None:
    """Two int64 inputs of dynamic length; its vectors are compared by their cosine."""
    report = optimised(encoder_project(tmp_path / "p"))
    if report.chosen == "fp32":
        assert all(each.reasons for each in report.variants)
        return
    best = report.variant(report.chosen)
    assert best.speed is not None
    assert best.speed.speedup_interval.low >= 1.05
    (alike,) = best.comparisons
    assert alike.metric == "cosine"
    assert alike.value >= 0.99
    assert gate(best, "agreement") is Verdict.PASSED


def test_a_variant_below_the_accuracy_gate_is_refused(project: Path) -> None:
    """Calibrated on nearly black pictures only, INT8 clips all that a digit is."""
    from PIL import Image

    for path in (project / "calibration").iterdir():
        Image.fromarray(np.full((32, 32), 126, np.uint8)).save(path)
    report = optimised(digit_project(project, DATA + 'candidates = ["int8-static"]\nunproven = "ship"\n'))
    found = report.variant("int8-static")
    assert report.chosen == "fp32"
    assert gate(found, "accuracy") is Verdict.FAILED
    assert found.reasons[0].startswith("accuracy failed: top1 ")
    assert found.differences
    assert found.differences[0].label in "0123456789"


def test_too_little_data_is_a_verdict_of_its_own_and_the_project_decides(project: Path) -> None:
    for path in sorted((project / "evaluation").rglob("*.png"))[12:]:
        path.unlink()
    wanted = DATA + 'candidates = ["int8-static"]\nmin_agreement = 0.5\n'
    report = optimised(digit_project(project, wanted))
    found = report.variant("int8-static")
    assert gate(found, "accuracy") is Verdict.NOT_ENOUGH_EVIDENCE
    assert report.chosen == "fp32"
    assert "n = 12" in found.reasons[0]
    again = optimised(digit_project(project, wanted + 'unproven = "ship"\n'))
    assert again.chosen == "int8-static"
    assert any("is not proven" in reason for reason in again.variant("int8-static").reasons)


def test_without_data_nothing_is_claimed(project: Path) -> None:
    report = optimised(digit_project(project, 'candidates = ["int8-static", "fp16"]\n'))
    assert report.chosen == "fp32"
    assert "give [optimize] calibration" in report.variant("int8-static").reasons[0]
    assert gate(report.variant("fp16"), "agreement") is Verdict.NOT_ENOUGH_EVIDENCE


def test_untrained_weights_are_called_out_and_nothing_is_built(project: Path) -> None:
    digit_net(project / "net.onnx", trained=False)
    report = optimised(digit_project(project, DATA))
    assert [each.what for each in report.suspicions if each.certain] == ["weights not trained"]
    found = report.variant("int8-static")
    assert found.standing is Standing.NOT_BUILT
    assert found.reasons[0].startswith("weights not trained")


def test_a_model_that_is_too_large_in_every_form_is_refused(project: Path) -> None:
    folder = digit_project(project, DATA, more="[limits]\nmax_model_mb = 0.02\n")
    with pytest.raises(ModelError, match=r"fp32, which would ship, is 0\.2 MB .* max_model_mb permits 0\.02"):
        optimised(folder)
    kept = [path.name for path in (folder / "optimized").rglob("*") if path.is_file()]
    assert kept == ["calibration.npz"], "nothing counts but how far calibration came"


def test_a_model_that_is_too_large_may_become_small_enough(project: Path, tmp_path: Path) -> None:
    wanted = DATA + "max_accuracy_drop_points = 3.0\n"
    folder = digit_project(project, wanted, more="[limits]\nmax_model_mb = 0.1\n")
    assert optimised(folder).chosen == "int8-static"
    assert prepare_models(load_project(folder), tmp_path / "served").models[0].variant == "int8-static"


def test_a_stopped_run_goes_on_and_gives_the_same_bytes(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle of calibration: what is kept counts, and the next run makes the same file."""
    folder = digit_project(project, DATA + 'candidates = ["int8-static"]\nmax_accuracy_drop_points = 3.0\n')
    whole = optimised(folder).variant("int8-static").files
    shutil.rmtree(folder / "optimized")

    class Stopping(Silent):
        """Ctrl-C at the 40th calibration picture."""

        title = ""
        seen = 0

        def start(self, title: str, total: int | None = None) -> None:
            self.title = title

        def advance(self, amount: int = 1) -> None:
            self.seen += amount if self.title == "calibrating" else 0
            if self.seen >= 40:
                raise KeyboardInterrupt

    loaded = load_project(folder)
    with pytest.raises(KeyboardInterrupt):
        optimize_model(loaded, loaded.models[0], Stopping(), HURRIED)
    shipping = read_shipping(loaded, loaded.models[0])
    assert shipping is not None
    assert [each.name for each in shipping.variants] == ["fp32"], "the best so far is kept"

    notes: list[str] = []

    class Listening(Silent):
        def note(self, text: str) -> None:
            notes.append(text)

    again = optimize_model(loaded, loaded.models[0], Listening(), HURRIED)
    assert any(re.match(r"Calibration continues after \d+ items", note) for note in notes)
    assert again.variant("int8-static").files == whole


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("max_accuracy_drop_points = 3.0", "max_accuracy_drop_points = 0.5"),
        ("mean = [127]", "mean = [128]"),
        ('decode = "exact"', 'decode = "fast"'),
    ],
)
def test_a_result_of_another_state_of_the_project_is_refused(
    project: Path, tmp_path: Path, old: str, new: str
) -> None:
    folder = digit_project(project, DATA + 'candidates = ["fp32"]\nmax_accuracy_drop_points = 3.0\n')
    optimised(folder)
    text = (folder / "sealift.toml").read_text()
    assert old in text
    (folder / "sealift.toml").write_text(text.replace(old, new))
    before = files(folder)
    with pytest.raises(ProjectError) as refused:
        prepare_models(load_project(folder), tmp_path / "served")
    assert "measured for another state" in str(refused.value.problems)
    assert f"sealift optimize {folder.resolve()}" in str(refused.value.problems)
    assert files(folder) == before


def test_a_file_that_is_not_what_was_measured_is_refused(project: Path, tmp_path: Path) -> None:
    folder = digit_project(project, DATA + 'candidates = ["fp32"]\n')
    optimised(folder)
    model = next((folder / "optimized" / "digits").glob("fp32-*/model.onnx"))
    model.write_bytes(model.read_bytes()[:-1] + b"\0")
    (folder / "optimized" / "digits" / "report.json").write_bytes(b"{}")
    with pytest.raises(ProjectError) as refused:
        prepare_models(load_project(folder), tmp_path / "served")
    told = str(refused.value.problems)
    assert "model.onnx: expected sha256" in told
    assert "report.json: expected sha256" in told


def test_data_that_cannot_be_read_changes_nothing(project: Path) -> None:
    folder = digit_project(project, DATA + 'candidates = ["fp32"]\n')
    optimised(folder)
    before = files(folder / "optimized")
    (folder / "evaluation" / "3" / "broken.png").write_bytes(b"no picture")
    with pytest.raises(SealiftError, match=r"1 of 301 item\(s\) cannot be answered"):
        optimised(folder)
    assert files(folder / "optimized") == before


def test_a_report_is_read_back_as_it_was_written(project: Path) -> None:
    report = optimised(digit_project(project, DATA + 'candidates = ["fp32"]\n'))
    assert msgspec.json.decode(msgspec.json.encode(report), type=QualityReport) == report


def test_what_the_engine_cannot_run_of_a_graph_is_told_at_once(tmp_path: Path) -> None:
    """Two operators that no onnxruntime knows, in one message; nothing is kept."""
    folder = linear_project(tmp_path / "p", (4, 3, 2), "")
    model = onnx.load(folder / "net.onnx")
    model.graph.node[0].op_type, model.graph.node[1].op_type = "FancyGemm", "FancyRelu"
    onnx.save(model, folder / "net.onnx")
    with pytest.raises(ModelError, match=r"net\.onnx does not run on onnxruntime") as refused:
        optimised(folder)
    told = " ".join(refused.value.problems)
    assert "FancyGemm" in told
    assert "FancyRelu" in told
    assert not (folder / "optimized").exists()
