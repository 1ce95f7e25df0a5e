"""`[model] architecture` and `[model.arguments]` -> the Python that builds the module of some weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sealift.model.engines import WEIGHTS_SUFFIXES
from sealift.model.words import listed, quoted
from sealift.project.folder import Folder, Unfit
from sealift.project.project import Architecture
from sealift.project.section import Section

_EXAMPLE: Final = '"net.py:Net"'
_STATE_DICTS: Final = (".pt", ".bin", ".ckpt", ".ts")
"""Names under which people keep a state_dict() that elsewhere mean something else."""


def read_architecture(section: Section, path: Path | None) -> Architecture | None:
    """What builds the module; None where the file is a whole model.

    Noted are weights without an architecture, an architecture for what is no weights, and arguments for nothing.
    """
    built = section.found("architecture", None, lambda text: _split(section.folder, text))
    arguments = _arguments(section)
    if "architecture" not in section:
        _note_what_lacks(section, path)
        return None
    if path is not None and path.suffix not in WEIGHTS_SUFFIXES:
        section.refuse("architecture", _no_weights(path))
        return None
    return Architecture(*built, arguments) if built is not None else None


def _split(folder: Folder, text: str) -> tuple[Path, str]:
    """`net.py:Net` -> the file and the name. Raises: Unfit."""
    file, colon, name = text.rpartition(":")
    if not colon or not file.endswith(".py") or not name.isidentifier():
        raise Unfit(f"expected a Python file and a class or function in it, {_EXAMPLE}, got {quoted(text)}")
    return folder.find(file, "file"), name


def _arguments(section: Section) -> dict[str, Any]:
    table = section.child("arguments").table
    for key in table:
        if not key.isidentifier():
            section.refuse("arguments", f"{quoted(key)} is no name of an argument")
    return dict(table)


def _note_what_lacks(section: Section, path: Path | None) -> None:
    """A `.pth` may be anything: what it holds is looked at when the model is prepared."""
    if "arguments" in section:
        section.refuse(
            "arguments", f"there is no architecture to give them to; write architecture = {_EXAMPLE}"
        )
    elif path is not None and path.suffix == ".safetensors":
        text = f"'architecture' is missing: {path.name} holds weights and no graph; write architecture = {_EXAMPLE}"
        section.report.add((*section.path, "path"), f"{section.title} {text}")


def _no_weights(path: Path) -> str:
    known = listed(WEIGHTS_SUFFIXES)
    if path.suffix in _STATE_DICTS:
        return f"it belongs to weights alone ({known}); if {path.name} is a state_dict(), let its name end in .pth"
    return f"it belongs to weights alone ({known}), and {path.name} is a whole model"
