"""A device that cannot be used is never replaced in silence, and what is missing is named."""

from __future__ import annotations

import ctypes
import logging
import os
import shutil
import subprocess
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from sealift.engine import onnxruntime as engine
from sealift.engine.devices import Device, Refused, first_usable, nvidia_problem, parse_device
from sealift.engine.onnxruntime import OnnxRuntime
from sealift.engine.protocol import EngineOptions
from sealift.errors import ModelError


class Driver:
    """libcuda.so.1 as far as it is asked. `answer`: of cuInit. `count`: devices."""

    def __init__(self, answer: int = 0, count: int = 1) -> None:
        self.answer = answer
        self.count = count

    def cuInit(self, flags: int) -> int:
        assert flags == 0
        return self.answer

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = self.count
        return 0


def loader(driver: Driver | None = None, missing: str = "") -> Any:
    """A dlopen that knows the driver, and everything whose name has not `missing` in it."""

    def load(name: str) -> Any:
        if name == "libcuda.so.1":
            return driver if driver is not None else ctypes.CDLL(name)
        if missing and missing in name:
            raise OSError("libcudnn.so.9: cannot open shared object file: No such file or directory")
        return SimpleNamespace()

    return load


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """The device files of a machine with one NVIDIA card."""
    for name in ("nvidiactl", "nvidia0", "nvidia-uvm"):
        (tmp_path / name).touch(mode=0o666)
    return tmp_path


@pytest.fixture
def doubler(tmp_path: Path) -> Path:
    """y = x + x, any length."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "doubler", [x], [y])
    path = tmp_path / "doubler.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_a_device_has_a_family_and_a_number() -> None:
    assert parse_device("cuda:1") == Device("cuda:1", "cuda", 1)
    assert parse_device("cpu") == Device("cpu", "cpu", 0)


def test_a_machine_without_a_driver_says_so(tmp_path: Path) -> None:
    assert nvidia_problem(0, devices=tmp_path) == (
        f"{tmp_path}/nvidiactl is not there: no NVIDIA driver is loaded, or the device is kept from this process"
    )


def test_a_number_beyond_the_cards_names_the_cards(card: Path) -> None:
    assert nvidia_problem(3, devices=card) == (
        f"{card}/nvidia3 is not there: device number 3 was asked for, here are nvidia0"
    )


def test_the_module_for_unified_memory_is_named(card: Path) -> None:
    (card / "nvidia-uvm").unlink()
    assert "nvidia-uvm is not loaded (nvidia-modprobe" in nvidia_problem(0, devices=card)


def test_a_device_file_of_another_group_is_a_matter_of_permission(
    card: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (card / "nvidia0").chmod(0o660)
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "nvidia0" and real(path, mode))
    problem = nvidia_problem(0, devices=card, load=loader(Driver()))
    assert problem.startswith(f"no permission on {card}/nvidia0: it is of user {os.getuid()} and group ")
    assert f"with mode 0660, this process is of user {os.geteuid()} and groups" in problem


def test_a_driver_library_that_is_not_there_is_named_in_the_loaders_words(card: Path) -> None:
    if Path("/proc/driver/nvidia").exists():
        pytest.skip("this machine has the driver")
    assert nvidia_problem(0, devices=card, load=loader()) == (
        "the driver's library cannot be loaded: "
        "libcuda.so.1: cannot open shared object file: No such file or directory"
    )


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (803, "cuInit: 803): the driver's library and the kernel module are of different versions"),
        (100, "cuInit: 100): no CUDA device is visible to this process"),
        (7, "cuInit: 7): see CUresult"),
    ],
)
def test_a_driver_that_refuses_is_quoted(card: Path, answer: int, words: str) -> None:
    assert words in nvidia_problem(0, devices=card, load=loader(Driver(answer)))


def test_a_device_that_the_driver_does_not_count_is_refused(card: Path) -> None:
    (card / "nvidia1").touch()
    problem = nvidia_problem(1, devices=card, load=loader(Driver(count=1)))
    assert problem == "device number 1 was asked for, the driver has 1 (from 0)"


def test_a_library_of_the_engine_that_cannot_be_loaded_is_named(card: Path) -> None:
    libraries = [Path("/wheel/libonnxruntime_providers_cuda.so")]
    problem = nvidia_problem(0, libraries, devices=card, load=loader(Driver(), "providers_cuda"))
    assert problem == (
        "a library is missing: libcudnn.so.9: cannot open shared object file: No such file or directory"
    )
    assert nvidia_problem(0, libraries, devices=card, load=loader(Driver())) == ""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_the_loader_names_what_a_real_library_lacks(card: Path, tmp_path: Path) -> None:
    source = tmp_path / "p.c"
    source.write_text("int missing_part(void); int provider(void) { return missing_part(); }")
    part = tmp_path / "part.c"
    part.write_text("int missing_part(void) { return 1; }")
    for command in (
        ["cc", "-shared", "-fPIC", "-o", "libpart_of_cuda.so.9", "part.c"],
        ["cc", "-shared", "-fPIC", "-o", "libprovider.so", "p.c", "-L.", "-l:libpart_of_cuda.so.9"],
    ):
        subprocess.run(command, cwd=tmp_path, check=True)
    (tmp_path / "libpart_of_cuda.so.9").unlink()

    def load(name: str) -> Any:
        return Driver() if name == "libcuda.so.1" else ctypes.CDLL(name)

    problem = nvidia_problem(0, [tmp_path / "libprovider.so"], devices=card, load=load)
    assert problem.startswith("a library is missing: libpart_of_cuda.so.9: cannot open shared object file")


def test_devices_are_tried_in_order_and_the_first_reason_is_told(caplog: pytest.LogCaptureFixture) -> None:
    def open_on(device: Device) -> str:
        if device.family != "cpu":
            raise Refused(f"no {device.number}")
        return "opened"

    assert first_usable("net", ("cpu", "cuda"), open_on) == ("opened", "")
    assert first_usable("net", ("cuda:1", "cuda", "cpu"), open_on) == (
        "opened",
        "cuda:1 cannot be used: no 1; cuda cannot be used: no 0",
    )
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    with pytest.raises(ModelError, match="net: device cuda: cuda cannot be used: no 0") as refused:
        first_usable("net", ("cuda",), open_on)
    assert refused.value.next_step


class Elsewhere:
    """onnxruntime's session when its provider could not start: it runs on, on the processor."""

    made: list[dict[str, Any]] = []  # noqa: RUF012 - one list for all is what is wanted

    def __init__(self, model: str, settings: Any, **how: Any) -> None:
        self.made.append(how)

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_onnxruntimes_own_fall_back_is_noticed_and_explained(
    doubler: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    offered = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(ort, "get_available_providers", lambda: offered)
    monkeypatch.setattr(ort, "InferenceSession", Elsewhere)
    monkeypatch.setattr(Elsewhere, "made", [])
    monkeypatch.setattr(engine, "nvidia_problem", partial(nvidia_problem, devices=doubler.parent))
    with pytest.raises(ModelError, match=f"device {device}: {device} cannot be used: /.*/nvidiactl is not"):
        OnnxRuntime().load(doubler, EngineOptions(device=(device,), memory_bytes=10**9))
    (how,) = Elsewhere.made
    assert how["enable_fallback"] == 0, "a run that fails on a GPU must fail, not go on elsewhere"
    names = [name for name, _ in how["providers"]]
    assert names == list(engine.PROVIDERS[device])
    details = dict(how["providers"])
    assert details["CUDAExecutionProvider"]["gpu_mem_limit"] == "1000000000"
    assert details["CUDAExecutionProvider"]["arena_extend_strategy"] == "kSameAsRequested"


def test_where_nothing_is_found_missing_the_engines_own_words_stand(
    doubler: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(ort, "InferenceSession", Elsewhere)
    monkeypatch.setattr(engine, "nvidia_problem", lambda *_: "")
    with pytest.raises(ModelError, match="onnxruntime runs on CPUExecutionProvider instead"):
        OnnxRuntime().load(doubler, EngineOptions(device=("cuda",)))


def test_an_explicit_fall_back_runs_and_says_what_was_wanted(
    doubler: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ort.InferenceSession
    monkeypatch.setattr(
        ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    monkeypatch.setattr(
        ort,
        "InferenceSession",
        lambda model, settings, providers, enable_fallback: (
            real(model, settings, providers=providers)
            if providers == ["CPUExecutionProvider"]
            else Elsewhere(model, settings, providers=providers)
        ),
    )
    monkeypatch.setattr(engine, "nvidia_problem", partial(nvidia_problem, devices=doubler.parent))
    session = OnnxRuntime().load(doubler, EngineOptions(device=("cuda:1", "cpu")))
    assert session.device == "cpu"
    assert session.degraded.startswith(f"cuda:1 cannot be used: {doubler.parent}/nvidiactl is not there")
    assert session.run({"x": np.ones(1, np.float32)})["y"].tolist() == [2]


def test_a_device_of_another_engine_is_refused(doubler: Path) -> None:
    with pytest.raises(ModelError, match=r"tpu cannot be used: onnxruntime has no such device \(known: cpu"):
        OnnxRuntime().load(doubler, EngineOptions(device=("tpu",)))
