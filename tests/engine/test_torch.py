"""PyTorch files: what is served as it is, and what is refused before anything of it runs."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.engine.made_models import IMAGE, photos, trace, write_exported, write_script

from sealift.engine.choose import engine_for
from sealift.engine.protocol import EngineOptions
from sealift.errors import ModelError, ModelFailed
from sealift.model.graph_torch import exported_signature, script_signature
from sealift.model.signature import TensorSpec
from sealift.model.torch_file import load_exported, load_script

pytestmark = pytest.mark.slow


def spec(name: str, *shape: int | str, datatype: str = "FP32") -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=shape)


def saved(scripted: Any, path: Path) -> Path:
    scripted.save(str(path))
    return path


def rewritten(path: Path, change: Callable[[str, bytes], bytes], **added: bytes) -> Path:
    """The archive with its entries changed, and more of them below its first folder."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: change(name, archive.read(name)) for name in archive.namelist()}
    root = next(iter(entries)).split("/")[0]
    entries.update({f"{root}/{name.replace('__', '/')}": data for name, data in added.items()})
    target = path.with_name(f"changed-{path.name}")
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return target


class Planted:
    """A pickle that leaves a file behind when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def test_two_arguments_and_a_dict_of_results_keep_their_names(tmp_path: Path) -> None:
    import torch

    class Both(torch.nn.Module):
        def forward(self, left: Any, right: Any) -> Any:
            return {"sum": left + right, "same": left == right}

    x = torch.zeros(2, 3)
    path = saved(trace(Both(), x, x, strict=False), tmp_path / "both.pt")
    inputs = (spec("a", "batch", 3), spec("b", "batch", 3))
    signature = script_signature(path, inputs, ())
    assert signature.outputs == (spec("sum", "batch", 3), spec("same", "batch", 3, datatype="BOOL"))
    assert signature.batch_axis == "batch"
    session = engine_for(path, "", ("a", "b"), ("sum", "same")).load(path, EngineOptions())
    ones = np.ones((1, 3), np.float32)
    answer = session.run({"b": ones * 2, "a": ones})
    assert {name: array.tolist() for name, array in answer.items()} == {
        "sum": [[3.0] * 3],
        "same": [[False] * 3],
    }


def test_a_module_that_writes_into_its_input_leaves_the_request_alone(tmp_path: Path) -> None:
    import torch

    class Scales(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x.mul_(2)

    path = saved(trace(Scales(), torch.zeros(1, 2)), tmp_path / "m.pt")
    session = engine_for(path).load(path, EngineOptions())
    x = np.ones((1, 2), np.float32)
    assert session.run({"x": x})["output"].tolist() == [[2, 2]]
    assert x.tolist() == [[1, 1]]


def test_the_quantised_torchscript_of_the_usual_guide_serves_as_it_is(tmp_path: Path) -> None:
    import warnings

    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.backends.quantized.engine = "fbgemm"
        net = torch.nn.Sequential(torch.nn.Linear(30, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1)).eval()
        quantise: Any = torch.ao.quantization.quantize_dynamic
        quantised = quantise(net, {torch.nn.Linear}, dtype=torch.qint8)
    path = saved(trace(quantised, torch.zeros(1, 30)), tmp_path / "model.pt")
    signature = script_signature(path, (spec("features", "batch", 30),), (spec("score", "batch", 1),))
    session = engine_for(path, "", ("features",), ("score",)).load(path, EngineOptions(threads=1))
    x = np.random.default_rng(0).standard_normal((4, 30)).astype(np.float32)
    with torch.inference_mode():
        expected = quantised(torch.from_numpy(x)).numpy()
    assert np.array_equal(session.run({"features": x})["score"], expected)
    assert signature.batch_axis == "batch"


@pytest.mark.parametrize(
    ("inputs", "outputs", "words"),
    [
        ((), (), r"takes 1 tensors \(image\), none declared: TorchScript does not tell their shapes"),
        ((IMAGE, spec("x", 1)), (), r"takes 1 tensors \(image\), 2 declared"),
        ((spec("image", "batch", 4, 32, 32),), (), "refuses tensors of the declared shapes: .* 3 channels"),
        ((IMAGE,), (spec("a", 1), spec("b", 1)), r"returns 1 tensors, \[\[model.outputs\]\] names 2"),
        ((IMAGE,), (spec("a", "batch", 6),), "outputs are not as declared"),
        ((IMAGE,), (spec("a", "batch", 5, datatype="FP64"),), "outputs are not as declared"),
    ],
)
def test_a_declaration_that_the_model_does_not_keep_is_refused(
    tmp_path: Path, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], words: str
) -> None:
    with pytest.raises(ModelError, match=words) as refused:
        script_signature(write_script(tmp_path / "net.pt"), inputs, outputs)
    assert refused.value.next_step or refused.value.problems


def test_rows_that_the_model_adds_up_are_no_batch(tmp_path: Path) -> None:
    import torch

    class Total(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x.sum(0, keepdim=True)

    path = saved(trace(Total(), torch.zeros(2, 3)), tmp_path / "m.pt")
    assert script_signature(path, (spec("x", "batch", 3),), ()).batch_axis is None
    with pytest.raises(ModelError, match="outputs are not as declared"):
        script_signature(path, (spec("x", "batch", 3),), (spec("y", "batch", 3),))


def test_an_exported_program_tells_its_tensors(tmp_path: Path) -> None:
    import torch

    class Steps(torch.nn.Module):
        def forward(self, ids: Any, scale: Any) -> Any:
            return (ids.float() * scale, ids.sum(1))

    batch, time = torch.export.Dim("rows"), torch.export.Dim("steps")
    path = write_exported(
        tmp_path / "m.pt2",
        Steps(),
        torch.zeros(2, 4, dtype=torch.int64),
        torch.ones(1),
        open_axes=({0: batch, 1: time}, None),
    )
    signature = exported_signature(path)
    assert signature.inputs == (spec("ids", "batch", "axis_1", datatype="INT64"), spec("scale", 1))
    assert signature.outputs == (
        spec("output_0", "batch", "axis_1"),
        spec("output_1", "batch", datatype="INT64"),
    )
    session = engine_for(path, "", ("ids", "scale"), ("output_0", "output_1")).load(path, EngineOptions())
    answer = session.run({"ids": np.ones((3, 2), np.int64), "scale": np.array([2], np.float32)})
    assert answer["output_1"].tolist() == [2, 2, 2]


def test_a_session_refuses_another_number_of_tensors_than_its_signature_has(tmp_path: Path) -> None:
    path = write_script(tmp_path / "net.pt")
    with pytest.raises(ModelError, match=r"net\.pt: the model takes 1 tensors, the signature names 2"):
        engine_for(path, "", ("a", "b"), ("c",)).load(path, EngineOptions())
    session = engine_for(path, "", ("image",), ("a", "b")).load(path, EngineOptions())
    with pytest.raises(ModelFailed, match="returned 1 tensors, its signature names 2"):
        session.run({"image": photos(1)})


@pytest.mark.parametrize("suffix", ["pt", "pt2"])
def test_a_pickle_is_refused_unread(tmp_path: Path, suffix: str) -> None:
    import torch

    load = load_script if suffix == "pt" else load_exported
    mark = tmp_path / "it ran"
    plain, checkpoint = tmp_path / f"plain.{suffix}", tmp_path / f"state.{suffix}"
    plain.write_bytes(pickle.dumps(Planted(mark)))
    torch.save({"weights": Planted(mark)}, checkpoint)
    with pytest.raises(ModelError, match=r"plain\.pt2? is a Python pickle, which sealift never executes"):
        load(plain)
    with pytest.raises(ModelError, match=r"a pickle that sealift never executes; expected a ") as refused:
        load(checkpoint)
    assert "torch.jit.trace(module.eval(), example).save('model.pt')" in str(refused.value.next_step)
    assert not mark.exists()


@pytest.mark.parametrize("write", [write_script, write_exported])
def test_the_other_format_and_damage_are_named(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    suffix = ".pt" if write is write_script else ".pt2"
    path = write(tmp_path / f"net{suffix}")
    right, other = (load_script, load_exported) if write is write_script else (load_exported, load_script)
    other_path = path.rename(path.with_name("other.pt"))
    with pytest.raises(ModelError, match=r"other\.pt is not a "):
        other(other_path)
    data = other_path.read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match=r"is not a .*, or is damaged"):
        right(cut)
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        right(tmp_path / f"absent{suffix}")


def test_a_damaged_script_inside_a_whole_archive_is_pytorchs_own_refusal(tmp_path: Path) -> None:
    path = write_script(tmp_path / "net.pt")
    broken = rewritten(path, lambda name, data: b"def" if name.endswith(".py") else data)
    with pytest.raises(ModelError, match=r"changed-net\.pt: PyTorch .* cannot load it: "):
        load_script(broken)


def pickled_weights(path: Path, mark: Path) -> Path:
    """An archive that says of its weights that they are pickles, as torch.export.load unpickles them."""
    buffer = io.BytesIO()
    import torch

    torch.save(Planted(mark), buffer)

    def change(name: str, data: bytes) -> bytes:
        if name.endswith("weights_config.json"):
            config = json.loads(data)
            for payload in config["config"].values():
                payload["use_pickle"] = True
            return json.dumps(config).encode()
        return buffer.getvalue() if "/weights/weight_" in name else data

    return rewritten(path, change)


def edited_graph(path: Path, old: str, new: str) -> Path:
    def change(name: str, data: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return data
        assert old.encode() in data
        return data.replace(old.encode(), new.encode())

    return rewritten(path, change)


def test_weights_that_are_pickles_are_refused_unread(tmp_path: Path) -> None:
    mark = tmp_path / "it ran"
    planted = pickled_weights(write_exported(tmp_path / "net.pt2"), mark)
    with pytest.raises(ModelError, match="weights are Python pickles, which sealift never executes"):
        load_exported(planted)
    assert not mark.exists()
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("torch.ops.aten.conv2d.default", "torch.os.system"),
        ("torch.ops.aten.conv2d.default", "torch.ops.load_library"),
        ("torch.ops.aten.conv2d.default", "_operator.methodcaller"),
        ("positive=True", "positive=__import__('os').getpid()"),
        ("Symbol('", "exec('"),
        ('"name": "relu"', '"name": "relu=1;import os"'),
    ],
)
def test_what_could_run_when_it_is_loaded_is_refused_unread(tmp_path: Path, old: str, new: str) -> None:
    planted = edited_graph(write_exported(tmp_path / "net.pt2"), old, new)
    with pytest.raises(ModelError, match="holds what could run as code when it is loaded") as refused:
        load_exported(planted)
    assert refused.value.problems


@pytest.mark.parametrize("name", ["data__constants__opaque_obj_0", "data__aotinductor__model__x.so"])
def test_parts_that_are_no_graph_are_refused(tmp_path: Path, name: str) -> None:
    planted = rewritten(write_exported(tmp_path / "net.pt2"), lambda _, data: data, **{name: b"x"})
    with pytest.raises(ModelError, match="holds what could run as code"):
        load_exported(planted)


def test_without_pytorch_the_way_out_is_named(tmp_path: Path) -> None:
    path = write_script(tmp_path / "net.pt")
    code = (
        "import sys, pathlib; sys.modules['torch'] = None\n"
        "from sealift.engine.choose import engine_for\n"
        "from sealift.engine.protocol import EngineOptions\n"
        "from sealift.errors import ModelError\n"
        "try: engine_for(pathlib.Path(sys.argv[1])).load(pathlib.Path(sys.argv[1]), EngineOptions())\n"
        "except ModelError as error: print(error, error.next_step)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True)
    assert "the engine torch needs the package torch" in ran.stdout
    assert "[python] requirements" in ran.stdout


def test_a_build_without_cuda_says_so(tmp_path: Path) -> None:
    import torch

    if torch.version.cuda is not None:
        pytest.skip("this PyTorch has CUDA")
    path = write_script(tmp_path / "net.pt")
    with pytest.raises(ModelError, match=r"cuda cannot be used: the installed PyTorch .* without CUDA"):
        engine_for(path).load(path, EngineOptions(device=("cuda",)))


def test_one_module_serves_every_layout(tmp_path: Path) -> None:
    path = write_script(tmp_path / "net.pt")
    wide = engine_for(path, "", ("image",), ("output",)).load(path, EngineOptions(threads=2))
    narrow = wide.with_threads(1, may_copy=False)
    assert narrow is not None
    import torch

    narrow.run({"image": photos(1)})
    assert torch.get_num_threads() == 1
    wide.run({"image": photos(1)})
    assert torch.get_num_threads() == 2


def test_an_argument_with_a_default_may_be_declared_or_left_out(tmp_path: Path) -> None:
    import warnings

    import torch

    class Scales(torch.nn.Module):
        def forward(self, x: torch.Tensor, by: torch.Tensor | None = None) -> torch.Tensor:
            return x * 2 if by is None else x * by

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script: Any = torch.jit.script
        path = saved(script(Scales()), tmp_path / "m.pt")
    x, by = spec("x", "batch", 2), spec("by", 1)
    assert script_signature(path, (x,), ()).outputs == (spec("output", "batch", 2),)
    assert script_signature(path, (x, by), ()).outputs == (spec("output", "batch", 2),)
    ones = np.ones((1, 2), np.float32)
    alone = engine_for(path, "", ("x",), ("y",)).load(path, EngineOptions())
    assert alone.run({"x": ones})["y"].tolist() == [[2, 2]]
    both = engine_for(path, "", ("x", "by"), ("y",)).load(path, EngineOptions())
    assert both.run({"x": ones, "by": np.array([3], np.float32)})["y"].tolist() == [[3, 3]]
