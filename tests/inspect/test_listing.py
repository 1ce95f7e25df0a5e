"""The allow-list: the same bytes everywhere, and what other tools read."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.inspect.desk import opened, pack_release, release_files

from sealift.errors import UsageError
from sealift.events import Silent
from sealift.inspect.extract import extract
from sealift.inspect.listing import allow_list, as_json, checksums, for_screen


def test_a_line_is_digest_size_mode_and_path_sorted_by_path(tmp_path: Path) -> None:
    lines = allow_list(opened(pack_release(tmp_path / "b.sealift", None))).splitlines()
    fields = [line.split("  ", 3) for line in lines]
    assert [path for *_, path in fields] == sorted(release_files())
    assert {path: (int(size), mode) for _, size, mode, path in fields}["runtime/tool"] == (10, "0555")
    assert all(len(digest) == 64 for digest, *_ in fields)
    assert fields[-1][0] == "a8076d3d28d21e02012b20eaf7dbf75409a6277134439025f282e368e3305abf"


def test_the_list_is_the_same_from_a_folder_and_from_a_file(tmp_path: Path) -> None:
    lists = {allow_list(opened(pack_release(tmp_path / name, None))) for name in ("b", "b.sealift")}
    assert len(lists) == 1


def test_names_sort_by_their_bytes_whatever_the_alphabet(tmp_path: Path) -> None:
    names = [
        "runtime/Z",
        "runtime/a",
        "runtime/é",
        "runtime/中",
        "runtime/\U00020000",
        "runtime/a-b",
        "runtime/a/b",
    ]
    files = {name: b"" for name in names if name != "runtime/a"}
    listed = [
        line.split("  ")[3]
        for line in allow_list(opened(pack_release(tmp_path / "b", None, files=files))).splitlines()
    ]
    assert listed == sorted(files, key=str.encode)


def test_json_has_the_same_facts(tmp_path: Path) -> None:
    bundle = opened(pack_release(tmp_path / "b", None))
    lines = [
        f"{item['sha256']}  {item['size']}  {item['mode']}  {item['path']}\n" for item in as_json(bundle)
    ]
    assert "".join(lines) == allow_list(bundle)


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
def test_sha256sum_reads_the_list_and_sees_a_changed_file(tmp_path: Path) -> None:
    files = release_files() | {"runtime/odd name  é.txt": b"x", "runtime/-dash": b"y", "runtime/*": b"z"}
    del files["runtime/*"]  # a name that no manifest may carry
    bundle = opened(pack_release(tmp_path / "b.sealift", None, files=files))
    extract(bundle, tmp_path / "out", Silent())
    (tmp_path / "SHA256SUMS").write_text(checksums(bundle))
    command = ["sha256sum", "--strict", "--quiet", "-c", str(tmp_path / "SHA256SUMS")]
    good = subprocess.run(command, cwd=tmp_path / "out", capture_output=True, text=True, check=False)
    assert (good.returncode, good.stdout) == (0, "")
    (tmp_path / "out" / "runtime" / "tool").write_bytes(b"#!/bin/no\n")
    bad = subprocess.run(command, cwd=tmp_path / "out", capture_output=True, text=True, check=False)
    assert bad.returncode == 1
    assert "runtime/tool: FAILED" in bad.stdout


def test_a_name_that_turns_a_line_round_cannot_travel(tmp_path: Path) -> None:
    """Clause 3.2: what a terminal would act on is no name."""
    with pytest.raises(UsageError, match="1 file"):
        pack_release(tmp_path / "b", None, files={"runtime/\u202egnp.exe": b""})


def test_a_name_in_another_script_is_written_as_it_is_and_escaped_on_a_terminal(tmp_path: Path) -> None:
    name = "runtime/\u6a21\u578b.bin"
    lines = allow_list(opened(pack_release(tmp_path / "b", None, files={name: b""})))
    assert name in lines
    assert for_screen(lines.replace("\u6a21", "\u202e")).endswith("0444  runtime/\\u202e\u578b.bin\n")
