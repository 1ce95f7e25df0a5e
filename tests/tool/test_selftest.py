"""What the tool asks itself before it is switched to."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sealift import __version__
from sealift.check.report import decode_report
from sealift.store.files import write_document
from sealift.store.prefix import private
from sealift.tool import selftest


def test_every_question_holds_here() -> None:
    told = [selftest.ask(name, question) for name, question in selftest.own_questions().items()]
    assert [each.detail for each in told if not each.ok] == []
    assert [each.name for each in told] == ["modules", "signatures", "digests", "zstd", "json"]


def test_whatever_breaks_is_an_answer() -> None:
    def broken() -> str:
        raise SyntaxError("half a file")

    assert selftest.ask("modules", broken) == selftest.Told("modules", False, "SyntaxError: half a file")


def _package(folder: Path, name: str, files: dict[str, str]) -> Path:
    package = folder / name
    package.mkdir()
    for file, text in {"__init__.py": "", **files}.items():
        (package / file).write_text(text)
    return package


def test_what_only_workers_need_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(selftest, "OF_A_RELEASE", frozenset({"an_engine"}))
    package = _package(
        tmp_path, "waits", {"worker.py": "import an_engine.core\n", "__main__.py": "raise SystemExit\n"}
    )
    assert selftest.modules(package) == "1 import, 1 wait for a release's packages"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import forgotten\n", "breaks.cli: No module named 'forgotten'"),
        ("raise ValueError('at import')\n", "breaks.cli: ValueError: at import"),
        ("def half(:\n", "breaks.cli: SyntaxError"),
    ],
)
def test_a_module_that_does_not_import_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, reason: str
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "breaks"]:
        monkeypatch.delitem(sys.modules, name)
    package = _package(tmp_path, "breaks", {"cli.py": text})
    with pytest.raises(ImportError, match=reason):
        selftest.modules(package)
    for name in [name for name in sys.modules if name.partition(".")[0] == "breaks"]:
        del sys.modules[name]


def _told(*words: str) -> dict[str, tuple[bool, str]]:
    command = [sys.executable, "-m", "sealift", "_selftest", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["golden_checked"] is False
    return {each.name: (each.ok, each.detail) for each in decode_report(done.stdout).findings}


@pytest.mark.slow
def test_it_reads_this_prefix_and_knows_its_version(tmp_path: Path) -> None:
    told = _told("--prefix", str(tmp_path / "box"), "--expect", __version__)
    assert all(ok for ok, _ in told.values())
    assert told["services"] == (True, "none is installed")
    assert told["trust"] == (True, "nobody is trusted yet")


@pytest.mark.slow
def test_a_prefix_that_it_cannot_read_is_an_answer(tmp_path: Path) -> None:
    prefix = private(tmp_path / "box")
    write_document(prefix.stamp, {"format": 99, "sealift": "9.0"})
    prefix.pinned_root.parent.mkdir(parents=True)
    prefix.pinned_root.write_text("{}")
    told = _told("--prefix", str(prefix.root), "--expect", "9.9")
    assert not told["services"][0]
    assert "written by sealift 9.0 in format 99" in told["services"][1]
    assert not told["trust"][0]
    assert told["version"] == (False, f"ValueError: expected 9.9, found {__version__}")
