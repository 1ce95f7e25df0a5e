import subprocess
import sys
from pathlib import Path

import pytest

from sealift import __version__
from sealift.collect.box_side import CONNECTED_ONLY, PACKAGE, box_side_files, copy_box_side
from sealift.errors import UsageError


def test_what_belongs_to_the_connected_machine_stays_there() -> None:
    files = box_side_files()
    assert {"__main__.py", "errors.py", "py.typed", "target/target.py", "engine/protocol.py"} <= set(files)
    assert not [name for name in files if name.startswith(("collect/", "pack/", "demo/", "optimize/"))]
    assert not {"model/onnx_graph.py", "project/scaffold.py", "cli/pack.py", "cli/init.py"} & set(files)
    assert not [name for name in files if "__pycache__" in name or name.endswith(".pyc")]


def test_every_pattern_without_a_star_names_a_file_or_a_room_to_come() -> None:
    """A renamed module must not slip onto the box."""
    to_come = {"cli/lock.py", "cli/optimize.py"}
    named = {pattern for pattern in CONNECTED_ONLY if "*" not in pattern} - to_come
    assert [pattern for pattern in sorted(named) if not (PACKAGE / pattern).is_file()] == []


def test_editors_leavings_do_not_travel(tmp_path: Path) -> None:
    for name in ("a.py", "a.py~", ".a.py.swp", "__pycache__/a.pyc", ".hidden/a.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert box_side_files(tmp_path) == ("a.py",)


def test_a_wheel_may_not_take_sealifts_own_names(tmp_path: Path) -> None:
    (tmp_path / "boot.py").write_text("evil")
    with pytest.raises(UsageError) as caught:
        copy_box_side(tmp_path)
    assert caught.value.problems == ("boot.py",)
    assert [path.name for path in tmp_path.iterdir()] == ["boot.py"]


def test_a_release_starts_from_its_own_files_only(tmp_path: Path) -> None:
    """The import path is the standard library, then the two layers; nothing of this machine's packages."""
    written = copy_box_side(tmp_path / "runtime")
    assert "boot.py" in written
    assert all((tmp_path / "runtime" / name).is_file() for name in written)
    (tmp_path / "dependencies").mkdir()
    (tmp_path / "dependencies" / "theirs.py").write_text(
        "import json, sys\njson.dump(sys.path, sys.stdout)\n"
    )
    (tmp_path / "dependencies" / "json.py").write_text(
        "raise SystemExit('a wheel hides the standard library')\n"
    )
    main = tmp_path / "runtime" / "sealift" / "__main__.py"
    main.write_text("def main():\n    import theirs\n    return 7\n")
    boot = tmp_path / "runtime" / "boot.py"
    started = subprocess.run(
        [sys.executable, "-I", "-S", "-B", boot],
        capture_output=True,
        text=True,
        cwd=tmp_path / "dependencies",
    )
    assert started.returncode == 7, started.stderr
    path = __import__("json").loads(started.stdout)
    assert path[-2:] == [str(tmp_path / "runtime"), str(tmp_path / "dependencies")]
    assert not [entry for entry in path if "site-packages" in entry or "dist-packages" in entry]


def test_the_release_answers_for_itself(tmp_path: Path) -> None:
    copy_box_side(tmp_path / "runtime")
    command = [sys.executable, "-I", "-S", "-B", str(tmp_path / "runtime" / "boot.py"), "--version"]
    started = subprocess.run(command, capture_output=True, text=True, check=True)
    assert started.stdout.split() == ["sealift", __version__]
    assert not list(tmp_path.rglob("__pycache__"))


def test_an_open_interpreter_is_refused(tmp_path: Path) -> None:
    copy_box_side(tmp_path / "runtime")
    started = subprocess.run(
        [sys.executable, tmp_path / "runtime" / "boot.py"], capture_output=True, text=True
    )
    assert (started.returncode, started.stdout) == (2, "")
    assert "run as PYTHON -I -S -B" in started.stderr
