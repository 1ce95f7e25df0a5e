"""What every model format becomes on its way into a release."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sealift.model.signature import Signature


@dataclass(frozen=True, slots=True)
class Adapted:
    """A model ready for a release.

    `path` is `model.onnx` (`model.pt`, ...) in the destination; `files` are it and its data files, all inside
    the destination; `notes` are sentences for people about what was changed (empty: copied byte for byte).
    """

    path: Path
    files: tuple[Path, ...]
    signature: Signature
    notes: tuple[str, ...] = ()
