"""`export bootstrap`: what it refuses before it makes anything, and what a box's other rooms make of its tool."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.install.scene import FakeBox
from tests.made_bundles import make_signer
from tests.tool.small_tools import Tools

from sealift import __version__
from sealift.cli.tool_making import ToolWish, help_pages, target_of
from sealift.errors import IncompatibleHost, ProjectError, SealiftError, UsageError
from sealift.project.file import load_project
from sealift.store.prefix import private
from sealift.target.interpreter import own_base
from sealift.tool.make import ToolFacts, require_may_sign, write_application


def _export(folder: Path, *words: str | Path) -> str:
    command = [sys.executable, "-m", "sealift", "export", "bootstrap", *map(str, words), "--no-input"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    return done.stderr


@pytest.mark.slow
def test_what_cannot_be_written_is_refused_before_it_is_made(tmp_path: Path) -> None:
    said = _export(tmp_path, "-o", "sealift.tar", "--keys", "keys")
    assert "-o sealift.tar: expected a name that ends in .run" in said
    said = _export(tmp_path, "-o", "sealift.run", "--keys", "keys", "--passphrase-file", "phrase")
    assert "keys/root.json: No such file or directory" in said
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_may_not_sign_sealift_is_refused_with_what_it_may() -> None:
    signer = make_signer(("fraud*", "risk"))
    key_id = signer.release_key.public.key_id
    with pytest.raises(
        UsageError, match=r"may not sign 'sealift' itself: root version 1 permits fraud\*, risk"
    ) as caught:
        require_may_sign(signer.signed.root, key_id)
    assert caught.value.next_step is not None
    assert "sealift keys rotate KEYS --add-release --product sealift" in caught.value.next_step
    permitted = make_signer(("seal*",))
    require_may_sign(permitted.signed.root, permitted.release_key.public.key_id)


def test_a_preset_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SealiftError, match="debian-99"):
        target_of(ToolWish(preset="debian-99"))


def test_its_target_brings_an_interpreter() -> None:
    target = target_of(ToolWish(preset="debian-12", python="3.11"))
    assert (target.glibc, target.interpreter, target.python) == ("2.36", "bundled", "3.11")


def test_the_help_travels_as_text_of_one_width(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    narrow = help_pages()
    monkeypatch.setenv("COLUMNS", "200")
    assert help_pages() == narrow
    assert {"install", "status", "rollback"} <= set(narrow)
    assert not {"pack", "init", "lock", "export"} & set(narrow)
    write_application(tmp_path, ToolFacts(__version__, "3.11.7", {"tomlkit": "0.15"}), narrow)
    assert (tmp_path / "help/install.txt").read_text().startswith("usage: sealift install ")
    assert "Apache License" in (tmp_path / "licences/sealift.txt").read_text()
    assert f'"version":"{__version__}"' in (tmp_path / "tool.json").read_text()


def test_no_other_release_runs_on_the_tools_own_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    inside = "/opt/sealift/releases/sealift/1.0-abcd0123/runtime/python/bin/python3.11"
    monkeypatch.setattr(sys, "_base_executable", inside)
    assert own_base() is None
    monkeypatch.setattr(sys, "_base_executable", "/usr/bin/python3.11")
    assert own_base() == Path("/usr/bin/python3.11")


def test_a_release_for_a_newer_sealift_says_what_to_carry(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    tools = Tools(tmp_path / "made")
    fake = FakeBox(private(tmp_path / "box"))
    with pytest.raises(IncompatibleHost) as caught:
        fake.install(tools.bundle(min_sealift="99.3"))
    assert caught.value.problems == (f"sealift: expected 99.3 or newer, found {__version__}",)
    assert caught.value.next_step == (
        "carry sealift 99.3 or newer: `sealift export bootstrap` on the packing machine; nothing was changed"
    )
    assert not fake.prefix.releases("sealift").exists()


def test_no_project_may_have_the_tools_name(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"")
    (tmp_path / "sealift.toml").write_text(
        '[project]\nname = "sealift"\nversion = "1.0"\n[model]\npath = "m.onnx"\n'
    )
    with pytest.raises(ProjectError) as caught:
        load_project(tmp_path)
    said = "\n".join([caught.value.message, *caught.value.problems])
    assert "[project] name: 'sealift' is sealift itself; give the project another name" in said
