"""Draft -> the same with `requirements.txt` for what its engines and handler import."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Final

from sealift.migrate.draft import REQUIREMENTS, Draft
from sealift.model.engines import default_engine

_CARRIED: Final = frozenset({"numpy", "PIL"})
"""In every release (docs/how-to/carry-a-handler.md)."""
_SERVERS: Final = frozenset({"flask", "flask_cors", "werkzeug", "gunicorn", "waitress", "ts", "mlflow"})
_DISTRIBUTIONS: Final = {
    "cv2": "opencv-python-headless",
    "sklearn": "scikit-learn",
    "skimage": "scikit-image",
    "yaml": "PyYAML",
    "dateutil": "python-dateutil",
    "bs4": "beautifulsoup4",
}
_ENGINE_PACKAGES: Final = {"torch": "torch", "openvino": "openvino"}


def with_engine_packages(draft: Draft, imports: Iterable[str] = (), pins: Path | None = None) -> Draft:
    """Add the packages that no release carries by itself.

    Args:
        imports: top-level modules that the handler imports.
        pins: the old service's requirements file; its lines are kept for the packages that are still needed.
    """
    engines = [default_engine(Path(model.place)) for model in draft.models]
    needed = {_ENGINE_PACKAGES[engine] for engine in engines if engine in _ENGINE_PACKAGES}
    needed |= {_DISTRIBUTIONS.get(name, name) for name in imports if _is_foreign(name)}
    if not needed:
        return draft
    pinned = _pinned(pins)
    lines, unsure = [], []
    for name in sorted(needed, key=str.lower):
        line = pinned.get(_plain(name)) or _installed(name)
        lines.append(line)
        if _plain(name) not in pinned:
            unsure.append(line)
    check = (f"{REQUIREMENTS}: versions the old service did not tell: {', '.join(unsure)}",) if unsure else ()
    text = "\n".join(lines) + "\n"
    return replace(draft, files={**draft.files, REQUIREMENTS: text}, check=(*draft.check, *check))


def _is_foreign(name: str) -> bool:
    return name not in sys.stdlib_module_names and name not in _CARRIED and name not in _SERVERS


def _installed(name: str) -> str:
    """Pinned to the version on this machine, without its local part (`+cpu`); bare where there is none."""
    try:
        return f"{name}=={metadata.version(name).partition('+')[0]}"
    except metadata.PackageNotFoundError:
        return name


def _pinned(path: Path | None) -> dict[str, str]:
    """Plain requirement lines by normalised name; options and links are left alone."""
    if path is None or not path.is_file():
        return {}
    found = {}
    for raw in path.read_text(encoding="utf-8", errors="replace").splitlines():
        line = raw.partition(" #")[0].strip()
        name = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line)
        if name and "://" not in line:
            found[_plain(name[0])] = line
    return found


def _plain(name: str) -> str:
    """PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()
