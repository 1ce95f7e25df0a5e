"""NNCF: an IR that OpenVINO runs, streamed, repeatable, and silent in every sense."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.optimize.nets import answers, cosine, pictures, sentences

from sealift.engine.openvino import OpenVino
from sealift.engine.protocol import EngineOptions
from sealift.errors import ModelError, UsageError
from sealift.events import Silent
from sealift.model.arrays import Arrays
from sealift.optimize.quantise.nncf_int8 import NncfRecipe, nncf_problem, quantise_nncf

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of what nncf itself imports
]


class Streamed:
    """Counts how many are read, and lets none be kept."""

    def __init__(self, items: list[tuple[str, Arrays]]) -> None:
        self.items = items
        self.read = 0

    def __iter__(self) -> Iterator[tuple[str, Arrays]]:
        for item in self.items:
            self.read += 1
            yield item


class Told(Silent):
    def __init__(self) -> None:
        self.started: list[tuple[str, int | None]] = []
        self.items = 0

    def start(self, title: str, total: int | None = None) -> None:
        self.started.append((title, total))

    def advance(self, amount: int = 1) -> None:
        self.items += amount


def test_an_ir_that_openvino_runs_with_close_answers(
    small_net: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    items, told = pictures(8, 12), Told()
    made = quantise_nncf(small_net, items, NncfRecipe(), tmp_path / "out" / "int8.xml", told)
    assert sorted(path.name for path in made.parent.iterdir()) == ["int8.bin", "int8.xml"]
    assert b"FakeQuantize" in made.read_bytes()
    running = OpenVino().load(made, EngineOptions(threads=1))
    assert (running.input_names, running.output_names) == (("image",), ("logits",))
    for (_, inputs), plain in zip(items, answers(small_net, items), strict=True):
        assert cosine(plain, running.run(inputs)["logits"]) > 0.99
    assert (told.started, told.items) == ([("calibrating for OpenVINO", 8)], 8)
    assert capfd.readouterr().out == ""


def test_the_same_items_give_the_same_bytes(small_net: Path, tmp_path: Path) -> None:
    files = [
        quantise_nncf(small_net, pictures(4, 12), NncfRecipe(), tmp_path / name / "int8.xml", Silent())
        for name in ("a", "b")
    ]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].with_suffix(".bin").read_bytes() == files[1].with_suffix(".bin").read_bytes()


def test_no_more_items_are_read_than_asked_for(small_net: Path, tmp_path: Path) -> None:
    told, items = Told(), Streamed(pictures(9, 12))
    quantise_nncf(small_net, items, NncfRecipe(most_items=3), tmp_path / "int8.xml", told)
    assert told.items == 3
    assert told.started == [("calibrating for OpenVINO", None)]


def test_weights_in_half_the_range_differ(small_net: Path, tmp_path: Path) -> None:
    plain, fixed = (
        quantise_nncf(
            small_net, pictures(4, 12), NncfRecipe(overflow_fix=fix), tmp_path / f"{fix}.xml", Silent()
        )
        for fix in (False, True)
    )
    assert plain.with_suffix(".bin").read_bytes() != fixed.with_suffix(".bin").read_bytes()


def test_no_item_and_a_wrong_item_are_refused(small_net: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no item to calibrate on"):
        quantise_nncf(small_net, [], NncfRecipe(), tmp_path / "int8.xml", Silent())
    wrong: list[tuple[str, Arrays]] = [("wrong", {"image": np.zeros((1, 5, 12, 12), np.float32)})]
    with pytest.raises(ModelError, match=r"fused\.onnx: nncf cannot quantise it"):
        quantise_nncf(small_net, wrong, NncfRecipe(), tmp_path / "int8.xml", Silent())
    with pytest.raises(ModelError, match=r"fused\.onnx: nncf cannot quantise it"):
        quantise_nncf(small_net, sentences(1), NncfRecipe(), tmp_path / "int8.xml", Silent())
    assert list(tmp_path.iterdir()) == []


ABSENT = """
import sys
sys.modules["nncf"] = None
from pathlib import Path
from sealift.errors import UsageError
from sealift.events import Silent
from sealift.optimize.quantise.nncf_int8 import NncfRecipe, nncf_problem, quantise_nncf
try:
    quantise_nncf(Path("net.onnx"), [], NncfRecipe(), Path("out.xml"), Silent())
except UsageError as error:
    print(error.message, "|", error.next_step, "|", nncf_problem() == error.message)
"""


def test_without_nncf_the_way_to_it_is_named(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ABSENT], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    message, next_step, told = done.stdout.strip().split(" | ")
    assert message.startswith("INT8 for OpenVINO needs the packages nncf and openvino")
    assert next_step == "pip install 'sealift[openvino]'"
    assert told == "True"
    assert list(tmp_path.iterdir()) == []


SILENT = """
import sealift
import socket, sys
def refused(*args, **kwargs):
    raise AssertionError("a connection was tried")
socket.socket.connect = refused
socket.create_connection = refused
socket.getaddrinfo = refused
from pathlib import Path
from tests.optimize.nets import pictures
from sealift.events import Silent
from sealift.optimize.quantise.nncf_int8 import NncfRecipe, quantise_nncf
quantise_nncf(Path(sys.argv[1]), pictures(2, 12), NncfRecipe(), Path(sys.argv[2]), Silent())
print(sorted({"torch", "openvino_telemetry", "openvino.tools.ovc"} & set(sys.modules)))
"""


def test_nothing_calls_home_and_torch_is_not_loaded(small_net: Path, tmp_path: Path) -> None:
    """In a process of its own: under pytest nncf switches its reports off by itself."""
    done = subprocess.run(
        [sys.executable, "-c", SILENT, str(small_net), str(tmp_path / "int8.xml")],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    assert done.stdout == "[]\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["int8.bin", "int8.xml"]


def test_it_can_be_used_here() -> None:
    assert nncf_problem() == ""
