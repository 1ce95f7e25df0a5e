"""Two packages are called `onnxruntime` when they are imported; which of them a release runs on."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Final

_NAME: Final = "onnxruntime"


def prefer_gpu_build() -> None:
    """Import `onnxruntime-gpu` where the application brought it, else leave the choice to the path.

    The runtime layer of every release has the package `onnxruntime`, and comes first on the path. To be called
    before anything imports it.
    """
    if _NAME in sys.modules:
        return
    folders = [Path(folder) for folder in sys.path if folder]
    ours = next((folder for folder in folders if (folder / _NAME / "__init__.py").is_file()), None)
    theirs = next((folder for folder in folders if any(folder.glob("onnxruntime_gpu-*.dist-info"))), None)
    if ours is None or theirs is None or ours == theirs:
        return
    sys.path.insert(sys.path.index(str(ours)), str(theirs))  # behind the standard library, as it was
    try:
        import_module(_NAME)
    finally:
        sys.path.remove(str(theirs))
