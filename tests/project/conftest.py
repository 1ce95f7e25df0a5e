"""A project folder with everything that the good and the bad project files name, and traps beside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder without `sealift.toml`, to be read only.

    `link.onnx` and `linked/` lead out of it, `circle.onnx` to itself, `pipe` is no file; `hole.txt`,
    `blank.txt` and `latin.txt` are no lists of labels.
    """
    base = tmp_path_factory.mktemp("projects")
    root = base / "fraud"
    for name in ("data/golden", "data/calibration", "data/evaluation", "vendor"):
        (root / name).mkdir(parents=True)
    for name in (
        "model.onnx",
        "second.onnx",
        "model.pt",
        "model.xml",
        "weights.safetensors",
        "weights.pth",
        "net.py",
        "handler.py",
        "tokenizer.json",
        "requirements.txt",
        "pylock.toml",
        "pip-freeze.txt",
    ):
        (root / name).write_bytes(b"")
    for wheel in ("b-2-py3-none-any.whl", "a-1-py3-none-any.whl"):
        (root / "vendor" / wheel).write_bytes(b"")
    (root / "saved").mkdir()
    (root / "saved/saved_model.pb").write_bytes(b"")
    (root / "labels.txt").write_bytes("\ufeffcat\r\n  tiger cat \r\nchat à neige\u2028x\r\n\r\n".encode())
    (root / "hole.txt").write_text("a\n\nb\n")
    (root / "blank.txt").write_text("\n \n")
    (root / "latin.txt").write_bytes(b"a\n\xe9\n")
    (base / "outside.onnx").write_bytes(b"")
    (root / "link.onnx").symlink_to("../outside.onnx")
    (root / "circle.onnx").symlink_to("circle.onnx")
    (base / "other").mkdir()
    (base / "other/b-1-py3-none-any.whl").write_bytes(b"")
    (root / "linked").symlink_to("../other")
    os.mkfifo(root / "pipe")
    return root
