"""What OpenVINO and PyTorch serve is optimised too, and weights with their module become a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.engine.made_models import trace
from tests.optimize.projects import HURRIED, digit_net, digit_project, write_digits

from sealift.engine.choose import engine_of
from sealift.engine.protocol import EngineOptions
from sealift.events import Silent
from sealift.optimize.report import QualityReport, Standing
from sealift.optimize.run import optimize_model
from sealift.project.file import load_project
from sealift.project.served import prepare_models

pytestmark = pytest.mark.slow


def optimised(folder: Path) -> QualityReport:
    project = load_project(folder)
    return optimize_model(project, project.models[0], Silent(), HURRIED)


def with_model(folder: Path, name: str) -> Path:
    path = folder / "sealift.toml"
    path.write_text(path.read_text().replace('path = "net.onnx"', f'path = "{name}"'))
    return folder


def test_an_openvino_model_gains_by_bf16_or_nncf_and_serves_what_was_measured(tmp_path: Path) -> None:
    import openvino

    folder = tmp_path / "ir"
    openvino.save_model(
        openvino.Core().read_model(digit_net(folder / "net.onnx")), folder / "net.xml", compress_to_fp16=False
    )
    write_digits(folder / "calibration", range(1000, 1064), labelled=False)
    write_digits(folder / "evaluation", range(1100, 1250))
    wanted = (
        'calibration = "calibration"\nevaluation = "evaluation"\nmax_accuracy_drop_points = 6.0\ntravel = 3'
    )
    report = optimised(with_model(digit_project(folder, wanted), "net.xml"))
    assert {each.name for each in report.variants} == {"fp32", "bf16", "int8-nncf"}
    assert all(each.standing is not Standing.NOT_BUILT for each in report.variants)
    small = report.variant("int8-nncf")
    assert small.size < 0.45 * report.variant("fp32").size
    assert [file.name for file in small.files] == ["model.xml", "model.bin"]
    served = prepare_models(load_project(folder), tmp_path / "served").models[0]
    session = engine_of(served).load(served.path, EngineOptions(threads=1))
    assert session.run({"x": np.zeros((1, 1, 32, 32), np.float32)})["y"].shape == (1, 10)


def test_torchscript_is_measured_beside_the_onnx_and_int8_that_are_made_of_it(tmp_path: Path) -> None:
    import torch

    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 32, 3, padding=1), torch.nn.ReLU(),
        torch.nn.Conv2d(32, 32, 3, padding=1), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(32, 10),
    ).eval()  # fmt: skip
    folder = tmp_path / "script"
    folder.mkdir()
    trace(net, torch.zeros(1, 1, 32, 32)).save(str(folder / "net.pt"))
    write_digits(folder / "evaluation", range(1100, 1180), labelled=False)
    report = optimised(
        with_model(digit_project(folder, 'evaluation = "evaluation"\nunproven = "ship"'), "net.pt")
    )
    assert report.variant("fp32").engine == "torch"
    assert report.variant("onnx").engine == "onnxruntime"
    assert report.variant("onnx").comparisons[0].value == 1.0
    assert report.variant("int8-static").standing is not Standing.NOT_BUILT
    assert "convolutions get slower" in report.variant("int8-dynamic").reasons[0]


def test_weights_and_their_module_become_a_model_that_serves(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(1)
    net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).eval()
    save_file(net.state_dict(), tmp_path / "weights.safetensors")
    (tmp_path / "net.py").write_text(
        "import torch\n\n\ndef build(hidden):\n"
        "    return torch.nn.Sequential(torch.nn.Linear(6, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 3))\n"
    )
    (tmp_path / "sealift.toml").write_text(
        '[project]\nname = "w"\nversion = "1"\n[model]\npath = "weights.safetensors"\n'
        'architecture = "net.py:build"\n[model.arguments]\nhidden = 8\n'
        '[[model.inputs]]\nname = "x"\ndatatype = "FP32"\nshape = ["batch", 6]\n[optimize]\ncandidates = ["fp32"]\n'
    )
    report = optimised(tmp_path)
    assert report.chosen == "fp32"
    served = prepare_models(load_project(tmp_path), tmp_path / "served").models[0]
    assert served.signature.batch_axis is not None
    x = np.random.default_rng(2).standard_normal((2, 6)).astype(np.float32)
    (found,) = engine_of(served).load(served.path, EngineOptions(threads=1)).run({"x": x}).values()
    expected = net(torch.from_numpy(x)).detach().numpy()
    assert np.abs(found - expected).max() < 1e-6
