"""PyTorch models become ONNX: weights with their Python, TorchScript, torch.export; and what is refused on the way."""

from __future__ import annotations

import pickle
import sys
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tests.engine.made_models import IMAGE, module, photos, trace, write_exported, write_script

from sealift.engine.choose import engine_for
from sealift.engine.protocol import EngineOptions
from sealift.errors import ModelError
from sealift.model.arrays import Arrays
from sealift.model.signature import TensorSpec
from sealift.optimize.export.architecture import build_module
from sealift.optimize.export.model import Exported, export_model
from sealift.project.project import Architecture, ModelEntry

pytestmark = pytest.mark.slow  # importing PyTorch alone takes seconds

FEATURES = TensorSpec(name="features", datatype="FP32", shape=("batch", 4))
IDS = TensorSpec(name="ids", datatype="INT64", shape=("batch", "length"))

NET = """
import torch
from torch.nn import functional

import sizes


class Photos(torch.nn.Module):
    def __init__(self, classes=5, drop=0.5):
        super().__init__()
        self.c = torch.nn.Conv2d(3, sizes.WIDTH, 3, stride=2)
        self.d = torch.nn.Dropout(drop)
        self.f = torch.nn.Linear(sizes.WIDTH, classes)

    def forward(self, image):
        return torch.softmax(self.f(self.d(torch.relu(self.c(image)).mean((2, 3)))), -1)


class Linear(torch.nn.Linear):
    def __init__(self):
        super().__init__(4, 3)


class AlwaysDropping(Linear):
    def forward(self, features):
        return super().forward(functional.dropout(features, 0.5))


class RowByRow(Linear):
    def forward(self, features):
        return torch.stack([super(RowByRow, self).forward(row) for row in features])


class Choosing(Linear):
    def forward(self, features):
        if features.sum() > 0:
            return super().forward(features)
        return -super().forward(features)


class Exotic(Linear):
    def forward(self, features):
        square = super().forward(features).unsqueeze(1).expand(-1, 3, -1)
        return torch.linalg.eigvals(square).real + torch.special.i0e(features[:, :3])


class Tokens(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.e = torch.nn.Embedding(10, 4)

    def forward(self, ids):
        seen = self.e(ids)
        return {"pooled": seen.mean(1), "tokens": seen}


def function(classes):
    return Photos(classes)


def failing(**given):
    raise KeyError("width")


def no_module():
    return 3


NUMBER = 3
"""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python file with a sibling that it imports, and weights of each class in it."""
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("net")
    file = folder / "net.py"
    file.write_text(NET)
    (folder / "sizes.py").write_text("WIDTH = 8\n")
    save_file(module().state_dict(), folder / "photos.safetensors")
    torch.save(module().state_dict(), folder / "photos.pth")
    torch.manual_seed(0)
    save_file(torch.nn.Linear(4, 3).state_dict(), folder / "linear.safetensors")
    save_file({"e.weight": torch.randn(10, 4)}, folder / "tokens.safetensors")
    return file


def entry(net: Path, name: str, weights: str, inputs: TensorSpec, **arguments: Any) -> ModelEntry:
    architecture = Architecture(net, name, arguments)
    return ModelEntry("m", net.parent / weights, inputs=(inputs,), architecture=architecture)


def answers(exported: Exported, inputs: Arrays) -> Arrays:
    return engine_for(exported.path).load(exported.path, EngineOptions(threads=1)).run(inputs)


def refused(entry: ModelEntry, out: Path) -> ModelError:
    """The error; nothing is left on the disk."""
    before = sorted(out.parent.iterdir())
    with pytest.raises(ModelError) as caught:
        export_model(entry, out)
    assert sorted(out.parent.iterdir()) == before
    return caught.value


@pytest.mark.parametrize("weights", ["photos.safetensors", "photos.pth"])
def test_weights_with_their_python_become_the_same_model(weights: str, net: Path, tmp_path: Path) -> None:
    import torch

    exported = export_model(entry(net, "Photos", weights, IMAGE, classes=5), tmp_path / "out")
    with torch.inference_mode():
        expected = module()(torch.from_numpy(photos(3))).numpy()
    found = answers(exported, {"image": photos(3)})
    assert np.allclose(found["output"], expected, atol=1e-6)
    assert exported.signature.batch_axis == "batch"
    assert exported.signature.probabilities == ("output",)
    assert exported.report.compared == 6
    assert exported.notes == ()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model.onnx"]


def test_two_exports_are_the_same_bytes_and_tell_nothing_of_this_machine(net: Path, tmp_path: Path) -> None:
    one, two = (
        export_model(entry(net, "Photos", f"photos.{kind}", IMAGE), tmp_path / kind).path.read_bytes()
        for kind in ("safetensors", "pth")
    )
    assert one == two
    for secret in (str(net.parent), str(Path.home()), "net.py", "site-packages", "Traceback", 'File "'):
        assert secret.encode() not in one
    written = onnx.load_from_string(one)
    assert not written.metadata_props
    assert not any(node.metadata_props or node.doc_string for node in written.graph.node)


def test_a_function_that_builds_the_module_will_do(net: Path, tmp_path: Path) -> None:
    exported = export_model(entry(net, "function", "photos.pth", IMAGE, classes=5), tmp_path / "out")
    assert exported.signature.outputs[0].shape == ("batch", 5)


def test_the_projects_names_stand_in_the_file(net: Path, tmp_path: Path) -> None:
    named = (TensorSpec(name="chances", datatype="FP32", shape=("batch", 5)),)
    exported = export_model(
        replace(entry(net, "Photos", "photos.pth", IMAGE), outputs=named), tmp_path / "out"
    )
    assert [spec.name for spec in exported.signature.inputs] == ["image"]
    assert [spec.name for spec in exported.signature.outputs] == ["chances"]


def test_open_axes_and_the_keys_of_a_dict_are_kept(net: Path, tmp_path: Path) -> None:
    exported = export_model(entry(net, "Tokens", "tokens.safetensors", IDS), tmp_path / "out")
    shapes = {spec.name: spec.shape for spec in exported.signature.outputs}
    assert shapes == {"pooled": ("batch", 4), "tokens": ("batch", "length", 4)}
    assert answers(exported, {"ids": np.ones((3, 7), np.int64)})["tokens"].shape == (3, 7, 4)


def test_weights_that_were_saved_from_several_gpus_fit_as_well(net: Path, tmp_path: Path) -> None:
    import torch

    weights = tmp_path / "parallel.pth"
    torch.save({f"module.{name}": value for name, value in module().state_dict().items()}, weights)
    built = build_module(Architecture(net, "Photos"), weights)
    assert not built.training


@pytest.mark.parametrize(
    ("name", "write"), [("net.pt", write_script), ("net.pt2", write_exported)], ids=["torchscript", "pt2"]
)
def test_what_pytorch_serves_as_it_is_can_become_onnx_too(
    name: str, write: Callable[[Path], Path], tmp_path: Path
) -> None:
    import torch

    inputs = (IMAGE,) if name.endswith(".pt") else ()
    exported = export_model(ModelEntry("m", write(tmp_path / name), inputs=inputs), tmp_path / "out")
    with torch.inference_mode():
        expected = module()(torch.from_numpy(photos(4))).numpy()
    assert np.allclose(answers(exported, {"image": photos(4)})["output"], expected, atol=1e-6)
    assert exported.signature.batch_axis == "batch"
    assert str(tmp_path).encode() not in exported.path.read_bytes()


def test_a_batch_that_cannot_stay_open_becomes_one_row_with_a_note(net: Path, tmp_path: Path) -> None:
    exported = export_model(entry(net, "RowByRow", "linear.safetensors", FEATURES), tmp_path / "out")
    assert exported.signature.inputs[0].shape == (1, 4)
    assert exported.signature.batch_axis is None
    (note,) = exported.notes
    assert note.startswith("its batch cannot stay open, so it takes one row at a time and batching is off: ")
    assert "Constraints violated" in note
    assert "TORCH_LOGS" not in note


def test_a_dropout_that_stays_on_is_found(net: Path, tmp_path: Path) -> None:
    error = refused(entry(net, "AlwaysDropping", "linear.safetensors", FEATURES), tmp_path / "out")
    assert error.message == "linear.safetensors: its ONNX does not do what the original does"
    assert "answers the same input differently (output): dropout" in error.problems[0]
    assert "correct the model" in (error.next_step or "")


def test_a_choice_that_depends_on_values_is_refused_with_its_line(net: Path, tmp_path: Path) -> None:
    error = refused(entry(net, "Choosing", "linear.safetensors", FEATURES), tmp_path / "out")
    line = NET.splitlines().index("        if features.sum() > 0:") + 1
    assert "cannot make ONNX of it" in error.message
    assert error.message.endswith(f"(net.py:{line})")
    assert "torch.jit.script(module).save" in (error.next_step or "")


def test_operators_that_onnx_lacks_are_listed_together(net: Path, tmp_path: Path) -> None:
    error = refused(entry(net, "Exotic", "linear.safetensors", FEATURES), tmp_path / "out")
    assert "2 of its operators have no counterpart in ONNX" in error.message
    assert error.problems == ("aten.linalg_eig.default", "prims.bessel_i0e.default")
    assert "serve it on PyTorch" in (error.next_step or "")


def test_operators_of_torchscript_that_onnx_lacks_are_listed_too(tmp_path: Path) -> None:
    import torch

    class Exotic(torch.nn.Module):
        def forward(self, features: Any) -> Any:
            return torch.special.i0e(torch.special.bessel_j0(features))

    trace(Exotic(), torch.ones(2, 4)).save(str(tmp_path / "m.pt"))
    error = refused(ModelEntry("m", tmp_path / "m.pt", inputs=(FEATURES,)), tmp_path / "out")
    assert error.problems == ("aten::special_bessel_j0", "aten::special_i0e")


def test_a_choice_in_torchscript_stays_a_choice(tmp_path: Path) -> None:
    import torch

    class Choosing(torch.nn.Module):
        def forward(self, features):  # type: ignore[no-untyped-def]
            return features * 2 if features.sum() > 0 else -features

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted: Any = torch.jit.script(Choosing())
        scripted.save(str(tmp_path / "m.pt"))
    exported = export_model(ModelEntry("m", tmp_path / "m.pt", inputs=(FEATURES,)), tmp_path / "out")
    positive = np.ones((1, 4), np.float32)
    assert np.array_equal(answers(exported, {"features": positive})["output"], positive * 2)
    assert np.array_equal(answers(exported, {"features": -positive})["output"], positive)


def test_weights_that_do_not_fit_are_told_all_at_once(net: Path, tmp_path: Path) -> None:
    import torch

    state = module().state_dict()
    state["head.weight"] = state.pop("f.weight")
    state["c.bias"] = torch.zeros(9)
    weights = tmp_path / "other.pth"
    torch.save(state, weights)
    error = refused(replace(entry(net, "Photos", "photos.pth", IMAGE), path=weights), tmp_path / "out")
    assert error.message == "other.pth does not fit net.py:Photos"
    assert error.problems == (
        "c.bias is [9], the module has [8]",
        "f.weight is missing; the module has [5, 8]",
        "head.weight is unexpected: the module has no such tensor",
    )
    assert "[model.arguments]" in (error.next_step or "")


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("Photo", {}, "net.py has no Photo; did you mean"),
        ("NUMBER", {}, "net.py: NUMBER is a int, expected a class or function"),
        ("failing", {"a": 1}, "net.py: failing(a=1) raises KeyError: 'width' (net.py:"),
        ("Photos", {"klasses": 3}, "net.py: Photos(klasses=3) raises TypeError: "),
        ("no_module", {}, "net.py: no_module gives a int, expected a torch.nn.Module"),
    ],
)
def test_what_the_architecture_does_wrong_is_named(
    name: str, arguments: dict[str, Any], said: str, net: Path, tmp_path: Path
) -> None:
    error = refused(entry(net, name, "photos.pth", IMAGE, **arguments), tmp_path / "out")
    assert error.message.startswith(said)
    assert "Traceback" not in error.message


def test_a_module_that_does_not_import_is_named_with_its_line(net: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("import torch\nimport not_installed_here\n")
    weights = net.parent / "photos.pth"
    broken_entry = ModelEntry("m", weights, inputs=(IMAGE,), architecture=Architecture(broken, "Net"))
    error = refused(broken_entry, tmp_path / "out")
    assert "ModuleNotFoundError: No module named 'not_installed_here' (broken.py:2)" in error.message
    assert "the box does not need it" in (error.next_step or "")


def test_weights_that_want_to_run_code_are_refused_before_pytorch_sees_them(
    net: Path, tmp_path: Path
) -> None:
    class Touch:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
            return open, (str(tmp_path / "ran"), "w")

    weights = tmp_path / "hostile.pth"
    with zipfile.ZipFile(weights, "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps({"c.weight": Touch()}, 2))
    error = refused(replace(entry(net, "Photos", "photos.pth", IMAGE), path=weights), tmp_path / "out")
    assert "hostile.pth: the weights file asks for io.open" in error.message
    assert not (tmp_path / "ran").exists()


def test_a_damaged_safetensors_file_is_refused(net: Path, tmp_path: Path) -> None:
    weights = tmp_path / "cut.safetensors"
    weights.write_bytes((net.parent / "photos.safetensors").read_bytes()[:-9])
    error = refused(replace(entry(net, "Photos", "photos.pth", IMAGE), path=weights), tmp_path / "out")
    assert "cut.safetensors is not a safetensors file, or is damaged" in error.message


def test_without_the_exporter_the_extra_to_install_is_named(
    net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    error = refused(entry(net, "Photos", "photos.pth", IMAGE), tmp_path / "out")
    assert "needs PyTorch and onnxscript on this machine" in error.message
    assert (error.next_step or "").startswith("pip install 'sealift[torch]'")


def test_an_onnx_model_is_not_exported(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"")
    assert "m.onnx is no PyTorch model" in refused(ModelEntry("m", path), tmp_path / "out").message
