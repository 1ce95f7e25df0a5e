"""The unpacked bootstrap file as a bundle: the same release, and nothing beside it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.tool.small_tools import INTERPRETER, Tools

from sealift.bundle.read import read_bundle, verify, verify_objects
from sealift.errors import DigestMismatch, MalformedBundle, MissingPart, UnknownKey
from sealift.tool.unpacked import UnpackedTool
from sealift.trust.vouch import Policy


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    (tmp_path / "made").mkdir()
    return Tools(tmp_path / "made")


@pytest.fixture
def unpacked(tools: Tools, tmp_path: Path) -> Path:
    """What the head unpacks, by the same commands."""
    made = tools.run_file()
    start = made.path.read_bytes().index(b"\x1f\x8b\x08") + 1
    folder = tmp_path / "unpacked"
    folder.mkdir()
    command = f"tail -c +{start} {made.path} | gzip -dc | tar -xof - -C {folder}"
    subprocess.run(["sh", "-c", command], check=True)
    return folder


def test_it_is_the_release_that_was_packed(tools: Tools, unpacked: Path) -> None:
    packed = tools.bundle()
    found = read_bundle(UnpackedTool(unpacked, "sealift-1.0.run"))
    assert found.identity == packed.identity
    verified = verify(found, tools.signer.signed.root, Policy())
    assert dict(verified.files()) == dict(packed.files())
    assert verify_objects(found) == ()
    assert (unpacked / "complete").is_file()
    assert (unpacked / "tree" / INTERPRETER).stat().st_mode & 0o777 == 0o755


def test_a_changed_file_is_refused(unpacked: Path) -> None:
    path = unpacked / "tree/runtime/boot.py"
    path.write_bytes(b"0" * path.stat().st_size)
    with pytest.raises(DigestMismatch):
        verify_objects(read_bundle(UnpackedTool(unpacked, "sealift-1.0.run")))


def test_a_file_of_another_size_is_refused(unpacked: Path) -> None:
    (unpacked / "tree/runtime/boot.py").write_bytes(b"longer than it was")
    with pytest.raises(MalformedBundle, match=r"1 object\(s\) of another size"):
        read_bundle(UnpackedTool(unpacked, "sealift-1.0.run"))


def test_a_file_that_no_manifest_names_is_refused(unpacked: Path) -> None:
    """The interpreter could have imported it."""
    (unpacked / "tree/runtime/sitecustomize.py").write_text("import os")
    with pytest.raises(MalformedBundle, match=r"1 part\(s\) that it does not name") as caught:
        read_bundle(UnpackedTool(unpacked, "sealift-1.0.run"))
    assert caught.value.problems == ("tree/runtime/sitecustomize.py",)


def test_a_missing_file_is_named(unpacked: Path) -> None:
    (unpacked / "tree/runtime/boot.py").unlink()
    with pytest.raises(MissingPart, match=r"1 part\(s\) are missing"):
        read_bundle(UnpackedTool(unpacked, "sealift-1.0.run"))


def test_a_link_in_place_of_a_file_is_refused(unpacked: Path, tmp_path: Path) -> None:
    path = unpacked / "tree/runtime/boot.py"
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    with pytest.raises(MalformedBundle):
        verify_objects(read_bundle(UnpackedTool(unpacked, "sealift-1.0.run")))


def test_another_signature_does_not_count(tools: Tools, unpacked: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Tools(tmp_path / "other").pack()
    (unpacked / "documents/release.sig.json").write_bytes((other.path / "release.sig.json").read_bytes())
    found = read_bundle(UnpackedTool(unpacked, "sealift-1.0.run"))
    with pytest.raises(UnknownKey, match="0 of them may sign sealift under the trusted root"):
        verify(found, tools.signer.signed.root, Policy())
