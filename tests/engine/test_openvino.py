"""OpenVINO: what it reads, what it refuses, and that it keeps to itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.engine.made_models import photos, write_ir, write_onnx

from sealift.engine.choose import engine_for
from sealift.engine.openvino import OpenVino
from sealift.engine.protocol import EngineOptions
from sealift.errors import ModelError
from sealift.model.graph_formats import ModelFile, adapt_file, files_of
from sealift.model.graph_openvino import ir_signature

pytestmark = pytest.mark.slow


def test_both_files_travel_under_their_release_names(tmp_path: Path) -> None:
    adapted = adapt_file(ModelFile(write_ir(tmp_path / "photos-v3.xml")), tmp_path / "release")
    assert [path.name for path in adapted.files] == ["model.xml", "model.bin"]
    assert OpenVino().load(adapted.path, EngineOptions()).run({"image": photos(1)})


def test_weights_that_do_not_lie_beside_the_graph_are_named(tmp_path: Path) -> None:
    path = write_ir(tmp_path / "net.xml")
    (tmp_path / "net.bin").unlink()
    for attempt in (lambda: files_of(path), lambda: OpenVino().load(path, EngineOptions())):
        with pytest.raises(
            ModelError, match=r"net\.xml: the weights net\.bin do not lie beside it"
        ) as refused:
            attempt()
        assert "openvino.save_model" in str(refused.value.next_step)


@pytest.mark.parametrize("damage", ["graph", "weights"])
def test_damage_is_refused_in_one_line_of_openvinos_own_words(tmp_path: Path, damage: str) -> None:
    path = write_ir(tmp_path / "net.xml")
    if damage == "graph":
        path.write_bytes(path.read_bytes()[:1000])
    else:
        path.with_suffix(".bin").write_bytes(b"short")
    with pytest.raises(ModelError, match=r"^net\.xml: OpenVINO cannot (read|load) it: [^\n]+$"):
        OpenVino().load(path, EngineOptions())
    with pytest.raises(ModelError):
        ir_signature(path) if damage == "graph" else OpenVino().load(path, EngineOptions())


def test_another_number_of_tensors_than_the_signature_has_is_refused(tmp_path: Path) -> None:
    path = write_ir(tmp_path / "net.xml")
    with pytest.raises(ModelError, match=r"net\.xml has 1 tensors \(image\), the signature 2"):
        engine_for(path, "", ("a", "b"), ("output",)).load(path, EngineOptions())
    renamed = engine_for(path, "", ("photo",), ("chances",)).load(path, EngineOptions())
    assert list(renamed.run({"photo": photos(1)})) == ["chances"]


def test_a_second_layout_is_a_copy_and_made_only_where_that_is_permitted(tmp_path: Path) -> None:
    path = write_ir(tmp_path / "net.xml")
    session = OpenVino().load(path, EngineOptions(threads=2))
    assert session.with_threads(1, may_copy=False) is None
    narrow = session.with_threads(1, may_copy=True)
    assert narrow is not None
    x = {"image": photos(3)}
    np.testing.assert_allclose(narrow.run(x)["output"], session.run(x)["output"], atol=1e-6)


def test_without_openvino_the_way_out_is_named(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; sys.modules['openvino'] = None\n"
        "from sealift.engine.choose import engine_for\n"
        "from sealift.engine.protocol import EngineOptions\n"
        "from sealift.errors import ModelError\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "try: engine_for(path, 'openvino').load(path, EngineOptions())\n"
        "except ModelError as error: print(error, error.next_step)\n"
    )
    path = write_onnx(tmp_path / "net.onnx")
    ran = subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True)
    assert "the engine openvino needs the package openvino" in ran.stdout
    assert "[python] requirements" in ran.stdout


def test_it_writes_nothing_home_and_loads_no_telemetry(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    code = (
        "import sys, pathlib\n"
        "from sealift.engine.openvino import OpenVino\n"
        "from sealift.engine.protocol import EngineOptions\n"
        "OpenVino().load(pathlib.Path(sys.argv[1]), EngineOptions())\n"
        "print([name for name in sys.modules if 'telemetry' in name])\n"
    )
    path = write_ir(tmp_path / "net.xml")
    ran = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env={**os.environ, "HOME": str(home)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert ran.stdout.strip() == "[]"
    assert list(home.rglob("*")) == []
