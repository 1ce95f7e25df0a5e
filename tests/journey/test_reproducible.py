"""Must show: packing twice gives the same bytes, on another day, path, user and number of cores."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.journey.conftest import make_keys
from tests.journey.test_inner_loop import write_project

pytestmark = pytest.mark.slow


def pack(project: Path, keys: Path, output: Path, environment: dict[str, str], cores: str) -> bytes:
    command = [
        "taskset",
        "-c",
        cores,
        sys.executable,
        "-m",
        "sealift",
        "pack",
        project.name,
        "-o",
        str(output),
    ]
    command += ["--keys", str(keys), "--passphrase-file", str(keys.parent / "phrase"), "-q", "--no-input"]
    kept = {key: os.environ[key] for key in ("PATH",) if key in os.environ}
    subprocess.run(command, cwd=project.parent, env={**kept, **environment}, check=True, timeout=300)
    return output.read_bytes()


def test_packing_twice_gives_the_same_bytes_whatever_is_around_it(tmp_path: Path) -> None:
    """1970 against today, two paths, two homes and users, one core against all; the keys and their books stay."""
    cache = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    make_keys(tmp_path)
    write_project(tmp_path / "here", "1")
    (tmp_path / "far" / "away").mkdir(parents=True)
    shutil.copytree(tmp_path / "here", tmp_path / "far" / "away" / "renamed")
    for path in (tmp_path / "far" / "away" / "renamed").iterdir():
        os.utime(path, (0, 0))
    one = {
        "HOME": str(tmp_path / "h1"),
        "USER": "alice",
        "TZ": "Asia/Shanghai",
        "PYTHONHASHSEED": "1",
        "LANG": "C",
    }
    two = {"HOME": str(tmp_path / "h2"), "USER": "bob", "TZ": "UTC", "PYTHONHASHSEED": "2", "LANG": "C.UTF-8"}
    all_cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    first = pack(
        tmp_path / "here",
        tmp_path / "keys",
        tmp_path / "one.sealift",
        {**one, "SOURCE_DATE_EPOCH": "0", "XDG_CACHE_HOME": cache},
        all_cores,
    )
    second = pack(
        tmp_path / "far" / "away" / "renamed",
        tmp_path / "keys",
        tmp_path / "two.sealift",
        {**two, "XDG_CACHE_HOME": str(tmp_path / "cold")},
        all_cores.split(",")[0],
    )
    assert first == second
