"""The layers on disk: an interpreter that lies there already is compiled along, and no wheel gets into it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from sealift.collect.layers import write_layers
from sealift.collect.lock import Collected
from sealift.collect.wheel import read_wheel
from sealift.errors import UsageError
from sealift.events import Silent

MakeWheel = Callable[..., Path]


def collected(folder: Path, make_wheel: MakeWheel, runtime: Mapping[str, str]) -> Collected:
    wheels = (make_wheel(folder, "numpy", files=runtime), make_wheel(folder, "mine"))
    ours, theirs = (read_wheel(path).wheel for path in wheels)
    return Collected((ours,), (theirs,), frozenset({"mine"}), "2.28")


@pytest.mark.slow
def test_a_bundled_interpreter_is_compiled_with_the_layer_and_what_no_box_needs_is_told(
    tmp_path: Path, make_wheel: MakeWheel
) -> None:
    stdlib = tmp_path / "tree" / "runtime" / "python" / "lib" / "python3.11"
    stdlib.mkdir(parents=True)
    (stdlib / "os.py").write_text("name = 'posix'\n")
    files = {"numpy/__init__.py": "", "numpy/tests/test_x.py": "x" * 100_000}
    notes = write_layers(
        collected(tmp_path / "w", make_wheel, files), tmp_path / "tree", Path(sys.executable), Silent()
    )
    assert [path.name for path in (stdlib / "__pycache__").iterdir()] == [
        f"os.{sys.implementation.cache_tag}.pyc"
    ]
    assert not (tmp_path / "tree" / "runtime" / "numpy" / "tests").exists()
    assert notes == ("left out: 1 file(s), 0.1 MB that no box needs (tests)",)


def test_a_wheel_that_reaches_into_the_interpreter_is_refused(tmp_path: Path, make_wheel: MakeWheel) -> None:
    files = {"numpy/__init__.py": "", "python/lib/python3.11/site.py": "evil = 1\n"}
    with pytest.raises(UsageError, match="into the folder of the bundled interpreter") as caught:
        write_layers(
            collected(tmp_path / "w", make_wheel, files), tmp_path / "tree", Path(sys.executable), Silent()
        )
    assert caught.value.problems == ("python/lib/python3.11/site.py",)
